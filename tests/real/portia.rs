//! Portia's registry of MCP servers: a session for each call, one page of tools, no elicitation. The
//! user sees the link in the text of the error.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::{BINARY, Home, Program, Served, Transport, Visit, World};

/// More tools than fit on a page of a client's own size.
const TOOLS: usize = 60;

#[test]
fn over_stdio() {
    let world = World::start();
    let home = Home::new(&tools(&world));
    let server = json!({
        "command": BINARY,
        "args": ["serve", "--stdio"],
        "env": home.variables(),
        "cwd": home.path(""),
    });
    walk(&server);
}

#[test]
fn over_streamable_http() {
    over_http(Transport::Streamable, "http");
}

#[test]
fn over_sse() {
    over_http(Transport::Sse, "sse");
}

fn over_http(transport: Transport, name: &str) {
    let world = World::start();
    let home = Home::new(&tools(&world));
    let served = Served::start(&home);
    walk(&json!({ "url": served.url(transport), "transport": name }));
    assert_eq!(served.end().code(), Some(0), "{}", home.log());
}

fn tools(world: &World) -> String {
    let mut tools = world.tools();
    tools.push_str(
        "[tools.me]\ndescription = \"Who the API thinks the caller is.\"\nprovider = \"notes\"\n\
         scopes = [\"notes:read\"]\nrequest = \"GET /me\"\n\
         output = { type = \"object\", properties = { sub = { type = \"string\" } }, required = [\"sub\"] }\n",
    );
    for number in 0..TOOLS {
        let api = world.api();
        let _ = writeln!(
            tools,
            "[tools.hello_{number:02}]\ndescription = \"Says hello.\"\nrequest = \"GET {api}/public\""
        );
    }
    tools
}

fn walk(server: &Value) {
    let mut portia = Program::start("agents/mcp1/portia_mcp.py", &json!({}));
    assert_eq!(portia.ready["client"], "portia");

    let listed = read(&mut portia, &json!({ "server": server }));
    assert_eq!(listed["pages_left"], false, "{listed}");
    let names: Vec<_> =
        listed["listed"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(names.contains(&"whoami") && names.contains(&"me"), "{names:?}");
    assert!(names.iter().filter(|name| name.starts_with("hello_")).count() == TOOLS, "{names:?}");

    let hello = read(&mut portia, &json!({ "server": server, "tool": "hello_07" }));
    assert!(first_text(&hello).contains("world"), "{hello}");

    let call = json!({ "server": server, "tool": "whoami" });
    let asked = portia.ask(&call);
    let error = asked["error"].as_str().unwrap_or_else(|| panic!("no error: {asked}"));
    let link = link_in(error).unwrap_or_else(|| panic!("no link: {error}"));
    let again = portia.ask(&call);
    assert_eq!(again["error"].as_str().and_then(link_in), Some(link), "{again}");
    Visit::to(link).approves();
    assert!(first_text(&read(&mut portia, &call)).contains("\"ana\""));

    // The SDK fails a call whose tool has an output schema and whose result has no structure.
    let me = read(&mut portia, &json!({ "server": server, "tool": "me" }));
    assert_eq!(me["structuredContent"]["sub"], "ana", "{me}");
}

/// Returns the result of a turn.
fn read(portia: &mut Program, wish: &Value) -> Value {
    let turn = portia.ask(wish);
    let text = turn["read"].as_str().unwrap_or_else(|| panic!("{wish}: {turn}"));
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn first_text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}

/// Returns the link that a reader of an error sees.
fn link_in(error: &str) -> Option<&str> {
    let from = error.find("http://127.0.0.1")?;
    error.get(from..)?.split(['\\', '"', ' ', '\n']).next()
}
