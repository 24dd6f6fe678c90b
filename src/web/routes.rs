//! The one table of routes: which port serves a path, who may come, how large a body may be.
//!
//! The routers of all ports are built from [`ROUTES`] ([`super::loopback_pages`] and the
//! others of [`super`]), so a route that is not a row does not exist. `tests/it/http/routes.rs`
//! repeats the table and sends every kind of client to every row.
//!
//! The router enforces the [`Access`] of a row: the origin check and the gate stand before all rows
//! of their kinds of access ([`super`]), the checks of the other kinds before each row separately
//! ([`Route::guarded`]). A row whose access does not suit the state of its
//! handler does not compile.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodFilter, MethodRouter, on};

use super::pages::sign_in::SignInPages;
use super::pages::{accounts, confirm, connect, docs, sign_in};
use super::rest::arcade::{
    auth_providers, authorize, confirm_user, deposits, execute, health as arcade_health,
    requirements, scheduled, secrets, settings, status, token, tools, user_connections,
};
use super::rest::{self, RestState};
use super::rest::{openapi, portia};
use super::well_known::{self, Metadata};
use super::{BodyBudget, McpHandlers, body_budget, gateway, health};
use crate::broker::Broker;
use crate::broker::consent::confirmation::NEXT_PATH;

/// A kind of port. It has the routes whose row names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The loopback listener, for the browsers of this machine.
    Loopback,
    /// The served port of one person, without credentials.
    OnePerson,
    /// The served port whose users have keys, or whose only user has a token.
    Keys,
    /// The served port whose users have access tokens of an issuer, and perhaps keys.
    Issuer,
}

/// The requests that a route accepts. All others are refused before they change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every request: the answer is the same for all.
    Anyone,
    /// Requests for one of our origins (others: 421), and forms of our own pages (others: 403). The
    /// handler decides what this browser may see ([`super::origin_check`], [`super::pages`]).
    OwnOrigin,
    /// Like [`Self::OwnOrigin`], from a browser that has signed in; others are redirected to
    /// `/signin`. At [`Listener::OnePerson`], every browser is that person's.
    Session,
    /// Requests that pass the gate of the REST routes ([`super::rest::gate`]): our host (others:
    /// 421), no web page (403), and a key (401). A server of one's own machine accepts any key.
    Rest,
    /// Like [`Self::Rest`], without a key: the path holds a ticket that opens one thing.
    Ticket,
    /// Like [`Self::Rest`], from a caller who may administer (others: 403).
    RestAdmin,
    /// Like [`Self::Rest`], from a caller who may deposit tokens (others: 403).
    RestDeposit,
    /// Requests that pass the gate: our host (others: 421), no foreign page (403), and the
    /// credentials of a user (401) ([`super::gate`]).
    Gate,
    /// Like [`Self::Gate`], for the tools of the gateway that the path names (others: 404).
    Gateway,
}

/// Limit of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// The handler reads no body.
    Unread,
    /// At most this many bytes (more: 413), which must arrive within the time limit of
    /// `web/body.rs` (later: 408).
    UpTo(usize),
    /// The limits of the MCP face (`mcp/http/body.rs`).
    Mcp,
}

/// How exactly a client must write the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    Exact,
    /// Extra slashes are dropped: people write this path by hand into the configuration of clients.
    ExtraSlashes,
}

/// A method of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteMethod {
    Get,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    /// The handler refuses the methods that it does not take (405).
    Any,
}

impl RouteMethod {
    const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
            Self::Options => MethodFilter::OPTIONS,
            Self::Any => MethodFilter::GET.or(MethodFilter::POST).or(MethodFilter::DELETE),
        }
    }
}

/// A row of the table.
#[derive(Debug)]
pub struct Route {
    pub method: RouteMethod,
    /// Path, with `{name}` for a segment that varies.
    pub path: &'static str,
    pub access: Access,
    pub listeners: &'static [Listener],
    pub body: Body,
    pub spelling: Spelling,
    handler: Handler,
}

