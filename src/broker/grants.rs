//! What a person has connected, and ending it.

use super::Broker;
use super::connect::ConnectError;
use crate::model::{Caller, Grant, Provider, Scopes, Time};
use crate::oauth::Revoked;
use crate::store::StoreError;

/// A connected account, for people.
#[derive(Clone, Debug)]
pub struct Account {
    pub provider: String,
    pub title: String,
    pub scopes: Scopes,
    pub connected_at: Time,
    pub refreshed_at: Option<Time>,
    pub expires_at: Option<Time>,
    /// Whether it goes on by itself when its access token expires.
    pub renews: bool,
    pub state: AccountState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountState {
    Connected,
    /// A new consent is needed; why.
    Ended(String),
    /// Kept for a `tools.toml` that means something else by this provider's name.
    OtherConfiguration,
}

impl Broker {
    /// Everything that this person has connected, sorted by provider.
    pub async fn accounts(&self, caller: &Caller) -> Result<Vec<Account>, StoreError> {
        let mut accounts = Vec::new();
        for held in self.store().await?.grants(caller).await? {
            accounts.push(self.account(held.value).await);
        }
        accounts.sort_by(|a, b| a.provider.cmp(&b.provider));
        Ok(accounts)
    }

    async fn account(&self, grant: Grant) -> Account {
        let provider = self.provider(grant.provider.as_str());
        let is_ours = match provider {
            Some(provider) => match self.0.clients.bound(provider).await {
                Ok(bound) => grant.binding.covers(&bound.binding),
                Err(_) => false,
            },
            None => false,
        };
        let state = match grant.ended {
            Some(why) => AccountState::Ended(why),
            None if is_ours => AccountState::Connected,
            None => AccountState::OtherConfiguration,
        };
        Account {
            title: provider.map_or_else(|| grant.provider.to_string(), |found| found.title.clone()),
            provider: grant.provider.to_string(),
            scopes: grant.scopes,
            connected_at: grant.connected_at,
            refreshed_at: grant.refreshed_at,
            expires_at: grant.tokens.expires_at,
            renews: grant.tokens.refresh.is_some(),
            state,
        }
    }

    /// Ends this person's consent at the provider, then forgets it. `None`: there was none.
    ///
    /// It is forgotten also where the provider has no way to end it or does not answer: the person
    /// asked for it to be gone, and is told what they have to do at the provider themselves.
    pub async fn revoke(
        &self,
        caller: &Caller,
        provider: &Provider,
    ) -> Result<Option<Revoked>, ConnectError> {
        let bound = self.0.clients.bound(provider).await?;
        let store = self.store().await?;
        for _ in 0..16 {
            let found = self.grant_of(caller, provider, &bound).await?;
            let Some(held) = found else { return Ok(None) };
            let revoked = match self.0.clients.registration(provider).await {
                Ok(_) if held.value.ended.is_some() => Revoked::Yes,
                // Tokens and our secret go to the endpoint that was known when the person
                // consented, or nowhere: a tools.toml that names another is not to be trusted
                // with either.
                Ok(registration) if registration.client.revocation != held.value.revocation => {
                    Revoked::NoWay
                }
                Ok(registration) => {
                    self.0.parts.oauth.revoke(&registration.client, &held.value.tokens).await
                }
                Err(_) => Revoked::Failed,
            };
            // A refresh in between put another token there, which must end as well.
            if store.forget(&held).await? {
                tracing::info!(provider = %provider.id, "disconnected");
                return Ok(Some(revoked));
            }
        }
        Err(ConnectError::Contended)
    }
}
