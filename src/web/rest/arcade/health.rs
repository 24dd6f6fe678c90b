//! `GET /v1/health`: whether the server can serve its users.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use crate::broker::Broker;
use crate::store::Readiness;
use crate::web::rest::answer::json;

pub(in crate::web) const PATH: &str = "/v1/health";

/// Whether the server can serve its users.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct Health {
    healthy: bool,
    /// Why it cannot, as a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

pub(in crate::web) async fn health(State(broker): State<Broker>) -> Response {
    let reason = match broker.readiness().await {
        Readiness::Ready => None,
        Readiness::StoreFailing => Some("store_failing"),
        Readiness::StoreNotOpened => Some("store_not_opened"),
        Readiness::StoreOpening => Some("store_opening"),
    };
    let healthy = reason.is_none();
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &Health { healthy, reason })
}
