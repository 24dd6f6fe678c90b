//! Connecting by hand: the user starts it on the accounts page, outside any call.

use std::sync::Arc;

use super::Accounts;
use crate::broker::{Catalogue, ConnectError};
use crate::model::requester::AskedBy;
use crate::model::{AccountName, ConnectPrompt, Principal, Provider, Scopes};

impl Accounts {
    /// Providers that this user's tools use and that need a consent.
    pub fn connectable(&self, principal: &Principal) -> Vec<Arc<Provider>> {
        connectable(&self.parts.catalogue.get(), principal).cloned().collect()
    }

    /// Returns a link for an account of one of [`Self::connectable`], with all scopes that the
    /// user's tools need.
    ///
    /// # Errors
    /// [`ConnectError::Unknown`] if the provider is none of them, or takes no account of that name.
    pub async fn connect(
        &self,
        principal: &Principal,
        provider: &str,
        account: &AccountName,
    ) -> Result<ConnectPrompt, ConnectError> {
        let catalogue = self.parts.catalogue.get();
        let mut known = connectable(&catalogue, principal);
        let provider = known.find(|it| it.id.as_str() == provider && it.takes(account));
        let provider = provider.ok_or(ConnectError::Unknown)?;
        let needed = needed(&catalogue, principal, provider);
        self.consents.begin(principal, provider, account, &needed, AskedBy::default()).await
    }

    /// Returns a link for the account that a page with this
    /// [`Account::digest`](super::list::Account::digest) showed, with the scopes that were
    /// granted; if they were granted for another `tools.toml`, with those that the user's tools
    /// need.
    ///
    /// # Errors
    /// [`ConnectError::Changed`] if it no longer exists, or has been consented to anew;
    /// [`ConnectError::Unknown`] if it cannot be connected again.
    pub async fn reconnect(
        &self,
        principal: &Principal,
        digest: &str,
    ) -> Result<ConnectPrompt, ConnectError> {
        let grant = self.shown_as(&principal.caller, digest).await?;
        let catalogue = self.parts.catalogue.get();
        let provider = self.providers.find(&principal.caller, &grant.provider).await?;
        let provider = provider.filter(|it| it.is_by_consent() && it.takes(&grant.account));
        let provider = &provider.ok_or(ConnectError::Unknown)?;
        let needed = if self.clients.may_use(provider, &grant.binding).await? {
            grant.scopes
        } else {
            needed(&catalogue, principal, provider)
        };
        self.consents.begin(principal, provider, &grant.account, &needed, AskedBy::default()).await
    }
}

fn connectable<'c>(
    catalogue: &'c Catalogue,
    principal: &Principal,
) -> impl Iterator<Item = &'c Arc<Provider>> {
    let is_of_use = |id: &_| catalogue.registry().scopes_for(principal, id).is_some();
    catalogue.providers().filter(move |it| it.is_by_consent() && is_of_use(&it.id))
}

fn needed(catalogue: &Catalogue, principal: &Principal, provider: &Provider) -> Scopes {
    catalogue.registry().scopes_for(principal, &provider.id).unwrap_or_default()
}
