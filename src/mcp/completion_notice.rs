//! Sends `notifications/elicitation/complete` (MCP 2025-11-25), never before the error it belongs
//! to.
//!
//! A client that gets the notification before the -32042 drops it and then waits for it for ever.
//! The user may finish before the error is on the wire, so each error gets an `elicitationId` of
//! its own, and its notification waits until the transport has written that error.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rmcp::model::{CustomNotification, JsonRpcMessage, ServerNotification};
use rmcp::service::{Peer, RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::json;
use tokio::time::Instant;

use super::render::URL_ELICITATION_REQUIRED;
use crate::broker::Broker;
use crate::broker::consent::wait::Waited;
use crate::model::authorization::{AuthorizationName, LINK_LIFETIME};
use crate::model::{Caller, secret};
use crate::store::StoreError;

const METHOD: &str = "notifications/elicitation/complete";
/// Smallest number of unwritten errors at which [`CompletionNotices::expect`] drops those whose client
/// has disconnected or that are older than [`LINK_LIFETIME`].
const PRUNE_FROM: usize = 256;
/// Most notifications kept for one authorization; beyond it the oldest is dropped. More than any
/// client calls at once, and few enough that repeated calls without consent cost no memory: the
/// client has long given up on the first of them.
const MAX_NOTICES_PER_AUTHORIZATION: usize = 128;
/// Most authorizations remembered as delivered for one connection. Beyond it, those older than
/// [`LINK_LIFETIME`] are dropped; if none is, new ones are not remembered.
const MAX_DELIVERED: usize = 64;
/// Interval between checks for disconnected clients.
const DISCONNECT_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Completion notifications that clients wait for.
#[derive(Clone)]
pub(super) struct CompletionNotices(Arc<Inner>);

struct Inner {
    broker: Broker,
    /// Errors that the transport has not written yet.
    expected: Mutex<Expectations>,
    /// Notifications whose error is on the wire, by authorization id. One task waits for all of an
    /// authorization's: a client that calls again and again gets an error each time, and must not
    /// cost more each time.
    awaited: Mutex<HashMap<String, VecDeque<Awaited>>>,
}

#[derive(Default)]
struct Expectations {
    /// By `elicitationId`.
    all: HashMap<String, Expected>,
    /// Number of errors at which [`CompletionNotices::expect`] next looks for entries to drop: twice
    /// what the last look left, so that entries still in use are not scanned at each new one.
    prune_at: usize,
}

struct Expected {
    delivered: Delivered,
    peer: Peer<RoleServer>,
    caller: Caller,
    authorization: AuthorizationName,
    since: Instant,
}

/// A client that waits for a notification.
struct Awaited {
    peer: Peer<RoleServer>,
    elicitation: String,
}

impl CompletionNotices {
    pub(super) fn new(broker: Broker) -> Self {
        Self(Arc::new(Inner { broker, expected: Mutex::default(), awaited: Mutex::default() }))
    }

    /// Registers an error that is about to be sent, and returns a new `elicitationId` for it.
    pub(super) fn expect(
        &self,
        peer: Peer<RoleServer>,
        caller: &Caller,
        authorization: &AuthorizationName,
        delivered: &Delivered,
    ) -> String {
        use secrecy::ExposeSecret as _;
        let elicitation = secret::random_ticket().expose_secret().to_owned();
        let expected = Expected {
            delivered: delivered.clone(),
            peer,
            caller: caller.clone(),
            authorization: authorization.clone(),
            since: Instant::now(),
        };
        let Expectations { all, prune_at } = &mut *self.0.expected.lock();
        // An error whose connection broke is never delivered.
        if all.len() >= PRUNE_FROM.max(*prune_at) {
            all.retain(|_, old| {
                !old.peer.is_transport_closed() && old.since.elapsed() < LINK_LIFETIME
            });
            *prune_at = 2 * all.len();
        }
        all.insert(elicitation.clone(), expected);
        elicitation
    }

    /// Records that the error is on the wire: from now on its notification may be sent.
    pub(super) fn delivered(&self, elicitation: &str) {
        let Some(expected) = self.0.expected.lock().all.remove(elicitation) else { return };
        let Expected { delivered, peer, caller, authorization, since: _ } = expected;
        delivered.note(&authorization.id);
        let mut all = self.0.awaited.lock();
        let awaited = all.entry(authorization.id.clone()).or_default();
        let is_first = awaited.is_empty();
        if awaited.len() >= MAX_NOTICES_PER_AUTHORIZATION {
            awaited.pop_front();
        }
        awaited.push_back(Awaited { peer, elicitation: elicitation.to_owned() });
        if is_first {
            tokio::spawn(self.clone().announce(caller, authorization));
        }
    }

    /// Waits until the authorization ends, then notifies the clients that still wait.
    async fn announce(self, caller: Caller, authorization: AuthorizationName) {
        let ended = tokio::select! {
            ended = self.0.broker.consents().wait(&caller, &authorization.id, LINK_LIFETIME) => ended,
            () = self.all_gone(&authorization.id) => return,
        };
        let told = self.0.awaited.lock().remove(&authorization.id).unwrap_or_default();
        if !is_over(&ended) {
            return;
        }
        for Awaited { peer, elicitation } in told {
            let notice =
                CustomNotification::new(METHOD, Some(json!({ "elicitationId": elicitation })));
            let notice = ServerNotification::CustomNotification(notice);
            if let Err(error) = peer.send_notification(notice).await {
                tracing::debug!(%error, "the client disconnected before its completion notification was sent");
            }
        }
    }

    /// Returns when every client that waits for this authorization has disconnected. Drops those
    /// that have, since a disconnected client waits no longer.
    async fn all_gone(&self, authorization: &str) {
        let mut look = tokio::time::interval(DISCONNECT_CHECK_INTERVAL);
        loop {
            look.tick().await;
            let mut all = self.0.awaited.lock();
            let Some(awaited) = all.get_mut(authorization) else { return };
            awaited.retain(|awaited| !awaited.peer.is_transport_closed());
            if awaited.is_empty() {
                all.remove(authorization);
                return;
            }
        }
    }

    /// Wraps a transport, so that [`Self::delivered`] is called as soon as an error is written.
    pub(super) fn watch<T: Transport<RoleServer>>(&self, transport: T) -> Watched<T> {
        Watched { inner: transport, notices: self.clone() }
    }
}

/// Whether clients are notified. Also after a refusal, and if the store does not say how the
/// authorization ended: otherwise the client would wait for ever. The next call tells it more.
fn is_over(ended: &Result<Waited, StoreError>) -> bool {
    !matches!(ended, Ok(Waited::Pending))
}

/// Authorizations whose -32042 was sent over one connection, with the time of the first one.
#[derive(Clone, Default)]
pub(super) struct Delivered(Arc<Mutex<HashMap<String, Instant>>>);

impl Delivered {
    fn note(&self, authorization: &str) {
        let mut all = self.0.lock();
        if all.len() >= MAX_DELIVERED {
            all.retain(|_, at| at.elapsed() < LINK_LIFETIME);
        }
        if all.len() < MAX_DELIVERED {
            all.entry(authorization.to_owned()).or_insert_with(Instant::now);
        }
    }

    /// Whether the -32042 of this authorization was sent before `then`.
    pub(super) fn before(&self, authorization: &str, then: Instant) -> bool {
        self.0.lock().get(authorization).is_some_and(|at| *at < then)
    }
}

/// A transport that reports each -32042 error that it has written.
pub(super) struct Watched<T> {
    inner: T,
    notices: CompletionNotices,
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for Watched<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let elicitation = elicitation_of(&item);
        let notices = self.notices.clone();
        let sending = self.inner.send(item);
        async move {
            sending.await?;
            if let Some(elicitation) = elicitation {
                notices.delivered(&elicitation);
            }
            Ok(())
        }
    }

    fn receive(&mut self) -> impl Future<Output = Option<RxJsonRpcMessage<RoleServer>>> + Send {
        self.inner.receive()
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}

/// Returns the `elicitationId` of a -32042 error; `None` for any other message.
pub(super) fn elicitation_of(item: &TxJsonRpcMessage<RoleServer>) -> Option<String> {
    let JsonRpcMessage::Error(error) = item else { return None };
    if error.error.code != URL_ELICITATION_REQUIRED {
        return None;
    }
    let data = error.error.data.as_ref()?;
    data.pointer("/elicitations/0/elicitationId")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_does_not_wait_for_ever_because_the_store_failed() {
        assert!(is_over(&Err(StoreError::Contended)));
        assert!(is_over(&Ok(Waited::Over)));
        assert!(!is_over(&Ok(Waited::Pending)));
    }
}
