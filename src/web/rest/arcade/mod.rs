//! The part of Arcade's REST API that applications call here, in the shapes that Arcade's clients
//! know.

pub mod confirm_user;
mod response;
pub mod user_connections;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::RestState;
use crate::web::gate;

/// Middleware that puts the [`Application`](crate::identity::Application) whose key the request
/// carries into its extensions, or refuses the request before any of its body is read.
pub(in crate::web) async fn require_application(
    State(RestState { broker, authenticator }): State<RestState>,
    mut request: Request,
    next: Next,
) -> Response {
    match authenticator.application(request.headers()) {
        Ok(application) => {
            request.extensions_mut().insert(application);
            next.run(request).await
        }
        Err(denied) => {
            gate::record(broker.events(), denied.reason(), denied.status());
            response::refused(&denied)
        }
    }
}
