//! The command line with a provider.

use serde_json::json;

use crate::harness::{Dialect, Home, Running, Server, Visit, World};

#[test]
fn an_account_is_connected_looked_at_and_disconnected() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let login = Running::start(home.command(&["auth", "login", "notes", "--user", "ana"]));
    let link = login.line();
    Visit::to(&link).approves();
    assert_eq!(login.end().code, Some(0));

    // The login asked for what all tools need, so that no tool asks again.
    let mut server = Server::start(&home, Dialect::PLAIN);
    assert!(server.call("whoami", &json!({})).ran().contains("notes:read notes:write"));
    server.close();

    let status = home.run(&["auth", "status", "--json", "--user", "ana"]);
    let account = &status.json()["accounts"][0];
    assert_eq!((status.code, &account["state"]), (Some(0), &json!("connected")), "{status:?}");
    let called = home.run(&["tools", "call", "whoami", "--user", "ana"]);
    assert_eq!(called.code, Some(0), "{called:?}");
    assert!(called.stdout.contains("ana"), "{called:?}");

    let revoked = home.run(&["auth", "revoke", "notes", "--user", "ana"]);
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    assert!(world.revocations() > 0, "{}", world.counts());
    let called = home.run(&["tools", "call", "whoami", "--user", "ana"]);
    assert_eq!(called.code, Some(4), "{called:?}");
    assert_eq!(world.api_log().len(), 2, "the last call did not reach the API");
}

#[test]
fn a_denied_login_fails() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let login = Running::start(home.command(&["auth", "login", "notes"]));
    Visit::to(&login.line()).denying().go();
    assert_eq!(login.end().code, Some(1));
    let status = home.run(&["auth", "status", "--json"]);
    assert_eq!(status.json()["accounts"], json!([]));
}