/// The function that answers, by the state that it needs.
#[derive(Clone, Copy, Debug)]
enum Handler {
    Broker(fn(MethodFilter) -> MethodRouter<Broker>),
    SignIn(fn(MethodFilter) -> MethodRouter<Arc<SignInPages>>),
    Rest(fn(MethodFilter) -> MethodRouter<RestState>),
    Metadata(fn(MethodFilter) -> MethodRouter<Metadata>),
    Mcp(fn(&McpHandlers) -> MethodRouter),
}

macro_rules! handler {
    (Mcp($field:ident)) => {
        Handler::Mcp(|mcp| mcp.$field.clone())
    };
    ($state:ident($handler:path)) => {
        Handler::$state(|method| on(method, $handler))
    };
}

macro_rules! table {
    ($($method:ident $path:expr, $access:ident, $listeners:expr, $body:expr, $spelling:ident, $state:ident $handler:tt;)*) => {
        &[$(Route {
            method: RouteMethod::$method,
            path: $path,
            access: Access::$access,
            listeners: $listeners,
            body: $body,
            spelling: Spelling::$spelling,
            handler: handler!($state $handler),
        }),*]
    };
}

/// Ports to which links lead: on the user's own machine, or at the address where all users sign in.
const LINKS: &[Listener] = &[Listener::Loopback, Listener::Keys, Listener::Issuer];
const SIGN_IN: &[Listener] = &[Listener::Keys, Listener::Issuer];
const ISSUER: &[Listener] = &[Listener::Issuer];
const SERVED: &[Listener] = &[Listener::OnePerson, Listener::Keys, Listener::Issuer];

/// A form. Its longest field may be a pasted key.
const FORM: Body = Body::UpTo(64 * 1024);
/// Two ids.
const CONFIRMATION: Body = Body::UpTo(4096);
/// Ids.
const SMALL: Body = Body::UpTo(64 * 1024);
/// A plan, its run, or an output of it.
const RUN: Body = Body::UpTo(1_500_000);
/// The arguments of a call.
const CALL: Body = Body::UpTo(4 * 1024 * 1024);
const UNREAD: Body = Body::Unread;
const MCP: Body = Body::Mcp;

/// All routes.
pub static ROUTES: &[Route] = TABLE;

