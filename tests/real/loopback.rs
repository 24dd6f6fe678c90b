//! Addresses of links: the requested port, another one, or a clear reason why there is none.

use std::net::TcpListener;

use serde_json::json;

use crate::harness::{Dialect, Home, Server, Visit, World};

/// A machine whose port for links is taken by another program.
fn with_port_taken(world: &World, rule: &str) -> (Home, TcpListener, u16) {
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = stranger.local_addr().unwrap().port();
    let home = Home::new("");
    let tools = world.tools().replace("any-port", rule);
    home.write_tools_only(&format!("[server]\nport = {port}\n{tools}"));
    (home, stranger, port)
}

#[test]
fn a_taken_port_is_said_where_the_provider_wants_that_one() {
    let world = World::start();
    let (home, stranger, port) = with_port_taken(&world, "exact");
    let mut server = Server::start(&home, Dialect::PLAIN);
    let text = server.call("whoami", &json!({})).failed();
    assert!(text.contains(&port.to_string()), "{text}");
    drop(stranger);
    let link = server.call("whoami", &json!({})).asked().url;
    assert!(link.starts_with(&format!("http://127.0.0.1:{port}/connect/")), "{link}");
    Visit::to(&link).approves();
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
}

#[test]
fn a_taken_port_is_no_matter_where_any_will_do() {
    let world = World::start();
    let (home, _stranger, port) = with_port_taken(&world, "any-port");
    let mut server = Server::start(&home, Dialect::PLAIN);
    let link = server.call("whoami", &json!({})).asked().url;
    assert!(!link.contains(&format!(":{port}/")), "{link}");
    Visit::to(&link).approves();
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
}

#[test]
fn link_and_callback_share_the_name_that_the_provider_wants() {
    let world = World::start();
    let home = Home::new(&world.tools().replace("any-port", "localhost-any-port"));
    let mut server = Server::start(&home, Dialect::PLAIN);
    let link = server.call("whoami", &json!({})).asked().url;
    assert!(link.starts_with("http://localhost:"), "{link}");
    let held = Visit::to(&link).hold();
    assert!(held.callback_url.starts_with("http://localhost:"), "{}", held.callback_url);
    Visit::to(&link).approves();
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
}
