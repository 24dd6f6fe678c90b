//! `Accept` is honoured: a client that accepts one type gets that type, and a client that accepts
//! any is served.

use serde_json::{Value, json};

use super::direct::{call, headers};
use super::wire::{Answer, Served, initialize, ping};
use crate::support::provider::{Server, json as ok};

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// Headers with this `Accept`, or without the header.
fn with<'a>(accept: Option<&'a str>, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let accept = accept.map(|accept| ("Accept", accept));
    [("Content-Type", JSON)].into_iter().chain(accept).chain(more.iter().copied()).collect()
}

/// Returns the type and the message of an answer of either type.
#[track_caller]
fn message(answer: &Answer) -> (String, Value) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let kind = answer.header("content-type").unwrap().to_owned();
    if kind == JSON {
        return (kind, answer.json());
    }
    let last = answer.body.lines().rfind(|line| line.starts_with("data: {"));
    let last = last.unwrap_or_else(|| panic!("{answer:?}"));
    (kind, serde_json::from_str(last.trim_start_matches("data: ")).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_client_gets_a_type_that_it_accepts() {
    let api = Server::saying(ok(r#"{"id": 5}"#)).await;
    let tool = format!("[tools.read]\ndescription = \"x\"\nrequest = \"GET {}/x\"\n", api.origin);
    let served = Served::over(&tool);
    for (accept, of_session, of_call) in [
        (None, EVENTS, JSON),
        (Some(""), EVENTS, JSON),
        (Some("*/*"), EVENTS, JSON),
        (Some("application/*, text/*"), EVENTS, JSON),
        (Some("Text/Event-Stream ; q=0.5, Application/JSON;charset=utf-8"), EVENTS, JSON),
        (Some("application/json"), JSON, JSON),
        (Some("application/*;q=0.1"), JSON, JSON),
        (Some("*/*, text/event-stream;q=0"), JSON, JSON),
        (Some("text/event-stream"), EVENTS, EVENTS),
        (Some("application/json;q=0.0, */*;q=0.1"), EVENTS, EVENTS),
    ] {
        let post = |more: &[(&str, &str)], body: &Value| {
            served.ask("POST /mcp", &with(accept, more), body.to_string().as_bytes())
        };
        let hello = post(&[], &initialize());
        let (kind, told) = message(&hello);
        assert_eq!(kind, of_session, "{accept:?}");
        assert_eq!(told["result"]["protocolVersion"], "2025-11-25", "{accept:?}");
        let session = hello.header("mcp-session-id").expect("a session");
        let session = [("Mcp-Session-Id", session)];
        let (kind, told) = message(&post(&session, &ping()));
        assert_eq!((kind.as_str(), &told["id"]), (of_session, &json!(2)), "{accept:?}");
        let in_session = json!({ "jsonrpc": "2.0", "id": 8, "method": "tools/call",
            "params": { "name": "read", "arguments": {} } });
        let (kind, told) = message(&post(&session, &in_session));
        assert_eq!((kind.as_str(), &told["id"]), (of_session, &json!(8)), "{accept:?}");
        assert!(told["result"]["content"].is_array(), "{told}");
        let notice = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(post(&session, &notice).status, 202, "{accept:?}");
        // A call takes the direct path, a list the general one.
        for method in ["tools/call", "tools/list"] {
            let mut body = call("read", &json!({}));
            body["method"] = method.into();
            let mut modern = headers("read");
            modern.retain(|(name, _)| !["Accept", "Content-Type"].contains(name));
            for header in &mut modern {
                if header.0 == "Mcp-Method" {
                    header.1 = method;
                }
            }
            let (kind, told) = message(&post(&modern, &body));
            assert_eq!((kind.as_str(), &told["id"]), (of_call, &json!(7)), "{method} {accept:?}");
            assert!(told["result"].is_object(), "{told}");
        }
    }
}

#[test]
fn who_accepts_neither_type_is_told_so() {
    let served = Served::over("");
    let session = served.session(&[]);
    let session = ("Mcp-Session-Id", session.as_str());
    for accept in ["text/html", "*/*;q=0", "application/xml, image/*", "application/json-seq"] {
        let body = initialize().to_string();
        let answer = served.ask("POST /mcp", &with(Some(accept), &[]), body.as_bytes());
        assert_eq!((answer.status, answer.code()), (406, -32000), "{accept}");
    }
    for accept in ["application/json", "text/event-stream;q=0, */*", "text/html"] {
        let answer = served.ask("GET /mcp", &[("Accept", accept), session], b"");
        assert_eq!((answer.status, answer.code()), (406, -32000), "{accept}");
    }
}

#[test]
fn a_stream_is_opened_by_whoever_accepts_one() {
    let served = Served::over("");
    for accept in [None, Some("*/*"), Some("text/*"), Some("TEXT/EVENT-STREAM;q=0.3")] {
        let session = served.session(&[]);
        let id = [("Mcp-Session-Id", session.as_str())];
        let mut events = served.events("GET /mcp", &with(accept, &id));
        assert_eq!(served.ask("DELETE /mcp", &id, b"").status, 204);
        assert_eq!(events.next(), None, "{accept:?}");
    }
}
