//! Countersign: an MCP server that exposes **authorized tools**.
//!
//! Tools and OAuth providers are declared in `tools.toml`. When a tool needs a consent that the end
//! user has not given, the call returns a link instead of running; the user approves in a browser;
//! the token is kept per end user, sealed, in an embedded store; the next call and every later one
//! run. One rule holds in every case: **a consent is never lost, never leaked, never attached to
//! the wrong person.**
//!
//! This page is the map. `cargo doc` keeps it true (a broken link fails the build), and so does
//! `tests/it/tidy.rs` (an import that points up fails the tests).
//!
//! # Layers
//!
//! Imports point down only.
//!
//! | layer | modules | what it does |
//! |---|---|---|
//! | commands | [`cli`] | parses the command line, chooses the exit code |
//! | composition | [`app`] | puts the parts together |
//! | faces | [`mcp`], [`web`] | speak MCP and HTTP; take no decision |
//! | sentences | [`words`] | what the faces say about results, failures and consents; pure |
//! | use cases | [`broker`] | every decision, readable from the top down; knows no protocol version |
//! | tools | [`registry`] | which tools exist, what arguments they take |
//! | adapters | [`upstream`], [`oauth`], [`store`], [`identity`], [`config`] | one external system each |
//! | ground | [`model`], [`catalog`], [`net`] | domain types and pure decisions; provider data; where requests may go |
//!
//! # Journey 1: a call
//!
//! Over HTTP the gate ([`web::gate`]) checks, from the request's headers alone, for which host the
//! request is meant, which site sent it and, with [`identity::Authenticator`], who calls.
//! [`mcp::Handler`] passes the call to [`broker::Broker::call`] → the [`registry`] finds the tool
//! and [`accept`](registry::accept())s its arguments → a tool without a provider runs at once →
//! otherwise the broker asks `Grants` (`broker::grant`) for a token: they alone decide whether a
//! grant is fresh, refresh it and write it. With a token, [`upstream::Upstream::execute`] runs the
//! request, with one refresh after a 401 and a step-up after `insufficient_scope`. Without a token,
//! [`broker::consent::Consents::begin`] makes a link or finds the open one, and the call ends with
//! [`model::Outcome::AuthorizationRequired`].
//! A missing consent is an outcome, never an error. [`mcp`] renders it for the revision that the
//! client speaks. A grant of the server's own needs no consent: the broker gets it from the token
//! endpoint, keeps it in the same store under [`model::Caller::server`], and reports each refusal
//! to the operator.
//!
//! # Journey 2: a consent
//!
//! The link leads to our own page, never to the provider. `GET` shows who asks for what and changes
//! nothing; `POST` binds this browser with a cookie and redirects it to the provider
//! ([`broker::consent::Consents::depart`]). At the callback ([`broker::consent::Consents::arrive`]) one compare-and-swap
//! uses up the `state`. The broker then compares browser, person, provider and issuer, exchanges
//! the code with PKCE, and makes the grant durable. Only then does it announce the end
//! ([`broker::consent::wait`]): a waiting retry continues, and a 2025-11-25 client gets its
//! notification.
//!
//! A link may be forwarded, so only the person who asked may use its page and its callback
//! ([`broker::VisitingBrowser`]). On a person's own machine, every browser that reaches the loopback
//! listener is theirs. At a public address the browser signs in first ([`broker::sign_in`]): at the
//! issuer whose tokens the calls carry ([`identity::Login`]), or with the key that they carry. From
//! then on, the session behind its one cookie identifies it ([`web::Browser`]). The browser of an
//! application's user goes to the application instead, which confirms who the user is and sends the
//! browser back. The session begins only when the confirmation and the cookie of the browser that
//! left come together ([`broker::consent::confirmation`]).
//!
//! A key or a password is pasted on our page instead and tested at the API ([`broker::consent::paste`]);
//! `auth login --device` needs no page of ours ([`broker::consent::device`]).
//!
//! `/connections` (`web/pages/accounts.rs`) shows people what they have connected, since when, and
//! when it was last used, and lets them end it. A click applies only to what its page showed: each
//! account and each link has a digest that its forms send back.
//!
//! # Invariants
//!
//! - A [`store::Sealed`] is made from plaintext in one file, so no backend ever receives plaintext.
//! - [`store::Backend::swap`] decides every race.
//! - An [`model::Authorization`] changes only by its valid transitions: each consumes it and returns
//!   its next state.
//! - Each kind of record has one owner in [`broker`], which alone holds its [`store::Table`], the right
//!   to write it: grants and their freshness `broker::grant`, authorizations
//!   [`broker::consent::Consents`], ended access [`broker::users::Users`], sessions
//!   [`broker::sign_in`], calls with keys [`broker::once`], secrets of applications
//!   [`broker::rest_secrets`], providers of applications [`broker::rest_providers`], confirmations of
//!   calls and needs of plan runs [`broker::confirm`], scheduled calls [`broker::schedule`], events
//!   that wait for webhooks [`broker::webhooks`].
//! - A grant that an application is told of is written only after its event is stored, and names the
//!   event ([`broker::webhooks`]).
//! - A grant is used only under the [`binding`](model::grant::Binding) that it was given for.
//! - A credential goes only to the [`hosts`](model::hosts::Hosts) of its provider; an access token
//!   also to an application whose key says `tokens = true`.
//! - An argument reaches a path segment, a query value, a header value or a JSON value, and never
//!   the host, the number of segments or the JSON around it.
//! - Every outbound request passes [`net::Net::send`]; nothing relaxes its rules.
//! - The request of a call is sent from one place (`broker/call/send.rs`), and only after its user has
//!   confirmed it, if the tool asks for that ([`model::Tool::confirm`]).
//! - A form counts only in the browser that was shown its page (`web/pages/csrf.rs`), and a link only in
//!   the browser of the person who asked for it.
//! - `/mcp`, `/sse` and `/messages` are reachable only through the gate, and a session or stream
//!   only by the caller who opened it.
//! - In stdio mode only [`mcp::stdio`] can write to standard output.
//! - Configuration holds references to secrets, never secrets.
//! - A `tools.toml` found in the working folder acts in the person's name only if they have trusted
//!   its bytes ([`config::trust`]).
//!
//! # Design decisions
//!
//! - The store is opened at first use ([`store::LazyStore`]), not at start: with a missing key, or
//!   an owner that does not answer, tools that need no grant still work, and the store opens once
//!   the cause is gone. A server for many people opens it before it says that it listens: its
//!   operator is present at the start, and not when the first user comes.
//! - The served port has a thread for each processor, and a connection stays on its thread
//!   ([`web::port::serve`]): moving the steps of a call between threads costs as much as the call. Each
//!   thread has its own outbound clients ([`net`]).
//! - Sessions of browsers belong to the broker ([`broker::sign_in`]), form tokens to the pages
//!   (`web::pages::csrf`): who has signed in is a decision, and the content of a form is not.
//! - The grant is the lease for its own refresh ([`model::grant::Attempt`]): one swap marks it, and
//!   what happened to a refresh token is recorded next to the token.
//! - The loopback listener opens with the first link, so that a server without links holds no port.
//!   Of the processes that share a data folder, only its owner listens, for all of them
//!   ([`web::loopback::ask_owner_to_listen`]).
//! - A host may end its server after one call, so the first link starts a keeper ([`app::keeper`]):
//!   a process that answers open links, and ends with the last of them. The owner of the folder
//!   passes its listening sockets to the other processes ([`store::ListeningSockets`]): from one
//!   owner to the next, even after SIGKILL, a browser waits and is not refused.
//! - A started authorization attempt ([`model::AuthorizationAttempt`]) is a record of its own under its `state`,
//!   and redeeming it deletes it: one link can lead to the provider more than once, but each
//!   attempt can be redeemed at most once.
//! - jq filters that are not plainly linear run in a child process: it is the only bound on time,
//!   memory and stack that a filter cannot evade.

