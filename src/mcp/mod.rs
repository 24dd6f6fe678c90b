//! The MCP face: renders outcomes for the revision and the capabilities of each client. Takes no
//! decision.
//!
//! # What a client gets when a consent is needed
//!
//! | revision | declares `elicitation.url` | gets | afterwards |
//! |---|---|---|---|
//! | 2026-07-28 | on this request | [`InputRequiredResult`](rmcp::model::InputRequiredResult) with a signed `requestState` | the server holds the retry until the user has finished, then runs it |
//! | 2025-11-25 | at `initialize` | error -32042 | `notifications/elicitation/complete`, then the client calls again |
//! | any other | or not at all | an `isError` text with the link | the next call runs |
//!
//! If the client answers a question without its user, or does not show a -32042, the text follows
//! (`consent_rounds`). The operator, or `consent` in the client's URL, can choose the text from the start
//! ([`ConsentMode`](crate::model::ConsentMode)).
//!
//! Revisions before 2025-11-25 have no URL elicitation, so a declaration there is ignored. The text
//! is no edge case: most hosts use it.
//!
//! # Transports
//!
//! | transport | revisions | caller |
//! |---|---|---|
//! | [`stdio`] | all | the process at the other end |
//! | [`http::streamable`], `/mcp` | 2026-07-28 without sessions; earlier ones, from 2025-03-26, with sessions | the principal that the request authenticates |
//! | [`http::sse`], `/sse` and `/messages` | up to 2025-11-25 | as for `/mcp` |
//!
//! rmcp speaks the protocol on all of them. This module adds what rmcp lacks; [`http`] and
//! [`stdio`] list it for each transport.

mod built_in;
mod completion_notice;
mod consent_rounds;
mod handler;
pub mod http;
mod internal_error;
mod malformed;
mod non_object_arguments;
mod progress;
mod render;
mod request_state;
pub mod stdio;
mod unanswered;

pub use handler::{Handler, ServerText, Who};
