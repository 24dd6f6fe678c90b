//! The HTTP face for browsers. One table of routes; what it decides is only how to say it.
//!
//! | route | |
//! |---|---|
//! | `GET /connect/{ticket}` | shows who asks for what; changes nothing |
//! | `POST /connect/{ticket}` | sends this browser to the provider, takes what was pasted, or answers the page: declines, confirms or keeps an account, disconnects |
//! | `GET /oauth/callback/{provider}` | finishes, and sends the browser on to a clean address |
//! | `GET /health` | whether the process serves; on the served port |

pub mod auth;
pub mod confirm;
mod connect;
mod denied;
pub mod listener;
pub mod neighbours;
mod page;
pub mod reach;
pub mod server;
mod shield;
pub mod well_known;

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Extension, Router};

use crate::broker::{Broker, Visitor};
use page::{Kind, Page};
pub use shield::Origins;

/// What everybody may ask the served port.
pub fn open_routes() -> Router {
    Router::new().route("/health", get(async || "ok\n"))
}

/// The routes of the loopback listener, behind their shield.
pub fn router(broker: Broker, origins: Origins) -> Router {
    Router::new()
        .route("/connect/{ticket}", get(connect::show).post(connect::answer))
        .route("/oauth/callback/{provider}", get(connect::callback))
        .fallback(async || {
            let lines = vec!["There is nothing at this address.".into()];
            Page::new(StatusCode::NOT_FOUND, Kind::Bad, "Nothing here", lines)
        })
        .method_not_allowed_fallback(async || {
            let lines = vec!["This address is not used in this way.".into()];
            Page::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Bad, "Not like this", lines)
        })
        .layer(Extension(Visitor::Loopback))
        .layer(axum::middleware::from_fn_with_state(origins, shield::shield))
        .with_state(broker)
}
