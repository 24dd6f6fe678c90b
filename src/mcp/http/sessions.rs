//! Sessions of the revisions before 2026-07-28, each bound to the caller who opened it.
//!
//! rmcp keeps the sessions but does not know the callers, and a session id alone must prove nothing
//! (basic/security_best_practices, session hijacking). So this module answers each question of rmcp
//! about a session for the current caller, whom [`asked_by`] sets for the duration of a request: a
//! session of another caller does not exist. [`owned`] limits the number of sessions, and
//! [`events`] how long their answers can be fetched.

mod events;
mod owned;

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use rmcp::ErrorData;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, JsonRpcMessage, ProtocolVersion, RequestId,
    ServerJsonRpcMessage, ServerResult,
};
use rmcp::transport::WorkerTransport;
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError, LocalSessionWorker, SessionConfig,
};
use rmcp::transport::streamable_http_server::session::{
    ServerSseMessage, SessionId, SessionManager,
};

use tokio::time::Instant;

use super::body::REFUSED;
use crate::mcp::completion_notice::{CompletionNotices, elicitation_of};
use crate::model::Caller;
use events::{EventId, Events, Found};
use owned::{NoRoom, Owned};

/// Idle time after which a session ends: longer than a user takes for a consent.
const SESSION_IDLE_LIMIT: Duration = Duration::from_hours(1);
/// Delay after which a client reconnects when its connection breaks.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// How long rmcp keeps the channel of a cancelled request. Short, since rmcp scans all channels at
/// each event.
const CANCELLED_CHANNEL_TTL: Duration = Duration::from_secs(3);
/// First revision whose streams begin with an event without data (basic/transports). Clients of
/// earlier ones take the data of every event for a message, and disconnect over this one.
const PRIMED_SINCE: ProtocolVersion = ProtocolVersion::V_2025_11_25;

tokio::task_local! {
    static ASKING: Asking;
}

struct Asking {
    caller: Caller,
    /// The client accepts no event stream.
    wants_json: bool,
    refused: Cell<Option<Refused>>,
    answer: RefCell<Option<Arc<ServerJsonRpcMessage>>>,
}

/// Reason for a refusal that rmcp has no status for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    TooMany,
    NoSession,
    /// The stream to resume has ended with its answer, which the client has just been given.
    Finished,
}

/// Decisions made here about one request.
pub(super) struct Asked {
    pub(super) refused: Option<Refused>,
    /// The answer, for a client that accepts no event stream.
    pub(super) answer: Option<Arc<ServerJsonRpcMessage>>,
}

