//! MCP over Streamable HTTP, at `/mcp`: 2026-07-28 without sessions, the older revisions with them.
//!
//! rmcp speaks the protocol. This module adds limits on the body, which is read once; JSON-RPC
//! errors for malformed messages; sessions bound to the caller who opened them
//! ([`super::sessions`]); content negotiation ([`super::accept_header`]); signs of life during long
//! requests ([`super::keep_alive`]); and a fast path for the most frequent request
//! ([`super::fast_path`]).

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, any};
use futures_util::FutureExt as _;
use rmcp::model::ServerJsonRpcMessage;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;

use super::accept_header::{self, Accepts};
use super::body::{self, Refusal, json_response};
use super::consent_query;
use super::fast_path::{self, FastPath};
use super::keep_alive::{self, KeepsAlive, MAX_SILENCE};
use super::limits::{HoldingBody, Run, Running};
use super::sessions::{Asked, Refused, Sessions, asked_by};
use crate::mcp::Handler;
use crate::mcp::progress::ProgressChannel;
use crate::model::{Caller, Principal};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// Returns the handler of `/mcp`. Each request must carry its `Arc<Principal>` in the extensions,
/// and its `Host` and `Origin` must have been checked. `ended` ends every session and stream, and
/// the calls that still run in them.
pub fn handler(handler: Handler, running: Running, ended: CancellationToken) -> MethodRouter {
    let config = StreamableHttpServerConfig::default()
        .with_json_response(true)
        // `Sessions` decides which of its streams begin with an event without data.
        .with_sse_retry(None)
        .with_max_request_body_bytes(body::MAX_BODY_BYTES)
        // The gate has checked `Host` against our own names.
        .disable_allowed_hosts()
        .with_cancellation_token(ended);
    let fast_path = FastPath::new(handler.clone());
    let sessions = Arc::new(Sessions::new(handler.completion_notices().clone()));
    let streams =
        StreamableHttpService::new(move || Ok(handler.for_connection()), sessions, config);
    let mut requests = streams.clone();
    requests.config.sse_keep_alive = Some(MAX_SILENCE);
    let face = Face { requests, streams, fast_path, running };
    any(answer).with_state(Arc::new(face))
}

type Service = StreamableHttpService<Handler, Sessions>;

struct Face {
    /// Handles POST. Its streams send a sign of life every [`MAX_SILENCE`].
    requests: Service,
    /// Handles GET and DELETE, over the same sessions.
    streams: Service,
    fast_path: FastPath,
    running: Running,
}

async fn answer(State(face): State<Arc<Face>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some(principal) = parts.extensions.get::<Arc<Principal>>().cloned() else {
        return Refusal::unauthenticated().into_response();
    };
    match consent_query::mode_of(&parts.uri) {
        Ok(mode) => drop(mode.and_then(|mode| parts.extensions.insert(mode))),
        Err(refusal) => return refusal.into_response(),
    }
    let answered = match parts.method {
        Method::POST => face.post(parts, body, &principal.caller).await,
        _ => face.other(parts, &principal.caller).await,
    };
    answered.unwrap_or_else(Refusal::into_response)
}

impl Face {
    async fn post(
        self: Arc<Self>,
        mut parts: Parts,
        body: Body,
        caller: &Caller,
    ) -> Result<Response, Refusal> {
        let accepts = Accepts::of(&parts.headers);
        if accepts.nothing() {
            return Err(Refusal::not_acceptable(
                "the answer is application/json or text/event-stream, and `Accept` excludes both",
            ));
        }
        let busy = || Refusal::busy("too many requests are running; try again later");
        // Before the body is read: one caller must not have thousands of bodies in memory.
        let run = self.running.begin(caller).ok_or_else(busy)?;
        let body = body::read(&parts.headers, body).await?;
        parts.extensions.insert(run.clone());
        let progress = ProgressChannel::new();
        let reports = progress.reports();
        parts.extensions.insert(KeepsAlive(progress));
        let work = self.work(parts, body.clone(), caller.clone(), accepts).boxed();
        let response = keep_alive::answer(work, accepts, body, reports).await;
        Ok(response.map(|body| Body::new(HoldingBody::<_, Run>::holding(run, body))))
    }

    async fn work(
        self: Arc<Self>,
        parts: Parts,
        body: Bytes,
        caller: Caller,
        accepts: Accepts,
    ) -> Response {
        if let Some(call) = fast_path::recognize(&parts.headers, &body) {
            return self.fast_path.answer(call, parts).await;
        }
        let request = Request::from_parts(parts, Body::from(body.clone()));
        by_rmcp(&self.requests, request, caller, !accepts.events, || Refusal::malformed(&body))
            .await
            .unwrap_or_else(Refusal::into_response)
    }

    /// Handles GET, which opens a session's stream, and DELETE, which ends a session. No call runs
    /// here.
    async fn other(self: Arc<Self>, parts: Parts, caller: &Caller) -> Result<Response, Refusal> {
        let is_delete = parts.method == Method::DELETE;
        if parts.method == Method::GET && !Accepts::of(&parts.headers).events {
            let why = "the answer is text/event-stream, and `Accept` excludes it";
            return Err(Refusal::not_acceptable(why));
        }
        let share = self.running.stream(caller);
        // DELETE needs no free slot: a client can always end its session.
        if share.is_none() && !is_delete {
            return Err(Refusal::busy("too many streams are open; try again later"));
        }
        let request = Request::from_parts(parts, Body::empty());
        let answered =
            by_rmcp(&self.streams, request, caller.clone(), false, Refusal::unauthenticated).await;
        let mut response = answered?;
        // Clients complain about rmcp's 202: the session has ended already.
        if is_delete && response.status() == StatusCode::ACCEPTED {
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        Ok(response.map(|body| Body::new(HoldingBody::holding(share, body))))
    }
}

/// Passes a request to rmcp, for a client that accepts the type of the answer.
async fn by_rmcp(
    service: &Service,
    mut request: Request,
    caller: Caller,
    wants_json: bool,
    malformed: impl FnOnce() -> Refusal,
) -> Result<Response, Refusal> {
    // rmcp requires both types by name.
    request.headers_mut().insert(header::ACCEPT, accept_header::BOTH);
    let work = Box::pin(service.handle(request));
    let (response, Asked { refused, answer }) = asked_by(caller, wants_json, work).await;
    match refused {
        Some(Refused::TooMany) => return Err(Refusal::full("every session has an open stream")),
        Some(Refused::NoSession) => return Err(Refusal::no_session()),
        // Clients read this status as "no stream here" and stop. They would resume an empty stream
        // again and again, with one connection for each call.
        Some(Refused::Finished) => return Err(Refusal::finished()),
        None => {}
    }
    // rmcp's status for a body that is no message; the Content-Type has been checked before.
    if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        return Err(malformed());
    }
    match answer {
        Some(answer) => Ok(as_json(&answer, response.headers())),
        None => Ok(body::as_json_rpc(response.map(Body::new)).await),
    }
}

/// Returns a session's answer as JSON, with the id of the session that it may have begun.
fn as_json(answer: &ServerJsonRpcMessage, headers: &HeaderMap) -> Response {
    let mut response = match serde_json::to_vec(answer) {
        Ok(body) => json_response(StatusCode::OK, body),
        Err(error) => Refusal::internal_error(error).into_response(),
    };
    if let Some(session) = headers.get(SESSION) {
        response.headers_mut().insert(SESSION, session.clone());
    }
    response
}
