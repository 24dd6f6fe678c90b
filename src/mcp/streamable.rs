//! MCP over Streamable HTTP, at `/mcp`: 2026-07-28 without sessions, the older revisions with them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rmcp::transport::streamable_http_server::session::local::{LocalSessionManager, SessionConfig};
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;

use super::Handler;

/// How long a session lives that nobody uses: longer than a person takes for a consent.
const IDLE: Duration = Duration::from_hours(1);
/// A call is a name and arguments.
const LARGEST: usize = 1 << 20;

/// `/mcp`. Who calls must stand in each request's extensions, and its `Host` and `Origin` must have
/// been looked at. `ended` ends every session and stream.
pub fn routes(handler: Handler, ended: CancellationToken) -> Router {
    let mut sessions = LocalSessionManager::default();
    sessions.session_config = SessionConfig::default();
    sessions.session_config.keep_alive = Some(IDLE);
    let config = StreamableHttpServerConfig::default()
        .with_json_response(true)
        .with_max_request_body_bytes(LARGEST)
        .disable_allowed_hosts()
        .with_cancellation_token(ended);
    let service =
        StreamableHttpService::new(move || Ok(handler.clone()), Arc::new(sessions), config);
    Router::new().route_service("/mcp", service)
}
