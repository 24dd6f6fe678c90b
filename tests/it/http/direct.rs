//! The short way of a call answers as the long one does, to the byte.

use serde_json::{Value, json};

use super::wire::Served;
use crate::server::{Act, Server, answer, json as ok};

/// The headers of a call of 2026-07-28 as SDKs write them.
pub(super) fn headers(tool: &str) -> Vec<(&str, &str)> {
    with_accept("application/json, text/event-stream", tool)
}

fn with_accept<'a>(accept: &'a str, tool: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("Accept", accept),
        ("Content-Type", "application/json"),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", tool),
        ("Connection", "close"),
    ]
}

pub(super) fn call(tool: &str, arguments: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {
        "name": tool,
        "arguments": arguments,
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "it", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": { "elicitation": { "url": {} } },
        },
    }})
}

fn tools(origin: &str) -> String {
    format!(
        r#"
        [tools.read]
        description = "x"
        request     = "GET {origin}/read/{{id}}"
        params.id   = {{ type = "integer", description = "Which." }}

        [tools.broken]
        description = "x"
        request     = "GET {origin}/broken"

        [providers.acme]
        base_url  = "{origin}"
        client_id = "us"
        [providers.acme.oauth]
        authorize_url = "{origin}/authorize"
        token_url     = "{origin}/token"
        loopback      = "any-port"

        [tools.asks]
        description = "x"
        provider    = "acme"
        request     = "GET /asks"
        "#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_answer_alike() {
    let api = Server::start(|request| {
        Act::Say(if request.starts_with("GET /broken") {
            answer("500 Oh No", "", "<html>")
        } else {
            ok(r#"{"id": 5, "text": "grüß \u0000 \ud83e\udd80"}"#)
        })
    })
    .await;
    let served = Served::over(&tools(&api.origin));
    let cases = [
        ("read", json!({ "id": 5 })),
        ("read", json!({ "id": "5" })),
        ("read", json!({ "id": "five", "more": null })),
        ("read", json!({})),
        ("read", Value::Null),
        ("read", json!({ "id": 9_007_199_254_740_993_u64 })),
        ("broken", json!({})),
        ("nowhere", json!({})),
        ("Read", json!({ "id": 5 })),
    ];
    for (tool, arguments) in cases {
        for id in [json!(7), json!("seven"), json!(-1)] {
            let mut body = call(tool, &arguments);
            body["id"] = id;
            let ask = |accept| {
                served.ask("POST /mcp", &with_accept(accept, tool), body.to_string().as_bytes())
            };
            let short = ask("application/json, text/event-stream");
            // Means the same, and is not what the short way is for.
            let long = ask("application/json;q=1, text/event-stream;q=1");
            assert_eq!(short.status, long.status, "{body}");
            assert_eq!(short.body, long.body, "{body}");
            assert_eq!(short.lasting_headers(), long.lasting_headers(), "{body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_ask_for_a_consent_alike() {
    let api = Server::saying(ok("{}")).await;
    let served = Served::over(&tools(&api.origin));
    let ask = |accept| {
        let body = call("asks", &json!({})).to_string();
        served.ask("POST /mcp", &with_accept(accept, "asks"), body.as_bytes()).json()
    };
    let mut short = ask("application/json, text/event-stream");
    let mut long = ask("application/json;q=1, text/event-stream;q=1");
    for answer in [&mut short, &mut long] {
        assert_eq!(answer["result"]["resultType"], "input_required", "{answer}");
        // Signed anew each time.
        assert!(answer["result"]["requestState"].take().is_string());
    }
    assert_eq!(short, long);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_contradicts_the_body_is_refused() {
    let api = Server::saying(ok("{}")).await;
    let served = Served::over(&tools(&api.origin));
    let body = call("read", &json!({ "id": 5 })).to_string();
    for (name, value) in [
        ("Mcp-Name", "broken"),
        ("Mcp-Method", "tools/list"),
        ("MCP-Protocol-Version", "2025-11-25"),
    ] {
        let mut headers = headers("read");
        headers.retain(|(own, _)| *own != name);
        headers.push((name, value));
        let answer = served.ask("POST /mcp", &headers, body.as_bytes());
        assert_eq!((answer.status, answer.code()), (400, -32020), "{name}: {answer:?}");
    }
    assert_eq!(api.requests().len(), 0);
}
