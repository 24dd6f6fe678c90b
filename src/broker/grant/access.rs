//! The single owner of token freshness: decides whether a grant is good for a call.
//! [`super::refresh`] renews it.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::Grants;
use crate::broker::Connection;
use crate::broker::client::refusal;
use crate::broker::client::registration::SetupError;
use crate::model::deposit::Proof;
use crate::model::failure::RenewalRefusal;
use crate::model::grant::MAX_UNCLEAR_REFUSALS;
use crate::model::reason::GrantEnd;
use crate::model::retention::Retention;
use crate::model::webhook::ChangeReason;
use crate::model::{Failure, FailureKind, Grant, PromptReason, ProviderId, Scopes, Standing, Time};
use crate::oauth::TokenError;
use crate::store::{Held, StoreError};

/// How long a call whose token still lives waits for a better one; then it uses the old one.
const MAX_WAIT_WITH_VALID_TOKEN: Duration = Duration::from_secs(5);

/// A caller's access at a provider.
pub(in crate::broker) enum Access {
    Ready(Ready),
    /// A person must consent before the call can run.
    Missing {
        needed: Scopes,
        reason: PromptReason,
    },
    /// The API has refused the token, and there is no refresh token to renew it with.
    Refused,
}

/// Whether a grant is good for a call, as far as that is known without asking the provider.
pub(in crate::broker) enum Outlook {
    /// A call may have to renew it first.
    Good(Box<Grant>),
    /// As [`Access::Missing`].
    Missing { needed: Scopes, reason: PromptReason },
}

/// Demands of a call on a grant.
#[derive(Clone, Copy, Debug)]
pub(in crate::broker) struct Needed<'a> {
    pub(in crate::broker) scopes: &'a Scopes,
    /// Whether the consent must cover calls while the user is away.
    pub(in crate::broker) away: bool,
}

impl<'a> From<&'a Scopes> for Needed<'a> {
    fn from(scopes: &'a Scopes) -> Self {
        Self { scopes, away: false }
    }
}

/// A token to call with.
pub(in crate::broker) struct Ready {
    pub(in crate::broker) token: SecretString,
    /// The user that belongs to a pasted password.
    pub(in crate::broker) user: Option<String>,
    /// Scopes of the token, for step-up.
    pub(in crate::broker) granted: Scopes,
    pub(in crate::broker) connected_at: Time,
    /// When the token expires; `None` if the provider did not say.
    pub(in crate::broker) expires_at: Option<Time>,
    /// Whether this call shows for the first time whether the provider honours a deposited token.
    pub(in crate::broker) is_unproven: bool,
}

/// Why a caller's access cannot be determined right now. Never a reason to ask for consent.
#[derive(Clone, Debug)]
pub(in crate::broker) enum AccessError {
    Store(Arc<StoreError>),
    Setup(Arc<SetupError>),
    /// The access token has expired and could not be renewed.
    Refresh {
        provider: ProviderId,
        source: Arc<TokenError>,
        /// [`Grant::unclear_refusals`], this one included.
        refusals: u32,
    },
    /// The token endpoint has issued no access token to this server.
    NotIssued {
        provider: ProviderId,
        source: Arc<TokenError>,
    },
    /// Another process on this machine is renewing the access token.
    Elsewhere {
        provider: ProviderId,
    },
    /// This server is ending.
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

impl Grants {
    /// Returns a token of this caller that is good for `needed`.
    ///
    /// `rejected` is a token that the API has just refused: it is not handed out again, even if it
    /// has not expired.
    pub(in crate::broker) async fn access(
        &self,
        connection: &Connection,
        needed: Needed<'_>,
        rejected: Option<&SecretString>,
    ) -> Result<Access, AccessError> {
        let held = self.grant_of(connection).await?;
        if let Err(error) = Box::pin(self.tell_of_expiry(connection, held.as_ref())).await {
            // The user still gets a link; the next call tells the application.
            tracing::warn!(provider = %connection.provider.id, %error, hint = error.hint(), "an application could not be told that a consent has expired");
        }
        let stale = match self.judge(connection, held, needed, rejected) {
            Judgement::Ready(held) => return self.hand_out(connection, *held).await,
            Judgement::Settled(access) => return Ok(access),
            Judgement::Renew(held) => *held,
        };
        // A token that still lives is good enough for this call if no new one is available at once.
        let is_usable = rejected.is_none() && stale.value.tokens.is_live(self.0.clock.now());
        let now = self.0.clock.now();
        let renewal = self.renew(connection, rejected, is_usable);
        let renewed = if !is_usable {
            renewal.await
        } else if self.0.clients.endpoints().late_trouble(&connection.provider.id, now).is_some() {
            return self.hand_out(connection, stale).await;
        } else {
            // The renewal continues in the background, and the next call finds the new token.
            tokio::time::timeout(MAX_WAIT_WITH_VALID_TOKEN, renewal).await.unwrap_or(Ok(()))
        };
        match renewed {
            Ok(()) => {}
            Err(AccessError::Refresh { .. } | AccessError::Elsewhere { .. }) if is_usable => {
                return self.hand_out(connection, stale).await;
            }
            // The grant may have ended, or this server may be at fault: the user is asked, and the
            // old grant is kept until the user has answered.
            Err(AccessError::Refresh { refusals, .. }) if refusals >= MAX_UNCLEAR_REFUSALS => {
                let needed = needed.scopes.clone();
                return Ok(Access::Missing { needed, reason: PromptReason::NotRenewed });
            }
            Err(error) => return Err(error),
        }
        let held = self.grant_of(connection).await?;
        match self.judge(connection, held, needed, rejected) {
            // `Renew`: the new token is stale already, because its lifetime is too short. Try it as
            // it is.
            Judgement::Ready(held) | Judgement::Renew(held) => {
                self.hand_out(connection, *held).await
            }
            Judgement::Settled(access) => Ok(access),
        }
    }

