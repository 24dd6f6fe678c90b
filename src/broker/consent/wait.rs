//! Notifies the waiters that an authorization has ended.
//!
//! The end is durable before it is announced: a waiter that wakes finds the grant in the store.

use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::Consents;
use crate::model::authorization::{Connected, State};
use crate::model::grant::AccountIdentity;
use crate::model::lifetime::{EndReason, TokenFacts};
use crate::model::reason::ConsentFailure;
use crate::model::time::utc;
use crate::model::{Authorization, Caller, Grant};
use crate::store::StoreError;

/// First poll interval; doubles up to [`MAX_POLL_INTERVAL`], so that another process's result is seen
/// within twice the time the user took.
const FIRST_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Longest poll interval. A server has as many open links as users, and each is polled until it
/// expires.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(4);

/// Result of waiting for an authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The grant is stored.
    Completed(Connected),
    /// It ended without an access.
    Failed(NotConnected),
    /// Still open.
    Pending,
    /// Expired, or replaced by a newer one.
    Over,
}

/// Why an authorization ended without an access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotConnected {
    /// The user, the provider or its token endpoint refused.
    Refused(ConsentFailure),
    /// The user kept the previous account, which has this label.
    PreviousAccountKept(String),
    /// The user has disconnected what the link had connected.
    Disconnected,
}

/// Part of a pause that a waiter of this authorization takes, from a half to the whole. Thousands of
/// clients that began to wait at the same moment must not all look at the same moment again.
fn share_of(id: &str) -> f64 {
    0.5 + f64::from(id.bytes().fold(0, u8::wrapping_add)) / 512.0
}

impl Consents {
    /// Result to show the user for a grant that has just been stored.
    pub(super) fn told(&self, kept: &Grant, facts: &TokenFacts) -> Connected {
        let now = self.now();
        let ends = kept.known_end(facts, now);
        if let Some(end) = &ends
            && let EndReason::NoRefreshToken(_) = end.why
        {
            let provider = &kept.provider;
            let at = utc(end.at);
            tracing::warn!(%provider, %at, "the provider gave no refresh token, so the access ends then");
        }
        Connected {
            connected_as: kept.identity.as_ref().map(AccountIdentity::words),
            refused: kept.refused.clone(),
            ungranted: kept.ungranted.clone(),
            ends,
        }
    }

    /// Waits until this user's authorization with this [`ConnectLink::id`](crate::model::authorization::ConnectLink::id) ends, for at most
    /// `limit`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn wait(
        &self,
        caller: &Caller,
        id: &str,
        limit: Duration,
    ) -> Result<Waited, StoreError> {
        let followed = self.follow(caller, id, limit).await?;
        Ok(followed.map_or(Waited::Over, |(_, waited)| waited))
    }

    /// Like [`Self::wait`], with the authorization as it was last read; `None` if it is gone or
    /// replaced.
    pub(in crate::broker) async fn follow(
        &self,
        caller: &Caller,
        id: &str,
        limit: Duration,
    ) -> Result<Option<(Authorization, Waited)>, StoreError> {
        // Subscribed before the store is read, so that an end in between is not missed.
        let mut ends = self.0.ended.subscribe();
        let deadline = tokio::time::Instant::now() + limit;
        let mut pause = FIRST_POLL_INTERVAL;
        let mut found = self.attempt(caller, id).await?;
        loop {
            let Some(held) = found else { return Ok(None) };
            match self.state_of(&held.value) {
                Waited::Pending => {}
                ended => return Ok(Some((held.value, ended))),
            }
            // Another process may hold the listener and finish it, and a store does not notify.
            let look = deadline.min(tokio::time::Instant::now() + pause.mul_f64(share_of(id)));
            pause = MAX_POLL_INTERVAL.min(pause * 2);
            loop {
                match tokio::time::timeout_at(look, ends.recv()).await {
                    Ok(Ok(ended)) if ended != id => {}
                    Ok(Err(RecvError::Closed)) => {
                        return Ok(Some((held.value, Waited::Pending)));
                    }
                    Err(_) if look == deadline => {
                        return Ok(Some((held.value, Waited::Pending)));
                    }
                    // Also after missed messages: the store knows.
                    Ok(Ok(_) | Err(RecvError::Lagged(_))) | Err(_) => break,
                }
            }
            // One read for each look, not one of each of the user's links; and a record that nothing
            // has written is not opened again.
            let store = self.store().await?;
            found = if store.is_as_read(&held).await? {
                Some(held)
            } else {
                store.reread(&held.value).await?
            };
        }
    }

    /// Receivers of authorization ids: those that end in this process from now on, and those whose
    /// end a browser is shown.
    pub fn ends(&self) -> (broadcast::Receiver<String>, broadcast::Receiver<String>) {
        (self.0.ended.subscribe(), self.0.shown.subscribe())
    }

    /// Waits until a browser has asked this process how the authorization ended. Subscribes with
    /// this call, not at its first poll.
    pub fn shown(&self, id: &str) -> impl Future<Output = ()> + use<> {
        let mut shown = self.0.shown.subscribe();
        let id = id.to_owned();
        async move {
            loop {
                match shown.recv().await {
                    Ok(seen) if seen != id => {}
                    // The missed messages may have included it.
                    Ok(_) | Err(RecvError::Lagged(_) | RecvError::Closed) => return,
                }
            }
        }
    }

    fn state_of(&self, authorization: &Authorization) -> Waited {
        match authorization.state() {
            State::Completed(connected) => Waited::Completed(connected.clone()),
            State::Failed { why, said: _ } => Waited::Failed(NotConnected::Refused(why.clone())),
            State::PreviousAccountKept(before) => {
                Waited::Failed(NotConnected::PreviousAccountKept(before.clone()))
            }
            State::Undone { .. } => Waited::Failed(NotConnected::Disconnected),
            State::Pending { .. } | State::OtherAccount { .. } => {
                let is_expired = authorization.is_expired(self.now());
                if is_expired { Waited::Over } else { Waited::Pending }
            }
        }
    }
}
