//! Health checks of the served port.

use axum::extract::State;
use axum::http::StatusCode;

use crate::broker::Broker;
use crate::store::Readiness;

/// `GET /health`: 200 `ok` while the server can serve its users, and 503 while its store fails or is
/// not open; the first word of the body says which.
pub(super) async fn ready(State(broker): State<Broker>) -> (StatusCode, &'static str) {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    match broker.readiness().await {
        Readiness::Ready => (StatusCode::OK, "ok\n"),
        Readiness::StoreFailing => (unavailable, "store_failing; the log says why\n"),
        Readiness::StoreNotOpened => (unavailable, "store_not_opened; the log says why\n"),
        Readiness::StoreOpening => (unavailable, "store_opening; ask again in a second\n"),
    }
}

/// `GET /health/live`: 200 for as long as the process answers.
pub(super) async fn live() -> &'static str {
    "ok\n"
}
