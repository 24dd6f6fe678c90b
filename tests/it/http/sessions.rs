//! A session or stream belongs to the caller that opened it, and ends.

use serde_json::{Value, json};

use super::wire::{Answer, Events, POST, Served, initialize, ping};
use crate::support::wait_until;

const TOOLS: &str = r#"
    [[server.auth.api_keys]]
    name = "ana"
    key  = "env:ANA"
    user = "ana"
    [[server.auth.api_keys]]
    name = "bob"
    key  = "env:BOB"
    user = "bob"
    [[server.auth.api_keys]]
    name = "app"
    key  = "env:APP"
"#;

const ANA: (&str, &str) = ("Authorization", "Bearer ana-0123456789abcdef0123");
const BOB: (&str, &str) = ("Authorization", "Bearer bob-0123456789abcdef0123");
const APP: (&str, &str) = ("Authorization", "Bearer app-0123456789abcdef0123");

fn served() -> Served {
    let variables = [
        ("ANA", "ana-0123456789abcdef0123"),
        ("BOB", "bob-0123456789abcdef0123"),
        ("APP", "app-0123456789abcdef0123"),
        ("COUNTERSIGN_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
    ];
    Served::start(TOOLS, |command| command.envs(variables))
}

#[test]
fn somebody_elses_session_does_not_exist() {
    let served = served();
    let session = served.session(&[ANA]);
    let id = ("Mcp-Session-Id", session.as_str());
    let events = ("Accept", "text/event-stream");
    let user = |name| ("Countersign-User", name);
    for other in [&[BOB][..], &[APP, user("ana")], &[APP, user("bob")]] {
        let with = |more: &[_]| [other, more].concat();
        let answer = served.post(&with(&[id]), &ping());
        assert_eq!((answer.status, answer.code()), (404, -32000), "{other:?}");
        assert_eq!(served.ask("GET /mcp", &with(&[id, events]), b"").status, 404);
        assert_eq!(served.ask("DELETE /mcp", &with(&[id]), b"").status, 404);
        let notice = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(served.post(&with(&[id]), &notice).status, 404);
    }
    assert_eq!(served.post(&[id], &ping()).status, 401, "nobody");
    assert_eq!(served.post(&[ANA, id], &ping()).status, 200, "it is still hers");
    // Two users of one application.
    let session = served.session(&[APP, user("ana")]);
    let id = ("Mcp-Session-Id", session.as_str());
    assert_eq!(served.post(&[APP, user("bob"), id], &ping()).status, 404);
    assert_eq!(served.post(&[APP, user("ana"), id], &ping()).status, 200);
}

#[test]
fn a_session_that_was_ended_is_gone() {
    let served = Served::over("");
    let session = served.session(&[]);
    let id = [("Mcp-Session-Id", session.as_str())];
    let mut events = served.events("GET /mcp", &[id[0], ("Accept", "text/event-stream")]);
    assert_eq!(served.ask("DELETE /mcp", &id, b"").status, 204);
    assert_eq!(events.next(), None, "its stream ends");
    for _ in 0..2 {
        assert_eq!(served.post(&id, &ping()).status, 404);
        assert_eq!(served.ask("DELETE /mcp", &id, b"").status, 404);
    }
    for unknown in ["", "x", "../../etc/passwd", "00000000-0000-0000-0000-000000000000"] {
        let answer = served.post(&[("Mcp-Session-Id", unknown)], &ping());
        assert_eq!(answer.status, 404, "{unknown}");
    }
}

/// Opens `/sse`; returns its events and the endpoint to write to.
fn sse(served: &Served, who: &[(&str, &str)]) -> (Events, String) {
    let mut events = served.events("GET /sse", who);
    let endpoint = events.next().unwrap();
    assert!(endpoint.starts_with("/messages?sessionId="), "{endpoint}");
    (events, endpoint)
}

fn write(served: &Served, who: &[(&str, &str)], endpoint: &str, message: &Value) -> Answer {
    let target = format!("POST {endpoint}");
    served.ask(&target, &[&POST[..], who].concat(), message.to_string().as_bytes())
}

#[test]
fn an_older_client_gets_its_answers_on_its_stream() {
    let served = Served::over("");
    let (mut events, endpoint) = sse(&served, &[]);
    // 256 bits
    assert_eq!(endpoint.len(), "/messages?sessionId=".len() + 43);
    assert_eq!(write(&served, &[], &endpoint, &initialize()).status, 202);
    let hello: Value = serde_json::from_str(&events.next().unwrap()).unwrap();
    assert!(hello["result"]["serverInfo"].is_object(), "{hello}");
    let notice = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(write(&served, &[], &endpoint, &notice).status, 202);
    assert_eq!(write(&served, &[], &endpoint, &ping()).status, 202);
    let pong: Value = serde_json::from_str(&events.next().unwrap()).unwrap();
    assert_eq!(pong["id"], 2);
    let bad = served.ask(&format!("POST {endpoint}"), &POST, b"{");
    assert_eq!((bad.status, bad.code()), (400, -32700));
}

#[test]
fn only_who_opened_a_stream_writes_to_it_and_only_while_it_is_open() {
    let served = served();
    let (events, endpoint) = sse(&served, &[ANA]);
    assert_eq!(write(&served, &[BOB], &endpoint, &initialize()).status, 404);
    assert_eq!(write(&served, &[], &endpoint, &initialize()).status, 401);
    assert_eq!(write(&served, &[ANA], &endpoint, &initialize()).status, 202);
    let two = format!("{endpoint}&sessionId=x");
    assert_eq!(write(&served, &[ANA], &two, &initialize()).status, 404);
    assert_eq!(write(&served, &[ANA], "/messages", &initialize()).status, 404);
    drop(events);
    // The server notices when it checks the connection; no event tells the test.
    wait_until("the end of the session of a closed stream", || {
        write(&served, &[ANA], &endpoint, &ping()).status == 404
    });
}
