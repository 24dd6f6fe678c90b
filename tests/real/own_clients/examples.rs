//! The examples of our clients, each with its agent framework and a played model: the agent pauses for
//! a consent and goes on after it.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::packages::{PYTHON, TYPESCRIPT};
use crate::harness::{Home, Running, Served, Visit, World, part};

const ASKS: &str = "Open this link: ";

const TOOL: &str = r#"
[tools.github_star_repo]
description  = "Star a GitHub repository for the user."
provider     = "notes"
scopes       = ["notes:write"]
request      = "POST /notes"
body         = { title = "{owner}/{repo}" }
params.owner = "Owner"
params.repo  = "Repository"
reply        = "Starred {owner}/{repo}."
ids          = { arcade = "Github.StarRepo" }
"#;

#[test]
fn langgraph_pauses_at_an_interrupt() {
    walk("langgraph_interrupt");
}

#[test]
fn openai_agents_wait_for_an_approval() {
    walk("openai_agents_approval");
}

#[test]
fn pydantic_ai_defers_the_tool() {
    walk("pydantic_ai_deferred");
}

#[test]
fn the_ai_sdk_asks_for_an_approval() {
    walk("ai_sdk_approval.ts");
}

/// A user consents, another one declines, and the first one calls again.
fn walk(example: &str) {
    let world = World::start();
    let home = Home::new(&format!("{}{TOOL}", world.provider()));
    let served = Served::start(&home);
    let stars = || world.api_log().iter().filter(|one| one["method"] == "POST").count();

    let agent = start(example, "ana", &served);
    Visit::to(&link_of(&agent)).approves();
    let answer = end(agent);
    assert!(answer.contains("Starred rust-lang/rust."), "{answer}");
    assert_eq!(stars(), 1, "the call ran once");

    let agent = start(example, "ben", &served);
    Visit::to(&link_of(&agent)).denying().go();
    let answer = end(agent);
    assert!(answer.contains("Not done: the user has not given access"), "{answer}");
    assert_eq!(stars(), 1, "a declined call does not run");

    let answer = end(start(example, "ana", &served));
    assert!(answer.contains("Starred rust-lang/rust."), "{answer}");
    assert_eq!(stars(), 2, "another call runs, and no user is asked again");
}

/// Starts an example; nothing but the server's address is in its environment.
fn start(example: &str, user: &str, served: &Served) -> Running {
    let folder = part("COUNTERSIGN_REAL_DIR").join("own_clients");
    let mut command = if Path::new(example).extension().is_some_and(|kind| kind == "ts") {
        let file = TYPESCRIPT.installed.join("examples").join(example);
        let mut node = Command::new(part("COUNTERSIGN_REAL_NODE"));
        node.arg(folder.join("examples.mjs"))
            .arg(json!({ "example": file, "user": user }).to_string());
        node.env_clear();
        node
    } else {
        let examples = super::packages::source("python").join("examples");
        let options = json!({ "examples": examples, "example": example, "user": user });
        let mut python = Command::new(part("COUNTERSIGN_REAL_AGENTS_PYTHON"));
        // Unbuffered, as in a terminal: the user reads the link while the program waits.
        python.arg("-u").arg(folder.join("examples.py")).arg(options.to_string());
        python.env_clear().env("PYTHONPATH", &PYTHON.installed).env("PYTHONDONTWRITEBYTECODE", "1");
        python
    };
    command.env("COUNTERSIGN_URL", served.origin());
    Running::start(command)
}

/// Returns the link that the example prints first.
fn link_of(agent: &Running) -> String {
    let line = agent.line();
    line.strip_prefix(ASKS).unwrap_or_else(|| panic!("no link: {line}")).to_owned()
}

/// Returns what the model has said at the end.
fn end(agent: Running) -> String {
    let finished = agent.end();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let last: Value = serde_json::from_str(finished.stdout.lines().last().unwrap()).unwrap();
    last["answer"].as_str().unwrap().to_owned()
}
