//! Clients that we did not write go through the whole journey, over every transport, in every
//! revision that each can be made to offer. The top of each client's file says what that takes.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{
    Answer, BINARY, Dialect, Home, Program, Running, Served, Transport, Visit, Way, World, part,
};

struct Client {
    file: &'static str,
    name: &'static str,
    /// Pairs of the protocol that is requested and the revision that results.
    offers: &'static [(&'static str, &'static str)],
    /// Pairs with another result over HTTP+SSE.
    over_sse: &'static [(&'static str, &'static str)],
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
    over_sse: &[],
};

const FASTMCP: Client = Client {
    file: "clients/python_fastmcp.py",
    name: "fastmcp",
    offers: PYTHON_MCP.offers,
    over_sse: &[("default", "2025-11-25")],
};

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
    over_sse: &[],
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
    over_sse: &[],
};

/// Treats the data of each event as a message.
const TYPESCRIPT_SDK_1_23: Client = Client {
    file: "clients/ts_sdk_1_23.mjs",
    name: "@modelcontextprotocol/sdk 1.23",
    offers: &[
        ("default", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2024-11-05"),
    ],
    over_sse: &[],
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

#[test]
fn typescript_sdk_1_23_over_stdio() {
    TYPESCRIPT_SDK_1_23.over_stdio();
}

#[test]
fn typescript_sdk_1_23_over_http() {
    TYPESCRIPT_SDK_1_23.over_http();
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
        for transport in Transport::ALL {
            let server = json!({"url": served.url(transport), "transport": name(transport)});
            for (protocol, revision) in self.offers.iter().copied() {
                let changed = self.over_sse.iter().find(|(changed, _)| *changed == protocol);
                let revision = match changed {
                    Some((_, revision)) if transport == Transport::Sse => revision,
                    _ => revision,
                };
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

/// The inspector declares no elicitation and calls once per run: the user acts between two runs.
#[test]
fn the_inspector_over_http() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let served = Served::start(&home);
    for transport in Transport::ALL {
        for era in ["legacy", "auto", "modern"] {
            let prompt = inspect(&home, &served, transport, era).asked();
            assert_eq!(prompt.way, Way::Text);
            Visit::to(&prompt.url).approves();
            let text = inspect(&home, &served, transport, era).ran();
            assert!(text.contains("\"ana\""), "{transport:?}, {era}: {text}");
            let revoked = home.run(&["auth", "revoke", "notes"]);
            assert_eq!(revoked.code, Some(0), "{}", home.log());
        }
    }
    assert_eq!(served.end().code(), Some(0), "{}", home.log());
}

fn inspect(home: &Home, served: &Served, transport: Transport, era: &str) -> Answer {
    const INSPECTOR: &str =
        "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js";
    let mut command = Command::new(part("COUNTERSIGN_REAL_NODE"));
    command
        .arg(part("COUNTERSIGN_REAL_DIR").join(INSPECTOR))
        .args(["--cli", &served.url(transport), "--transport", name(transport)])
        .args(["--method", "tools/call", "--tool-name", "whoami"])
        .args(["--protocol-era", era, "--format", "json"])
        .env("HOME", home.path("home"));
    Answer::of(&Running::start(command).end().json())
}

/// The transport's name in the clients.
fn name(transport: Transport) -> &'static str {
    match transport {
        Transport::Streamable => "http",
        Transport::Sse => "sse",
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
