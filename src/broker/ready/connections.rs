//! A user's connections: their accounts, and what tools still need.

use super::{Asking, ConsentState, ProviderConsent};
use crate::broker::accounts::list::{Account, AccountState};
use crate::broker::{Broker, caller_failures};
use crate::model::event::CallOutcome;
use crate::model::gateway::OfferedTools;
use crate::model::text::shown;
use crate::model::tool::CONNECTIONS;
use crate::model::{Failure, Principal, ToolName};
use crate::registry::UnknownTool;

/// Most characters of an unknown name that an answer quotes.
const MAX_NAME_CHARS: usize = 80;

/// The accounts of a user, and the consents that tools still need.
#[derive(Debug)]
pub struct Connections {
    pub accounts: Vec<Account>,
    /// One for each provider whose consent is missing.
    pub needed: Vec<ProviderConsent>,
    /// Tools that can run now.
    pub ready: Vec<ToolName>,
    pub unknown: Vec<UnknownName>,
}

/// A name that no tool of the user has.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// Cut, on one line.
    pub name: String,
    /// The tool that is probably meant.
    pub meant: UnknownTool,
}

impl Broker {
    /// Whether a tool that this user may use needs an account of theirs. Only then is there
    /// something to connect.
    pub fn has_consent_tools(&self, principal: &Principal) -> bool {
        let catalogue = self.catalogue();
        catalogue.registry().entries_for(principal).any(|entry| {
            let provider = entry.tool().provider.as_ref();
            let provider = provider.and_then(|id| catalogue.provider(id.as_str()));
            provider.is_some_and(|provider| provider.is_by_consent())
        })
    }

    /// Returns what this user has connected and what `tools` still need; without `tools`, what all
    /// tools of the user need.
    ///
    /// # Errors
    /// The failure to report if the store cannot be read.
    pub async fn connections(
        &self,
        principal: &Principal,
        tools: Option<&[String]>,
        asking: Asking<'_>,
    ) -> Result<Connections, Failure> {
        let mut running = self.events().begin_call(&principal.caller);
        running.set_tool(&ToolName::new(CONNECTIONS), None);
        let (known, unknown) = self.known(principal, tools);
        let needs = self.needs(principal, &known);
        let consents = Box::pin(self.readiness_of(principal, needs, asking)).await;
        // Read last, so that it has what was connected in the meantime.
        let accounts = match self.accounts().list_own(&principal.caller).await {
            Ok(accounts) => accounts,
            Err(error) => {
                let failure = caller_failures::no_access(&error.into(), principal);
                running.finish(failure.kind.outcome());
                return Err(failure);
            }
        };
        running.finish(CallOutcome::Ok);
        let needed: Vec<ProviderConsent> = consents
            .into_iter()
            .filter(|consent| !matches!(consent.state, ConsentState::Ready { .. }))
            .collect();
        let is_ready = |tool: &ToolName| !needed.iter().any(|it| it.need.tools.contains(tool));
        let ready = known.into_iter().filter(is_ready).collect();
        let for_user = |account: Account| for_user(account, principal);
        let accounts = accounts
            .into_iter()
            .filter(|account| self.offers_provider(principal, &account.provider))
            .map(for_user)
            .collect();
        Ok(Connections { accounts, needed, ready, unknown })
    }

    /// Whether accounts of a provider concern a caller: at a gateway, only where one of its tools
    /// uses them.
    fn offers_provider(&self, principal: &Principal, provider: &str) -> bool {
        principal.offered == OfferedTools::All
            || self.catalogue().registry().entries_for(principal).any(|entry| {
                entry.tool().provider.as_ref().is_some_and(|own| own.as_str() == provider)
            })
    }

    /// Divides names into tools that the user may use, each once, and the others.
    fn known(
        &self,
        principal: &Principal,
        tools: Option<&[String]>,
    ) -> (Vec<ToolName>, Vec<UnknownName>) {
        let catalogue = self.catalogue();
        let registry = catalogue.registry();
        let Some(names) = tools else {
            let all = registry.entries_for(principal).map(|entry| entry.tool().name.clone());
            return (all.collect(), Vec::new());
        };
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for name in names {
            match registry.get(name, principal) {
                // A tool of the server's own: it needs no account.
                Err(_) if name == CONNECTIONS => {}
                Ok(entry) if known.contains(&entry.tool().name) => {}
                Ok(entry) => known.push(entry.tool().name.clone()),
                Err(meant) => {
                    let name = UnknownName { name: shown(name, MAX_NAME_CHARS), meant };
                    if !unknown.contains(&name) {
                        unknown.push(name);
                    }
                }
            }
        }
        (known, unknown)
    }
}

/// Removes from an account what is for the operator only.
fn for_user(account: Account, principal: &Principal) -> Account {
    match account.state {
        AccountState::NotSetUp(_) if !principal.is_local() => {
            Account { state: AccountState::NotSetUp(String::new()), ..account }
        }
        _ => account,
    }
}
