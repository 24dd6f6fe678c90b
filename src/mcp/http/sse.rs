//! MCP over HTTP with server-sent events (2024-11-05): the server sends on `GET /sse`, and the
//! client on `POST /messages`.
//!
//! ```text
//! GET /sse                       event: endpoint   data: /messages?sessionId=…
//! POST /messages?sessionId=…     202
//!                                event: message    data: {"jsonrpc":"2.0",…}
//! ```
//!
//! A session ends with its stream, and only the caller who opened it may send to it. Answers come
//! on the stream, so a request counts as running from its POST until its answer is sent.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use futures_util::{Stream, StreamExt as _, stream};
use parking_lot::Mutex;
use rmcp::ServiceExt as _;
use rmcp::model::{ClientNotification, JsonRpcMessage, RequestId};
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use secrecy::ExposeSecret as _;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::form_urlencoded;

use super::body::{self, Refusal};
use super::consent_query;
use super::limits::{Run, Running, Slot};
use crate::mcp::Handler;
use crate::model::{Caller, ConsentMode, Principal, secret};

/// Messages queued in each direction. If the queue is full, a client's message is refused with 503,
/// and a message to the client waits.
const MAX_QUEUED_MESSAGES: usize = 64;
/// Interval of signs of life on a silent stream, below the timeouts of proxies.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Returns the handlers of `/sse` and `/messages`, in this order. Each request must carry its
/// `Arc<Principal>` in the extensions, and its `Host` and `Origin` must have been checked. `ended`
/// ends every stream, and the calls that still run in it.
pub fn handlers(
    handler: Handler,
    running: Running,
    ended: CancellationToken,
) -> (MethodRouter, MethodRouter) {
    let face = Arc::new(Face { handler, running, ended, open: Mutex::default() });
    (get(open).with_state(Arc::clone(&face)), post(message).with_state(face))
}

struct Face {
    handler: Handler,
    running: Running,
    ended: CancellationToken,
    /// By session id.
    open: Mutex<HashMap<String, Session>>,
}

#[derive(Clone)]
struct Session {
    caller: Caller,
    /// Consent mode in the URL that opened the session.
    consent: Option<ConsentMode>,
    incoming: mpsc::Sender<RxJsonRpcMessage<RoleServer>>,
    unanswered: Unanswered,
}

/// Requests whose answers have not been sent.
type Unanswered = Arc<Mutex<HashMap<RequestId, Run>>>;

/// Ends a session when its stream is dropped.
struct Ending {
    face: Arc<Face>,
    id: String,
    _share: Slot,
    _running: DropGuard,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.face.open.lock().remove(&self.id);
    }
}

