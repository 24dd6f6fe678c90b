//! A server made with `arcade-mcp-server`, unmodified, that has us for its engine: its tool needs a
//! token, for which the server asks us with an application's key.

use std::process::Command;

use serde_json::{Value, json};

use crate::arcade::world::{APP_KEY, BARE_KEY, Keyed, file};
use crate::harness::{Dialect, Server, part};

const TOOL: &str = "NotesServer_Whoami";

/// Starts the server as a host does. It must send no statistics and read no login of this machine.
fn start(keyed: &Keyed, key: &str, user: &str) -> Server {
    let mut command = Command::new(part("COUNTERSIGN_REAL_ARCADE_PYTHON"));
    command
        .arg(file("engine.py"))
        .env_clear()
        .env("HOME", keyed.home.path("home"))
        .env("ARCADE_USAGE_TRACKING", "0")
        .env("ARCADE_API_URL", keyed.served.origin())
        .env("ARCADE_API_KEY", key)
        .env("ARCADE_USER_ID", user)
        .env("NOTES_API", keyed.world.api());
    let dialect = Dialect { revision: "2025-11-25", elicits: false };
    let mut server = Server::spawn(command, dialect);
    server.shake_hands();
    server
}

fn call(server: &mut Server) -> Value {
    let answer = server.ask("tools/call", json!({ "name": TOOL, "arguments": {} }));
    answer["result"].clone()
}

/// Returns the link that the server's user is shown.
fn link_of(result: &Value) -> String {
    assert_eq!(result["isError"], true, "{result}");
    let machine = result["content"][1]["text"].as_str().unwrap_or_else(|| panic!("{result}"));
    let machine: Value = serde_json::from_str(machine).unwrap();
    let link = machine["authorization_url"].as_str().unwrap_or_else(|| panic!("{result}"));
    let words = result["content"][0]["text"].as_str().unwrap();
    assert!(words.contains("Authorization required") && words.contains(link), "{words}");
    link.to_owned()
}

#[test]
fn a_tool_that_requires_auth_asks_through_us_and_runs_with_the_token() {
    let keyed = Keyed::start("");
    let mut server = start(&keyed, APP_KEY, "ana");
    let link = link_of(&call(&mut server));
    assert_eq!(link_of(&call(&mut server)), link);
    keyed.visit("ana", &link).approves();
    let ran = call(&mut server);
    assert_ne!(ran["isError"], true, "{ran}");
    assert!(ran["content"].to_string().contains("ana"), "{ran}");

    // Another user of the same application is asked for a consent of their own.
    let mut other = start(&keyed, APP_KEY, "ben");
    assert_ne!(link_of(&call(&mut other)), link);
}

/// A server beside a login of Arcade's command line writes that login's project into every path, for a
/// key that is not one of Arcade's.
#[test]
fn a_server_with_a_login_names_its_project_and_is_served_alike() {
    let keyed = Keyed::start("");
    let folder = keyed.home.path("home").join(".arcade");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("credentials.yaml"), LOGIN).unwrap();
    let mut server = start(&keyed, APP_KEY, "ana");
    keyed.visit("ana", &link_of(&call(&mut server))).approves();
    let ran = call(&mut server);
    assert_ne!(ran["isError"], true, "{ran}");
    assert!(ran["content"].to_string().contains("ana"), "{ran}");
}

/// Written by `arcade login`.
const LOGIN: &str = "
cloud:
  context: { org_id: acme, org_name: Acme, project_id: main, project_name: Main }
";

/// The tool of a user who has connected runs with an empty token, which the API refuses.
#[test]
fn a_key_without_the_right_gets_no_token() {
    let keyed = Keyed::start("");
    let mut server = start(&keyed, BARE_KEY, "ana");
    keyed.visit("ana", &link_of(&call(&mut server))).approves();
    let ran = call(&mut server);
    assert_eq!(ran["isError"], true, "{ran}");
    assert!(!ran.to_string().contains("Authorization required"), "{ran}");
}
