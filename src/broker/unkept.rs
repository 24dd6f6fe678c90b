//! Consents that a provider has granted and the store could not keep, because its disk was full.
//!
//! The code that bought them is spent (RFC 6749 §4.1.2), so the tokens here are all there is of the
//! consent. They are held until there is room, as renewed tokens are: the store is tried again now
//! and then, at the next call, and when the server ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::connect::End;
use super::keeping::KeepError;
use super::{Broker, Contended, MOST_TRIES, renewal};
use crate::model::grant::AccountIdentity;
use crate::model::{Authorization, Grant};
use crate::store::StoreError;

/// How often the store is tried again: a call may be a long time coming.
const PAUSE: Duration = Duration::from_secs(2);
const MOST_TRIES_LATER: u32 = 300;

/// What came of an authorization.
pub(super) struct Granted {
    pub(super) authorization: Authorization,
    pub(super) grant: Grant,
}

/// The consents held, by the account that they are for. Whoever keeps one has it locked, so that a
/// call that comes meanwhile does not ask for another.
#[derive(Default)]
pub(super) struct Unkept(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Granted>>>>>);

impl Broker {
    /// Makes a consent durable, and only then tells whoever waits for it.
    pub(super) async fn write_down(&self, granted: &Granted) -> Result<(), KeepError> {
        self.write(granted, |_| false).await
    }

    /// Holds a consent that the store could not keep.
    pub(super) fn hold(&self, granted: Granted) {
        let name = granted.name();
        tracing::error!(provider = %granted.grant.provider, "a consent is held until the store has room");
        let held = Arc::new(tokio::sync::Mutex::new(Some(granted)));
        self.0.unkept.0.lock().insert(name.clone(), held);
        let broker = self.clone();
        tokio::spawn(async move {
            for _ in 0..MOST_TRIES_LATER {
                tokio::time::sleep(PAUSE).await;
                if broker.keep_held(&name).await.is_ok() {
                    return;
                }
            }
        });
    }

    /// Keeps what is held for an account, if anything is.
    pub(super) async fn keep_held(&self, name: &str) -> Result<(), StoreError> {
        let Some(held) = self.0.unkept.0.lock().get(name).cloned() else { return Ok(()) };
        let mut consent = held.lock().await;
        if let Some(found) = &*consent {
            // It may have been written just before that failed, and renewed since; and whoever has
            // consented once more has done so knowing of this one's failure.
            let is_settled = |there: &Grant| there.connected_at >= found.grant.connected_at;
            let kept = match self.asks_about(&found.authorization, &found.grant).await {
                Ok(true) => Ok(()),
                Ok(false) => self.write(found, is_settled).await,
                Err(error) => Err(error),
            };
            match kept {
                Err(KeepError::Store(error)) => return Err(error),
                kept => kept.unwrap_or_else(|error| {
                    tracing::error!(provider = %found.grant.provider, %error, "a consent is lost");
                }),
            }
            *consent = None;
        }
        self.0.unkept.0.lock().retain(|_, other| !Arc::ptr_eq(other, &held));
        Ok(())
    }

    /// Tries once more to keep what is held.
    pub(super) async fn keep_all_held(&self) {
        let names: Vec<String> = self.0.unkept.0.lock().keys().cloned().collect();
        for name in names {
            if let Err(error) = self.keep_held(&name).await {
                tracing::error!(%error, "a consent is lost");
            }
        }
    }

    /// Writes the grant over whatever stands there, unless that `is_settled`: a renewal of the old
    /// grant may come in between, and the new consent is the one that counts.
    async fn write(
        &self,
        Granted { authorization, grant }: &Granted,
        is_settled: impl Fn(&Grant) -> bool,
    ) -> Result<(), KeepError> {
        let store = self.store().await?;
        let Authorization { caller, provider, account, binding, .. } = authorization;
        let identity = binding.identity();
        for _ in 0..MOST_TRIES {
            let held = store.grant(caller, provider, &identity, account).await?;
            let is_there = held.as_ref().is_some_and(|held| is_settled(&held.value));
            if is_there || store.keep(caller, grant, held.as_ref()).await? {
                let identity = grant.identity.as_ref();
                let end = End::Completed {
                    refused: grant.refused.clone(),
                    connected_as: identity.map(AccountIdentity::words),
                };
                return self.conclude(authorization, end).await;
            }
        }
        Err(Contended.into())
    }
}

impl Granted {
    fn name(&self) -> String {
        let Authorization { caller, provider, account, binding, .. } = &self.authorization;
        renewal::name(caller, provider, &binding.identity(), account)
    }
}
