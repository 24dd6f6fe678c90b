//! The single owner of freshness: decides whether a grant is good for a call, and renews it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};

use super::clients::{Bound, SetupError, settings};
use super::{Broker, connect};
use crate::model::{Caller, Grant, PromptReason, Provider, ProviderId, Scopes, Standing, Time};
use crate::oauth::{Issued, TokenError, Verdict};
use crate::store::{Held, StoreError};

/// How long a token endpoint in trouble is left alone while the old access token still works.
const REST: Duration = Duration::from_secs(15);

/// What a caller has at a provider.
pub(super) enum Access {
    Ready(Ready),
    /// A person must consent before the call can run.
    Missing {
        needed: Scopes,
        reason: PromptReason,
    },
    /// The API has refused the token, and nothing is there to renew it with.
    Refused,
}

/// A token to call with.
pub(super) struct Ready {
    pub(super) token: SecretString,
    /// For step-up: what the token is good for.
    pub(super) granted: Scopes,
    pub(super) connected_at: Time,
}

/// Why nothing can be said about a caller's access right now. Never a reason to ask for consent.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum AccessError {
    #[error(transparent)]
    Store(Arc<StoreError>),
    #[error(transparent)]
    Setup(Arc<SetupError>),
    #[error("the access token of `{provider}` has expired and could not be renewed")]
    Refresh { provider: ProviderId, source: Arc<TokenError> },
    #[error("the server is ending")]
    Ending,
}

impl From<StoreError> for AccessError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<SetupError> for AccessError {
    fn from(error: SetupError) -> Self {
        Self::Setup(Arc::new(error))
    }
}

/// Renewals under way: one at a time for each grant, whose outcome, good or bad, is everybody's who
/// waits for it.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<String, Flight>>);

enum Flight {
    UnderWay(Shared<BoxFuture<'static, Result<(), AccessError>>>),
    /// The token endpoint had trouble; a token that still lives is used without asking again.
    Resting(Time),
    /// The provider has issued this and the store could not keep it. The refresh token that bought
    /// it may be spent, so this is the only copy of the consent.
    Unsaved(Box<Unsaved>),
}

/// Which grant is to be renewed, and because of which token.
struct Wanted {
    caller: Caller,
    provider: Arc<Provider>,
    bound: Arc<Bound>,
    rejected: Option<SecretString>,
}

struct Unsaved {
    caller: Caller,
    renewed: Grant,
    over: Held<Grant>,
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
        let grant = match self.judge(provider, held, needed, rejected)? {
            Judgement::Settled(access) => return Ok(access),
            Judgement::Renew(held) => held.value,
        };
        let now = self.0.parts.clock.now();
        let name = flight_name(caller, provider, &bound);
        let is_usable = rejected.is_none() && grant.tokens.is_live(now);
        if is_usable && self.is_resting(&name, now) {
            return Ok(Access::Ready(ready(grant)));
        }
        let wanted = Wanted {
            caller: caller.clone(),
            provider: Arc::clone(provider),
            bound: Arc::clone(&bound),
            rejected: rejected.cloned(),
        };
        match self.renew(name, wanted).await {
            Ok(()) => {}
            Err(AccessError::Refresh { .. }) if is_usable => {
                return Ok(Access::Ready(ready(grant)));
            }
            Err(error) => return Err(error),
        }
        let held = self.grant_of(caller, provider, &bound).await?;
        Ok(match self.judge(provider, held, needed, rejected)? {
            Judgement::Settled(access) => access,
            // Stale on arrival: its life is shorter than its way. It is tried as it is.
            Judgement::Renew(held) => Access::Ready(ready(held.value)),
        })
    }

