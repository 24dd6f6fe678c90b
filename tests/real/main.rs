//! The whole product against the real world: the binary as hosts start it, a certified
//! authorization server, an API that trusts nothing, third-party MCP clients, a browser.
//! `./tests/run` provides all of them; `cargo test` alone leaves this target out.
//!
//! No test waits for a fixed time: every wait is for a line, an answer or an end, and is bounded.
//! Nothing listens on a fixed port.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails, and says where"
)]
#![expect(unreachable_pub, reason = "a test binary exports nothing; `pub` means: for other files")]

mod harness;
#[allow(dead_code, reason = "some of it is there for the benchmark alone")]
#[path = "../load/mod.rs"]
mod load;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

mod agents;
mod applications;
mod arcade;
mod binding;
mod callback;
mod canary;
mod chromium;
mod clients;
mod commands;
mod conformance;
mod device;
mod disk;
mod engine;
mod faults;
mod garbage_http;
mod grants;
mod guide;
mod hosts;
mod journey;
mod keeper;
mod keys;
mod kills;
mod loopback;
mod moving_in;
mod ordering;
mod own_clients;
mod packed;
mod pages;
mod peers;
mod peers_under_fire;
mod people;
mod portia;
mod readme;
mod refresh;
mod rounds;
mod schema;
mod service;
mod shared;
mod soak;
mod stdout;
mod store;
mod store_memory;
mod users;
mod webhooks;
mod wire;
