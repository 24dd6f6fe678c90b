//! HTTP exchanges with status and headers: sessions, the direct path, and each refusal of the gate.

use serde_json::{Value, json};

use super::world::Machine;
use crate::http::wire::{Answer, POST, Served, initialize, ping};
use crate::snapshot::Snapshot;
use crate::support::host::Dialect;

fn write(snapshot: &mut Snapshot, what: &str, answer: &Answer) {
    snapshot.part(what);
    snapshot.add(&format!("{}\n{}\n\n{}", answer.status, heads(answer), answer.body));
}

fn heads(answer: &Answer) -> String {
    let heads = answer.lasting_headers();
    heads.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n")
}

fn post(served: &Served, dialect: Dialect, more: &[(&str, &str)], message: &Value) -> Answer {
    let own = dialect.headers(Some(message));
    let own: Vec<_> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    served.post(&[&own[..], more].concat(), message)
}

#[test]
fn the_exchanges_of_a_session() {
    let served = Served::over("");
    let mut snapshot = Snapshot::new("heads/sessions");
    for revision in Dialect::REVISIONS {
        let dialect = Dialect { revision, elicits: false };
        let request = |method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": dialect.sign(params) });
        let mut session = Vec::new();
        if dialect.is_stateless() {
            let hello = post(&served, dialect, &[], &request("server/discover", json!({})));
            write(&mut snapshot, &format!("{revision} server/discover"), &hello);
        } else {
            let hello = request("initialize", dialect.initialize());
            let hello = post(&served, dialect, &[], &hello);
            write(&mut snapshot, &format!("{revision} initialize"), &hello);
            session.push(hello.header("mcp-session-id").expect("a session").to_owned());
            let told = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
            let told = post(&served, dialect, &of(&session), &told);
            write(&mut snapshot, &format!("{revision} notifications/initialized"), &told);
        }
        for method in ["ping", "tools/list"] {
            let answer = post(&served, dialect, &of(&session), &request(method, json!({})));
            write(&mut snapshot, &format!("{revision} {method}"), &answer);
        }
        let call = request("tools/call", json!({ "name": "nowhere", "arguments": {} }));
        let answer = post(&served, dialect, &of(&session), &call);
        write(&mut snapshot, &format!("{revision} tools/call"), &answer);
        let end = served.ask("DELETE /mcp", &of(&session), b"");
        write(&mut snapshot, &format!("{revision} DELETE"), &end);
    }
    snapshot.hold(&[]);
}

fn of(session: &[String]) -> Vec<(&'static str, &str)> {
    session.iter().map(|id| ("Mcp-Session-Id", id.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_on_the_direct_path() {
    let machine = Machine::with_consents().await;
    let tools = std::fs::read_to_string(machine.home.path("tools.toml")).unwrap();
    let served = Served::over(&tools);
    let mut snapshot = Snapshot::new("heads/direct");
    for dialect in [Dialect { elicits: false, ..Dialect::ROUNDS }, Dialect::ROUNDS] {
        for (tool, arguments) in
            [("plain", json!({ "id": 5 })), ("plain", json!({})), ("acme_read", json!({}))]
        {
            let params = dialect.sign(json!({ "name": tool, "arguments": arguments }));
            let call =
                json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
            let answer = post(&served, dialect, &[], &call);
            let elicits = dialect.elicits;
            write(&mut snapshot, &format!("{tool} {arguments}, opens links: {elicits}"), &answer);
        }
    }
    snapshot.hold(&machine.known());
}

#[test]
fn the_gates_refusals() {
    let served = Served::start("", |command| command.arg("--token"));
    let token = served.folder.path().join(".config/countersign/http.token");
    let token = std::fs::read_to_string(token).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let mut snapshot = Snapshot::new("heads/refusals");
    let hello = initialize().to_string();
    let mut ask = |what: &str, target: &str, headers: &[(&str, &str)], body: &[u8]| {
        write(&mut snapshot, what, &served.ask(target, headers, body));
    };
    let with = |more: &[(&'static str, &'static str)]| {
        [&POST[..], &[("Authorization", bearer.as_str())], more].concat()
    };
    ask("no token", "POST /mcp", &POST, hello.as_bytes());
    let wrong = [&POST[..], &[("Authorization", "Bearer wrong")]].concat();
    ask("a wrong token", "POST /mcp", &wrong, hello.as_bytes());
    let basic = [&POST[..], &[("Authorization", "Basic eDp5")]].concat();
    ask("another scheme", "POST /mcp", &basic, hello.as_bytes());
    ask("another host", "POST /mcp", &with(&[("Host", "evil.example")]), hello.as_bytes());
    let origin = ("Origin", "https://evil.example");
    ask("another site", "POST /mcp", &with(&[origin]), hello.as_bytes());
    ask("no JSON", "POST /mcp", &with(&[]), b"{");
    ask("a ping without a session", "POST /mcp", &with(&[]), ping().to_string().as_bytes());
    let unknown = ("Mcp-Session-Id", "unknown");
    ask("an unknown session", "POST /mcp", &with(&[unknown]), ping().to_string().as_bytes());
    let revision = ("MCP-Protocol-Version", "1999-01-01");
    ask("an unknown revision", "POST /mcp", &with(&[revision]), hello.as_bytes());
    let bearer_only = [("Authorization", bearer.as_str())];
    ask("no type", "POST /mcp", &bearer_only, hello.as_bytes());
    let html = [("Authorization", bearer.as_str()), ("Accept", "text/html")];
    ask("no type that is accepted", "POST /mcp", &html, hello.as_bytes());
    ask("a GET without a session", "GET /mcp", &with(&[]), b"");
    ask("another method", "PUT /mcp", &with(&[]), b"");
    ask("a message for no stream", "POST /messages?sessionId=x", &with(&[]), b"{}");
    ask("an unknown mode", "POST /mcp?consent=x", &with(&[]), hello.as_bytes());
    ask("no such route", "GET /nowhere", &[("Accept", "application/json")], b"");
    ask("no such page", "GET /nowhere", &[("Accept", "text/html")], b"");
    ask("a page without a sign-in", "GET /connections", &[("Accept", "text/html")], b"");
    ask("health", "GET /health", &[], b"");
    ask("life", "GET /health/live", &[], b"");
    ask("metadata", "GET /.well-known/oauth-protected-resource", &[], b"");
    snapshot.hold(&[(&served.address, "SERVER")]);
}