async fn open(State(face): State<Arc<Face>>, request: Request) -> Response {
    let Some(principal) = request.extensions().get::<Arc<Principal>>() else {
        return Refusal::unauthenticated().into_response();
    };
    let consent = match consent_query::mode_of(request.uri()) {
        Ok(consent) => consent,
        Err(refusal) => return refusal.into_response(),
    };
    let id = secret::random().expose_secret().to_owned();
    let (incoming, from_client) = mpsc::channel(MAX_QUEUED_MESSAGES);
    let (to_client, outgoing) = mpsc::channel(MAX_QUEUED_MESSAGES);
    let unanswered = Unanswered::default();
    let caller = principal.caller.clone();
    let Some(share) = face.running.stream(&caller) else {
        return Refusal::busy("too many streams are open; try again later").into_response();
    };
    let session = Session { caller, consent, incoming, unanswered: Arc::clone(&unanswered) };
    face.open.lock().insert(id.clone(), session);
    let running = face.ended.child_token();
    let ending = Ending {
        face: Arc::clone(&face),
        id: id.clone(),
        _share: share,
        _running: running.clone().drop_guard(),
    };
    let transport = face.handler.completion_notices().watch(Pipe { from_client, to_client });
    let handler = face.handler.for_connection();
    tokio::spawn(async move {
        if let Ok(running) = Box::pin(handler.serve_with_ct(transport, running)).await {
            drop(running.waiting().await);
        } else {
            // The error may quote the client.
            tracing::debug!("a client disconnected before the handshake");
        }
    });
    let endpoint = Event::default().event("endpoint").data(format!("/messages?sessionId={id}"));
    let events = stream::once(std::future::ready(endpoint)).chain(events(outgoing, unanswered));
    let events = events.map(move |event| {
        let _held = &ending;
        Ok::<_, Infallible>(event)
    });
    let events = events.take_until(face.ended.clone().cancelled_owned());
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE_INTERVAL);
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// Returns the messages to the client as events. A request ends when its answer has been taken.
fn events(
    outgoing: mpsc::Receiver<TxJsonRpcMessage<RoleServer>>,
    unanswered: Unanswered,
) -> impl Stream<Item = Event> {
    let state = (outgoing, unanswered, None::<Run>);
    stream::unfold(state, |(mut outgoing, unanswered, gone)| async move {
        // The connection asks for the next event when it has taken the one before.
        drop(gone);
        let message = outgoing.recv().await?;
        let id = match &message {
            JsonRpcMessage::Response(response) => Some(&response.id),
            JsonRpcMessage::Error(error) => error.id.as_ref(),
            _ => None,
        };
        let going = id.and_then(|id| unanswered.lock().remove(id));
        let text = serde_json::to_string(&message).ok()?;
        let event = Event::default().event("message").data(text);
        Some((event, (outgoing, unanswered, going)))
    })
}

async fn message(State(face): State<Arc<Face>>, request: Request) -> Response {
    face.take(request).await.unwrap_or_else(Refusal::into_response)
}

impl Face {
    /// Passes a client's message to its session.
    async fn take(&self, request: Request) -> Result<Response, Refusal> {
        let (mut parts, body) = request.into_parts();
        let principal =
            parts.extensions.get::<Arc<Principal>>().ok_or_else(Refusal::unauthenticated)?;
        let session = self.session(parts.uri.query().unwrap_or_default(), &principal.caller);
        let session = session.ok_or_else(Refusal::no_session)?;
        let busy = || Refusal::busy("too many requests are running; try again later");
        // Before the body is read, as at `/mcp`. A message that is no request frees the slot at
        // once.
        let run = self.running.begin(&session.caller).ok_or_else(busy)?;
        let body = body::read(&parts.headers, body).await?;
        let mut message: RxJsonRpcMessage<RoleServer> =
            serde_json::from_slice(&body).map_err(|_| Refusal::malformed(&body))?;
        let place = session.incoming.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => busy(),
            mpsc::error::TrySendError::Closed(()) => Refusal::no_session(),
        })?;
        match &message {
            JsonRpcMessage::Request(request) => {
                parts.extensions.insert(run.clone());
                session.unanswered.lock().insert(request.id.clone(), run);
            }
            // A cancelled request is not answered.
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) =
                    &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    session.unanswered.lock().remove(id);
                }
            }
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {}
        }
        if let Some(consent) = session.consent {
            parts.extensions.insert(consent);
        }
        message.insert_extension(parts);
        place.send(message);
        Ok((StatusCode::ACCEPTED, "Accepted").into_response())
    }

    /// Returns the session that a query names, if it is this caller's.
    fn session(&self, query: &str, caller: &Caller) -> Option<Session> {
        let mut named = form_urlencoded::parse(query.as_bytes())
            .filter_map(|(name, value)| (name == "sessionId").then_some(value));
        let (Some(id), None) = (named.next(), named.next()) else { return None };
        self.open.lock().get(id.as_ref()).filter(|session| session.caller == *caller).cloned()
    }
}

/// The two queues of a session, as a transport for rmcp.
struct Pipe {
    from_client: mpsc::Receiver<RxJsonRpcMessage<RoleServer>>,
    to_client: mpsc::Sender<TxJsonRpcMessage<RoleServer>>,
}

impl Transport<RoleServer> for Pipe {
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let to_client = self.to_client.clone();
        async move { to_client.send(item).await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe)) }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        self.from_client.recv().await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.from_client.close();
        Ok(())
    }
}
