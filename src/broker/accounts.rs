//! Several accounts of one person at the same provider.
//!
//! An account has a name that its owner gave it; one without is the default. Which there are is
//! never part of a tool's schema: connecting one must not change the list of tools.

use std::sync::Arc;

use super::tokens::AccessError;
use super::{Broker, Connection};
use crate::model::event::CallOutcome;
use crate::model::id::BadAccountName;
use crate::model::text::{self, nearest};
use crate::model::{AccountName, Authorization, Caller, Grant, Provider, ToolResult};
use crate::store::{Held, StoreError};

/// Which account a call means is not known.
pub(super) enum ChoiceError {
    Name(BadAccountName),
    /// None is named, several are connected, and none of them is the default.
    Several {
        title: String,
        connected: Vec<String>,
    },
    /// There is none of that name, and one whose name is near.
    Mistyped {
        title: String,
        name: AccountName,
        nearest: String,
        connected: Vec<String>,
    },
    Access(AccessError),
}

impl ChoiceError {
    /// What the model is told.
    pub(super) fn result(self) -> ToolResult {
        ToolResult::failure(match self {
            Self::Name(problem) => problem.to_string(),
            Self::Several { title, connected } => format!(
                "The user has connected several {title} accounts: {}. Call this tool again with the name of one of them as `account`; if it is not clear which is meant, ask the user.",
                connected.join(", ")
            ),
            Self::Mistyped { title, name, nearest, connected } => format!(
                "There is no {title} account `{name}`. Did you mean `{nearest}`? Connected: {}. Call this tool again with one of these names as `account`. To connect another account under the name `{name}`, the user does so on this server's page /connections, or with Countersign's command `auth login`.",
                connected.join(", ")
            ),
            Self::Access(error) => return error.result(),
        })
        .because(CallOutcome::InvalidArguments)
    }
}

impl<E: Into<AccessError>> From<E> for ChoiceError {
    fn from(error: E) -> Self {
        Self::Access(error.into())
    }
}

impl Broker {
    /// The connection that a call without an account means: the default account, or, where that was
    /// never connected, the only one there is. Where none is, the default, still to be connected.
    pub(super) async fn unnamed(
        &self,
        caller: &Caller,
        provider: &Arc<Provider>,
    ) -> Result<Connection, ChoiceError> {
        let connection = self.connection(caller, provider, &AccountName::default()).await?;
        // One that has ended is still the one that is meant: another account's data is no stand-in.
        if !provider.accounts || self.grant_of(&connection).await?.is_some() {
            return Ok(connection);
        }
        let known = self.known_accounts(&connection).await?;
        let (live, ended): (Vec<Grant>, Vec<Grant>) =
            known.into_iter().partition(|grant| grant.ended.is_none());
        let mut there = if live.is_empty() { ended } else { live };
        match (there.pop(), &*there) {
            (Some(only), []) => Ok(Connection { account: only.account, ..connection }),
            (Some(last), _) => {
                there.push(last);
                let title = provider.title.clone();
                Err(ChoiceError::Several { title, connected: described(&there) })
            }
            (None, _) => Ok(connection),
        }
    }

    /// The connection to the account of this name: the one that the person named so, else the one
    /// that the provider knows by it, else one that is still to be made.
    ///
    /// # Errors
    /// [`ChoiceError::Mistyped`] instead of the last, where a name that is known is near.
    pub(super) async fn named(
        &self,
        caller: &Caller,
        provider: &Arc<Provider>,
        name: &str,
    ) -> Result<Connection, ChoiceError> {
        let account = AccountName::parse(name).map_err(ChoiceError::Name)?;
        let connection = self.connection(caller, provider, &account).await?;
        if self.grant_of(&connection).await?.is_some() {
            return Ok(connection);
        }
        let known = self.known_accounts(&connection).await?;
        if let Some(grant) = known.iter().find(|grant| grant.is_labelled(&account)) {
            return Ok(Connection { account: grant.account.clone(), ..connection });
        }
        // An account that a person has begun to connect under this name is no mistake.
        let is_begun = |held: &Held<Authorization>| held.value.is_open(self.0.parts.clock.now());
        if account.is_default()
            || self.authorization_of(&connection).await?.as_ref().is_some_and(is_begun)
        {
            return Ok(connection);
        }
        let names = known
            .iter()
            .flat_map(|grant| grant.label().into_iter().chain([grant.account.as_str()]));
        let Some(near) = nearest(account.as_str(), names) else { return Ok(connection) };
        let nearest = known
            .iter()
            .find(|grant| grant.account.as_str() == near || grant.label() == Some(near))
            .map_or_else(|| near.to_owned(), |grant| grant.account.to_string());
        Err(ChoiceError::Mistyped {
            title: provider.title.clone(),
            name: account,
            nearest,
            connected: described(&known),
        })
    }

    /// The accounts that this person has connected at this provider, by name. Where one has ended,
    /// its record is still there.
    async fn known_accounts(&self, connection: &Connection) -> Result<Vec<Grant>, StoreError> {
        let grants = self.store().await?.grants(&connection.caller).await?;
        let known = grants.into_iter().map(|held| held.value);
        let mut known: Vec<Grant> = known.filter(|grant| is_usable(grant, connection)).collect();
        known.sort_by(|one, other| one.account.as_str().cmp(other.account.as_str()));
        Ok(known)
    }

    /// The accounts that this person has at this provider, for a prompt: each by its name and, behind
    /// it, what the provider calls it.
    pub(super) async fn connected(
        &self,
        connection: &Connection,
    ) -> Result<Vec<String>, StoreError> {
        if !connection.provider.accounts {
            return Ok(Vec::new());
        }
        let mut known = self.known_accounts(connection).await?;
        known.retain(|grant| grant.ended.is_none());
        Ok(described(&known))
    }
}

/// Each by its name and, behind it, what the provider calls it.
fn described(grants: &[Grant]) -> Vec<String> {
    let words = grants.iter().map(|grant| match grant.label() {
        Some(label) => format!("{} ({})", grant.account, text::label(label)),
        None => grant.account.to_string(),
    });
    words.collect()
}

fn is_usable(grant: &Grant, connection: &Connection) -> bool {
    grant.provider == connection.provider.id && grant.binding.covers(&connection.bound.binding)
}

impl Grant {
    /// What the provider calls the account.
    pub(super) fn label(&self) -> Option<&str> {
        self.identity.as_ref().and_then(|identity| identity.label.as_deref())
    }

    /// Whether the provider calls the account what somebody else wrote.
    pub(super) fn is_labelled(&self, written: &AccountName) -> bool {
        self.label().is_some_and(|label| label.eq_ignore_ascii_case(written.as_str()))
    }
}
