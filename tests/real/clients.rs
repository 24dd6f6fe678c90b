//! Clients that we did not write walk the whole journey, over every transport, in every revision that each can be made
//! to offer. What that takes is told at the top of each of their files.

use serde_json::{Value, json};

use crate::harness::{BINARY, Dialect, Home, Program, Served, Transport, Way, World};

struct Client {
    file: &'static str,
    name: &'static str,
    /// What is asked of it, and the revision that this comes to.
    offers: &'static [(&'static str, &'static str)],
}

const PYTHON_MCP: Client = Client {
    file: "clients/python_mcp.py",
    name: "mcp",
    offers: &[
        ("default", "2026-07-28"),
        ("2026-07-28", "2026-07-28"),
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2024-11-05"),
    ],
};

const FASTMCP: Client =
    Client { file: "clients/python_fastmcp.py", name: "fastmcp", offers: PYTHON_MCP.offers };

const TYPESCRIPT_CLIENT: Client = Client {
    file: "clients/ts_client.mjs",
    name: "@modelcontextprotocol/client",
    offers: &[
        ("default", "2025-11-25"),
        ("auto", "2026-07-28"),
        ("2026-07-28", "2026-07-28"),
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2024-11-05"),
    ],
};

const TYPESCRIPT_SDK: Client = Client {
    file: "clients/ts_sdk.mjs",
    name: "@modelcontextprotocol/sdk",
    offers: &[
        ("default", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2024-11-05"),
    ],
};

#[test]
fn python_mcp_over_stdio() {
    PYTHON_MCP.over_stdio();
}

#[test]
fn python_mcp_over_http() {
    PYTHON_MCP.over_http();
}

#[test]
fn fastmcp_over_stdio() {
    FASTMCP.over_stdio();
}

#[test]
fn fastmcp_over_http() {
    FASTMCP.over_http();
}

#[test]
fn typescript_client_over_stdio() {
    TYPESCRIPT_CLIENT.over_stdio();
}

#[test]
fn typescript_client_over_http() {
    TYPESCRIPT_CLIENT.over_http();
}

#[test]
fn typescript_sdk_over_stdio() {
    TYPESCRIPT_SDK.over_stdio();
}

#[test]
fn typescript_sdk_over_http() {
    TYPESCRIPT_SDK.over_http();
}

impl Client {
    fn start(&self) -> Program {
        let program = Program::start(self.file, &json!({}));
        assert_eq!(program.ready["client"], self.name);
        program
    }

    fn over_stdio(&self) {
        let world = World::start();
        let mut program = self.start();
        for (protocol, revision) in self.offers.iter().copied() {
            for elicits in [true, false] {
                let home = Home::new(&world.tools());
                let server = json!({
                    "binary": BINARY,
                    "args": ["serve", "--stdio"],
                    "env": home.variables(),
                    "cwd": home.path(""),
                });
                walk(&mut program, &server, protocol, Dialect { revision, elicits });
            }
        }
    }

    fn over_http(&self) {
        let world = World::start();
        let home = Home::new(&world.tools());
        let served = Served::start(&home);
        let mut program = self.start();
        for (transport, kind) in [(Transport::Streamable, "http"), (Transport::Sse, "sse")] {
            let server = json!({"url": served.url(transport), "transport": kind});
            for (protocol, revision) in self.offers.iter().copied() {
                for elicits in [true, false] {
                    walk(&mut program, &server, protocol, Dialect { revision, elicits });
                    let revoked = home.run(&["auth", "revoke", "notes"]);
                    assert_eq!(revoked.code, Some(0), "{}", home.log());
                }
            }
        }
        assert_eq!(served.end().code(), Some(0), "{}", home.log());
    }
}

fn walk(program: &mut Program, server: &Value, protocol: &str, dialect: Dialect) {
    let wish = json!({
        "server": server, "tool": "whoami", "protocol": protocol, "elicits": dialect.elicits,
    });
    let report = program.ask(&wish);
    let way = match dialect.way() {
        Way::Text => "text",
        Way::Error => "-32042",
        Way::Input => "input_required",
    };
    assert_eq!(
        report["protocol_negotiated"], dialect.revision,
        "{protocol}, {dialect:?}: {report}"
    );
    assert_eq!(report["path"], way, "{protocol}, {dialect:?}: {report}");
    let text = report["result_text"].as_str().unwrap();
    assert!(text.contains("\"ana\""), "{protocol}, {dialect:?}: {report}");
}
