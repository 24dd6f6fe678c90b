//! Who calls: the gate before `/mcp`, `/sse` and `/messages`.
//!
//! In this order, each before anything is read of the body: for which host the request is meant,
//! which site's page sent it, who sends it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Origins;
use crate::model::Principal;

/// Who is let through, and as whom.
#[derive(Clone)]
pub enum Gate {
    /// One person, whose machine this is.
    Local(Arc<Principal>),
}

/// What a request has to pass.
#[derive(Clone)]
pub struct Guard {
    pub origins: Origins,
    pub gate: Gate,
}

pub async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    // DNS rebinding: a page of evil.example, whose name has come to mean 127.0.0.1, still says
    // `Host: evil.example`.
    if !guard.origins.admit(request.headers()) {
        return (StatusCode::MISDIRECTED_REQUEST, "this is another host").into_response();
    }
    // A browser's script from anywhere but here (basic/transports/streamable-http, security).
    if request
        .headers()
        .get_all(header::ORIGIN)
        .iter()
        .any(|origin| !origin.to_str().is_ok_and(|origin| guard.origins.contain(origin)))
    {
        return (StatusCode::FORBIDDEN, "another site's page sent this").into_response();
    }
    match &guard.gate {
        Gate::Local(principal) => {
            request.extensions_mut().insert(Arc::clone(principal));
        }
    }
    next.run(request).await
}