    /// The caller's grant, if it was given for this client, these endpoints and these hosts.
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
        held: Option<Held<Grant>>,
        needed: &Scopes,
        rejected: Option<&SecretString>,
    ) -> Result<Judgement, SetupError> {
        let missing =
            |needed: Scopes, reason| Judgement::Settled(Access::Missing { needed, reason });
        let Some(held) = held else {
            return Ok(missing(needed.clone(), PromptReason::NotConnected));
        };
        let grant = &held.value;
        let implied = &settings(provider)?.implied;
        let is_rejected = rejected
            .is_some_and(|token| token.expose_secret() == grant.tokens.access.expose_secret());
        Ok(match grant.standing(needed, implied, self.0.parts.clock.now()) {
            Standing::Usable if !is_rejected => {
                Judgement::Settled(Access::Ready(ready(held.value)))
            }
            Standing::Usable | Standing::Stale if grant.tokens.refresh.is_some() => {
                Judgement::Renew(Box::new(held))
            }
            Standing::MissingScopes(scopes) => {
                let unticked = scopes.iter().any(|scope| grant.refused.contains(scope));
                let reason =
                    if unticked { PromptReason::NotGranted } else { PromptReason::MoreScopes };
                missing(scopes, reason)
            }
            Standing::Usable => Judgement::Settled(Access::Refused),
            Standing::Stale | Standing::Gone => missing(needed.clone(), PromptReason::Ended),
        })
    }

    fn is_resting(&self, flight: &str, now: Time) -> bool {
        let flights = self.0.flights.0.lock();
        matches!(flights.get(flight), Some(Flight::Resting(until)) if now < *until)
    }

    /// Joins the renewal of this grant, or begins it.
    async fn renew(&self, name: String, wanted: Wanted) -> Result<(), AccessError> {
        let landing = {
            let mut flights = self.0.flights.0.lock();
            if let Some(Flight::UnderWay(landing)) = flights.get(&name) {
                landing.clone()
            } else {
                let unsaved = match flights.remove(&name) {
                    Some(Flight::Unsaved(unsaved)) => Some(unsaved),
                    _ => None,
                };
                let landing = self.take_off(name.clone(), wanted, unsaved);
                flights.insert(name, Flight::UnderWay(landing.clone()));
                landing
            }
        };
        landing.await
    }

    /// In a task of its own: a caller that gives up while the answer is on its way must not take
    /// the new refresh token with it.
    fn take_off(
        &self,
        name: String,
        wanted: Wanted,
        unsaved: Option<Box<Unsaved>>,
    ) -> Shared<BoxFuture<'static, Result<(), AccessError>>> {
        let broker = self.clone();
        let task = self.0.tasks.spawn(async move {
            let (landed, after) = if let Some(unsaved) = unsaved {
                broker.save(*unsaved).await
            } else {
                broker.refresh(&wanted).await
            };
            let mut flights = broker.0.flights.0.lock();
            match after {
                Some(after) => flights.insert(name, after),
                None => flights.remove(&name),
            };
            landed
        });
        task.map(|landed| landed.unwrap_or(Err(AccessError::Ending))).boxed().shared()
    }

    /// Sends the refresh token, unless somebody else has renewed the grant meanwhile.
    async fn refresh(&self, wanted: &Wanted) -> (Result<(), AccessError>, Option<Flight>) {
        let Wanted { caller, provider, bound, rejected } = wanted;
        // Read again: whoever read before us may be looking at a token that is spent.
        let judged = match self.grant_of(caller, provider, bound).await {
            Ok(held) => self.judge(provider, held, &Scopes::default(), rejected.as_ref()),
            Err(error) => return (Err(error.into()), None),
        };
        let held = match judged {
            Ok(Judgement::Renew(held)) => *held,
            Ok(Judgement::Settled(_)) => return (Ok(()), None),
            Err(error) => return (Err(error.into()), None),
        };
        let Some(sent) = &held.value.tokens.refresh else { return (Ok(()), None) };
        let registration = match self.0.clients.registration(provider).await {
            Ok(registration) => registration,
            Err(error) => return (Err(error.into()), None),
        };
        let error = match self.0.parts.oauth.refresh(&registration.client, sent).await {
            Ok(issued) => {
                tracing::info!(provider = %provider.id, "access token renewed");
                let renewed = self.renewed(&held.value, issued);
                return self.save(Unsaved { caller: caller.clone(), renewed, over: held }).await;
            }
            Err(error) => error,
        };
        tracing::warn!(provider = %provider.id, %error, "access token not renewed");
        if error.verdict() == Verdict::GrantEnded {
            let ended = ended(&held.value, &error.to_string());
            return (self.replace(caller, &ended, &held).await, None);
        }
        let resting = Flight::Resting(self.0.parts.clock.now().after(REST));
        let provider = provider.id.clone();
        (Err(AccessError::Refresh { provider, source: Arc::new(error) }), Some(resting))
    }

    /// Durable before use: a rotated refresh token that is only in memory is lost with the process,
    /// and with it the consent. If the store cannot keep it now, the next call tries again.
    async fn save(&self, unsaved: Unsaved) -> (Result<(), AccessError>, Option<Flight>) {
        let saved = self.replace(&unsaved.caller, &unsaved.renewed, &unsaved.over).await;
        let after = saved.is_err().then(|| Flight::Unsaved(Box::new(unsaved)));
        (saved, after)
    }

    /// Writes over the grant that was read. If something else stands there by now, that counts: it
    /// is a newer consent, or what we wrote ourselves just before a flush failed.
    async fn replace(
        &self,
        caller: &Caller,
        grant: &Grant,
        over: &Held<Grant>,
    ) -> Result<(), AccessError> {
        self.store().await?.keep(caller, grant, Some(over)).await?;
        Ok(())
    }

    fn renewed(&self, grant: &Grant, issued: Issued) -> Grant {
        Grant {
            tokens: issued.tokens,
            scopes: issued.scopes.unwrap_or_else(|| grant.scopes.clone()),
            refreshed_at: Some(self.0.parts.clock.now()),
            ..grant.clone()
        }
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
        if held.value.tokens.access.expose_secret() != rejected.expose_secret() {
            return Ok(());
        }
        let ended = ended(&held.value, "the API refuses the access token");
        self.replace(caller, &ended, &held).await
    }

    /// Tries once more to keep what the store could not keep.
    pub(super) async fn save_the_unsaved(&self) {
        let unsaved: Vec<Unsaved> = {
            let mut flights = self.0.flights.0.lock();
            let all = std::mem::take(&mut *flights).into_values();
            all.filter_map(|flight| match flight {
                Flight::Unsaved(unsaved) => Some(*unsaved),
                Flight::UnderWay(_) | Flight::Resting(_) => None,
            })
            .collect()
        };
        for unsaved in unsaved {
            let provider = unsaved.renewed.provider.clone();
            if let (Err(error), _) = self.save(unsaved).await {
                tracing::error!(%provider, %error, "a renewed consent is lost");
            }
        }
    }
}