const TABLE: &[Route] = table! {
    // Pages of a link: who asks for what, the answer, and the way back from the provider.
    Get    "/connect/{ticket}",           OwnOrigin, LINKS,   UNREAD, Exact, Broker(connect::show);
    Post   "/connect/{ticket}",           OwnOrigin, LINKS,   FORM,   Exact, Broker(connect::answer);
    Get    "/oauth/callback/{provider}",  OwnOrigin, LINKS,   UNREAD, Exact, Broker(connect::callback);
    // A call that its user has to confirm.
    Get    "/confirm/{ticket}",           OwnOrigin, LINKS,   UNREAD, Exact, Broker(confirm::show);
    Post   "/confirm/{ticket}",           OwnOrigin, LINKS,   FORM,   Exact, Broker(confirm::answer);
    // Signing in and out.
    Get    "/signin",                     OwnOrigin, SIGN_IN, UNREAD, Exact, SignIn(sign_in::show);
    Post   "/signin",                     OwnOrigin, SIGN_IN, FORM,   Exact, SignIn(sign_in::begin);
    Get    "/signin/callback",            OwnOrigin, SIGN_IN, UNREAD, Exact, SignIn(sign_in::callback);
    Get    NEXT_PATH,                     OwnOrigin, SIGN_IN, UNREAD, Exact, SignIn(sign_in::confirmed);
    Post   "/signout",                    OwnOrigin, SIGN_IN, FORM,   Exact, SignIn(sign_in::sign_out);
    // A user's accounts.
    Get    accounts::PATH,                Session,   SERVED,  UNREAD, Exact, Broker(accounts::show);
    Post   accounts::PATH,                Session,   SERVED,  FORM,   Exact, Broker(accounts::answer);
    // REST: an application confirms its user's browser; an administrator sees and ends connections.
    Post   confirm_user::PATH,            Rest, SERVED, CONFIRMATION, ExtraSlashes, Rest(confirm_user::confirm_user);
    Post   deposits::PATH,                RestDeposit, SERVED, SMALL, ExtraSlashes, Rest(deposits::deposit);
    Post   token::PATH,                   Rest, SERVED, SMALL, ExtraSlashes, Rest(token::token);
    Get    user_connections::COLLECTION_PATH, RestAdmin, SERVED, UNREAD, Exact, Rest(user_connections::list);
    Delete user_connections::COLLECTION_PATH, RestAdmin, SERVED, UNREAD, Exact, Rest(user_connections::end_user);
    Delete user_connections::ITEM_PATH,       RestAdmin, SERVED, UNREAD, Exact, Rest(user_connections::end);
    // REST: what Portia's clients call. Their paths end in `/`.
    Get    portia::listing::PATH,             Rest, SERVED, UNREAD, Exact, Rest(portia::listing::descriptions);
    Get    portia::listing::OLD_PATH,         Rest, SERVED, UNREAD, Exact, Rest(portia::listing::old_descriptions);
    Post   portia::ready::BATCH_PATH,         Rest, SERVED, SMALL,  Exact, Rest(portia::ready::batch);
    Post   portia::ready::PATH,               Rest, SERVED, SMALL,  Exact, Rest(portia::ready::one);
    Post   portia::run::PATH,                 Rest, SERVED, CALL,   Exact, Rest(portia::run::run);
    Get    portia::end_user::PATH,            Rest, SERVED, UNREAD, Exact, Rest(portia::end_user::show);
    Put    portia::end_user::PATH,            Rest, SERVED, SMALL,  Exact, Rest(portia::end_user::put);
    Post   portia::plans::COLLECTION_PATH,    Rest, SERVED, RUN,    Exact, Rest(portia::plans::put);
    Post   portia::plans::SEARCH_PATH,        Rest, SERVED, UNREAD, Exact, Rest(portia::plans::search);
    Get    portia::plans::ITEM_PATH,          Rest, SERVED, UNREAD, Exact, Rest(portia::plans::show);
    Get    portia::plan_runs::COLLECTION_PATH, Rest, SERVED, UNREAD, Exact, Rest(portia::plan_runs::list);
    Get    portia::plan_runs::ITEM_PATH,      Rest, SERVED, UNREAD, Exact, Rest(portia::plan_runs::show);
    Put    portia::plan_runs::ITEM_PATH,      Rest, SERVED, RUN,    Exact, Rest(portia::plan_runs::put);
    Post   portia::tool_calls::PATH,          Rest, SERVED, RUN,    Exact, Rest(portia::tool_calls::add);
    Get    portia::memory::PATH,              Rest, SERVED, UNREAD, Exact, Rest(portia::memory::show);
    Put    portia::memory::PATH,              Rest, SERVED, RUN,    Exact, Rest(portia::memory::put);
    Get    portia::memory::VALUE_PATH,        Ticket, SERVED, UNREAD, Exact, Rest(portia::memory::value);
    // REST: tools, as Arcade's clients call them.
    Get    arcade_health::PATH,               Anyone, SERVED, UNREAD, ExtraSlashes, Broker(arcade_health::health);
    Get    tools::COLLECTION_PATH,            Rest, SERVED, UNREAD, ExtraSlashes, Rest(tools::list);
    Get    tools::ITEM_PATH,                  Rest, SERVED, UNREAD, Exact, Rest(tools::get);
    Get    tools::FORMATTED_COLLECTION_PATH,  Rest, SERVED, UNREAD, ExtraSlashes, Rest(tools::list_formatted);
    Get    tools::FORMATTED_ITEM_PATH,        Rest, SERVED, UNREAD, Exact, Rest(tools::get_formatted);
    Post   execute::PATH,                     Rest, SERVED, CALL,   ExtraSlashes, Rest(execute::execute);
    Post   authorize::TOOL_PATH,              Rest, SERVED, SMALL,  ExtraSlashes, Rest(authorize::authorize_tool);
    Post   authorize::PROVIDER_PATH,          Rest, SERVED, SMALL,  ExtraSlashes, Rest(authorize::authorize);
    Get    status::PATH,                      Rest, SERVED, UNREAD, ExtraSlashes, Rest(status::status);
    Post   requirements::PATH,                Rest, SERVED, SMALL,  ExtraSlashes, Rest(requirements::requirements);
    Get    secrets::COLLECTION_PATH,          RestAdmin, SERVED, UNREAD, ExtraSlashes, Rest(secrets::list);
    Post   secrets::ITEM_PATH,                RestAdmin, SERVED, SMALL,  Exact, Rest(secrets::put);
    Delete secrets::ITEM_PATH,                RestAdmin, SERVED, UNREAD, Exact, Rest(secrets::delete);
    Get    settings::PATH,                    RestAdmin, SERVED, UNREAD, ExtraSlashes, Rest(settings::get);
    Put    settings::PATH,                    RestAdmin, SERVED, SMALL,  ExtraSlashes, Rest(settings::put);
    Get    auth_providers::COLLECTION_PATH,   RestAdmin, SERVED, UNREAD, ExtraSlashes, Rest(auth_providers::list);
    Post   auth_providers::COLLECTION_PATH,   RestAdmin, SERVED, SMALL,  ExtraSlashes, Rest(auth_providers::make);
    Get    auth_providers::ITEM_PATH,         RestAdmin, SERVED, UNREAD, Exact, Rest(auth_providers::get);
    Patch  auth_providers::ITEM_PATH,         RestAdmin, SERVED, SMALL,  Exact, Rest(auth_providers::change);
    Delete auth_providers::ITEM_PATH,         RestAdmin, SERVED, UNREAD, Exact, Rest(auth_providers::delete);
    Get    scheduled::COLLECTION_PATH,        Rest, SERVED, UNREAD, ExtraSlashes, Rest(scheduled::list);
    Get    scheduled::ITEM_PATH,              Rest, SERVED, UNREAD, Exact, Rest(scheduled::get);
    // Which issuer gives tokens for this server; whether it works.
    Get     well_known::RESOURCE,         Anyone, ISSUER, UNREAD, ExtraSlashes, Metadata(well_known::metadata);
    Options well_known::RESOURCE,         Anyone, ISSUER, UNREAD, ExtraSlashes, Metadata(well_known::preflight);
    Get     well_known::ROOT,             Anyone, ISSUER, UNREAD, ExtraSlashes, Metadata(well_known::metadata);
    Options well_known::ROOT,             Anyone, ISSUER, UNREAD, ExtraSlashes, Metadata(well_known::preflight);
    Get    "/health",                     Anyone, SERVED, UNREAD, ExtraSlashes, Broker(health::ready);
    Get    "/health/live",                Anyone, SERVED, UNREAD, Exact, Broker(health::live);
    // The documentation of the REST routes.
    Get    openapi::PATH,                 Anyone,    SERVED, UNREAD, Exact, Broker(openapi::show);
    Get    docs::PATH,                    OwnOrigin, SERVED, UNREAD, Exact, Broker(docs::show);
    // MCP.
    Any    "/mcp",                        Gate,   SERVED, MCP, ExtraSlashes, Mcp(streamable);
    Get    "/sse",                        Gate,   SERVED, UNREAD, ExtraSlashes, Mcp(sse);
    Post   "/messages",                   Gate,   SERVED, MCP, ExtraSlashes, Mcp(messages);
    Any    "/mcp/{gateway}",              Gateway, SERVED, MCP, Exact, Mcp(streamable);
};