/// Runs `work`, in which rmcp handles a request of this caller. With `wants_json` the answer of a
/// session is also returned separately, since rmcp writes it as an event stream only.
pub(super) async fn asked_by<T>(
    caller: Caller,
    wants_json: bool,
    work: impl Future<Output = T>,
) -> (T, Asked) {
    let asking =
        Asking { caller, wants_json, refused: Cell::new(None), answer: RefCell::new(None) };
    let work = async {
        let done = work.await;
        let asked = ASKING.with(|asking| Asked {
            refused: asking.refused.get(),
            answer: asking.answer.borrow_mut().take(),
        });
        (done, asked)
    };
    ASKING.scope(asking, work).await
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SessionsError {
    #[error("there are too many sessions")]
    TooMany,
    #[error("a session has ended")]
    Ended(#[from] LocalSessionManagerError),
    #[error("a session has ended before its answer")]
    NoStream,
}

pub(super) struct Sessions {
    kept: LocalSessionManager,
    events: Events,
    owned: Owned,
    notices: CompletionNotices,
}

impl Sessions {
    pub(super) fn new(notices: CompletionNotices) -> Self {
        let events = Events::default();
        let mut kept = LocalSessionManager::default().with_event_store(Arc::new(events.clone()));
        kept.session_config = SessionConfig::default();
        kept.session_config.keep_alive = Some(SESSION_IDLE_LIMIT);
        kept.session_config.completed_cache_ttl = CANCELLED_CHANNEL_TTL;
        // Each stream begins with an event that names it; `priming` decides whether the client sees
        // it.
        kept.session_config.sse_retry = Some(RECONNECT_DELAY);
        Self { kept, events, owned: Owned::default(), notices }
    }

    /// Wraps the events of a stream: holds its session, and reports each event that the client has
    /// taken.
    fn watched(
        &self,
        id: &SessionId,
        stream: impl Stream<Item = ServerSseMessage> + Send + Sync + 'static,
    ) -> impl Stream<Item = ServerSseMessage> + Send + Sync + 'static {
        let attached = self.owned.attach(id);
        let (notices, events) = (self.notices.clone(), self.events.clone());
        let state = (Box::pin(stream), Sent::default(), attached, notices, events);
        stream::unfold(state, |(mut stream, sent, attached, notices, events)| async move {
            // The connection asks for the next event when it has taken the one before.
            sent.elicitation.inspect(|elicitation| notices.delivered(elicitation));
            sent.id.inspect(|id| events.taken(id));
            let event = stream.next().await?;
            let sent = Sent {
                elicitation: event.message.as_deref().and_then(elicitation_of),
                id: id_of(&event),
            };
            Some((event, (stream, sent, attached, notices, events)))
        })
    }

    /// Returns the event that a stream begins with, if the session's revision has one.
    fn priming(&self, id: &SessionId, event: Option<EventId>) -> Option<ServerSseMessage> {
        let revision = self.owned.revision(id)?;
        let event = event.filter(|_| revision.as_str() >= PRIMED_SINCE.as_str())?;
        Some(ServerSseMessage::priming(event.to_string(), RECONNECT_DELAY))
    }

    /// Returns the standalone stream of a session: the events missed from `next` on, then the live
    /// ones.
    async fn standalone(
        &self,
        id: &SessionId,
        next: Option<u64>,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        let live = self.kept.create_standalone_stream(id).await.map_err(ended)?;
        // Looked up after subscribing, so that no event is lost in between; one that is in both is
        // sent once.
        let (before, missed) = self.events.standalone(id, next);
        let last = missed.last().and_then(id_of).map(|last| last.index);
        let live = live.filter(move |event| {
            let is_new = id_of(event).is_none_or(|id| last.is_none_or(|last| id.index > last));
            std::future::ready(is_new)
        });
        let first = next.is_none().then(|| self.priming(id, before)).flatten();
        Ok(stream::iter(first.into_iter().chain(missed)).chain(live))
    }
}

/// Parts of an event to report once the client has taken it.
#[derive(Default)]
struct Sent {
    elicitation: Option<String>,
    id: Option<EventId>,
}

/// Events of a request's stream or of a session's standalone stream.
type Outgoing = Pin<Box<dyn Stream<Item = ServerSseMessage> + Send + Sync>>;

fn id_of(event: &ServerSseMessage) -> Option<EventId> {
    event.event_id.as_deref().and_then(EventId::parse)
}

/// Returns the caller of the current request; `None` outside of a request.
fn asking() -> Option<Caller> {
    ASKING.try_with(|asking| asking.caller.clone()).ok()
}

/// Keeps the answer for a client that wants JSON.
fn set_aside(answer: impl FnOnce() -> Arc<ServerJsonRpcMessage>) {
    let _ = ASKING.try_with(|asking| {
        if asking.wants_json {
            *asking.answer.borrow_mut() = Some(answer());
        }
    });
}

fn wants_json() -> bool {
    ASKING.try_with(|asking| asking.wants_json).unwrap_or(false)
}

fn refuse(refused: Refused) {
    let _ = ASKING.try_with(|asking| asking.refused.set(Some(refused)));
}

/// Refuses the request: the session has ended between two questions about it.
fn ended(error: LocalSessionManagerError) -> SessionsError {
    refuse(Refused::NoSession);
    error.into()
}

/// Returns the error for a client that resumes for an answer which is no longer kept.
fn gone(request: RequestId) -> ServerSseMessage {
    let error = ErrorData::new(
        REFUSED,
        "the answer to this request is not kept any more; the call may have run, so check that before you call again",
        None,
    );
    ServerSseMessage::from_message(ServerJsonRpcMessage::error(error, Some(request)))
}

impl SessionManager for Sessions {
    type Error = SessionsError;
    type Transport = WorkerTransport<LocalSessionWorker>;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), SessionsError> {
        let room = asking().ok_or(NoRoom).and_then(|caller| {
            let goes = self.owned.make_room(&caller)?;
            Ok((caller, goes))
        });
        let Ok((caller, goes)) = room else {
            refuse(Refused::TooMany);
            return Err(SessionsError::TooMany);
        };
        if let Some(goes) = goes {
            tracing::debug!("a session made room for another");
            self.events.end(&goes);
            self.kept.close_session(&goes).await?;
        }
        let (id, transport) = self.kept.create_session().await?;
        self.events.admit(&id, &caller);
        self.owned.admit(&id, caller);
        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, SessionsError> {
        let answer = self.kept.initialize_session(id, message).await.map_err(ended)?;
        if let JsonRpcMessage::Response(response) = &answer
            && let ServerResult::InitializeResult(result) = &response.result
        {
            self.owned.speaks(id, result.protocol_version.clone());
        }
        set_aside(|| Arc::new(answer.clone()));
        Ok(answer)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, SessionsError> {
        let is_open = asking().is_some_and(|caller| self.owned.is_open(id, &caller));
        if !is_open {
            refuse(Refused::NoSession);
        }
        Ok(is_open)
    }

    /// Called for a DELETE, or by rmcp when a session has ended.
    async fn close_session(&self, id: &SessionId) -> Result<(), SessionsError> {
        if asking().is_some_and(|caller| !self.owned.is_open(id, &caller)) {
            refuse(Refused::NoSession);
            return Ok(());
        }
        self.owned.forget(id);
        self.events.end(id);
        Ok(self.kept.close_session(id).await?)
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        let request = match &message {
            JsonRpcMessage::Request(request) => Some(request.id.clone()),
            _ => None,
        };
        let mut stream = Box::pin(self.kept.create_stream(id, message).await.map_err(ended)?);
        // The first event is there already, and names the stream.
        let first = stream.next().await.as_ref().and_then(id_of);
        let (Some(first), Some(caller)) = (first, asking()) else {
            refuse(Refused::NoSession);
            return Err(SessionsError::NoStream);
        };
        self.events.own(first.stream, id, &caller, request.clone());
        // The answer may have been stored before its stream was assigned to this request.
        let named = move |id: EventId| EventId { request: request.clone(), ..id };
        let priming = self.priming(id, Some(named(first)));
        if wants_json() {
            while let Some(event) = stream.next().await {
                let Some(answer) = event.message.filter(|message| events::is_answer(message))
                else {
                    continue;
                };
                // The notification cannot overtake this answer: the client accepts no event stream
                // to get it on.
                if let Some(elicitation) = elicitation_of(&answer) {
                    self.notices.delivered(&elicitation);
                }
                set_aside(|| answer);
                break;
            }
            return Ok(stream::empty().left_stream());
        }
        let stream = stream.map(move |mut event| {
            event.event_id = id_of(&event).map(|id| named(id).to_string());
            event
        });
        Ok(self.watched(id, stream::iter(priming).chain(stream)).right_stream())
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), SessionsError> {
        if let JsonRpcMessage::Notification(notification) = &message
            && let ClientNotification::CancelledNotification(cancelled) = &notification.notification
            && let Some(request) = &cancelled.params.request_id
        {
            self.events.cancelled(id, request);
        }
        self.kept.accept_message(id, message).await.map_err(ended)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        let stream = self.standalone(id, None).await?;
        Ok(self.watched(id, stream))
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        let last = EventId::parse(&last_event_id);
        let found =
            last.map_or(Found::Unknown, |last| self.events.after(id, &last, Instant::now()));
        let stream: Outgoing = match found {
            Found::Request { stream, next } => Box::pin(self.events.follow(stream, next)),
            Found::Standalone { next } => Box::pin(self.standalone(id, Some(next)).await?),
            Found::Gone(request) => Box::pin(stream::iter([gone(request)])),
            Found::Finished => {
                refuse(Refused::Finished);
                Box::pin(stream::empty())
            }
            // An empty stream, so that a browser does not reconnect for ever.
            Found::Unknown => Box::pin(stream::empty()),
        };
        Ok(self.watched(id, stream))
    }
}
