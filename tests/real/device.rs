//! `auth login --device`: a consent in a browser that need not be on this machine.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::harness::{Dialect, Home, Running, Server, Visit, World};

/// Starts a login that waits; returns the page and the code that it shows.
fn begun(home: &Home) -> (Running, String, String) {
    let login =
        Running::start(home.command(&["auth", "login", "notes", "--device", "--user", "ana"]));
    let (page, code) = (login.line(), login.line());
    (login, page, code)
}

#[test]
fn a_code_that_is_entered_connects_a_server_that_runs() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut server = Server::start(&home, Dialect::PLAIN);
    server.call("whoami", &json!({})).asked();
    let (login, page, code) = begun(&home);
    Visit::with_code(&page, &code).approves();
    assert_eq!(login.end().code, Some(0), "{}", home.log());
    assert!(server.call("whoami", &json!({})).ran().contains("notes:read notes:write"));
    // The grant is like any other, and renewed like one.
    world.pull("expire-access-tokens", &json!({}));
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
    assert_eq!(world.refreshes(), 1);
    let status = home.run(&["auth", "status", "--json", "--user", "ana"]);
    assert_eq!(status.json()["accounts"][0]["state"], "connected");
}

#[test]
fn a_code_that_is_refused_or_runs_out_connects_nothing() {
    let world = World::start();
    for refuse in [Visit::aborting, Visit::denying] {
        let home = Home::new(&world.tools());
        let (login, page, code) = begun(&home);
        refuse(Visit::with_code(&page, &code)).go();
        assert_eq!(login.end().code, Some(1));
        assert!(home.log().contains("you said no at the provider"), "{}", home.log());
        let status = home.run(&["auth", "status", "--json", "--user", "ana"]);
        assert_eq!(status.json()["accounts"], json!([]));
    }
    let world = World::with(&json!({"device": {"interval": 1, "seconds": 2}}), json!({}));
    let home = Home::new(&world.tools());
    let (login, ..) = begun(&home);
    assert_eq!(login.end().code, Some(1));
    assert!(home.log().contains("the code's time is over"), "{}", home.log());
    let status = home.run(&["auth", "status", "--json", "--user", "ana"]);
    assert_eq!(status.json()["accounts"], json!([]));
}

#[test]
fn a_login_that_is_stopped_says_so() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let (login, ..) = begun(&home);
    kill_process(Pid::from_raw(login.pid().try_into().unwrap()).unwrap(), Signal::INT).unwrap();
    assert_eq!(login.end().code, Some(1), "{}", home.log());
    assert!(home.log().contains("Notes was not connected"), "{}", home.log());
}
