//! The two journeys in one process, with a clock that the tests control.
//!
//! The authorization server here is a few lines of code that answer as the tests tell them to; it
//! plays what a certified server never does. `tests/real` uses the certified one.

mod accounts;
mod asking;
mod callback;
mod confirm;
mod confirmation;
mod connections;
mod ends;
mod expiry;
mod gallery;
mod identity;
mod login;
mod page;
mod paste;
mod questions;
mod readiness;
mod record;
mod refresh_tokens;
mod refusals;
mod retention;
mod service;
mod several;
mod token_endpoint;
mod trouble;
mod usage;
mod users;
mod world;

pub(crate) use world::tools_toml;
