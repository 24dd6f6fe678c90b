//! Clients that we did not write walk the whole journey, in every revision that each can be made to
//! offer. What that takes is told at the top of each of their files.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::{Dialect, Home, Running, Way, World, part};

/// What is asked of a client, and the revision that this comes to.
type Offer = (&'static str, &'static str);

const BY_HANDSHAKE: [Offer; 3] =
    [("2024-11-05", "2024-11-05"), ("2025-03-26", "2025-03-26"), ("2025-06-18", "2025-06-18")];

#[test]
fn python_mcp() {
    let offers =
        [("default", "2026-07-28"), ("2026-07-28", "2026-07-28"), ("2025-11-25", "2025-11-25")];
    walk(&part("COUNTERSIGN_REAL_PYTHON"), "python_mcp.py", "mcp", &offers);
}

#[test]
fn typescript_client() {
    let offers = [
        ("default", "2025-11-25"),
        ("auto", "2026-07-28"),
        ("2026-07-28", "2026-07-28"),
        ("2025-11-25", "2025-11-25"),
    ];
    let node = part("COUNTERSIGN_REAL_NODE");
    walk(&node, "ts_client.mjs", "@modelcontextprotocol/client", &offers);
}

#[test]
fn typescript_sdk() {
    let node = part("COUNTERSIGN_REAL_NODE");
    walk(&node, "ts_sdk.mjs", "@modelcontextprotocol/sdk", &[("default", "2025-11-25")]);
}

fn walk(program: &Path, file: &str, name: &str, offers: &[Offer]) {
    let world = World::start();
    for (protocol, revision) in offers.iter().chain(&BY_HANDSHAKE).copied() {
        for elicits in [true, false] {
            let home = Home::new(&world.tools());
            let mut client = Command::new(program);
            client
                .arg(part("COUNTERSIGN_REAL_DIR").join("clients").join(file))
                .args(["--binary", crate::harness::BINARY])
                .args(["--args", &json!(["serve", "--stdio"]).to_string()])
                .args(["--env", &json!(home.variables()).to_string()])
                .arg("--cwd")
                .arg(home.path(""))
                .args(["--tool", "whoami", "--protocol", protocol])
                .args(["--elicitation", if elicits { "url" } else { "none" }])
                .env("NODE", part("COUNTERSIGN_REAL_NODE"));
            let finished = Running::start(client).end();
            assert_eq!(finished.code, Some(0), "{protocol}, {elicits}: {finished:?}");
            let report = finished.json();
            let way = match (Dialect { revision, elicits }).way() {
                Way::Text => "text",
                Way::Error => "-32042",
                Way::Input => "input_required",
            };
            assert_eq!(report["client"], name);
            assert_eq!(report["protocol_negotiated"], revision, "{protocol}, {elicits}: {report}");
            assert_eq!(report["path"], way, "{protocol}, {elicits}: {report}");
            let text = report["result_text"].as_str().unwrap();
            assert!(text.contains("\"ana\""), "{protocol}, {elicits}: {report}");
        }
    }
}
