//! The single owner of freshness: decides whether a grant is good for a call, and refreshes it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};

use super::clients::{Bound, SetupError, settings};
use super::{Broker, connect};
use crate::model::{Caller, Grant, PromptReason, Provider, Scopes, Standing};
use crate::oauth::{TokenError, Verdict};
use crate::store::{Held, StoreError};

/// What a caller has at a provider.
pub(super) enum Access {
    Ready {
        token: SecretString,
        /// For step-up: what the token is good for.
        granted: Scopes,
        connected_at: crate::model::Time,
    },
    /// A person must consent before the call can run.
    Missing { needed: Scopes, reason: PromptReason },
    /// The API has refused the token, and nothing is there to renew it with.
    Refused { connected_at: crate::model::Time },
}

/// Why nothing can be said about a caller's access right now. Never a reason to ask for consent.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccessError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("the access token of `{provider}` has expired and could not be renewed: {source}")]
    Refresh { provider: crate::model::ProviderId, source: TokenError },
}

/// One refresh at a time for each grant, within this process.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Flights {
    fn of(&self, grant: String) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(&grant).and_then(Weak::upgrade) {
            return flight;
        }
        // Refreshes are rare, so whoever begins one also clears away those that are over.
        flights.retain(|_, flight| flight.strong_count() > 0);
        let flight = Arc::default();
        flights.insert(grant, Arc::downgrade(&flight));
        flight
    }
}

impl Broker {
    /// A token of this caller that is good for `needed`.
    ///
    /// `rejected` is a token that the API has just refused: it is not handed out again, however
    /// long it was meant to live.
    pub(super) async fn access(
        &self,
        caller: &Caller,
        provider: &Arc<Provider>,
        needed: &Scopes,
        rejected: Option<&SecretString>,
    ) -> Result<Access, AccessError> {
        let bound = self.0.clients.bound(provider).await?;
        let held = self.grant_of(caller, provider, &bound).await?;
        match self.judge(provider, held.as_ref(), needed, rejected)? {
            Judgement::Settled(access) => Ok(access),
            Judgement::Refresh => {
                // In a task of its own: a caller that gives up while the answer is on its way must
                // not take the new refresh token with it.
                let broker = self.clone();
                let (caller, provider, needed) = (caller.clone(), provider.clone(), needed.clone());
                let rejected = rejected.cloned();
                self.0
                    .tasks
                    .spawn(async move {
                        broker.refresh(&caller, &provider, &bound, &needed, rejected.as_ref()).await
                    })
                    .await
                    .unwrap_or(Err(AccessError::Store(crate::store::BackendError::Closed.into())))
            }
        }
    }

    /// The caller's grant, if it was given for this client, this token endpoint and these hosts.
    pub(super) async fn grant_of(
        &self,
        caller: &Caller,
        provider: &Provider,
        bound: &Bound,
    ) -> Result<Option<Held<Grant>>, StoreError> {
        let held = self.store().await?.grant(caller, &provider.id, &bound.identity).await?;
        // A `tools.toml` that adds hosts would carry the token to where nobody agreed to.
        Ok(held.filter(|held| held.value.binding.covers(&bound.binding)))
    }

    fn judge(
        &self,
        provider: &Provider,
        held: Option<&Held<Grant>>,
        needed: &Scopes,
        rejected: Option<&SecretString>,
    ) -> Result<Judgement, SetupError> {
        let Some(grant) = held.map(|held| &held.value) else {
            return Ok(missing(needed, PromptReason::NotConnected));
        };
        let implied = &settings(provider)?.implied;
        let now = self.0.parts.clock.now();
        let is_rejected = rejected
            .is_some_and(|token| token.expose_secret() == grant.tokens.access.expose_secret());
        Ok(match grant.standing(needed, implied, now) {
            Standing::Usable if !is_rejected => Judgement::Settled(ready(grant)),
            Standing::Usable | Standing::Stale if grant.tokens.refresh.is_some() => {
                Judgement::Refresh
            }
            Standing::MissingScopes(scopes) => {
                let unticked = scopes.iter().any(|scope| grant.refused.contains(scope));
                let reason =
                    if unticked { PromptReason::NotGranted } else { PromptReason::MoreScopes };
                missing(&scopes, reason)
            }
            Standing::Usable => {
                Judgement::Settled(Access::Refused { connected_at: grant.connected_at })
            }
            Standing::Stale | Standing::Gone => missing(needed, PromptReason::Ended),
        })
    }

