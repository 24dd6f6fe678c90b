//! Metadata about the issuer of tokens for this server (RFC 9728).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    CACHE_CONTROL, CONTENT_TYPE,
};
use axum::response::{IntoResponse as _, Response};

use crate::identity::ResourceMetadata;

/// The well-known address of the resource `/mcp` (RFC 9728 §3.1: the resource's path comes last).
pub const RESOURCE: &str = "/.well-known/oauth-protected-resource/mcp";
/// Well-known address for clients that take the whole server for the resource.
pub(super) const ROOT: &str = "/.well-known/oauth-protected-resource";

/// The metadata document, as JSON.
#[derive(Clone)]
pub(super) struct Metadata(Arc<str>);

impl Metadata {
    pub(super) fn of(metadata: &ResourceMetadata) -> Option<Self> {
        serde_json::to_string(metadata).ok().map(|json| Self(json.into()))
    }
}

pub(super) async fn metadata(State(Metadata(json)): State<Metadata>) -> Response {
    // Clients in browsers read it from their own origin; it is no secret.
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (CACHE_CONTROL, "max-age=3600"),
    ];
    (headers, json.to_string()).into_response()
}

/// Clients in browsers also send `MCP-Protocol-Version`, for which the browser sends a preflight.
pub(super) async fn preflight() -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "*"),
        (ACCESS_CONTROL_ALLOW_METHODS, "GET"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}