    /// Returns whether this caller's grant is good for `needed`. Unlike [`Self::access`], it hands
    /// out no token, renews none and sends nothing.
    pub(in crate::broker) async fn outlook(
        &self,
        connection: &Connection,
        needed: Needed<'_>,
    ) -> Result<Outlook, StoreError> {
        let held = self.grant_of(connection).await?;
        Ok(match self.judge(connection, held, needed, None) {
            Judgement::Renew(held)
                if held.value.is_refused() && !held.value.tokens.is_live(self.0.clock.now()) =>
            {
                Outlook::Missing { needed: needed.scopes.clone(), reason: PromptReason::NotRenewed }
            }
            Judgement::Ready(held) | Judgement::Renew(held) => Outlook::Good(Box::new(held.value)),
            Judgement::Settled(Access::Missing { needed, reason }) => {
                Outlook::Missing { needed, reason }
            }
            Judgement::Settled(Access::Ready(_) | Access::Refused) => {
                Outlook::Missing { needed: needed.scopes.clone(), reason: PromptReason::Ended }
            }
        })
    }

    /// Hands out a token for one call. A use-once token is deleted first, so that only one of two
    /// concurrent calls gets it.
    async fn hand_out(
        &self,
        connection: &Connection,
        held: Held<Grant>,
    ) -> Result<Access, AccessError> {
        // As the user agreed, not as `tools.toml` says now: a stricter setting must not delete what
        // another `tools.toml` may use for longer.
        let is_for_once = held.value.retention == Retention::UseOnce;
        if is_for_once && !Box::pin(self.use_up(&connection.caller, &held)).await? {
            let reason = PromptReason::NotConnected;
            return Ok(Access::Missing { needed: held.value.scopes, reason });
        }
        if !is_for_once {
            self.saw_use(&held);
        }
        Ok(Access::Ready(ready(held.value)))
    }

    /// The grant behind a connection, if it was given for this client, these endpoints and these
    /// hosts. A deposit whose provider has not been asked yet is none.
    pub(in crate::broker) async fn grant_of(
        &self,
        connection: &Connection,
    ) -> Result<Option<Held<Grant>>, StoreError> {
        let held = self.record_of(connection).await?;
        Ok(held.filter(|held| !held.value.is_pending()))
    }

    /// Like [`Self::grant_of`], also for a deposit whose provider has not been asked yet.
    pub(super) async fn record_of(
        &self,
        connection: &Connection,
    ) -> Result<Option<Held<Grant>>, StoreError> {
        let Connection { caller, provider, bound, account } = connection;
        let store = self.0.store.get().await?;
        let held = store.grant(caller, &provider.id, &bound.fingerprint, account).await?;
        // A `tools.toml` that adds hosts would send the token to hosts that the user never agreed
        // to.
        let mut held = held.filter(|held| held.value.binding.covers(&bound.binding));
        if let Some(held) = &mut held
            && retention(connection, &held.value) != Retention::Refresh
        {
            held.value.tokens.refresh = None;
        }
        Ok(held)
    }

