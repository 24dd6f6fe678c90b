//! Keeps what was granted, by whatever way it came, and only then tells anybody.

use super::connect::{ConnectError, End};
use super::unkept::Granted;
use super::{Broker, Contended, MOST_TRIES};
use crate::model::authorization::{Status, Trip, Way};
use crate::model::credential::Retention;
use crate::model::grant::Binding;
use crate::model::{AccountName, Authorization, Caller, Grant, ProviderId, Scopes};
use crate::oauth::{Issued, Revoked};
use crate::store::StoreError;

/// The authorization has come to its end.
#[derive(Debug)]
pub struct Arrival {
    /// Where the browser reads how: the page behind the link, or the operator's own after a consent
    /// that lacks nothing, since only ours can name what was not granted.
    pub next: String,
}

/// What a person has consented to, in whichever way.
#[derive(Clone, Copy)]
pub(super) struct Consent<'a> {
    pub(super) caller: &'a Caller,
    pub(super) provider: &'a ProviderId,
    pub(super) account: &'a AccountName,
    pub(super) binding: &'a Binding,
    pub(super) asked: &'a Scopes,
    /// What of it the tools cannot do without.
    pub(super) needed: &'a Scopes,
    pub(super) trip: &'a Trip,
}

impl<'a> Consent<'a> {
    fn of(authorization: &'a Authorization) -> Self {
        let Authorization { caller, provider, account, binding, scopes, needed, trip, .. } =
            authorization;
        Self { caller, provider, account, binding, asked: scopes, needed, trip }
    }
}

impl Broker {
    /// Makes a grant durable and concludes the authorization that it came of.
    pub(super) async fn keep<E: From<StoreError> + From<Contended>>(
        &self,
        authorization: &Authorization,
        issued: Issued,
    ) -> Result<Arrival, E> {
        let consent = Consent::of(authorization);
        let grant = self.grant_for(consent, issued).await;
        match self.asks_about(authorization, &grant).await {
            Ok(true) => Ok(Arrival { next: authorization.link() }),
            Ok(false) => {
                let settled = self.settle_down(authorization.clone(), grant).await;
                settled.map_err(KeepError::either)
            }
            Err(error) => {
                // Nobody knows whether to ask; what the spent code was exchanged for must outlast it.
                if matches!(error, KeepError::Store(_)) {
                    self.hold(Granted { authorization: authorization.clone(), grant });
                }
                Err(error.either())
            }
        }
    }

    /// Asks the person, if the consent came from another account than the one before.
    pub(super) async fn asks_about(
        &self,
        authorization: &Authorization,
        grant: &Grant,
    ) -> Result<bool, KeepError> {
        let consent = Consent::of(authorization);
        let Some(before) = self.other_account(consent, grant).await? else { return Ok(false) };
        let end = End::OtherAccount { before, candidate: Box::new(grant.clone()) };
        self.conclude::<KeepError>(authorization, end).await?;
        Ok(true)
    }

    /// Durable first: what anybody wakes up to is on disk.
    async fn settle_down(
        &self,
        authorization: Authorization,
        grant: Grant,
    ) -> Result<Arrival, KeepError> {
        let granted = Granted { authorization, grant };
        if let Err(error) = self.write_down(&granted).await {
            // The code is spent, and with it the person's consent, if nobody holds the tokens.
            if matches!(error, KeepError::Store(_)) {
                self.hold(granted);
            }
            return Err(error);
        }
        let Granted { authorization, grant } = granted;
        tracing::info!(provider = %authorization.provider, "connected");
        // Only our own page can name what was not granted.
        let is_whole = grant.refused.is_empty();
        let elsewhere = authorization.trip.after_connect.as_ref().filter(|_| is_whole);
        Ok(Arrival { next: elsewhere.map_or_else(|| authorization.link(), ToString::to_string) })
    }

    /// What is kept of a consent.
    pub(super) async fn grant_for(&self, consent: Consent<'_>, issued: Issued) -> Grant {
        let Consent { provider, account, binding, asked, needed, trip, .. } = consent;
        let scopes = issued.scopes.unwrap_or_else(|| asked.clone());
        let refused = needed.missing_from(&scopes, trip.implied());
        let mut tokens = issued.tokens;
        if trip.retention != Retention::Refresh {
            tokens.refresh = None;
        }
        let identity = self.whose(consent, &tokens.access).await;
        Grant {
            provider: provider.clone(),
            account: account.clone(),
            binding: binding.clone(),
            tokens,
            scopes,
            refused,
            connected_at: self.0.parts.clock.now(),
            refreshed_at: None,
            revocation: trip.revocation().cloned(),
            ended: None,
            attempt: None,
            identity,
            retention: trip.retention,
        }
    }

