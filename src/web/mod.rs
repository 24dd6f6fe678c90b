//! The HTTP face: pages for browsers, endpoints for servers, and the gate before MCP ([`gate`]).
//! One table of routes. It decides only how to present an outcome.
//!
//! | route | |
//! |---|---|
//! | `GET /connect/{ticket}` | shows who asks for what, or redirects a browser that an application must confirm to that application; changes nothing of the link |
//! | `POST /connect/{ticket}` | redirects this browser to the provider, takes a pasted secret, or handles the page's answer: declines, confirms or keeps an account, disconnects |
//! | `GET /oauth/callback/{provider}` | finishes the authorization, and redirects the browser to a clean address |
//! | `GET /signin` | asks the user to sign in; changes nothing |
//! | `POST /signin` | redirects this browser to the issuer, or takes a personal key |
//! | `GET /signin/callback` | signs this browser in, and redirects it to the page that it asked for |
//! | `GET /signin/confirmed` | signs in this browser, which an application has confirmed, and redirects it |
//! | `POST /signout` | signs this browser out |
//! | `GET`, `POST /connections` | [a person's accounts](pages::accounts) |
//! | `POST /v1/auth/confirm_user` | [an application says which user sits at a browser](rest::arcade::confirm_user) |
//! | `GET`, `DELETE /v1/admin/user_connections`, `…/{id}` | [an application ends what its users have connected](rest::arcade::user_connections) |
//! | `GET /.well-known/oauth-protected-resource`, `…/mcp` | [which issuer gives tokens for this server](well_known) |
//! | `GET /health`, `/health/live` | whether the store works, and whether the process answers; on the served port |
//!
//! The pages of a link are served to this machine alone ([`router`]) or at a public address
//! ([`public`]). The request's extensions identify the visitor, as a [`VisitingBrowser`] and, after a
//! sign-in, as a [`Session`](crate::model::Session). A page with a form gets its token from
//! [`Browser`], and the form comes back as `csrf::OwnForm`.

mod body;
mod cors;
pub mod gate;
pub mod loopback;
mod origin_check;
mod pages;
pub mod port;
mod problem;
pub mod rest;
pub mod well_known;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use axum::{Extension, Router};

use crate::broker::sign_in::SignIn;
use crate::broker::{Broker, VisitingBrowser};
use crate::model::{Clock, Principal};
use crate::net::Cidr;
pub use origin_check::{Origins, http_origin};
pub use pages::cookie::Browser;
use pages::person::Person;
use pages::{accounts, connect, cookie, sign_in};
pub use problem::Usage;

/// Largest form, in bytes; a larger one gets 413. Its longest field may be a pasted key.
const LARGEST_FORM: usize = 64 * 1024;

/// Routes of the loopback listener, behind the origin check.
pub fn router(broker: Broker, origins: Origins) -> Router {
    let routes = consent().layer(Extension(VisitingBrowser::Loopback));
    shielded(routes.with_state(broker), origins, &Usage::of_links())
}

/// Pages of a port that serves only the person of this machine, behind the origin check.
pub fn local(broker: Broker, principal: Arc<Principal>, names: &[String], usage: &Usage) -> Router {
    let person = Person { principal, has_signed_in: false };
    let routes = accounts::routes().layer(Extension(person));
    shielded(routes.with_state(broker), Origins::of_machine(names), usage)
}

/// Settings for the pages of an address where people sign in.
pub struct Public {
    /// Scheme, host and port of that address, without a trailing slash; several names of one
    /// machine if it is one person's own.
    pub origins: Origins,
    pub usage: Usage,
    pub sign_in: SignIn,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Cidr>,
    pub clock: Clock,
}

/// Routes of an address where people sign in, behind the origin check.
pub fn public(broker: Broker, public: Public) -> Router {
    let Public { origins, usage, sign_in, trusted_proxies, clock } = public;
    let door = sign_in::Door::new(sign_in, trusted_proxies, origins.clone(), &clock);
    let own = consent().merge(accounts::routes());
    let routes = own.with_state(broker).merge(sign_in::routes(Arc::clone(&door)));
    shielded(routes.layer(from_fn_with_state(door, sign_in::know)), origins, &usage)
}

/// Pages of a link. The request's extensions identify the visitor.
fn consent() -> Router<Broker> {
    Router::new()
        .route("/connect/{ticket}", get(connect::show).post(connect::answer))
        .route("/oauth/callback/{provider}", get(connect::callback))
}

/// Adds what all pages share: error pages, the size limit, the browser's cookie, the origin check.
fn shielded(routes: Router, origins: Origins, usage: &Usage) -> Router {
    let (for_paths, for_methods) = (usage.clone(), usage.clone());
    routes
        .fallback(async move |request: Request| for_paths.not_found(&request))
        .method_not_allowed_fallback(async move |request: Request| {
            for_methods.not_allowed(&request)
        })
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        .layer(from_fn_with_state(origins.clone(), cookie::know))
        .layer(from_fn_with_state(origins, origin_check::shield))
}

/// Adds the answer (405) to methods that these routes for programs do not take.
pub fn with_usage(routes: Router, usage: &Usage) -> Router {
    let usage = usage.clone();
    routes.method_not_allowed_fallback(async move |request: Request| usage.not_allowed(&request))
}
