//! Tells whoever waits that an authorization has come to its end.
//!
//! What is announced is already durable: a waiter that wakes finds the grant in the store.

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use super::Broker;
use crate::model::authorization::Status;
use crate::model::{Caller, ProviderId, Scopes};
use crate::store::StoreError;

/// How a wait for an authorization came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The grant is kept; it lacks what was needed and not granted.
    Completed { refused: Scopes },
    /// The person or the provider said no; why.
    Failed(String),
    /// Still open.
    Pending,
    /// Expired, or replaced by a newer one.
    Over,
}

impl Broker {
    /// Waits until the authorization `id` of this person at this provider ends, at most `limit`.
    pub async fn wait(
        &self,
        caller: &Caller,
        provider: &ProviderId,
        id: &str,
        limit: Duration,
    ) -> Result<Waited, StoreError> {
        // Before the store is looked into: an end that falls between the two is heard.
        let mut ends = self.0.ended.subscribe();
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            match self.state_of(caller, provider, id).await? {
                Waited::Pending => {}
                ended => return Ok(ended),
            }
            loop {
                match tokio::time::timeout_at(deadline, ends.recv()).await {
                    Ok(Ok(ended)) if ended != id => {}
                    // Missed some: the store knows.
                    Ok(Ok(_) | Err(RecvError::Lagged(_))) => break,
                    Ok(Err(RecvError::Closed)) | Err(_) => return Ok(Waited::Pending),
                }
            }
        }
    }

    /// Waits until a browser has asked how the authorization `id` ended. Counts from this call on,
    /// not from its first poll.
    pub fn shown(&self, id: &str) -> impl Future<Output = ()> + use<> {
        let mut shown = self.0.shown.subscribe();
        let id = id.to_owned();
        async move {
            loop {
                match shown.recv().await {
                    Ok(seen) if seen != id => {}
                    // Missed some: it may have been among them.
                    Ok(_) | Err(RecvError::Lagged(_) | RecvError::Closed) => return,
                }
            }
        }
    }

    async fn state_of(
        &self,
        caller: &Caller,
        provider: &ProviderId,
        id: &str,
    ) -> Result<Waited, StoreError> {
        let Some(provider) = self.provider(provider.as_str()) else { return Ok(Waited::Over) };
        let Ok(bound) = self.0.clients.bound(provider).await else { return Ok(Waited::Over) };
        let store = self.store().await?;
        let held = store.authorization(caller, &provider.id, &bound.identity).await?;
        let Some(held) = held.filter(|held| held.value.id == id) else { return Ok(Waited::Over) };
        Ok(match held.value.status {
            Status::Completed => Waited::Completed { refused: held.value.refused },
            Status::Failed(why) => Waited::Failed(why),
            Status::Pending if held.value.is_expired(self.0.parts.clock.now()) => Waited::Over,
            Status::Pending => Waited::Pending,
        })
    }
}
