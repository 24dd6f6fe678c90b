//! Hosts that end their server after one call: the user can still give the consent that it asked
//! for.

use std::os::unix::process::CommandExt as _;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Dialect, Home, Server, Visit, World, listening, request};
use crate::support::process::keepers::{End, keeper, until_gone};

/// How long a keeper may stay after the last link has ended. On an idle machine it stays an eighth
/// of this.
const LINGER: Duration = Duration::from_secs(8);

/// Ends a server as some hosts do.
fn end_by(end: End, server: Server) {
    end.signal(server.pid());
    server.close();
}

/// Starts a server that leads a process group, as hosts do.
fn start(home: &Home) -> Server {
    let mut command = home.command(&["serve", "--stdio", "--user", "ana"]);
    command.process_group(0);
    let mut server = Server::spawn(command, Dialect::PLAIN);
    server.shake_hands();
    server
}

fn runs_in_the_next_process(home: &Home, end: End) {
    let gone = until_gone(&home.data());
    assert!(gone < LINGER, "{end:?}: {gone:?}");
    let mut server = start(home);
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""), "{end:?}");
}

#[test]
fn a_consent_is_given_after_the_server_was_ended() {
    let world = World::start();
    for end in End::ALL {
        let home = Home::new(&world.tools());
        let mut server = start(&home);
        let link = server.call("whoami", &json!({})).asked().url;
        end_by(end, server);
        assert!(keeper(&home.data()).is_some(), "{end:?}");
        listening(&link);
        let report = Visit::to(&link).approves();
        assert!(report.text.contains("countersign auth revoke notes"), "{end:?}: {report:?}");
        runs_in_the_next_process(&home, end);
    }
}

#[test]
fn a_person_comes_back_from_the_provider_after_the_server_was_ended() {
    let world = World::start();
    for end in End::ALL {
        let home = Home::new(&world.tools());
        let mut server = start(&home);
        let link = server.call("whoami", &json!({})).asked().url;
        let held = Visit::to(&link).hold();
        end_by(end, server);
        listening(&link);
        let page = request("GET", &held.callback_url, &[("cookie", &held.cookie)], "");
        assert_eq!(page.status, 303, "{end:?}: {}", page.body);
        // The keeper stays for a browser that is slow to ask how the link ended, and ends right
        // after that.
        let shown = request("GET", page.header("location").unwrap(), &[], "");
        assert_eq!(shown.status, 200, "{end:?}");
        runs_in_the_next_process(&home, end);
    }
}

/// Links of a server over HTTP lead to its own machine, too.
#[test]
fn a_link_of_a_server_over_http_outlives_it() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let served = crate::harness::Served::start(&home);
    let mut host = served.host(crate::harness::Transport::ALL[0], Dialect::PLAIN);
    let link = host.call("whoami", &json!({})).asked().url;
    drop(host);
    served.end();
    listening(&link);
    Visit::to(&link).approves();
    until_gone(&home.data());
    let status = home.run(&["auth", "status", "--json"]).json();
    assert_eq!(status["accounts"][0]["state"], "connected", "{status}");
    assert!(status["keeper"].is_null(), "{status}");
}
