//! Vocabulary of the tests: a [`World`] outside, a [`Home`] per machine, a [`Server`] per host or a
//! [`Served`] one for all hosts, and a [`Visit`] for the user at the browser.

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

/// How long a test waits before it gives up. Long, because a machine may be busy; a test that
/// passes never waits it out.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Factor by which a test of load or chance runs longer. `./tests/run long MIN` sets it; usually 1.
pub fn times() -> u32 {
    environment("COUNTERSIGN_TEST_MINUTES").map_or(1, |minutes| {
        minutes.to_str().and_then(|minutes| minutes.parse().ok()).expect("minutes are a number")
    })
}

/// Whether tests run for as long as `./tests/run long` says.
pub fn is_long() -> bool {
    environment("COUNTERSIGN_TEST_MINUTES").is_some()
}

/// Prints figures, also for a test that passes.
pub fn report(figures: &str) {
    let _ = writeln!(std::io::stderr(), "{figures}");
}

/// Path of a real part, from the variable that `./tests/run` sets.
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
