//! Metadata about the issuer of tokens for this server (RFC 9728), and health checks.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    CACHE_CONTROL, CONTENT_TYPE,
};
use axum::response::IntoResponse as _;
use axum::routing::get;

use crate::broker::Broker;
use crate::identity::ResourceMetadata;
use crate::store::Readiness;

/// The well-known address of the resource `/mcp` (RFC 9728 §3.1: the resource's path comes last).
pub const RESOURCE: &str = "/.well-known/oauth-protected-resource/mcp";
/// Well-known address for clients that take the whole server for the resource.
pub(super) const ROOT: &str = "/.well-known/oauth-protected-resource";

/// Routes of `/health` and, if there is an issuer to send clients to, of the metadata.
///
/// `GET /health` is 200 `ok` while the server can serve its users, and 503 while its store fails or
/// is not open; the first word of the body says which. `GET /health/live` is 200 for as long as the
/// process answers.
pub fn routes(broker: Broker, metadata: Option<&ResourceMetadata>) -> Router {
    let health = get(async move || {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match broker.readiness().await {
            Readiness::Ready => (StatusCode::OK, "ok\n"),
            Readiness::StoreFailing => (unavailable, "store_failing; the log says why\n"),
            Readiness::StoreNotOpened => (unavailable, "store_not_opened; the log says why\n"),
            Readiness::StoreOpening => (unavailable, "store_opening; ask again in a second\n"),
        }
    });
    let routes = Router::new().route("/health", health).route("/health/live", get(async || "ok\n"));
    let Some(written) = metadata.and_then(|metadata| serde_json::to_string(metadata).ok()) else {
        return routes;
    };
    let written: Arc<str> = written.into();
    // Clients in browsers also send `MCP-Protocol-Version`, for which the browser sends a
    // preflight.
    let preflight = async || {
        let headers = [
            (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (ACCESS_CONTROL_ALLOW_HEADERS, "*"),
            (ACCESS_CONTROL_ALLOW_METHODS, "GET"),
        ];
        (StatusCode::NO_CONTENT, headers)
    };
    let answer = get(async move || {
        // Clients in browsers read it from their own origin; it is no secret.
        let headers = [
            (CONTENT_TYPE, "application/json"),
            (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (CACHE_CONTROL, "max-age=3600"),
        ];
        (headers, written.to_string()).into_response()
    });
    let answer = answer.options(preflight);
    routes.route(RESOURCE, answer.clone()).route(ROOT, answer)
}
