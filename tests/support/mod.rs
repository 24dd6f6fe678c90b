//! What the test programs share: a whole server in the test's own process ([`world`]), machines of
//! their own with processes on them ([`process`]), hosts that speak MCP to them ([`host`]), a
//! browser ([`browser`]) whose pages keep the rules ([`pages`]), requests written by hand
//! ([`http`]), an API that misbehaves ([`provider`]), and bounded waits ([`wait_until`]).
//!
//! Nothing here needs more than Rust.

pub mod browser;
pub mod host;
pub mod http;
pub mod lines;
pub mod pages;
pub mod process;
pub mod provider;
mod wait;
pub mod world;

use std::ffi::OsString;
use std::net::TcpListener;
use std::time::Duration;

pub use wait::{wait_until, wait_until_async, wait_within};

/// How long a test waits before it gives up. Long, because a machine may be busy; a test that
/// passes never waits it out.
pub const PATIENCE: Duration = Duration::from_mins(1);

#[expect(
    clippy::disallowed_methods,
    reason = "the only place where the tests read the environment"
)]
pub fn environment(variable: &str) -> Option<OsString> {
    std::env::var_os(variable)
}

/// A port that was free just now, for a server that needs to know its port beforehand.
pub fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.expect("a free port").port()
}
