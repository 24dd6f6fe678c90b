//! Calls that fail, one of each kind that a test can bring about without waiting.

use serde_json::json;

use super::Recorded;
use super::world::Machine;
use crate::snapshot::Snapshot;
use crate::support::host::{Dialect, Server};

const TOOLS: [&str; 15] = [
    "missing",
    "forbidden",
    "refused",
    "busy",
    "broken",
    "torn",
    "torn_write",
    "silent",
    "away",
    "reported",
    "filtered",
    "not_json",
    "misshapen",
    "keyed",
    "unfinished",
];

/// The first and the last revision: a failure is written alike in all between.
#[tokio::test(flavor = "multi_thread")]
async fn failures_of_every_kind() {
    for dialect in [Dialect { revision: "2024-11-05", elicits: false }, Dialect::ROUNDS] {
        let machine = Machine::with_failures().await;
        let snapshot = Snapshot::new(&format!("failures/{}", dialect.revision));
        let mut client = Recorded::new(Server::start(&machine.home, dialect), snapshot);
        for tool in TOOLS {
            client.call(tool, &json!({}));
        }
        for arguments in [
            json!({ "id": "five" }),
            json!({ "id": 0 }),
            json!({ "id": 1, "word": "three", "more": null }),
            json!({ "ids": 1 }),
        ] {
            client.call("plain", &arguments);
        }
        client.ask("tools/call", json!({ "arguments": {} }));
        client.ask("tools/call", json!({ "name": 5 }));
        client.ask("no/such/method", json!({}));
        client.end().hold(&machine.known());
    }
}
