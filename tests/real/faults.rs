//! An API at its worst. A model can act on every answer, and the server goes on.

use std::fmt::Write as _;

use serde_json::json;

use crate::harness::{Answer, Dialect, Home, Server, World};

/// A fault of the API, and parts of the expected answer. With `ran`, it is no failure at all.
struct Fault {
    path: &'static str,
    ran: bool,
    says: &'static [&'static str],
}

const fn fails(path: &'static str, says: &'static [&'static str]) -> Fault {
    Fault { path, ran: false, says }
}

const fn runs(path: &'static str, says: &'static [&'static str]) -> Fault {
    Fault { path, ran: true, says }
}

const FAULTS: &[Fault] = &[
    fails("400", &["400", "the request makes no sense", "arguments"]),
    fails("401", &["401", "provider"]),
    fails("403", &["403", "not for you"]),
    fails("404", &["404", "no such note"]),
    fails("409", &["409", "changed by somebody else"]),
    fails("422", &["422", "validation failed", "arguments"]),
    fails("429", &["429", "again"]),
    fails("429?after=7", &["429", "7 seconds"]),
    fails("429?after=-1", &["429", "again"]),
    fails("429?after=99999999", &["429"]),
    fails("429?after=soon", &["429", "again"]),
    fails("500", &["500", "ry again"]),
    fails("502", &["502", "ry again"]),
    fails("503", &["503", "back soon", "ry again"]),
    runs("redirect", &["world"]),
    fails("redirect?to=http://127.0.0.1:1/", &["302"]),
    fails("redirect?to=file:///etc/passwd", &["302"]),
    fails("truncated", &["again"]),
    fails("reset", &["again"]),
    fails("slow?ms=30000", &["in time", "again"]),
    fails("drip", &["in time", "again"]),
    fails("gzip-bomb?mib=64", &["more than 10 MiB"]),
    runs("html", &["This is a page, not data."]),
    fails("html?status=404", &["404"]),
    runs("binary", &["512 bytes", "not shown"]),
    runs("invalid-utf8", &["caf", "not valid JSON"]),
    runs("bom", &["true"]),
    runs("empty200", &["200"]),
    runs("204", &["204"]),
    runs("not-json", &["half", "incomplete"]),
    runs("huge?items=1000", &["item 0", "of 1000"]),
    fails("deep?depth=100000", &["nests"]),
];

#[test]
fn every_bad_answer_is_said_in_words() {
    let world = World::start();
    let mut tools = String::new();
    for (at, fault) in FAULTS.iter().enumerate() {
        let (api, path) = (world.api(), fault.path);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        write!(
            tools,
            "[tools.fault_{at}]\ndescription = \"x\"\nrequest = \"GET {api}/fault/{path}\"\n\
             timeout = 1\nmax_chars = 4000\n"
        )
        .unwrap();
        if let Some((name, value)) = query.split_once('=') {
            writeln!(tools, "query.{name} = \"{value}\"").unwrap();
        }
    }
    write!(
        tools,
        "[tools.fine]\ndescription = \"x\"\nrequest = \"GET {}/public\"\n\
         [tools.nobody]\ndescription = \"x\"\nrequest = \"GET http://127.0.0.1:1/\"\n",
        world.api()
    )
    .unwrap();
    let home = Home::new(&tools);
    let mut server = Server::start(&home, Dialect::PLAIN);
    for (at, fault) in FAULTS.iter().enumerate() {
        let path = fault.path;
        let answer = server.call(&format!("fault_{at}"), &json!({}));
        let text = match answer {
            Answer::Ran(text) if fault.ran => text,
            Answer::Failed(text) if !fault.ran => text,
            other => panic!("{path}: {other:?}"),
        };
        assert!(!text.trim().is_empty(), "{path}: nothing was said");
        assert!(text.chars().count() < 5000, "{path}: {} characters", text.chars().count());
        assert!(!text.contains("trace"), "{path}: its inner life is nobody's business: {text}");
        for words in fault.says {
            assert!(text.contains(words), "{path}: `{words}` is missing: {text}");
        }
        assert!(server.call("fine", &json!({})).ran().contains("world"), "after {path}");
    }
    let text = server.call("nobody", &json!({})).failed();
    assert!(text.contains("127.0.0.1"), "{text}");
    let (status, _) = server.close();
    assert!(status.success(), "{status}");
}

/// A wrong argument is reported in words with which the model can correct it.
#[test]
fn every_bad_argument_is_said_in_words() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut server = Server::start(&home, Dialect::PLAIN);
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let long = "x".repeat(200_000);
    for (tool, arguments, says) in [
        ("read_note", json!({}), "id"),
        ("read_note", json!({"id": null}), "id"),
        ("read_note", json!({"id": {"a": 1}}), "id"),
        ("read_note", json!({"id": deep}), "deep"),
        ("read_note", json!({"id": long, "idd": 1}), "id"),
        ("list_notes", json!({"limit": "many"}), "limit"),
        ("list_notes", json!({"limit": 51}), "50"),
        ("list_notes", json!({"limit": 1.5}), "limit"),
        ("list_notes", json!({"limit": 9_007_199_254_740_993_i64}), "limit"),
        ("list_notes", json!({"limits": 5}), "limit"),
        ("list_notes", json!({"__proto__": {}}), "__proto__"),
        ("list_notes", json!({"access_token": "x"}), "access_token"),
    ] {
        let text = server.call(tool, &arguments).failed();
        assert!(text.contains(says), "{tool} {arguments}: {text}");
        assert!(text.len() < 2000, "{tool}: {} bytes", text.len());
    }
    for (name, nearest) in [("Whoami", "whoami"), ("list_note", "list_notes"), ("", "")] {
        match server.call(name, &json!({})) {
            Answer::Refused { code: -32602, message } => {
                assert!(message.contains(nearest), "{name}: {message}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    // A number as text is no mistake worth a round trip.
    server.call("list_notes", &json!({"limit": "2"})).asked();
    assert!(world.api_log().is_empty());
}
