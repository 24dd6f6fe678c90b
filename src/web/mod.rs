//! The HTTP face: pages for browsers, endpoints for servers, and the gate before MCP ([`gate`]).
//! Decides only how to present an outcome.
//!
//! Every route is a row of [`routes::ROUTES`], and the routers of all ports are built from it:
//!
//! | router | access | serves |
//! |---|---|---|
//! | [`loopback_pages`] | own origin | links, to the browsers of this machine |
//! | [`local_pages`] | own origin | the accounts of the one person of a port |
//! | [`public_pages`] | own origin | links, accounts and signing in, at an address where users sign in |
//! | [`program_routes`] | unrestricted, or the gate of the REST routes | [health], [metadata](well_known), [REST](rest) |
//! | [`mcp_routes`] | the gate | MCP |
//!
//! The pages' middleware checks the origin, and puts the [`VisitingBrowser`], the [`Browser`] of
//! the cookie and, after a sign-in, the [`Session`](crate::model::Session) into the request's
//! extensions. A page with a form gets its token from [`Browser`], and the form comes back as
//! `csrf::OwnForm`.

mod body;
mod body_budget;
mod cors;
pub mod ended;
pub mod gate;
mod gateway;
pub mod health;
pub mod loopback;
mod origin_check;
mod pages;
pub mod port;
mod problem;
pub mod public_origin;
pub mod rest;
pub mod routes;
pub mod well_known;

use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;
use axum::{Extension, Router};

use crate::broker::sign_in::SignIn;
use crate::broker::{Broker, VisitingBrowser};
use crate::identity::Credentials;
use crate::model::{Clock, Principal};
use crate::net::Cidr;
pub use body_budget::BodyBudget;
use gate::Gate;
pub use origin_check::{Origins, http_origin};
pub use pages::cookie::Browser;
use pages::person::PageUser;
use pages::sign_in::SignInPages;
use pages::{cookie, sign_in};
pub use problem::Usage;
pub use rest::arcade::execute::scheduled_output;
pub use rest::limits::RestLimits;
use rest::{RestState, answer};
use routes::{Access, Listener, States};
use well_known::Metadata;

/// Access of the routes that are pages.
const PAGES: &[Access] = &[Access::OwnOrigin, Access::Session];
/// Access of the routes that are for programs.
const PROGRAMS: &[Access] =
    &[Access::Anyone, Access::Rest, Access::Ticket, Access::RestAdmin, Access::RestDeposit];

/// Pages of the loopback listener.
pub fn loopback_pages(broker: Broker, origins: Origins) -> Router {
    let states = States { broker: Some(broker), ..States::default() };
    let routes = routes::router(Listener::Loopback, PAGES, &states);
    let routes = routes.layer(Extension(VisitingBrowser::Loopback));
    with_origin_check(routes, origins, &Usage::of_links())
}

/// Pages of a port that serves only the person of this machine. `names` are scheme, host and port
/// of each of its names.
pub fn local_pages(
    broker: Broker,
    principal: Arc<Principal>,
    names: &[String],
    usage: &Usage,
) -> Router {
    let states = States { broker: Some(broker), ..States::default() };
    let routes = routes::router(Listener::OnePerson, PAGES, &states);
    let routes = routes.layer(Extension(PageUser { principal, has_signed_in: false }));
    with_origin_check(routes, Origins::of_machine(names), usage)
}

/// Settings for the pages of an address where users sign in.
pub struct PublicPages {
    /// Scheme, host and port of that address, without a trailing slash; several names of one
    /// machine if it is one person's own.
    pub origins: Origins,
    pub usage: Usage,
    pub sign_in: SignIn,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Cidr>,
    pub clock: Clock,
}

/// Pages of an address where users sign in.
pub fn public_pages(broker: Broker, pages: PublicPages) -> Router {
    let PublicPages { origins, usage, sign_in, trusted_proxies, clock } = pages;
    let pages = SignInPages::new(sign_in, trusted_proxies, origins.clone(), &clock);
    let sign_in = Some(Arc::clone(&pages));
    let states = States { broker: Some(broker), sign_in, ..States::default() };
    // Ports with keys and with an issuer have the same pages.
    let routes = routes::router(Listener::Keys, PAGES, &states);
    let routes = routes.layer(from_fn_with_state(pages, sign_in::identify_user));
    with_origin_check(routes, origins, &usage)
}

/// Adds what all pages share: error pages, the browser's cookie, the origin check.
fn with_origin_check(routes: Router, origins: Origins, usage: &Usage) -> Router {
    let for_paths = usage.clone();
    with_usage(routes, usage)
        .fallback(async move |request: Request| {
            answer::not_found(request.uri()).unwrap_or_else(|| for_paths.not_found(&request))
        })
        .layer(from_fn_with_state(origins.clone(), cookie::identify_browser))
        .layer(from_fn_with_state(origins, origin_check::check_origin))
}

/// Routes of the served port for programs other than MCP clients. They have none of the checks of
/// pages.
pub fn program_routes(
    broker: Broker,
    gate: &Gate,
    limits: RestLimits,
    bodies: BodyBudget,
    usage: &Usage,
) -> Router {
    let authenticator = gate.authenticator();
    let listener = match authenticator.credentials() {
        Credentials::None => Listener::OnePerson,
        Credentials::Token | Credentials::Key => Listener::Keys,
        Credentials::AccessToken { .. } => Listener::Issuer,
    };
    let states = States {
        broker: Some(broker.clone()),
        metadata: authenticator.resource_metadata().as_ref().and_then(Metadata::of),
        rest: Some(RestState::new(broker, gate, limits)),
        bodies,
        ..States::default()
    };
    with_usage(routes::router(listener, PROGRAMS, &states), usage)
}

/// Handlers of MCP over HTTP, which the composition root takes from the MCP face. Each request
/// carries its `Arc<Principal>` in the extensions.
#[derive(Clone)]
pub struct McpHandlers {
    /// `/mcp`
    pub streamable: MethodRouter,
    /// `/sse`
    pub sse: MethodRouter,
    /// `/messages`
    pub messages: MethodRouter,
    /// Longest body that they read.
    pub max_body_bytes: usize,
}

/// Routes of MCP, behind the gate. Ports of all kinds of credentials have the same ones.
pub fn mcp_routes(
    broker: Broker,
    handlers: McpHandlers,
    gate: &Gate,
    bodies: BodyBudget,
    usage: &Usage,
) -> Router {
    let rest = Some(RestState::new(broker, gate, RestLimits::default()));
    let states = States { mcp: Some(handlers), rest, bodies, ..States::default() };
    let routes =
        |access| with_usage(routes::router(Listener::OnePerson, &[access], &states), usage);
    let at_gate = routes(Access::Gate).layer(from_fn_with_state(gate.clone(), gate::gate));
    at_gate.merge(routes(Access::Gateway))
}

/// Adds the answer (405) to methods that a route does not take.
fn with_usage(routes: Router, usage: &Usage) -> Router {
    let usage = usage.clone();
    routes.method_not_allowed_fallback(async move |request: Request| {
        answer::not_allowed(request.uri()).unwrap_or_else(|| usage.not_allowed(&request))
    })
}
