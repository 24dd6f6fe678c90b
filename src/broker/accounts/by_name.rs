//! Several accounts of one user at the same provider.
//!
//! An account has a name that its user gave it; an account without one is the default. The names
//! are never part of a tool's schema: connecting an account must not change the list of tools.

use std::sync::Arc;

use crate::broker::grant::access::AccessError;
use crate::broker::{Broker, Connection};
use crate::model::failure::AccountProblem;
use crate::model::text::{self, nearest};
use crate::model::{AccountName, Authorization, Caller, Grant, Provider};
use crate::store::{Held, StoreError};

/// Why a call has no connection.
pub(in crate::broker) enum ChoiceError {
    Account(AccountProblem),
    Access(AccessError),
}

impl<E: Into<AccessError>> From<E> for ChoiceError {
    fn from(error: E) -> Self {
        Self::Access(error.into())
    }
}

impl Broker {
    /// The connection for a call that names no account: the default account or, if that was never
    /// connected, the only one there is. Without any, the default, still to be connected.
    pub(in crate::broker) async fn unnamed(
        &self,
        caller: &Caller,
        provider: &Arc<Provider>,
    ) -> Result<Connection, ChoiceError> {
        let connection =
            self.0.clients.connection(caller, provider, &AccountName::default()).await?;
        // A default account that has ended is still meant: another account's data is no substitute.
        if !provider.accounts || self.0.grants.grant_of(&connection).await?.is_some() {
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
                let connected = described(&there);
                Err(ChoiceError::Account(AccountProblem::Several { title, connected }))
            }
            (None, _) => Ok(connection),
        }
    }

    /// The connection to the account of this name: the account that the user named so, else the one
    /// that the provider labels so, else one that is still to be made.
    ///
    /// # Errors
    /// [`AccountProblem::Mistyped`] instead of the last, if a known name is similar.
    pub(in crate::broker) async fn named(
        &self,
        caller: &Caller,
        provider: &Arc<Provider>,
        name: &str,
    ) -> Result<Connection, ChoiceError> {
        let account = AccountName::parse(name)
            .map_err(|problem| ChoiceError::Account(AccountProblem::BadName(problem)))?;
        let connection = self.0.clients.connection(caller, provider, &account).await?;
        if self.0.grants.grant_of(&connection).await?.is_some() {
            return Ok(connection);
        }
        let known = self.known_accounts(&connection).await?;
        if let Some(grant) = known.iter().find(|grant| grant.is_labelled(&account)) {
            return Ok(Connection { account: grant.account.clone(), ..connection });
        }
        // A name under which the user has begun to connect an account is not mistyped.
        let is_begun =
            |held: &Held<Authorization>| held.value.is_reusable(self.0.parts.clock.now());
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
        Err(ChoiceError::Account(AccountProblem::Mistyped {
            title: provider.title.clone(),
            name: account,
            nearest,
            connected: described(&known),
        }))
    }

    /// The accounts that this user has connected at this provider, by name. The record of an
    /// account that has ended is included.
    async fn known_accounts(&self, connection: &Connection) -> Result<Vec<Grant>, StoreError> {
        let grants = self.store().await?.grants(&connection.caller).await?;
        let known = grants.into_iter().map(|held| held.value);
        let mut known: Vec<Grant> = known.filter(|grant| is_usable(grant, connection)).collect();
        known.sort_by(|one, other| one.account.as_str().cmp(other.account.as_str()));
        Ok(known)
    }

    /// This user's accounts at this provider, for a prompt: each name, followed by the provider's
    /// label.
    pub(in crate::broker) async fn connected(
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

/// Each account's name, followed by the provider's label.
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
    /// Label that the provider gives the account.
    pub(in crate::broker) fn label(&self) -> Option<&str> {
        self.identity.as_ref().and_then(|identity| identity.label.as_deref())
    }

    /// Whether the provider's label is what the caller wrote, without regard to ASCII case.
    pub(in crate::broker) fn is_labelled(&self, written: &AccountName) -> bool {
        self.label().is_some_and(|label| label.eq_ignore_ascii_case(written.as_str()))
    }
}
