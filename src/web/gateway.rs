//! The gate before a gateway, `/mcp/{name}`: admits callers to the tools that `[gateways]` lists.

use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::gate::Address;
use super::rest::RestState;

/// Middleware like [`gate`](super::gate::gate), whose principal may use the gateway's tools only. A
/// name that is not in `[gateways]` is 404 for callers with good credentials alone: others learn no
/// names.
pub(super) async fn admit(
    State(RestState { broker, gate, .. }): State<RestState>,
    Path(name): Path<String>,
    request: Request,
    next: Next,
) -> Response {
    let tools = broker.catalogue().gateways().tools(&name);
    gate.admit(tools.map_or(Address::NoGateway, Address::Gateway), request, next).await
}