    pub(super) fn judge(
        &self,
        connection: &Connection,
        held: Option<Held<Grant>>,
        needed: Needed<'_>,
        rejected: Option<&SecretString>,
    ) -> Judgement {
        let missing =
            |needed: Scopes, reason| Judgement::Settled(Access::Missing { needed, reason });
        let Some(held) = held else {
            return missing(needed.scopes.clone(), PromptReason::NotConnected);
        };
        let grant = &held.value;
        let implied = connection.provider.implied();
        let is_rejected = rejected
            .is_some_and(|token| token.expose_secret() == grant.tokens.access.expose_secret());
        match grant.standing(needed.scopes, implied, self.0.clock.now()) {
            Standing::Usable | Standing::Stale if needed.away && !grant.away => {
                missing(needed.scopes.clone(), PromptReason::WhileAway)
            }
            Standing::Usable if !is_rejected => Judgement::Ready(Box::new(held)),
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
            Standing::Stale | Standing::Gone => missing(needed.scopes.clone(), PromptReason::Ended),
        }
    }

    /// Ends a grant whose token the API refuses although it should be good and cannot be renewed.
    pub(in crate::broker) async fn give_up(
        &self,
        connection: &Connection,
        rejected: &SecretString,
    ) -> Result<(), AccessError> {
        let Some(held) = self.grant_of(connection).await? else { return Ok(()) };
        let tokens = &held.value.tokens;
        // A token that expired before it reached the API was refused for that.
        let is_meant = tokens.is_live(self.0.clock.now());
        if is_meant && tokens.access.expose_secret() == rejected.expose_secret() {
            let now = self.0.clock.now();
            let ended = held.value.ended(GrantEnd::AccessTokenRefused, now);
            let reason = ChangeReason::AccessTokenRefused;
            // `None`: replaced since, so the present grant is not the refused one.
            Box::pin(self.replace_unusable(&connection.caller, ended, &held, reason)).await?;
        }
        Ok(())
    }
}

pub(in crate::broker) enum Judgement {
    Ready(Box<Held<Grant>>),
    /// There is no token to hand out.
    Settled(Access),
    Renew(Box<Held<Grant>>),
}

/// The stricter of what the user agreed to and what `tools.toml` says now.
fn retention(connection: &Connection, grant: &Grant) -> Retention {
    grant.retention.max(connection.provider.retention)
}

pub(super) fn ready(grant: Grant) -> Ready {
    let is_unproven = grant.deposit.is_some_and(|deposit| deposit.proof == Proof::Unproven);
    Ready {
        is_unproven,
        expires_at: grant.tokens.expires_at,
        token: grant.tokens.access,
        user: grant.tokens.user,
        granted: grant.scopes,
        connected_at: grant.connected_at,
    }
}

impl AccessError {
    /// Returns the failure of a call that needs the access.
    pub(in crate::broker) fn failure(&self) -> Failure {
        let (kind, hint) = match self {
            Self::Store(error) => {
                (FailureKind::Store { cause: error.to_string() }, Some(error.hint()))
            }
            Self::Setup(error) => {
                let cause = error.to_string();
                let kind = if error.is_passing() {
                    FailureKind::EndpointsUnknown { cause }
                } else {
                    FailureKind::OAuthSetup { cause }
                };
                (kind, Some(error.hint()))
            }
            Self::Refresh { provider, source, .. } => {
                // Unclear: the consent may have ended, or the app may not be set up right.
                let refusal = if source.is_about_client() {
                    Some(RenewalRefusal::Client)
                } else {
                    source.verdict().is_refusal().then_some(RenewalRefusal::Unclear)
                };
                let (provider, cause) = (provider.clone(), source.to_string());
                let hint =
                    refusal.map(|_| "check the provider's client_id and client_secret".to_owned());
                (FailureKind::NotRenewed { provider, refusal, cause }, hint)
            }
            Self::NotIssued { provider, source } => {
                let is_refusal = refusal::is_refusal(source);
                let (provider, cause) = (provider.clone(), source.to_string());
                let hint = is_refusal.then(|| refusal::remedy(source).to_owned());
                (FailureKind::NotIssued { provider, is_refusal, cause }, hint)
            }
            Self::Elsewhere { provider } => (FailureKind::RenewedElsewhere(provider.clone()), None),
            Self::Ending => (FailureKind::Ending, None),
        };
        Failure { kind, host: None, for_operator: hint }
    }
}
