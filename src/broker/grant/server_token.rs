//! Grants of the server itself: client credentials, or an assertion that we sign. One token for all
//! users.
//!
//! It is stored like any grant, under [`Caller::server`], so that restarts and other processes
//! share it. Getting a new one spends nothing, so two processes may do so at once without
//! coordination; within a process, [`super::refresh`] makes it one request. No user can consent
//! here: every refusal is the operator's to fix, and no call leads to a link.
//!
//! | the stored token | what happens |
//! |---|---|
//! | fresh, with the scopes that the tool needs | it is used |
//! | near its end | a new one; if none is available, it is used to its end |
//! | ended, refused by the API, or none | a new one |
//! | lacks a scope that the tool needs | a new one with both; scopes that the server then leaves out are asked for again after a minute, and until then the API decides |
//!
//! | the token endpoint | what follows |
//! |---|---|
//! | issues | stored, used |
//! | 5xx, 408, 429, `temporarily_unavailable`, unreachable, unreadable | up to three tries, as for a refresh |
//! | refuses | not asked for a minute; the operator must act |

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use super::Grants;
use super::access::{AccessError, Ready, ready};
use super::put::{AccountChange, Replaces};
use super::refresh::{Outcome as Refreshed, Refresh};
use crate::broker::client::registration::oauth;
use crate::broker::client::token_endpoints::{CLIENT_REFUSAL_TTL, FAILURE_COOL_DOWN};
use crate::broker::client::token_request::NotIssued;
use crate::broker::{Catalogue, Connection, MAX_WRITE_ATTEMPTS};
use crate::model::oauth::OAuthSettings;
use crate::model::retention::Retention;
use crate::model::scope::Implied;
use crate::model::{AccountName, Caller, Grant, Provider, Scopes, Time};
use crate::registry::Entry;
use crate::store::StoreError;

/// Usability of the stored token for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    Good,
    /// Still lives, but a new one would be better: it is near its end, or the server left out a
    /// scope that the tool needs.
    Ageing,
    Ended,
    /// Was not requested with the scopes that the tool needs.
    Lacking,
    /// The API has refused it.
    Refused,
    Missing,
}

