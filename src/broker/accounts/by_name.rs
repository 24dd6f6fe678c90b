//! Several accounts of one user at the same provider.
//!
//! An account has a name that its user gave it; an account without one is the default. The names
//! are never part of a tool's schema: connecting an account must not change the list of tools.

use std::sync::Arc;

use super::Accounts;
use crate::broker::Connection;
use crate::broker::grant::access::AccessError;
use crate::broker::grant::known::described;
use crate::model::failure::AccountProblem;
use crate::model::text::nearest;
use crate::model::unasked_place::UnaskedPlace;
use crate::model::{AccountName, Authorization, Caller, Grant, Provider};
use crate::store::Held;

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

impl Accounts {
    /// The connection for a call that names no account: the default account or, if that was never
    /// connected, the only one there is. Without any, the default, still to be connected.
    pub(in crate::broker) async fn unnamed(
        &self,
        caller: &Caller,
        provider: &Arc<Provider>,
    ) -> Result<Connection, ChoiceError> {
        let connection = self.clients.connection(caller, provider, &AccountName::default()).await?;
        // A default account that has ended is still meant: another account's data is no substitute.
        if !provider.accounts || self.grants.grant_of(&connection).await?.is_some() {
            return Ok(connection);
        }
        let known = self.grants.known(&connection).await?;
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

    /// The connection to the account of exactly this name, connected or not.
    pub(in crate::broker) async fn exactly(
        &self,
        caller: &Caller,
        provider: &Arc<Provider>,
        account: &AccountName,
    ) -> Result<Connection, AccessError> {
        self.clients.connection(caller, provider, account).await.map_err(Into::into)
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
        let connection = self.clients.connection(caller, provider, &account).await?;
        if self.grants.grant_of(&connection).await?.is_some() {
            return Ok(connection);
        }
        let known = self.grants.known(&connection).await?;
        if let Some(grant) = known.iter().find(|grant| grant.is_labelled(&account)) {
            return Ok(Connection { account: grant.account.clone(), ..connection });
        }
        // A name under which the user has begun to connect an account is not mistyped.
        let is_begun = |held: &Held<Authorization>| held.value.is_reusable(self.parts.clock.now());
        if account.is_default()
            || self.consents.authorization_of(&connection).await?.as_ref().is_some_and(is_begun)
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
            unasked_place: UnaskedPlace::of(caller),
        }))
    }
}
