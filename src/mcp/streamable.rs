//! MCP over Streamable HTTP, at `/mcp`: 2026-07-28 without sessions, the older revisions with them.
//!
//! rmcp speaks the protocol. Around it: a body is read under limits and once, what is no message is
//! answered as JSON-RPC says, sessions belong to whoever opened them ([`super::sessions`]), and the
//! one request that is worth it takes a shorter way ([`super::direct`]).

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;

use super::Handler;
use super::body::{self, Refusal};
use super::consent_query;
use super::direct::{self, Direct};
use super::running::{Running, Sent};
use super::sessions::{COME_BACK, Refused, Sessions, asked_by};
use crate::model::Principal;

/// `/mcp`. Who calls must stand in each request's extensions, and its `Host` and `Origin` must have
/// been looked at. `ended` ends every session and stream, and what still runs in them.
pub fn routes(handler: Handler, running: Running, ended: CancellationToken) -> Router {
    let config = StreamableHttpServerConfig::default()
        .with_json_response(true)
        .with_sse_retry(Some(COME_BACK))
        .with_max_request_body_bytes(body::LARGEST)
        // The gate before us knows our names better.
        .disable_allowed_hosts()
        .with_cancellation_token(ended);
    let direct = Direct::new(handler.clone());
    let sessions = Arc::new(Sessions::new(handler.announcements().clone()));
    let service =
        StreamableHttpService::new(move || Ok(handler.for_connection()), sessions, config);
    Router::new().route("/mcp", any(answer)).with_state(Arc::new(Face { service, direct, running }))
}

struct Face {
    service: StreamableHttpService<Handler, Sessions>,
    direct: Direct,
    running: Running,
}

async fn answer(State(face): State<Arc<Face>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some(principal) = parts.extensions.get::<Arc<Principal>>().cloned() else {
        return Refusal::nobody().into_response();
    };
    match consent_query::mode_of(&parts.uri) {
        Ok(mode) => drop(mode.and_then(|mode| parts.extensions.insert(mode))),
        Err(refusal) => return refusal.into_response(),
    }
    let answered = match parts.method {
        Method::POST => face.post(parts, body, &principal).await,
        _ => face.other(parts, &principal).await,
    };
    answered.unwrap_or_else(Refusal::into_response)
}

impl Face {
    async fn post(
        &self,
        mut parts: Parts,
        body: Body,
        principal: &Principal,
    ) -> Result<Response, Refusal> {
        let busy = || Refusal::busy("too many requests run at the moment");
        // Before the body, of which one caller must not have thousands in memory.
        let run = self.running.begin(&principal.caller).ok_or_else(busy)?;
        let body = body::read(&parts.headers, body).await?;
        parts.extensions.insert(run.clone());
        let response = if let Some(call) = direct::recognize(&parts.headers, &body) {
            self.direct.answer(call, parts).await
        } else {
            let request = Request::from_parts(parts, Body::from(body.clone()));
            self.by_rmcp(request, principal, || Refusal::malformed(&body)).await?
        };
        Ok(response.map(|body| Body::new(Sent::holding(run, body))))
    }

    /// Streams of sessions are opened and sessions ended; nothing runs.
    async fn other(&self, parts: Parts, principal: &Principal) -> Result<Response, Refusal> {
        let is_delete = parts.method == Method::DELETE;
        let share = self.running.stream(&principal.caller);
        // A session can always be ended.
        if share.is_none() && !is_delete {
            return Err(Refusal::busy("there are too many streams"));
        }
        let request = Request::from_parts(parts, Body::empty());
        let mut response = self.by_rmcp(request, principal, Refusal::nobody).await?;
        // Clients complain of rmcp's 202: it is done, not accepted.
        if is_delete && response.status() == StatusCode::ACCEPTED {
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        Ok(response.map(|body| Body::new(Sent::holding(share, body))))
    }

    async fn by_rmcp(
        &self,
        request: Request,
        principal: &Principal,
        malformed: impl FnOnce() -> Refusal,
    ) -> Result<Response, Refusal> {
        let work = Box::pin(self.service.handle(request));
        let (response, refused) = asked_by(principal.caller.clone(), work).await;
        match refused {
            Some(Refused::TooMany) => {
                return Err(Refusal::full("every session has an open stream"));
            }
            Some(Refused::NoSession) => return Err(Refusal::no_session()),
            None => {}
        }
        // Its word for a body that is no message; the Content-Type has been looked at before.
        if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            return Err(malformed());
        }
        Ok(response.map(Body::new))
    }
}