// Without the feature, much is unreachable: it is public for the tests, or used by them only.
#![cfg_attr(not(feature = "internals"), allow(dead_code, unreachable_pub, unused_imports))]

// The public API is `prelude`. The modules are public for the tests and benchmarks of this package
// alone, which turn the feature `internals` on; each is declared for both cases, since a macro would
// hide the files from rustfmt.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod app;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod broker;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod catalog;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod config;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod identity;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod mcp;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod model;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod net;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod oauth;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod registry;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod store;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod upstream;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod web;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod words;

#[cfg(not(feature = "internals"))]
mod app;
#[cfg(not(feature = "internals"))]
mod broker;
#[cfg(not(feature = "internals"))]
mod catalog;
#[cfg(not(feature = "internals"))]
mod cli;
#[cfg(not(feature = "internals"))]
mod config;
#[cfg(not(feature = "internals"))]
mod identity;
#[cfg(not(feature = "internals"))]
mod mcp;
#[cfg(not(feature = "internals"))]
mod model;
#[cfg(not(feature = "internals"))]
mod net;
#[cfg(not(feature = "internals"))]
mod oauth;
#[cfg(not(feature = "internals"))]
mod registry;
#[cfg(not(feature = "internals"))]
mod store;
#[cfg(not(feature = "internals"))]
mod upstream;
#[cfg(not(feature = "internals"))]
mod web;
#[cfg(not(feature = "internals"))]
mod words;

/// Everything that a program needs to write tools and to serve them.
///
/// `use countersign::prelude::*;` is how every example begins. Derives of `JsonSchema`,
/// `Deserialize` and `Serialize` also need the crates `schemars` 1 and `serde` 1 among the
/// dependencies of the program.
pub mod prelude {
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};

    pub use crate::broker::code::{
        Authorization, Cancellation, Clarification, Context, Http, HttpError, HttpRequest,
        HttpResponse, NoArgs, Token, Tool, ToolError,
    };
    pub use crate::cli::server::{Server, ServerBuilder, ServerError};
    pub use crate::model::declared_tool::ToolProblem;
    pub use crate::model::tool::Effect;
}

/// The document on tools in Rust, whose code must compile.
#[cfg(doctest)]
#[doc = include_str!("../docs/rust-tools.md")]
struct RustTools;