impl Grants {
    /// Returns a token of the server that is good for `needed`, or the best that is issued.
    /// `rejected` is a token that the API has just refused.
    pub(in crate::broker) async fn server_token(
        &self,
        catalogue: &Arc<Catalogue>,
        provider: &Arc<Provider>,
        needed: &Scopes,
        rejected: Option<&SecretString>,
    ) -> Result<Ready, AccessError> {
        let implied = &oauth(provider)?.implied;
        let mut is_obtained = false;
        for _ in 0..MAX_WRITE_ATTEMPTS {
            // Resolved each time: a request may have found another account's key.
            let connection = self
                .0
                .clients
                .connection(&Caller::server(), provider, &AccountName::default())
                .await?;
            let held = self.grant_of(&connection).await?.map(|held| held.value);
            let now = self.0.clock.now();
            let worth = worth(held.as_ref(), needed, implied, rejected, now);
            match (worth, held.clone()) {
                (Worth::Good, Some(grant)) => return Ok(ready(grant)),
                // Its lifetime is too short, or the server hands out the same token again; it is
                // tried as it is.
                (Worth::Ageing | Worth::Ended | Worth::Refused, Some(grant)) if is_obtained => {
                    return Ok(ready(grant));
                }
                _ => {}
            }
            let is_usable = worth == Worth::Ageing;
            let (lacking, refused) = (needed.clone(), rejected.cloned());
            let refresh = {
                let (catalogue, connection) = (Arc::clone(catalogue), connection.clone());
                |grants: Grants| async move {
                    grants.obtain(&catalogue, connection, lacking, refused, is_usable).await
                }
            };
            match (self.join_or_start(&connection, is_usable, refresh).await, held) {
                (Ok(()), _) => is_obtained = true,
                (Err(AccessError::NotIssued { .. } | AccessError::Setup(_)), Some(grant))
                    if is_usable =>
                {
                    return Ok(ready(grant));
                }
                (Err(error), _) => return Err(error),
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Obtains and stores a token, unless another process has done so.
    async fn obtain(
        self,
        catalogue: &Catalogue,
        connection: Connection,
        needed: Scopes,
        rejected: Option<SecretString>,
        is_usable: bool,
    ) -> Refreshed {
        match self.obtained(catalogue, &connection, &needed, rejected.as_ref(), is_usable).await {
            Ok(()) => (Ok(()), None),
            Err(error) => {
                let until = self.0.clock.now().after(FAILURE_COOL_DOWN);
                (Err(error), Some(Refresh::CoolingDown(until)))
            }
        }
    }

    async fn obtained(
        &self,
        catalogue: &Catalogue,
        connection: &Connection,
        needed: &Scopes,
        rejected: Option<&SecretString>,
        is_usable: bool,
    ) -> Result<(), AccessError> {
        let Connection { caller, provider, bound, account } = connection;
        let settings = oauth(provider)?;
        let held = self.grant_of(connection).await?.map(|held| held.value);
        let now = self.0.clock.now();
        if worth(held.as_ref(), needed, &settings.implied, rejected, now) == Worth::Good {
            return Ok(());
        }
        // The key is read anew. If it is another account's by now, its token is not for this
        // binding.
        if self.0.clients.bound_anew(provider).await?.fingerprint != bound.fingerprint {
            return Ok(());
        }
        let granted = held.map(|grant| grant.scopes).unwrap_or_default();
        let asked = scopes_to_ask(catalogue, provider, settings, needed, &granted);
        let client = self.0.clients.registration(provider).await?;
        let issued =
            self.0.clients.issue_to_server(connection, settings, &client, &asked, is_usable).await;
        let issued = issued.map_err(|error| match error {
            NotIssued::Setup(error) => error.into(),
            NotIssued::ByEndpoint(source) => {
                AccessError::NotIssued { provider: provider.id.clone(), source }
            }
        })?;
        let scopes = issued.scopes.unwrap_or_else(|| asked.clone());
        let grant = Grant {
            provider: provider.id.clone(),
            account: account.clone(),
            binding: bound.binding.clone(),
            tokens: issued.tokens,
            refused: asked.missing_from(&scopes, &settings.implied),
            scopes,
            ungranted: Scopes::default(),
            connected_at: self.0.clock.now(),
            refreshed_at: None,
            revocation: client.revocation,
            ended: None,
            ended_at: None,
            unclear_refusals: 0,
            attempt: None,
            identity: None,
            retention: Retention::Refresh,
            away: false,
            hands_out: false,
            deposit: None,
            last_event: None,
        };
        let put = self.put(caller, &grant, AccountChange::Confirmed, Replaces::Any);
        Ok(put.await.map(drop)?)
    }
}

/// The scopes to ask for: the provider's, the tool's, and those that other tools have been
/// granted, so that two tools do not take each other's token away in turns.
fn scopes_to_ask(
    catalogue: &Catalogue,
    provider: &Provider,
    settings: &OAuthSettings,
    needed: &Scopes,
    granted: &Scopes,
) -> Scopes {
    let tools = catalogue.registry().entries().iter().map(Entry::tool);
    let others = tools
        .filter(|tool| tool.provider.as_ref() == Some(&provider.id))
        .flat_map(|tool| tool.scopes.iter())
        .filter(|scope| granted.contains(scope));
    settings.scopes.union(needed).union(&Scopes::new(others))
}

fn worth(
    grant: Option<&Grant>,
    needed: &Scopes,
    implied: &Implied,
    rejected: Option<&SecretString>,
    now: Time,
) -> Worth {
    let Some(Grant { tokens, scopes, refused, .. }) = grant else { return Worth::Missing };
    if rejected.is_some_and(|token| token.expose_secret() == tokens.access.expose_secret()) {
        return Worth::Refused;
    }
    let missing = needed.missing_from(scopes, implied);
    if !missing.is_subset(refused) {
        return Worth::Lacking;
    }
    let is_whole = missing.is_empty() || now.since(tokens.received_at) < CLIENT_REFUSAL_TTL;
    if is_whole && tokens.is_fresh(now) {
        Worth::Good
    } else if tokens.is_live(now) {
        Worth::Ageing
    } else {
        Worth::Ended
    }
}
