//! The HTTP face: pages for browsers, what servers ask of us, and the gate before MCP ([`auth`]). One
//! table of routes; what it decides is only how to say it.
//!
//! | route | |
//! |---|---|
//! | `GET /connect/{ticket}` | shows who asks for what, or sends a browser that an application has to confirm to it; changes nothing of the link |
//! | `POST /connect/{ticket}` | sends this browser to the provider, takes what was pasted, or answers the page: declines, confirms or keeps an account, disconnects |
//! | `GET /oauth/callback/{provider}` | finishes, and sends the browser on to a clean address |
//! | `GET /signin` | asks who it is; changes nothing |
//! | `POST /signin` | sends this browser to the issuer, or takes a personal key |
//! | `GET /signin/callback` | signs this browser in, and sends it on to where it wanted to go |
//! | `GET /signin/confirmed` | signs this browser in that an application has confirmed, and sends it on |
//! | `POST /signout` | signs this browser out |
//! | `GET`, `POST /connections` | [a person's accounts](accounts) |
//! | `POST /v1/auth/confirm_user` | [an application says who sits at a browser](confirm) |
//! | `GET`, `DELETE /v1/admin/user_connections`, `…/{id}` | [an application ends what its users have connected](user_connections) |
//! | `GET /.well-known/oauth-protected-resource`, `…/mcp` | [who issues tokens for this server](well_known) |
//! | `GET /health`, `/health/live` | whether the store works, and whether the process answers; on the served port |
//!
//! Those of a link are served to this machine alone or to everybody ([`router`], [`public`]); who
//! comes is in the request's extensions, as a [`Visitor`] and, where somebody has signed in, as a
//! [`Session`](crate::model::Session). A page with a form is given its token by
//! [`Browser`], and the form comes back as `csrf::OwnForm`.

pub mod accounts;
pub mod auth;
mod body;
mod browser;
mod client;
pub mod confirm;
mod connect;
mod cors;
mod crowd;
mod csrf;
pub mod listener;
pub mod neighbours;
mod page;
mod path;
mod problem;
pub mod reach;
mod refused;
pub mod server;
mod shield;
mod signin;
pub mod user_connections;
pub mod well_known;
mod workers;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use axum::{Extension, Router};

use crate::broker::sign_in::SignIn;
use crate::broker::{Broker, Visitor};
use crate::model::Clock;
use crate::model::Principal;
use crate::net::Cidr;
use accounts::Person;
pub use browser::Browser;
pub use problem::Usage;
pub use shield::{Origins, http_origin};

/// A form is a few fields, of which a pasted key may be the longest.
const LARGEST_FORM: usize = 64 * 1024;

/// The routes of the loopback listener, behind their shield.
pub fn router(broker: Broker, origins: Origins) -> Router {
    let routes = consent().layer(Extension(Visitor::Loopback));
    shielded(routes.with_state(broker), origins, &Usage::of_links())
}

/// The pages of a port that only the person of this machine is served on, behind their shield.
pub fn local(broker: Broker, principal: Arc<Principal>, names: &[String], usage: &Usage) -> Router {
    let person = Person { principal, has_signed_in: false };
    let routes = accounts::routes().layer(Extension(person));
    shielded(routes.with_state(broker), Origins::of_machine(names), usage)
}

/// The pages of an address where people sign in.
pub struct Public {
    /// Scheme, host and port of that address, without a slash at its end; several names of one
    /// machine where it is a person's own.
    pub origins: Origins,
    pub usage: Usage,
    pub sign_in: SignIn,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Cidr>,
    pub clock: Clock,
}

/// The routes of such an address, behind their shield.
pub fn public(broker: Broker, public: Public) -> Router {
    let Public { origins, usage, sign_in, trusted_proxies, clock } = public;
    let door = signin::Door::new(sign_in, trusted_proxies, origins.clone(), &clock);
    let own = consent().merge(accounts::routes());
    let routes = own.with_state(broker).merge(signin::routes(Arc::clone(&door)));
    shielded(routes.layer(from_fn_with_state(door, signin::know)), origins, &usage)
}

/// The pages behind a link. Who comes to them is in the request's extensions.
fn consent() -> Router<Broker> {
    Router::new()
        .route("/connect/{ticket}", get(connect::show).post(connect::answer))
        .route("/oauth/callback/{provider}", get(connect::callback))
}

/// What holds for every page.
fn shielded(routes: Router, origins: Origins, usage: &Usage) -> Router {
    let (for_paths, for_methods) = (usage.clone(), usage.clone());
    routes
        .fallback(async move |request: Request| for_paths.not_found(&request))
        .method_not_allowed_fallback(async move |request: Request| {
            for_methods.not_allowed(&request)
        })
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        .layer(from_fn_with_state(origins.clone(), browser::know))
        .layer(from_fn_with_state(origins, shield::shield))
}

/// Answers methods that these routes for programs do not take.
pub fn with_usage(routes: Router, usage: &Usage) -> Router {
    let usage = usage.clone();
    routes.method_not_allowed_fallback(async move |request: Request| usage.not_allowed(&request))
}
