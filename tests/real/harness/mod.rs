//! What the tests are written in: a [`World`] outside, a [`Home`] per machine, a [`Server`] of its own that a host talks
//! to or a [`Served`] one for all of them, a [`Visit`] for the person at the browser.

mod answer;
mod dialect;
mod events;
mod home;
mod host;
mod http;
mod lines;
mod people;
mod program;
mod running;
mod search;
mod sender;
mod served;
mod server;
mod sse;
mod streamable;
mod visit;
mod world;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

pub use answer::{Answer, Prompt, Way};
pub use dialect::Dialect;
pub use home::{BINARY, Home, files};
pub use host::{Host, Wire};
pub use http::{Reply, listening, page_while_it_lives, request};
pub use people::{
    Application, Attacker, Browsers, Issuer, Page, asked, assert_account, assert_unconnected,
};
pub use program::Program;
pub use running::{Finished, Running};
pub use search::{Search, hex};
pub use served::{Served, Transport};
pub use server::Server;
pub use visit::{Held, Visit, paste, press};
pub use world::{World, provider};

/// How long anything may take before a test gives up on it. Long, since a machine may be busy; never waited out by a
/// test that passes.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// How many times as long a test of load or chance goes on: `./tests/run long MIN` sets it; usually once.
pub fn times() -> u32 {
    environment("COUNTERSIGN_TEST_MINUTES").map_or(1, |minutes| {
        minutes.to_str().and_then(|minutes| minutes.parse().ok()).expect("minutes are a number")
    })
}

/// Whether tests run for as long as `./tests/run long` says.
pub fn is_long() -> bool {
    environment("COUNTERSIGN_TEST_MINUTES").is_some()
}

/// Puts figures into the output, of a test that passes too.
pub fn report(figures: &str) {
    let _ = writeln!(std::io::stderr(), "{figures}");
}

/// A real part, as `./tests/run` names it.
pub fn part(variable: &str) -> PathBuf {
    environment(variable).map_or_else(
        || panic!("{variable} is not set: the real parts are brought by ./tests/run"),
        PathBuf::from,
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "the only place where the tests read the environment"
)]
pub fn environment(variable: &str) -> Option<OsString> {
    std::env::var_os(variable)
}
