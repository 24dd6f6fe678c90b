//! Several accounts of one person at the same provider.
//!
//! An account has a name that its owner gave it; one without is the default. Which there are is
//! never part of a tool's schema: connecting one must not change the list of tools.

use std::sync::Arc;

use super::tokens::AccessError;
use super::{Broker, Connection};
use crate::model::id::BadAccountName;
use crate::model::text;
use crate::model::{AccountName, Caller, Grant, Provider};
use crate::store::StoreError;

/// No connection by that name.
pub(super) enum NamedError {
    Name(BadAccountName),
    Access(AccessError),
}

impl<E: Into<AccessError>> From<E> for NamedError {
    fn from(error: E) -> Self {
        Self::Access(error.into())
    }
}

impl Broker {
    /// The connection to the account of this name: the one that the person named so, else the one
    /// that the provider knows by it, else one that is still to be made.
    pub(super) async fn named(
        &self,
        caller: &Caller,
        provider: &Arc<Provider>,
        name: &str,
    ) -> Result<Connection, NamedError> {
        let account = AccountName::parse(name).map_err(NamedError::Name)?;
        let connection = self.connection(caller, provider, &account).await?;
        if self.grant_of(&connection).await?.is_some() {
            return Ok(connection);
        }
        let grants = self.store().await?.grants(caller).await?;
        let known = grants
            .into_iter()
            .map(|held| held.value)
            .find(|grant| is_usable(grant, &connection) && grant.is_labelled(&account));
        Ok(match known {
            Some(grant) => Connection { account: grant.account, ..connection },
            None => connection,
        })
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
        let grants = self.store().await?.grants(&connection.caller).await?;
        let usable = grants.into_iter().map(|held| held.value);
        let mut words: Vec<String> = usable
            .filter(|grant| grant.ended.is_none() && is_usable(grant, connection))
            .map(|grant| match grant.label() {
                Some(label) => format!("{} ({})", grant.account, text::label(label)),
                None => grant.account.to_string(),
            })
            .collect();
        words.sort();
        Ok(words)
    }
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