enum Judgement {
    Settled(Access),
    Renew(Box<Held<Grant>>),
}

fn flight_name(caller: &Caller, provider: &Provider, bound: &Bound) -> String {
    format!("{}\0{}\0{}\0{}", caller.namespace, caller.user, provider.id, bound.identity)
}

fn ready(grant: Grant) -> Ready {
    Ready { token: grant.tokens.access, granted: grant.scopes, connected_at: grant.connected_at }
}

/// The record stays, so that people see what happened and to what; its tokens do not.
fn ended(grant: &Grant, why: &str) -> Grant {
    let mut ended = Grant { ended: Some(why.to_owned()), ..grant.clone() };
    ended.tokens.access = SecretString::default();
    ended.tokens.refresh = None;
    ended
}

impl AccessError {
    /// What went wrong and what to do, in words for the model and the person behind it.
    pub(super) fn advice(&self) -> String {
        match self {
            Self::Store(error) => format!("{error}. {}", connect::sentence(&error.hint())),
            Self::Setup(error) => format!("{error}. {}", connect::sentence(&error.hint())),
            Self::Refresh { source, .. } => match source.verdict() {
                Verdict::Operator => format!(
                    "{self}: {source}. The operator must check the provider's client_id and client_secret; connecting again will not help."
                ),
                Verdict::Passing | Verdict::GrantEnded => {
                    format!("{self}: {source}. Nothing is lost; call this tool again in a moment.")
                }
            },
            Self::Ending => format!("{self}. Call this tool again when it runs."),
        }
    }
}
