//! The log of a served port, in both formats: what it says, and what it never says.

use serde_json::{Value, json};

use super::wire::Served;
use crate::command::{countersign, run};

const TOOLS: &str = "[tools.open]\ndescription = \"x\"\nrequest = \"GET http://127.0.0.1:1/{id}\"\nparams.id = \"string\"\n";

/// Returns the lines of the record, as JSON.
fn record(log: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| line.starts_with('{'));
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).expect("a whole line"));
    lines.filter(|line| line["target"] == "countersign::record").collect()
}

#[test]
fn a_call_a_refusal_the_start_and_the_end_have_a_line_each() {
    let served = Served::start(TOOLS, |command| command.env("COUNTERSIGN_LOG_FORMAT", "json"));
    let folder = served.folder.path().canonicalize().unwrap();
    let arguments = json!({ "id": "argument-of-the-call" });
    let call = super::direct::call("open", &arguments).to_string();
    let headers = super::direct::headers("open");
    assert_eq!(served.ask("POST /mcp", &headers, call.as_bytes()).status, 200);
    let rebound = [&headers[..], &[("Host", "evil.example")]].concat();
    assert_eq!(served.ask("POST /mcp", &rebound, call.as_bytes()).status, 421);
    let foreign = [&headers[..], &[("Origin", "https://evil.example")]].concat();
    assert_eq!(served.ask("POST /mcp", &foreign, call.as_bytes()).status, 403);
    let log = served.end();

    let lines = record(&log);
    let messages: Vec<&str> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["started", "call", "refusal", "refusal", "draining", "ended"], "{log}");
    let [started, call, other_host, foreign, ..] = &*lines else { panic!("{log}") };
    assert_eq!(started["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(started["tools"], 1);
    assert!(started["file"].as_str().unwrap().ends_with("tools.toml"), "{started}");
    let data = started["data"].as_str().unwrap();
    assert!(data.starts_with(served_home(&folder, data)), "{started}");
    assert_eq!(started["callers"], "one local user");
    assert_eq!(call["tool"], "open");
    assert_eq!(call["user"], "default");
    assert_eq!(call["namespace"], "local");
    assert_eq!(call["outcome"], "no_answer");
    assert!(call["ms"].is_u64(), "{call}");
    assert_eq!(call["provider"], Value::Null);
    assert_eq!(
        (&other_host["outcome"], &other_host["status"]),
        (&json!("other_host"), &json!(421))
    );
    assert_eq!((&foreign["outcome"], &foreign["status"]), (&json!("foreign_origin"), &json!(403)));
    assert!(!log.contains("argument-of-the-call"), "{log}");
}

/// The home as the process knows it: the temporary folder may be reached through a link.
fn served_home<'a>(folder: &std::path::Path, data: &'a str) -> &'a str {
    let home = folder.file_name().unwrap().to_str().unwrap();
    let at = data.find(home).expect("below the home");
    &data[..at + home.len()]
}

#[test]
fn a_user_whose_name_is_a_line_of_the_log_writes_none() {
    let key = "k".repeat(40);
    let tools = format!(
        "[server]\npublic_url = \"https://tools.example.com\"\n[[server.auth.api_keys]]\nname = \"app\"\nkey = \"env:APP_KEY\"\n{TOOLS}"
    );
    let served = Served::start(&tools, |command| {
        let master = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        command.env("APP_KEY", &key).env("COUNTERSIGN_KEY", master)
    });
    let call = super::direct::call("open", &json!({ "id": "x" })).to_string();
    let bearer = format!("Bearer {key}");
    let user = "ben\" outcome=ok tool=\"x\u{202e}";
    let headers = [
        &super::direct::headers("open")[..],
        &[("Host", "tools.example.com"), ("Authorization", &bearer), ("Countersign-User", user)],
    ]
    .concat();
    let status = served.ask("POST /mcp", &headers, call.as_bytes()).status;
    let wrong = [
        &super::direct::headers("open")[..],
        &[("Host", "tools.example.com"), ("Authorization", "Bearer not-the-key-of-anybody")],
    ]
    .concat();
    assert_eq!(served.ask("POST /mcp", &wrong, call.as_bytes()).status, 401);
    let log = served.end();
    // A user id that cannot be shown may also be refused.
    if status == 200 {
        let line = log.lines().find(|line| line.contains("record: call")).expect("a call");
        assert!(line.contains(r#"user="ben\" outcome=ok tool=\"x"#), "{line}");
        assert!(line.contains("outcome=no_answer") && !line.contains('\u{202e}'), "{line}");
    }
    assert!(log.contains("record: refusal outcome=invalid_token status=401"), "{log}");
    assert!(!log.contains("not-the-key-of-anybody") && !log.contains(&key), "{log}");
}

#[test]
fn a_filter_or_format_that_does_not_exist_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tools.toml"), TOOLS).unwrap();
    for (name, value, said) in [
        ("COUNTERSIGN_LOG", "verbose", "levels are off, error, warn, info, debug, trace"),
        ("COUNTERSIGN_LOG", "countersign::borker=debug", "parts are countersign::app"),
        ("COUNTERSIGN_LOG", "hyper=trace", "parts are countersign::app"),
        ("COUNTERSIGN_LOG_FORMAT", "yaml", "formats are `text` and `json`"),
    ] {
        for arguments in [&["serve", "--sse", "127.0.0.1:0"][..], &["serve", "--stdio"]] {
            let mut command = countersign();
            command.current_dir(&folder).env("HOME", folder.path()).env(name, value);
            let (code, _, stderr) = run(command.args(arguments).stdin(std::process::Stdio::null()));
            assert_eq!(code, 2, "{value}: {stderr}");
            assert!(stderr.contains(said) && stderr.contains(name), "{value}: {stderr}");
        }
    }
}
