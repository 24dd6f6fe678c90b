//! MCP over HTTP with server-sent events, as of 2024-11-05: `GET /sse` is the way out, `POST /messages`
//! the way in.
//!
//! ```text
//! GET /sse                       event: endpoint   data: /messages?sessionId=…
//! POST /messages?sessionId=…     202
//!                                event: message    data: {"jsonrpc":"2.0",…}
//! ```
//!
//! A session is its stream: it ends with it, and only who opened it may write to it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures_util::{Stream, StreamExt as _, stream};
use parking_lot::Mutex;
use rmcp::ServiceExt as _;
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use secrecy::ExposeSecret as _;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::form_urlencoded;

use super::{Announcements, Handler};
use crate::model::{Caller, Principal, secret};

/// Messages on their way to either side.
const QUEUE: usize = 64;
/// A call is a name and arguments.
const LARGEST: usize = 1 << 20;
/// How often a silent stream shows that it lives: below what proxies wait for.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `/sse` and `/messages`. Who calls must stand in each request's extensions, and its `Host` and
/// `Origin` must have been looked at. `ended` ends every stream.
pub fn routes(handler: Handler, announcements: Announcements, ended: CancellationToken) -> Router {
    let face = Arc::new(Face { handler, announcements, ended, sessions: Mutex::default() });
    Router::new().route("/sse", get(open)).route("/messages", post(message)).with_state(face)
}

struct Face {
    handler: Handler,
    announcements: Announcements,
    ended: CancellationToken,
    sessions: Mutex<HashMap<String, Session>>,
}

struct Session {
    caller: Caller,
    incoming: mpsc::Sender<RxJsonRpcMessage<RoleServer>>,
}

/// Ends a session with its stream.
struct Ending {
    face: Arc<Face>,
    id: String,
    _running: DropGuard,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.face.sessions.lock().remove(&self.id);
    }
}

async fn open(State(face): State<Arc<Face>>, request: Request) -> Response {
    let Some(principal) = request.extensions().get::<Arc<Principal>>() else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let id = secret::random_ticket().expose_secret().to_owned();
    let (incoming, from_client) = mpsc::channel(QUEUE);
    let (to_client, outgoing) = mpsc::channel(QUEUE);
    let session = Session { caller: principal.caller.clone(), incoming };
    face.sessions.lock().insert(id.clone(), session);
    let running = CancellationToken::new();
    let ending =
        Ending { face: Arc::clone(&face), id: id.clone(), _running: running.clone().drop_guard() };
    let transport = face.announcements.watch(Pipe { from_client, to_client });
    let handler = face.handler.clone();
    tokio::spawn(async move {
        match handler.serve_with_ct(transport, running).await {
            Ok(running) => drop(running.waiting().await),
            Err(error) => tracing::debug!(%error, "a client left before the protocol began"),
        }
    });
    let endpoint = Event::default().event("endpoint").data(format!("/messages?sessionId={id}"));
    let events = stream::once(std::future::ready(endpoint)).chain(events(outgoing));
    let events = events.map(move |event| {
        let _held = &ending;
        Ok::<_, Infallible>(event)
    });
    let events = events.take_until(face.ended.clone().cancelled_owned());
    let mut response =
        Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

fn events(outgoing: mpsc::Receiver<TxJsonRpcMessage<RoleServer>>) -> impl Stream<Item = Event> {
    stream::unfold(outgoing, |mut outgoing| async move {
        let message = outgoing.recv().await?;
        let text = serde_json::to_string(&message).ok()?;
        Some((Event::default().event("message").data(text), outgoing))
    })
}

async fn message(State(face): State<Arc<Face>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(principal) = parts.extensions.get::<Arc<Principal>>() else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let query = parts.uri.query().unwrap_or_default();
    let id = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "sessionId");
    let incoming = id.and_then(|(_, id)| {
        let sessions = face.sessions.lock();
        let session = sessions.get(id.as_ref())?;
        (session.caller == principal.caller).then(|| session.incoming.clone())
    });
    let Some(incoming) = incoming else {
        return (StatusCode::NOT_FOUND, "there is no such session").into_response();
    };
    let body: Bytes = match axum::body::to_bytes(body, LARGEST).await {
        Ok(body) => body,
        Err(_) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    };
    let Ok(mut message) = serde_json::from_slice::<RxJsonRpcMessage<RoleServer>>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    message.insert_extension(parts);
    match incoming.try_send(message) {
        Ok(()) => (StatusCode::ACCEPTED, "Accepted").into_response(),
        Err(mpsc::error::TrySendError::Full(_)) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Err(mpsc::error::TrySendError::Closed(_)) => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The two queues of a session, as rmcp takes them.
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
