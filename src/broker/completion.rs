//! Tells whoever waits that an authorization has come to its end.
//!
//! What is announced is already durable: a waiter that wakes finds the grant in the store.

use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::Broker;
use crate::model::authorization::{AuthorizationName, Status};
use crate::model::{Caller, Scopes};
use crate::store::StoreError;

/// How long until the store is first asked about an authorization that somebody waits for; then
/// twice as long each time, so that what another process finishes is never heard of later than
/// after as long again as the person took.
const FIRST_LOOK: Duration = Duration::from_millis(250);
/// A server has as many open links as it has people, each waited for up to its whole life.
const RAREST_LOOK: Duration = Duration::from_secs(4);

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
    /// Waits until this person's authorization ends, at most `limit`.
    pub async fn wait(
        &self,
        caller: &Caller,
        name: &AuthorizationName,
        limit: Duration,
    ) -> Result<Waited, StoreError> {
        // Before the store is looked into: an end that falls between the two is heard.
        let mut ends = self.0.ended.subscribe();
        let deadline = tokio::time::Instant::now() + limit;
        let mut pause = FIRST_LOOK;
        loop {
            match self.state_of(caller, name).await? {
                Waited::Pending => {}
                ended => return Ok(ended),
            }
            // Another process may hold the listener and finish it, and a store does not notify.
            let look = deadline.min(tokio::time::Instant::now() + pause);
            pause = RAREST_LOOK.min(pause * 2);
            loop {
                match tokio::time::timeout_at(look, ends.recv()).await {
                    Ok(Ok(ended)) if ended != name.id => {}
                    Ok(Err(RecvError::Closed)) => return Ok(Waited::Pending),
                    Err(_) if look == deadline => return Ok(Waited::Pending),
                    // Also if some were missed: the store knows.
                    Ok(Ok(_) | Err(RecvError::Lagged(_))) | Err(_) => break,
                }
            }
        }
    }

    /// The ids of authorizations that end in this process from now on, and of those whose end a browser
    /// is shown.
    pub fn ends(&self) -> (broadcast::Receiver<String>, broadcast::Receiver<String>) {
        (self.0.ended.subscribe(), self.0.shown.subscribe())
    }

    /// Waits until a browser has asked this process how the authorization ended. Counts from this call on,
    /// not from its first poll.
    pub fn shown(&self, name: &AuthorizationName) -> impl Future<Output = ()> + use<> {
        let mut shown = self.0.shown.subscribe();
        let id = name.id.clone();
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
        name: &AuthorizationName,
    ) -> Result<Waited, StoreError> {
        let Some(held) = self.attempt(caller, name).await? else { return Ok(Waited::Over) };
        Ok(match held.value.status {
            Status::Completed => Waited::Completed { refused: held.value.refused },
            Status::Failed(why) => Waited::Failed(why),
            Status::Stayed(before) => {
                Waited::Failed(format!("You stay with the account {before}."))
            }
            Status::Undone(_) => Waited::Failed("You disconnected it again.".into()),
            Status::Pending | Status::OtherAccount { .. } => {
                let is_over = held.value.is_expired(self.0.parts.clock.now());
                if is_over { Waited::Over } else { Waited::Pending }
            }
        })
    }
}