    /// Refreshes under the grant's lock, unless somebody else has done so meanwhile.
    async fn refresh(
        &self,
        caller: &Caller,
        provider: &Arc<Provider>,
        bound: &Bound,
        needed: &Scopes,
        rejected: Option<&SecretString>,
    ) -> Result<Access, AccessError> {
        let flight = self.0.flights.of(format!(
            "{}\0{}\0{}\0{}",
            caller.namespace, caller.user, provider.id, bound.identity
        ));
        let _flight = flight.lock().await;
        // Whoever held the lock before us may have done the work: read again before sending.
        let held = self.grant_of(caller, provider, bound).await?;
        if let Judgement::Settled(access) = self.judge(provider, held.as_ref(), needed, rejected)? {
            return Ok(access);
        }
        let Some(held) = held else {
            return Ok(Access::Missing {
                needed: needed.clone(),
                reason: PromptReason::NotConnected,
            });
        };
        let Some(sent) = held.value.tokens.refresh.clone() else {
            return Ok(Access::Missing { needed: needed.clone(), reason: PromptReason::Ended });
        };
        let registration = self.0.clients.registration(provider).await?;
        match self.0.parts.oauth.refresh(&registration.client, &sent).await {
            Ok(issued) => {
                let renewed = self.renewed(&held.value, issued);
                tracing::info!(provider = %provider.id, "access token renewed");
                // Durable before use: a rotated refresh token that is only in memory is lost with
                // the process, and with it the consent.
                if self.store().await?.keep(caller, &renewed, Some(&held)).await? {
                    return self.settled(provider, Some(&renewed), needed);
                }
                // A new consent came in between; its grant is the better one.
                let newer = self.grant_of(caller, provider, bound).await?;
                self.settled(provider, newer.as_ref().map(|held| &held.value), needed)
            }
            Err(error) => match error.verdict() {
                Verdict::GrantEnded => {
                    self.end(caller, provider, bound, &held, &sent, &error).await?;
                    let newer = self.grant_of(caller, provider, bound).await?;
                    self.settled(provider, newer.as_ref().map(|held| &held.value), needed)
                }
                Verdict::Operator | Verdict::Passing => {
                    tracing::warn!(provider = %provider.id, %error, "access token not renewed");
                    let live = held.value.tokens.is_live(self.0.parts.clock.now());
                    if live && rejected.is_none() {
                        return Ok(ready(&held.value));
                    }
                    Err(AccessError::Refresh { provider: provider.id.clone(), source: error })
                }
            },
        }
    }

    fn renewed(&self, grant: &Grant, issued: crate::oauth::Issued) -> Grant {
        Grant {
            tokens: issued.tokens,
            scopes: issued.scopes.unwrap_or_else(|| grant.scopes.clone()),
            refreshed_at: Some(self.0.parts.clock.now()),
            ..grant.clone()
        }
    }

    /// Marks a grant as over, unless somebody renewed it: what stands in the store by then counts.
    async fn end(
        &self,
        caller: &Caller,
        provider: &Provider,
        bound: &Bound,
        held: &Held<Grant>,
        sent: &SecretString,
        error: &TokenError,
    ) -> Result<(), AccessError> {
        let now = self.grant_of(caller, provider, bound).await?;
        let unchanged = now.as_ref().is_some_and(|now| {
            now.value
                .tokens
                .refresh
                .as_ref()
                .is_some_and(|token| token.expose_secret() == sent.expose_secret())
        });
        if unchanged {
            tracing::warn!(provider = %provider.id, %error, "the provider ended the consent");
            let ended = ended(&held.value, &error.to_string());
            self.store().await?.keep(caller, &ended, Some(held)).await?;
        }
        Ok(())
    }

    /// The API refuses a token that should be good and cannot be renewed.
    pub(super) async fn give_up(
        &self,
        caller: &Caller,
        provider: &Provider,
        rejected: &SecretString,
    ) -> Result<(), AccessError> {
        let bound = self.0.clients.bound(provider).await?;
        let Some(held) = self.grant_of(caller, provider, &bound).await? else { return Ok(()) };
        if held.value.tokens.access.expose_secret() == rejected.expose_secret() {
            let ended = ended(&held.value, "the API refuses the access token");
            self.store().await?.keep(caller, &ended, Some(&held)).await?;
        }
        Ok(())
    }

    /// What a grant is worth after a refresh; no second one follows.
    fn settled(
        &self,
        provider: &Provider,
        grant: Option<&Grant>,
        needed: &Scopes,
    ) -> Result<Access, AccessError> {
        let Some(grant) = grant else {
            return Ok(Access::Missing {
                needed: needed.clone(),
                reason: PromptReason::NotConnected,
            });
        };
        let implied = &settings(provider)?.implied;
        Ok(match grant.standing(needed, implied, self.0.parts.clock.now()) {
            // A token that is stale on arrival has a lifetime shorter than its way; it is tried.
            Standing::Usable | Standing::Stale => ready(grant),
            Standing::MissingScopes(scopes) => {
                Access::Missing { needed: scopes, reason: PromptReason::MoreScopes }
            }
            Standing::Gone => {
                Access::Missing { needed: needed.clone(), reason: PromptReason::Ended }
            }
        })
    }
}

enum Judgement {
    Settled(Access),
    Refresh,
}

fn missing(needed: &Scopes, reason: PromptReason) -> Judgement {
    Judgement::Settled(Access::Missing { needed: needed.clone(), reason })
}

fn ready(grant: &Grant) -> Access {
    Access::Ready {
        token: grant.tokens.access.clone(),
        granted: grant.scopes.clone(),
        connected_at: grant.connected_at,
    }
}

/// The record stays, so that people see what happened and to what; its tokens do not.
fn ended(grant: &Grant, why: &str) -> Grant {
    let mut ended = Grant { ended: Some(why.to_owned()), ..grant.clone() };
    ended.tokens.access = SecretString::default();
    ended.tokens.refresh = None;
    ended
}

/// What went wrong, what to do, in words for the model and the person behind it.
impl AccessError {
    pub(super) fn advice(&self) -> String {
        match self {
            Self::Store(error) => format!("{error}. {}", connect::sentence(&error.hint())),
            Self::Setup(error) => format!("{error}. {}", connect::sentence(&error.hint())),
            Self::Refresh { source, .. } => match source.verdict() {
                Verdict::Operator => format!(
                    "{self}. The operator must check the provider's client_id and client_secret; connecting again will not help."
                ),
                Verdict::Passing | Verdict::GrantEnded => {
                    format!("{self}. Nothing is lost; call this tool again in a moment.")
                }
            },
        }
    }
}
