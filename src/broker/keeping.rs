//! Keeps what was granted, by whatever way it came, and only then tells anybody.

use super::connect::{ConnectError, End};
use super::{Broker, Contended, MOST_TRIES};
use crate::model::authorization::{Status, Way};
use crate::model::credential::Retention;
use crate::model::{Authorization, Grant};
use crate::oauth::{Issued, Revoked};
use crate::store::StoreError;

/// The authorization has come to its end.
#[derive(Debug)]
pub struct Arrival {
    /// Where the browser reads how: the page behind the link, or the operator's own after a consent
    /// that lacks nothing, since only ours can name what was not granted.
    pub next: String,
}

impl Broker {
    /// Makes a grant durable and concludes the authorization that it came of.
    pub(super) async fn keep<E: From<StoreError> + From<Contended>>(
        &self,
        authorization: &Authorization,
        issued: Issued,
    ) -> Result<Arrival, E> {
        let scopes = issued.scopes.unwrap_or_else(|| authorization.scopes.clone());
        let trip = &authorization.trip;
        let refused = authorization.needed.missing_from(&scopes, trip.implied());
        let mut tokens = issued.tokens;
        if trip.retention != Retention::Refresh {
            tokens.refresh = None;
        }
        let identity = self.whose(authorization, &tokens.access).await;
        let grant = Grant {
            provider: authorization.provider.clone(),
            account: authorization.account.clone(),
            binding: authorization.binding.clone(),
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
        };
        if let Some(before) = self.other_account(authorization, &grant).await? {
            let end = End::OtherAccount { before, candidate: Box::new(grant) };
            self.conclude::<E>(authorization, end).await?;
            return Ok(Arrival { next: authorization.link() });
        }
        self.put::<E>(authorization, &grant).await?;
        // Only now is anybody told: what they wake up to is on disk.
        self.finish(authorization, &grant).await
    }

    /// The account that was connected until now, if the grant is of another one. A browser that is
    /// signed in as somebody else would otherwise change without a word whose data the tools see.
    async fn other_account(
        &self,
        authorization: &Authorization,
        grant: &Grant,
    ) -> Result<Option<String>, StoreError> {
        let Authorization { caller, provider, account, binding, .. } = authorization;
        let store = self.store().await?;
        let before = store.grant(caller, provider, &binding.identity(), account).await?;
        let before = before.and_then(|held| held.value.identity);
        Ok(match (before, &grant.identity) {
            (Some(before), Some(now)) if before.id != now.id => Some(before.words().to_owned()),
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
            self.put::<ConnectError>(&authorization, grant).await?;
            return self.finish(&authorization, grant).await;
        }
        if let Way::Code(trip) = &authorization.trip.way {
            self.0.parts.oauth.revoke(&trip.client, &grant.tokens).await;
        }
        let why = format!("You stay with the account {before}.");
        let end = End::Failed { why, said: None, by_person: false };
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
            Revoked::Yes => format!("You disconnected it again, and {title} has ended the access."),
            Revoked::NoWay => format!(
                "You disconnected it again. {title} has no way for us to end the access there: remove it in your account's settings."
            ),
            Revoked::Failed => format!(
                "You disconnected it again, but {title} did not confirm it: look into your account's settings there."
            ),
        };
        let ended = Authorization { status: Status::Failed(why), ..held.value.clone() };
        store.replace(ended, &held).await?;
        Ok(())
    }

    /// A refresh of the old grant may come in between; the new consent is the one that counts.
    async fn put<E: From<StoreError> + From<Contended>>(
        &self,
        authorization: &Authorization,
        grant: &Grant,
    ) -> Result<(), E> {
        let store = self.store().await?;
        let Authorization { caller, provider, account, binding, .. } = authorization;
        let identity = binding.identity();
        for _ in 0..MOST_TRIES {
            let held = store.grant(caller, provider, &identity, account).await?;
            if store.keep(caller, grant, held.as_ref()).await? {
                return Ok(());
            }
        }
        Err(Contended.into())
    }

    async fn finish<E: From<StoreError> + From<Contended>>(
        &self,
        authorization: &Authorization,
        grant: &Grant,
    ) -> Result<Arrival, E> {
        let refused = grant.refused.clone();
        let is_whole = refused.is_empty();
        let connected_as = grant.identity.as_ref().map(|identity| identity.words().to_owned());
        self.conclude::<E>(authorization, End::Completed { refused, connected_as }).await?;
        tracing::info!(provider = %authorization.provider, "connected");
        let elsewhere = authorization.trip.after_connect.as_ref().filter(|_| is_whole);
        Ok(Arrival { next: elsewhere.map_or_else(|| authorization.link(), ToString::to_string) })
    }
}