    /// The account that was connected until now, if the grant is of another one. A browser that is
    /// signed in as somebody else would otherwise change without a word whose data the tools see.
    pub(super) async fn other_account(
        &self,
        Consent { caller, provider, account, binding, .. }: Consent<'_>,
        grant: &Grant,
    ) -> Result<Option<String>, StoreError> {
        let store = self.store().await?;
        let before = store.grant(caller, provider, &binding.identity(), account).await?;
        let before = before.and_then(|held| held.value.identity);
        Ok(match (before, &grant.identity) {
            (Some(before), Some(now)) if before.id != now.id => Some(before.words()),
            _ => None,
        })
    }

    /// The person says whether they mean the other account that they gave their consent with.
    ///
    /// # Errors
    /// [`ConnectError::Unknown`] if nobody asked.
    pub async fn confirm(&self, ticket: &str, is_meant: bool) -> Result<Arrival, ConnectError> {
        let held = self.behind(ticket).await?;
        let authorization = held.value;
        let (Status::OtherAccount { before, .. }, Some(grant)) =
            (&authorization.status, &authorization.candidate)
        else {
            return Err(ConnectError::Unknown);
        };
        if authorization.is_expired(self.0.parts.clock.now()) {
            return Err(ConnectError::Unknown);
        }
        if is_meant {
            let grant = Grant::clone(grant);
            let settled = self.settle_down(authorization, grant).await;
            return settled.map_err(KeepError::either);
        }
        if let Way::Code(trip) = &authorization.trip.way {
            self.0.parts.oauth.revoke(&trip.client, &grant.tokens).await;
        }
        let end = End::Stayed { before: before.clone() };
        self.conclude::<ConnectError>(&authorization, end).await?;
        Ok(Arrival { next: authorization.link() })
    }

    /// Ends what this link connected: at the provider, if it has a way, and here in any case.
    ///
    /// # Errors
    /// [`ConnectError::Unknown`] if nothing is connected by it.
    pub async fn undo(&self, ticket: &str) -> Result<(), ConnectError> {
        let held = self.behind(ticket).await?;
        let store = self.store().await?;
        let Authorization { caller, provider, account, binding, status, .. } = &held.value;
        if *status != Status::Completed {
            return Err(ConnectError::Unknown);
        }
        let identity = binding.identity();
        let mut revoked = Revoked::NoWay;
        for _ in 0..MOST_TRIES {
            let Some(grant) = store.grant(caller, provider, &identity, account).await? else {
                break;
            };
            if let Way::Code(trip) = &held.value.trip.way {
                revoked = self.0.parts.oauth.revoke(&trip.client, &grant.value.tokens).await;
            }
            // A refresh in between put another token there, which must end as well.
            if store.forget(&grant).await? {
                tracing::info!(%provider, "disconnected");
                break;
            }
        }
        let title = &held.value.trip.title;
        let why = match revoked {
            Revoked::Yes => format!("{title} has ended the access."),
            Revoked::NoWay => format!(
                "It is forgotten here. {title} has no way for us to end the access there: remove it in your account's settings."
            ),
            Revoked::Failed => format!(
                "It is forgotten here, but {title} did not confirm the end of the access: look into your account's settings there."
            ),
        };
        let ended = Authorization { status: Status::Undone(why), ..held.value.clone() };
        store.replace(ended, &held).await?;
        Ok(())
    }

    /// Keeps a grant, whatever stands in its place: a refresh of the old one may come in between,
    /// and the new one is the one that counts.
    pub(super) async fn put<E: From<StoreError> + From<Contended>>(
        &self,
        caller: &Caller,
        grant: &Grant,
    ) -> Result<(), E> {
        let store = self.store().await?;
        let identity = grant.binding.identity();
        for _ in 0..MOST_TRIES {
            let held = store.grant(caller, &grant.provider, &identity, &grant.account).await?;
            if store.keep(caller, grant, held.as_ref()).await? {
                return Ok(());
            }
        }
        Err(Contended.into())
    }
}

/// What was granted could not be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Contended(#[from] Contended),
}

impl KeepError {
    fn either<E: From<StoreError> + From<Contended>>(self) -> E {
        match self {
            Self::Store(error) => error.into(),
            Self::Contended(error) => error.into(),
        }
    }
}
