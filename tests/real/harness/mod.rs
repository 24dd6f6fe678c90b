//! Vocabulary of the tests: a [`World`] outside, a [`Home`] per machine, a [`Server`] per host or a
//! [`Served`] one for all hosts, and a [`Visit`] for the user at the browser.

mod people;
mod program;
mod search;
mod visit;
mod world;

use std::io::Write as _;
use std::path::PathBuf;

pub use crate::support::host::{
    Answer, Dialect, Host, Prompt, Served, Server, Transport, Way, Wire,
};
pub use crate::support::http::{Reply, listening, page_while_it_lives, request};
pub use crate::support::process::home::{BINARY, Home, contents, files};
pub use crate::support::process::running::{Finished, Running};
pub use crate::support::{PATIENCE, environment, wait_until, wait_within};
pub use people::{
    Application, Attacker, Browsers, Issuer, Page, asked, assert_account, assert_unconnected,
};
pub use program::Program;
pub use search::{Search, hex};
pub use visit::{Held, Visit, paste, press};
pub use world::{World, provider};

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
