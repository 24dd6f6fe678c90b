//! The direct path of a call answers as the general path does, to the byte.

use serde_json::{Value, json};

use super::wire::Served;
use crate::support::provider::{Act, Server, answer, json as ok};

/// Headers of a 2026-07-28 call as SDKs write them.
pub(super) fn headers(tool: &str) -> Vec<(&str, &str)> {
    vec![
        ("Accept", "application/json, text/event-stream"),
        ("Content-Type", "application/json"),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", tool),
        ("Connection", "close"),
    ]
}

/// [`headers`], with the tool's name written in this way.
fn named<'a>(name: &'a str, tool: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut headers = headers(tool);
    headers.retain(|(own, _)| *own != "Mcp-Name");
    headers.push(("Mcp-Name", name));
    headers
}

/// Encodes a name in the form for names that no header can hold otherwise.
fn encoded(tool: &str) -> String {
    use base64::Engine as _;
    format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(tool))
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
        ("connections", json!({})),
        ("connections", json!({ "tools": { "asks": true } })),
        ("Read", json!({ "id": 5 })),
    ];
    for (tool, arguments) in cases {
        for id in [json!(7), json!("seven"), json!(-1)] {
            let mut body = call(tool, &arguments);
            body["id"] = id;
            let ask =
                |name| served.ask("POST /mcp", &named(name, tool), body.to_string().as_bytes());
            let short = ask(tool);
            // Asks for the same in a form that the direct path does not handle.
            let long = ask(&encoded(tool));
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
    let ask = |name| {
        let body = call("asks", &json!({})).to_string();
        served.ask("POST /mcp", &named(name, "asks"), body.as_bytes()).json()
    };
    let mut short = ask("asks");
    let mut long = ask(&encoded("asks"));
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

/// Returns the JSON-RPC message of an answer, in plain form or as an event.
fn message(body: &str) -> Value {
    let start = body.find("{\"jsonrpc\"").unwrap_or_else(|| panic!("{body:?}"));
    let message = body[start..].lines().next().unwrap();
    serde_json::from_str(message).unwrap_or_else(|error| panic!("{error}: {body:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_are_no_object_are_read_or_refused_in_words_in_every_revision() {
    let api = Server::saying(ok(r#"{"id": 5}"#)).await;
    let served = Served::over(&tools(&api.origin));
    let session = served.session(&[]);
    let id = ("Mcp-Session-Id", session.as_str());
    let older = |tool: &str, arguments: &Value| {
        let params = json!({ "name": tool, "arguments": arguments });
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
        message(&served.post(&[id], &body).body)
    };
    let newer = |tool: &str, arguments: &Value| {
        let body = call(tool, arguments).to_string();
        message(&served.ask("POST /mcp", &headers(tool), body.as_bytes()).body)
    };
    let check = |ask: &dyn Fn(&str, &Value) -> Value| {
        for (loose, object) in [
            (json!([]), json!({})),
            (json!("{\"id\": 5}"), json!({ "id": 5 })),
            (json!("{\"id\": \"five\"}"), json!({ "id": "five" })),
        ] {
            assert_eq!(ask("read", &loose), ask("read", &object), "{loose}");
        }
        for wrong in [json!("five"), json!([5]), json!(5), json!(true), json!("[1]"), json!("5")] {
            let answer = ask("read", &wrong);
            assert_eq!(answer["id"], 7, "{answer}");
            assert_eq!(answer["result"]["isError"], true, "{wrong}: {answer}");
            let text = answer["result"]["content"][0]["text"].as_str().unwrap();
            assert!(text.contains("must be a JSON object"), "{text}");
        }
        // Other faults of the request stay errors of the protocol.
        assert_eq!(ask("nowhere", &json!([]))["error"]["code"], -32602);
    };
    check(&older);
    check(&newer);
    let is_complete = |answer: &Value| answer["result"]["resultType"] == "complete";
    assert!(is_complete(&newer("read", &json!([]))) && !is_complete(&older("read", &json!([]))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_is_asked_for_and_waited_for_whatever_form_the_arguments_have() {
    let api = Server::saying(ok("{}")).await;
    let served = Served::over(&tools(&api.origin));
    let mut body = call("asks", &json!([]));
    let ask = |body: &Value| {
        served.ask("POST /mcp", &headers("asks"), body.to_string().as_bytes()).json()
    };
    let first = ask(&body);
    assert_eq!(first["result"]["resultType"], "input_required", "{first}");
    // The state that was issued for `[]` is valid for the same call without arguments.
    body["params"]["requestState"] = first["result"]["requestState"].clone();
    let key = first["result"]["inputRequests"].as_object().unwrap().keys().next().unwrap();
    body["params"]["inputResponses"] = json!({ key: { "action": "decline" } });
    let second = ask(&body);
    assert_eq!(second["result"]["isError"], true, "{second}");
    // The answer came at once, so it is the client's own decision; the state was accepted.
    assert!(second.to_string().contains("This client declined automatically"), "{second}");
}
