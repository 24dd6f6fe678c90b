//! Tells whoever waits that an authorization has come to its end.
//!
//! What is announced is already durable: a waiter that wakes finds the grant in the store.

use std::time::Duration;

use tokio::sync::broadcast;

use super::Broker;
use crate::model::authorization::Status;
use crate::model::{Caller, ProviderId};
use crate::store::StoreError;

/// Announcements within this process.
#[derive(Clone)]
pub struct Completion(broadcast::Sender<String>);

/// Hears every announcement made since it was created.
pub struct Listener(broadcast::Receiver<String>);

impl Completion {
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(256))
    }

    pub(super) fn announce(&self, authorization: &str) {
        // Nobody listening is no fault: most authorizations are not waited for.
        let _ = self.0.send(authorization.to_owned());
    }

    /// Subscribe first, then look into the store: an end that falls between the two is heard.
    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

/// What a listener hears.
pub enum Heard {
    /// The authorization of this id has ended.
    Ended(String),
    /// Announcements were missed: look into the store.
    Missed,
    /// The process is ending.
    Closed,
}

impl Listener {
    pub async fn next(&mut self) -> Heard {
        match self.0.recv().await {
            Ok(authorization) => Heard::Ended(authorization),
            Err(broadcast::error::RecvError::Lagged(_)) => Heard::Missed,
            Err(broadcast::error::RecvError::Closed) => Heard::Closed,
        }
    }
}

/// How a wait for an authorization came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waited {
    Completed,
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
        let mut listener = self.completion().listen();
        let deadline = tokio::time::sleep(limit);
        tokio::pin!(deadline);
        loop {
            match self.state_of(caller, provider, id).await? {
                Waited::Pending => {}
                ended => return Ok(ended),
            }
            loop {
                tokio::select! {
                    () = &mut deadline => return Ok(Waited::Pending),
                    heard = listener.next() => match heard {
                        Heard::Ended(ended) if ended != id => {}
                        Heard::Ended(_) | Heard::Missed => break,
                        Heard::Closed => return Ok(Waited::Pending),
                    },
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
            Status::Completed => Waited::Completed,
            Status::Failed(why) => Waited::Failed(why),
            Status::Pending if held.value.is_expired(self.0.parts.clock.now()) => Waited::Over,
            Status::Pending => Waited::Pending,
        })
    }
}
