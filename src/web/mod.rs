//! The HTTP face for browsers. One table of routes; what it decides is only how to say it.
//!
//! | route | |
//! |---|---|
//! | `GET /connect/{ticket}` | shows who asks for what; changes nothing |
//! | `POST /connect/{ticket}` | sends this browser to the provider, takes what was pasted, or answers the page: declines, confirms or keeps an account, disconnects |
//! | `GET /oauth/callback/{provider}` | finishes, and sends the browser on to a clean address |
//! | `GET`, `POST /connections` | [a person's accounts](accounts) |

pub mod accounts;
pub mod auth;
pub mod confirm;
mod connect;
mod denied;
pub mod listener;
mod page;
pub mod reach;
pub mod server;
mod shield;
pub mod well_known;

use std::sync::Arc;

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Extension, Router};

use crate::broker::{Broker, Visitor};
use crate::model::Principal;
use accounts::Person;
use page::{Kind, Page};
pub use shield::Origins;

/// The routes of the loopback listener, behind their shield.
pub fn router(broker: Broker, origins: Origins) -> Router {
    let routes = Router::new()
        .route("/connect/{ticket}", get(connect::show).post(connect::answer))
        .route("/oauth/callback/{provider}", get(connect::callback))
        .layer(Extension(Visitor::Loopback));
    shielded(routes.with_state(broker), origins)
}

/// The pages of a port that only the person of this machine is served on, behind their shield.
pub fn local(broker: Broker, principal: Arc<Principal>, origins: Origins) -> Router {
    let name = principal.caller.user.to_string();
    let person = Person { principal, name, has_signed_in: false };
    let routes = accounts::routes().layer(Extension(person));
    shielded(routes.with_state(broker), origins)
}

/// What holds for every page.
fn shielded(routes: Router, origins: Origins) -> Router {
    routes
        .fallback(async || {
            let lines = vec!["There is nothing at this address.".into()];
            Page::new(StatusCode::NOT_FOUND, Kind::Bad, "Nothing here", lines)
        })
        .method_not_allowed_fallback(async || {
            let lines = vec!["This address is not used in this way.".into()];
            Page::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Bad, "Not like this", lines)
        })
        .layer(axum::middleware::from_fn_with_state(origins, shield::shield))
}
