//! Readiness of the tools of one plan run: what the tools declare, and what calls of the run have
//! shown besides.

use std::sync::Arc;

use secrecy::ExposeSecret as _;

use super::{Asking, ProviderConsent, ProviderNeed};
use crate::broker::Broker;
use crate::model::run_needs::NotedConsent;
use crate::model::{ConfirmationPrompt, Principal, RunNeeds, ToolName};
use crate::store::StoreError;

/// Needs of a plan run's tools.
#[derive(Debug)]
pub struct RunReadiness {
    /// One for each provider's account.
    pub consents: Vec<ProviderConsent>,
    /// Calls of these tools that the user has not confirmed or declined yet.
    pub confirmations: Vec<ConfirmationPrompt>,
}

impl Broker {
    /// Returns what these tools need in a run, or outside of any run. It knows every need for which a
    /// call of the run has asked: a client that finds none calls again at once.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn readiness_for_run(
        &self,
        principal: &Principal,
        run: Option<&str>,
        tools: &[ToolName],
        asking: Asking<'_>,
    ) -> Result<RunReadiness, StoreError> {
        let mut needs = self.needs(principal, tools);
        let noted = self.store().await?.run_needs(&principal.caller, run.unwrap_or_default());
        let noted = noted.await?.map(|held| held.value);
        let consents = noted.iter().flat_map(|noted| &noted.consents);
        let code = self.tools_of_code(principal, tools);
        for consent in consents {
            if !add(&mut needs, consent) {
                needs.extend(self.need_of_code(consent, &code));
            }
        }
        let confirmations = match &noted {
            Some(noted) => self.open_confirmations(noted, tools).await?,
            None => Vec::new(),
        };
        let consents = self.readiness_of(principal, needs, asking).await;
        Ok(RunReadiness { consents, confirmations })
    }

    /// Returns those of the tools that are code.
    fn tools_of_code(&self, principal: &Principal, tools: &[ToolName]) -> Vec<ToolName> {
        let catalogue = self.catalogue();
        let is_code = |name: &&ToolName| {
            let entry = catalogue.registry().get(name.as_str(), principal);
            entry.is_ok_and(|entry| entry.tool().action.request().is_none())
        };
        tools.iter().filter(is_code).cloned().collect()
    }

    /// Returns the need of a consent that no tool declares: the code of one has asked for it while it
    /// ran.
    fn need_of_code(&self, noted: &NotedConsent, code: &[ToolName]) -> Option<ProviderNeed> {
        if code.is_empty() {
            return None;
        }
        let NotedConsent { provider, account, scopes } = noted;
        let provider = self.provider(provider.as_str())?;
        let (account, scopes, tools) = (account.clone(), scopes.clone(), code.to_vec());
        Some(ProviderNeed { provider, account, scopes, tools })
    }

    async fn open_confirmations(
        &self,
        noted: &RunNeeds,
        tools: &[ToolName],
    ) -> Result<Vec<ConfirmationPrompt>, StoreError> {
        let (store, now) = (self.store().await?, self.now());
        let mut open = Vec::new();
        for confirmation in noted.confirmations.iter().filter(|it| tools.contains(&it.tool)) {
            let ticket = confirmation.ticket.expose_secret();
            let held = store.call_confirmation(ticket).await?;
            let held = held.filter(|held| held.value.is_open(now));
            open.extend(held.map(|held| held.value.prompt()));
        }
        Ok(open)
    }
}

/// Adds a consent that a call has asked for. Returns false if none of the tools uses that provider.
fn add(
    needs: &mut Vec<ProviderNeed>,
    NotedConsent { provider, account, scopes }: &NotedConsent,
) -> bool {
    let is_same =
        |need: &&mut ProviderNeed| need.provider.id == *provider && need.account == *account;
    if let Some(need) = needs.iter_mut().find(is_same) {
        need.scopes = need.scopes.union(scopes);
        return true;
    }
    let Some(other) = needs.iter().find(|need| need.provider.id == *provider) else {
        return false;
    };
    let (provider, tools) = (Arc::clone(&other.provider), other.tools.clone());
    needs.push(ProviderNeed { provider, account: account.clone(), scopes: scopes.clone(), tools });
    true
}
