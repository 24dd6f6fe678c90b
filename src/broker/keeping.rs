//! Keeps what was granted, by whatever way it came, and only then tells anybody.

use super::connect::End;
use super::{Broker, Contended, MOST_TRIES};
use crate::model::credential::Retention;
use crate::model::{Authorization, Grant, Scopes};
use crate::oauth::Issued;
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
        let grant = Grant {
            provider: authorization.provider.clone(),
            account: authorization.account.clone(),
            binding: authorization.binding.clone(),
            tokens,
            scopes,
            refused: refused.clone(),
            connected_at: self.0.parts.clock.now(),
            refreshed_at: None,
            revocation: trip.revocation().cloned(),
            ended: None,
            attempt: None,
            identity: None,
            retention: trip.retention,
        };
        self.put::<E>(authorization, &grant).await?;
        // Only now is anybody told: what they wake up to is on disk.
        self.finish(authorization, refused).await
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
        refused: Scopes,
    ) -> Result<Arrival, E> {
        let is_whole = refused.is_empty();
        self.conclude::<E>(authorization, End::Completed { refused }).await?;
        tracing::info!(provider = %authorization.provider, "connected");
        let elsewhere = authorization.trip.after_connect.as_ref().filter(|_| is_whole);
        Ok(Arrival { next: elsewhere.map_or_else(|| authorization.link(), ToString::to_string) })
    }
}
