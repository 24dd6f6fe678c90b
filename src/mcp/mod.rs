//! The MCP face: renders outcomes for whichever revision and client is on the other side. Takes no
//! decision.
//!
//! # What a client gets when a consent is needed
//!
//! | revision | declares `elicitation.url` | gets | afterwards |
//! |---|---|---|---|
//! | 2026-07-28 | on this request | [`InputRequiredResult`](rmcp::model::InputRequiredResult) with a sealed `requestState` | the retry is held until the person is done, then runs |
//! | 2025-11-25 | at `initialize` | error -32042 | `notifications/elicitation/complete`, then the client calls again |
//! | any other | or not at all | an `isError` text with the link | the next call runs |
//!
//! A question that the client answers by itself, and a -32042 that it does not show, are followed by
//! the text (`asking`). The operator, or the address that a client has, can ask for the text at once
//! ([`ConsentMode`](crate::model::ConsentMode)).
//!
//! Below 2025-11-25 there is no URL elicitation, so a declaration there is ignored. The text is no
//! edge case: most hosts take it.
//!
//! # Ways in
//!
//! | way | which revisions | who calls |
//! |---|---|---|
//! | [`stdio`] | all | the one at the other end |
//! | [`streamable`], `/mcp` | 2026-07-28 without sessions; from 2025-03-26 on with them | whoever authenticated the request |
//! | [`sse`], `/sse` and `/messages` | up to 2025-11-25 | the same |
//!
//! rmcp speaks the protocol on all of them. What it leaves to others is here: whose a session is
//! (`sessions`), what runs and how much of it (`running`), what is no message (`malformed`, `body`,
//! `lines`), which type a client accepts (`accept`), that a long call shows life (`alive`), and a
//! shorter way for the commonest request (`direct`).

mod accept;
mod alive;
mod announce;
mod asking;
mod body;
mod consent_query;
mod direct;
mod fault;
mod handler;
mod lines;
mod loose;
mod malformed;
mod render;
mod request_state;
mod running;
mod sessions;
pub mod sse;
pub mod stdio;
pub mod streamable;

pub use handler::{Handler, ServerText, Who};
pub use running::Running;