const _: () = {
    let mut rest = TABLE;
    while let [route, others @ ..] = rest {
        assert!(route.suits_its_handler(), "a handler does not suit the access of its row");
        rest = others;
    }
};

/// States of the handlers of one port. A port has the states of its rows.
#[derive(Default)]
pub(super) struct States {
    pub(super) broker: Option<Broker>,
    pub(super) sign_in: Option<Arc<SignInPages>>,
    pub(super) rest: Option<RestState>,
    pub(super) metadata: Option<Metadata>,
    pub(super) mcp: Option<McpHandlers>,
    pub(super) bodies: BodyBudget,
}

/// Builds a router of the rows of this listener with one of these kinds of access.
pub(super) fn router(listener: Listener, access: &[Access], states: &States) -> Router {
    ROUTES
        .iter()
        .filter(|route| route.listeners.contains(&listener) && access.contains(&route.access))
        .filter_map(|route| Some((route.path, route.method_router(states)?)))
        .fold(Router::new(), |router, (path, handler)| router.route(path, handler))
}

impl Route {
    /// Whether a handler with this state can rely on the check that the row's access stands for.
    const fn suits_its_handler(&self) -> bool {
        match self.handler {
            Handler::Broker(_) => {
                matches!(self.access, Access::Anyone | Access::OwnOrigin | Access::Session)
            }
            Handler::SignIn(_) => matches!(self.access, Access::OwnOrigin),
            Handler::Rest(_) => {
                matches!(
                    self.access,
                    Access::Rest | Access::Ticket | Access::RestAdmin | Access::RestDeposit
                )
            }
            Handler::Metadata(_) => matches!(self.access, Access::Anyone),
            Handler::Mcp(_) => matches!(self.access, Access::Gate | Access::Gateway),
        }
    }

