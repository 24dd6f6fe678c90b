//! Countersign: an MCP server that exposes **authorized tools**.
//!
//! Tools and OAuth providers are declared in `tools.toml`. When a tool needs a consent that the end
//! user has not given, the call answers with a link instead of running; the person approves in a
//! browser; the token is kept per end user, sealed, in an embedded store; the next call runs, and
//! every later one. What must hold whatever happens: **a consent is never lost, never leaked, never
//! attached to the wrong person.**
//!
//! This page is the map. It is kept true by `cargo doc` (a broken link fails the build) and by
//! `tests/it/tidy.rs` (an import that points up fails the tests).
//!
//! # Layers
//!
//! Imports point down only.
//!
//! | layer | modules | what it does |
//! |---|---|---|
//! | commands | [`cli`] | clap in, exit code out |
//! | composition | [`app`] | puts the parts together |
//! | faces | [`mcp`], [`web`] | speak MCP and HTTP; take no decision |
//! | use cases | [`broker`] | every decision, readable from the top down; knows no protocol version |
//! | catalogue | [`registry`] | which tools exist, what arguments they take |
//! | adapters | [`upstream`], [`oauth`], [`store`], [`identity`], [`config`] | one outside world each |
//! | ground | [`model`], [`catalog`], [`net`] | nouns and pure decisions; provider data; where requests may go |
//!
//! # Journey 1: a call
//!
//! Over HTTP the gate ([`web::auth`]) has looked for which host the request is meant, which site sent
//! it and, by [`identity::Authenticator`], who calls; all by the request's headers alone.
//! [`mcp::Handler`] hands the call to [`broker::Broker::call`] → the [`registry`] finds the tool and
//! [`accept`](registry::accept())s its arguments → a tool without a provider runs at once → otherwise
//! the broker asks its single owner of freshness for a token. There is one:
//! [`upstream::Upstream::execute`] runs the request, with one refresh after a 401 and a step-up
//! after `insufficient_scope`. There is none: [`broker::Broker::begin`] makes a link, or finds the
//! open one, and the call comes to [`model::Outcome::AuthorizationRequired`]. Needing a consent is an
//! outcome, never an error. [`mcp`] renders it for whichever revision the client speaks. Where the
//! grant is the server's own, there is nobody to ask: it is got from the token endpoint, kept in the
//! same store under [`model::Caller::server`], and whatever is refused is said to the operator.
//!
//! # Journey 2: a consent
//!
//! The link leads to our own page, never to the provider. `GET` shows who asks for what and changes
//! nothing; `POST` binds this browser by a cookie and sends it off
//! ([`broker::Broker::depart`]). Back at the callback ([`broker::Broker::arrive`]) the `state` is
//! used up by one compare-and-swap; browser, person, provider and issuer are compared; the code is
//! exchanged with PKCE; the grant is made durable; and only then is anybody told
//! ([`broker::completion`]): a held retry goes on, a 2025-11-25 client gets its notice.
//!
//! A link may be forwarded, so its page and its callback are for the person who asked
//! ([`broker::Visitor`]). On one's own machine whoever reaches the loopback listener is that person.
//! At an address that everybody reaches the browser signs in first ([`broker::sign_in`]): at the
//! issuer whose tokens the calls carry ([`identity::Login`]), or with the key that they carry. What
//! it is known by from then on is the session behind its one cookie ([`web::Browser`]). The browser of
//! an application's user goes to the application instead, which confirms who sits there and sends it
//! back; the session begins where the confirmation and the browser that was sent off come together
//! ([`broker::confirmation`]).
//!
//! A key or a password is pasted on our page instead and tried at the API ([`broker::paste`]);
//! `auth login --device` needs no browser of ours ([`broker::device`]).
//!
//! What they have connected, since when and when it was last of use people see at `/connections`
//! ([`web::accounts`]), and end it there. A click counts for what its page showed: each account and
//! each link has a digest that its forms send back.
//!
//! # Invariants
//!
//! - A [`store::Sealed`] is made from plaintext in one file, so no backend can be handed any.
//! - Whatever happens at the same time is decided by [`store::Backend::swap`].
//! - A grant is used under the [`binding`](model::grant::Binding) that it was given for, and no other.
//! - A credential goes to the provider's [`hosts`](model::provider::Hosts) only.
//! - An argument reaches a path segment, a query value, a header value or a JSON value, and never
//!   the host, the number of segments or the JSON around it.
//! - Every outbound request passes [`net::Net::send`]; nothing relaxes its rules.
//! - A form counts only in the browser that was shown its page (`web/csrf.rs`), and a link only in the
//!   browser of the person who asked for it.
//! - `/mcp`, `/sse` and `/messages` are reached through the gate alone, and a session or stream by
//!   whoever opened it alone.
//! - In stdio mode nobody but [`mcp::stdio`] can write to standard output.
//! - Configuration holds references to secrets, never secrets.
//! - A `tools.toml` found in the working folder acts in the person's name only if they have trusted
//!   its bytes ([`config::trust`]).
//!
//! # Where this differs from the first plan, and why
//!
//! - The store is opened at first use ([`store::Slot`]), not at start: a key that is missing or an
//!   owner that does not answer keeps nobody from tools that need no grant, and mends itself when its
//!   cause is gone. A server for many people opens it before it says that it listens: its operator is
//!   there at the start, and not when the first of them comes.
//! - The served port has a thread for each processor, and a connection stays on one ([`web::server`]):
//!   moving the steps of a call between threads costs as much as the call. Outbound clients are each
//!   thread's own ([`net`]).
//! - Sessions of browsers belong to the broker ([`broker::sign_in`]), form tokens to the pages
//!   (`web::csrf`): who has signed in is a decision, and what a form carries is not.
//! - The grant is the lease of its own renewal ([`model::grant::Attempt`]): marking it is one swap, and
//!   what happened to a refresh token stands where the token stands.
//! - The loopback listener opens with the first link, so that a server nobody connects with holds no
//!   port. Of the processes that share a data folder its owner alone listens, for all of them
//!   ([`web::reach`]).
//! - A host may end its server after one call, so the first link starts a keeper ([`app::keeper`]): a
//!   process that answers open links, and ends with the last of them. The owner of the folder passes its
//!   listening sockets to the other processes ([`store::ListeningSockets`]): from one owner to the
//!   next, even after SIGKILL, a browser waits and is not refused.
//! - A started trip ([`model::Started`]) is a record of its own under its `state`, and redeeming it
//!   is deleting it: one link can be taken to the provider more than once, each trip at most once.
//! - jq filters that are not plainly linear run in a child process: it is the only bound on time,
//!   memory and stack that a filter cannot argue with.

pub mod app;
pub mod broker;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod identity;
pub mod mcp;
pub mod model;
pub mod net;
pub mod oauth;
pub mod registry;
pub mod store;
pub mod upstream;
pub mod web;
