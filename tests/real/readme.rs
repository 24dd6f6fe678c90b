//! A fresh clone with an empty HOME.

use std::path::Path;

use serde_json::json;

use crate::harness::{Answer, Dialect, Home, Server};

fn shipped() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools.toml");
    std::fs::read_to_string(file).expect("the project ships a tools.toml")
}

#[test]
fn the_shipped_file_starts_and_lists_its_tools() {
    let home = Home::new("").unnamed();
    home.write_tools_only(&shipped());
    for dialect in Dialect::all() {
        let mut server = Server::start(&home, dialect);
        let tools = server.tools();
        assert!(tools.len() > 1, "{tools:?}");
        for tool in &tools {
            let schema = &tool["inputSchema"];
            assert_eq!(schema["type"], "object", "{tool}");
            assert_eq!(schema["additionalProperties"], false, "{tool}");
            let text = schema.to_string();
            for banned in ["$ref", "oneOf", "anyOf", "allOf"] {
                assert!(!text.contains(banned), "{tool}");
            }
            let hints = &tool["annotations"];
            for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
                assert!(hints[hint].is_boolean(), "{hint}: {tool}");
            }
        }
        let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        let (last, declared) = names.split_last().unwrap();
        assert_eq!(*last, "connections", "the built-in tool follows those of the file");
        assert!(declared.is_sorted(), "{names:?}");
    }
}

#[test]
fn the_shipped_file_passes_its_own_check() {
    let home = Home::new("").unnamed();
    home.write_tools_only(&shipped());
    let checked = home.run(&["check"]);
    assert_eq!(checked.code, Some(0), "{checked:?} {}", home.log());
}

/// Without an account, a tool that needs one names the variable to set, and the rest works.
#[test]
fn a_tool_without_credentials_names_the_variable() {
    let home = Home::new("").unnamed();
    home.write_tools_only(&shipped());
    let mut server = Server::start(&home, Dialect::PLAIN);
    let github = server
        .tools()
        .iter()
        .filter_map(|tool| tool["name"].as_str())
        .find(|name| name.starts_with("github_"))
        .expect("a tool that needs an account")
        .to_owned();
    let needed = server.tools().iter().find(|tool| tool["name"] == *github).unwrap()["inputSchema"]
        ["required"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let arguments: serde_json::Map<_, _> =
        needed.iter().map(|name| (name.as_str().unwrap().to_owned(), json!("x"))).collect();
    match server.call(&github, &json!(arguments)) {
        Answer::Failed(text) => assert!(text.contains("GITHUB_CLIENT_ID"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_broken_file_is_the_answer_to_the_first_request() {
    let home = Home::new("[tools.x]\ndescription = \"x\"\nrequset = \"GET /\"\n");
    let mut server = Server::spawn(home.command(&["serve", "--stdio"]), Dialect::PLAIN);
    let answer = server.ask("initialize", Dialect::PLAIN.initialize());
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("tools.toml:") && message.contains("`request`"), "{message}");
    let (status, _) = server.close();
    assert_eq!(status.code(), Some(5));
}
