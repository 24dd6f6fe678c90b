//! Streams of sessions: how they begin, how a client resumes a broken one, and how a long call
//! shows progress.

use std::net::TcpStream;

use serde_json::{Value, json};

use super::ending::{Held, let_go};
use super::wire::{Answer, Events, POST, Served, initialize, ping};
use crate::stdio::Session;

const REVISIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

fn hello(revision: &str) -> Value {
    let mut hello = initialize();
    hello["params"]["protocolVersion"] = revision.into();
    hello
}

/// Begins a session of this revision; returns its headers.
fn session(served: &Served, revision: &'static str) -> [(&'static str, String); 2] {
    let answer = served.post(&[], &hello(revision));
    assert_eq!(answer.status, 200, "{answer:?}");
    let session = answer.header("mcp-session-id").expect("a session").to_owned();
    [("Mcp-Session-Id", session), ("MCP-Protocol-Version", revision.to_owned())]
}

fn borrowed<'a>(headers: &'a [(&'static str, String); 2]) -> [(&'static str, &'a str); 2] {
    headers.each_ref().map(|(name, value)| (*name, value.as_str()))
}

fn call(token: Option<&str>) -> Value {
    let mut call = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": { "name": "wait", "arguments": {} } });
    if let Some(token) = token {
        call["params"]["_meta"] = json!({ "progressToken": token });
    }
    call
}

/// Reads the answer as clients before 2025-11-25 do: the data of each event is a message.
#[track_caller]
fn assert_readable(answer: &Answer, expected: usize) {
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let data = answer.body.lines().filter_map(|line| line.strip_prefix("data:"));
    let messages = data.map(|data| serde_json::from_str::<Value>(data).expect("a message"));
    assert_eq!(messages.count(), expected, "{answer:?}");
    assert!(!answer.body.contains("retry:"), "{answer:?}");
}

#[test]
fn no_event_is_empty_before_2025_11_25() {
    let (api, tools) = Held::new();
    let served = Served::over(&tools);
    for revision in REVISIONS.iter().filter(|revision| **revision < "2025-11-25") {
        assert_readable(&served.post(&[], &hello(revision)), 1);
        let headers = session(&served, revision);
        let headers = borrowed(&headers);
        assert_readable(&served.post(&headers, &ping()), 1);
        let stream = served.open(
            "POST /mcp",
            &[&POST[..], &headers, &[("Connection", "close")]].concat(),
            call(None).to_string().as_bytes(),
        );
        let_go(api.arrived());
        let answer = Answer::read(stream);
        assert_readable(&answer, 1);
        let id = answer.body.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
        let events = ("Accept", "text/event-stream");
        let back = [&headers[..], &[events, ("Last-Event-ID", id)]].concat();
        // SDKs reconnect after each answer, and must not receive an answer twice.
        assert_eq!(served.ask("GET /mcp", &back, b"").status, 405);
        let gone = [&headers[..], &[events, ("Last-Event-ID", "999999-0-Nw")]].concat();
        assert_readable(&served.ask("GET /mcp", &gone, b""), 1);
        let mut standing = served.events("GET /mcp", &[&headers[..], &[events]].concat());
        assert_eq!(served.ask("DELETE /mcp", &headers, b"").status, 204);
        assert_eq!(standing.line(), None, "not one line");
    }
}

/// Returns the id of the event without data that opens a stream.
#[track_caller]
fn first_id(events: &mut Events) -> String {
    let mut lines: Vec<String> = std::iter::from_fn(|| events.line()).take(3).collect();
    lines.sort();
    assert!(lines[0].trim_end() == "data:" && lines[2] == "retry: 1000", "{lines:?}");
    lines[1].strip_prefix("id: ").unwrap().to_owned()
}

#[test]
fn streams_of_2025_11_25_begin_with_the_id_to_come_back_with() {
    let (api, tools) = Held::new();
    let served = Served::over(&tools);
    let headers = session(&served, "2025-11-25");
    let headers = borrowed(&headers);
    let events = ("Accept", "text/event-stream");
    let mut standing = served.events("GET /mcp", &[&headers[..], &[events]].concat());
    first_id(&mut standing);
    let call = call(None).to_string();
    let mut stream =
        Events::of(served.open("POST /mcp", &[&POST[..], &headers].concat(), call.as_bytes()));
    first_id(&mut stream);
    let_go(api.arrived());
    assert!(stream.next().unwrap().contains("\"id\":7"));
}

/// Reconnects after this event; returns the rest of its stream.
fn back(served: &Served, headers: &[(&str, &str)], id: &str) -> Answer {
    let more = [("Accept", "text/event-stream"), ("Last-Event-ID", id)];
    served.ask("GET /mcp", &[headers, &more].concat(), b"")
}

fn messages(answer: &Answer) -> Vec<Value> {
    let data = answer.body.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

#[test]
fn an_answer_outlives_the_connection_that_asked_for_it() {
    let (api, tools) = Held::new();
    let served = Served::over(&tools);
    let headers = session(&served, "2025-11-25");
    let headers = borrowed(&headers);
    let open = || {
        let (post, body) = ([&POST[..], &headers].concat(), call(None).to_string());
        let mut events = Events::of(served.open("POST /mcp", &post, body.as_bytes()));
        (first_id(&mut events), events, api.arrived())
    };
    // The connection breaks before the answer, which is ready when the client reconnects.
    let (id, events, request) = open();
    drop(events);
    let_go(request);
    let is_answered = |answer: &Answer| {
        let told = messages(answer);
        told.len() == 1 && told[0]["id"] == 7 && told[0]["result"].is_object()
    };
    let answer = back(&served, &headers, &id);
    assert!(is_answered(&answer), "{answer:?}");
    let answer = back(&served, &headers, &id);
    assert!(is_answered(&answer), "once more: {answer:?}");
    // After the answer itself there is nothing to resume.
    let last = answer.body.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
    assert_eq!(back(&served, &headers, last).status, 405);
    // The client reconnects before the answer.
    let (id, events, request) = open();
    drop(events);
    let mut returned = {
        let more = [("Accept", "text/event-stream"), ("Last-Event-ID", id.as_str())];
        served.events("GET /mcp", &[&headers[..], &more].concat())
    };
    let_go(request);
    assert!(returned.next().unwrap().contains("\"id\":7"));
    assert_eq!(returned.next(), None);
    // Another session of the same caller cannot resume the stream.
    let other = session(&served, "2025-11-25");
    let told = messages(&back(&served, &borrowed(&other), &id));
    assert!(told.iter().all(|message| message["result"].is_null()), "{told:?}");
}

#[test]
fn what_is_not_kept_any_more_is_said_under_the_id_of_its_request() {
    let served = Served::over("");
    let headers = session(&served, "2025-11-25");
    // Ids of forgotten streams: of request 7, and of request "seven".
    for (id, request) in [("999999-0-Nw", json!(7)), ("999999-3-InNldmVuIg", json!("seven"))] {
        let answer = back(&served, &borrowed(&headers), id);
        let told = messages(&answer);
        assert_eq!((answer.status, told.len()), (200, 1), "{answer:?}");
        assert_eq!((&told[0]["id"], &told[0]["error"]["code"]), (&request, &json!(-32000)));
        let words = told[0]["error"]["message"].as_str().unwrap();
        assert!(words.contains("not kept any more"), "{words}");
    }
    for nonsense in ["0", "x", "999999-0", "1/2", "-1-1-", "999999-0-e30"] {
        let answer = back(&served, &borrowed(&headers), nonsense);
        assert_eq!((answer.status, messages(&answer).len()), (200, 0), "{answer:?}");
    }
}

/// Checks the first and the last message of a call with a progress token, after five seconds of
/// real time.
fn hears_of_progress(first: &Value, last: &Value) {
    assert_eq!(first["method"], "notifications/progress", "{first}");
    assert_eq!(first["params"]["progressToken"], "p", "{first}");
    assert!(first["params"]["progress"].as_f64().unwrap() >= 4.0, "{first}");
    assert_eq!(last["id"], 7, "{last}");
    assert!(last["result"].is_object(), "{last}");
}

fn next(events: &mut Events) -> Value {
    serde_json::from_str(&events.next().unwrap()).unwrap()
}

#[test]
fn a_long_call_shows_life_whichever_way_it_came() {
    let (api, tools) = Held::new();
    let served = Served::over(&tools);
    let headers = session(&served, "2025-06-18");
    let post = [&POST[..], &borrowed(&headers)].concat();
    let with_token = call(Some("p")).to_string();
    let mut requests: Vec<TcpStream> = Vec::new();
    let mut in_session = Events::of(served.open("POST /mcp", &post, with_token.as_bytes()));
    requests.push(api.arrived());
    let headers = session(&served, "2025-11-25");
    let post = [&POST[..], &borrowed(&headers)].concat();
    let mut silent = Events::of(served.open("POST /mcp", &post, call(None).to_string().as_bytes()));
    first_id(&mut silent);
    requests.push(api.arrived());
    let modern = |token: Option<&str>| {
        let mut body = super::direct::call("wait", &json!({}));
        if let Some(token) = token {
            body["params"]["_meta"]["progressToken"] = token.into();
        }
        served.open("POST /mcp", &super::direct::headers("wait"), body.to_string().as_bytes())
    };
    let modern_with_token = modern(Some("p"));
    requests.push(api.arrived());
    let modern_silent = modern(None);
    requests.push(api.arrived());
    let folder = tempfile::tempdir().unwrap();
    let mut over_stdio = Session::over(&folder, &tools);
    over_stdio.say(with_token.as_bytes());
    requests.push(api.arrived());

    let first_in_session = next(&mut in_session);
    let first_over_stdio = over_stdio.hear();
    assert!(silent.line().unwrap().starts_with(':'), "a comment");
    let mut modern_with_token = Events::of(modern_with_token);
    let first_modern = next(&mut modern_with_token);
    let mut modern_silent = Events::of(modern_silent);
    assert!(modern_silent.line().unwrap().starts_with(':'), "a comment");
    requests.into_iter().for_each(let_go);
    hears_of_progress(&first_in_session, &next(&mut in_session));
    hears_of_progress(&first_over_stdio, &over_stdio.hear());
    hears_of_progress(&first_modern, &next(&mut modern_with_token));
    assert_eq!(next(&mut silent)["id"], 7);
    assert_eq!(next(&mut modern_silent)["id"], 7);
}
