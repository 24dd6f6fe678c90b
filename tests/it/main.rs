//! Tests that need only Rust: the real binary, and the rules of the sources.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
#![allow(unreachable_pub, reason = "nothing outside uses a test")]

mod allow;
mod catalog;
mod check;
mod cli;
mod command;
mod config;
mod consent;
mod diagnostics;
mod discovery;
mod documents;
mod env;
mod home;
mod http;
mod identity;
mod import;
mod keeper;
mod keys;
mod mistakes;
mod native;
mod oauth;
mod public_api;
mod rest;
mod seeds;
mod shipped;
mod shown;
mod sign_in;
mod snapshot;
mod stdio;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "../support/mod.rs"]
mod support;
mod tidy;
mod transcripts;
mod trust;
mod upstream;