    /// Adds the check of this row's access that no other row's router makes.
    fn guarded(&self, handler: MethodRouter, states: &States) -> Option<MethodRouter> {
        Some(match self.access {
            Access::Session => handler.route_layer(from_fn(sign_in::require_session)),
            Access::Rest => {
                handler.route_layer(from_fn_with_state(states.rest.clone()?, rest::gate::identify))
            }
            Access::Ticket => handler
                .route_layer(from_fn_with_state(states.rest.clone()?, rest::gate::check_sender)),
            // The layer that is added last runs first.
            Access::RestAdmin => handler
                .route_layer(from_fn(rest::gate::require_admin))
                .route_layer(from_fn_with_state(states.rest.clone()?, rest::gate::identify)),
            Access::RestDeposit => handler
                .route_layer(from_fn(rest::gate::require_deposit))
                .route_layer(from_fn_with_state(states.rest.clone()?, rest::gate::identify)),
            // The handler of MCP takes every method, and so is no route to this router.
            Access::Gateway => {
                handler.layer(from_fn_with_state(states.rest.clone()?, gateway::admit))
            }
            Access::Anyone | Access::OwnOrigin | Access::Gate => handler,
        })
    }

    /// Returns the handler with its state, limit and check of access; `None` if the port does not
    /// have the state.
    fn method_router(&self, states: &States) -> Option<MethodRouter> {
        let method = self.method.filter();
        let handler = match self.handler {
            Handler::Broker(handler) => handler(method).with_state(states.broker.clone()?),
            Handler::SignIn(handler) => handler(method).with_state(states.sign_in.clone()?),
            Handler::Rest(handler) => handler(method).with_state(states.rest.clone()?),
            Handler::Metadata(handler) => handler(method).with_state(states.metadata.clone()?),
            Handler::Mcp(handler) => handler(states.mcp.as_ref()?),
        };
        let handler = match self.body {
            Body::UpTo(bytes) => handler.route_layer(DefaultBodyLimit::max(bytes)),
            Body::Unread | Body::Mcp => handler,
        };
        self.guarded(self.budgeted(handler, states)?, states)
    }

    /// Adds the bound on the bodies of all programs, which stands behind the check of access.
    fn budgeted(&self, handler: MethodRouter, states: &States) -> Option<MethodRouter> {
        let max_bytes = match (self.handler, self.body) {
            (Handler::Rest(_), Body::UpTo(max_bytes)) => max_bytes,
            (Handler::Mcp(_), Body::Mcp) => states.mcp.as_ref()?.max_body_bytes,
            _ => return Some(handler),
        };
        let budget = states.bodies.for_route(max_bytes);
        Some(handler.layer(from_fn_with_state(budget, body_budget::admit)))
    }
}
