//! Call, link, consent, call: in every revision of the protocol, with and without
//! `elicitation.url`, over every transport.

use serde_json::{Value, json};

use crate::harness::{
    Answer, Dialect, Home, Host, Served, Server, Transport, Visit, Way, Wire, World, listening,
    request,
};

#[test]
fn every_dialect_reaches_the_end() {
    let world = World::start();
    for dialect in Dialect::all() {
        let home = Home::new(&world.tools());
        let mut server = Server::start(&home, dialect);
        walk(&mut server, dialect);
        let (status, heard) = server.close();
        assert!(status.success(), "{dialect:?}: {status}");
        assert_notices(&heard, dialect);
    }
}

#[test]
fn every_dialect_reaches_the_end_over_http() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let served = Served::start(&home);
    for transport in Transport::ALL {
        for dialect in Dialect::all() {
            let mut host = served.host(transport, dialect);
            walk(&mut host, dialect);
            host.tools();
            assert_notices(host.heard(), dialect);
            let revoked = home.run(&["auth", "revoke", "notes"]);
            assert_eq!(revoked.code, Some(0), "{transport:?}, {dialect:?}: {}", home.log());
        }
    }
    assert_eq!(served.end().code(), Some(0), "{}", home.log());
    assert_eq!(world.counts()["refresh_reuses"], 0);
}

/// Goes from a call that needs a consent to one that runs.
fn walk(host: &mut Host<impl Wire>, dialect: Dialect) {
    let prompt = host.call("whoami", &json!({})).asked();
    assert_eq!(prompt.way, dialect.way(), "{dialect:?}");
    assert!(prompt.message.contains("Notes"), "{dialect:?}: {}", prompt.message);
    let answer = match prompt.way {
        Way::Text => {
            Visit::to(&prompt.url).approves();
            host.call("whoami", &json!({}))
        }
        Way::Error => {
            Visit::to(&prompt.url).approves();
            host.completion(prompt.elicitation.as_deref().unwrap());
            host.call("whoami", &json!({}))
        }
        Way::Input => {
            let visit = Visit::to(&prompt.url).begin();
            let answer = host.finish_rounds("whoami", &json!({}), &prompt);
            visit.end();
            answer
        }
    };
    let text = answer.ran();
    assert!(text.contains("\"ana\"") && text.contains("notes:read"), "{dialect:?}: {text}");
}

/// Asserts that there is one notice where a completion is announced, and no other unsolicited
/// message.
fn assert_notices(heard: &[Value], dialect: Dialect) {
    let notices = heard.iter().filter(|message| message.get("method").is_some()).count();
    let due = usize::from(dialect.way() == Way::Error);
    assert_eq!(notices, due, "{dialect:?}: {heard:?}");
}

#[test]
fn a_consent_outlives_a_kill_right_after_the_page() {
    let world = World::start();
    for dialect in Dialect::all() {
        let home = Home::new(&world.tools());
        let mut server = Server::start(&home, dialect);
        let prompt = server.call("whoami", &json!({})).asked();
        Visit::to(&prompt.url).approves();
        server.kill();

        let mut server = Server::start(&home, dialect);
        // A host that was killed with the server may still send its round; its state is still
        // valid.
        let answer = match prompt.way {
            Way::Input => server.finish_rounds("whoami", &json!({}), &prompt),
            _ => server.call("whoami", &json!({})),
        };
        assert!(answer.ran().contains("\"ana\""), "{dialect:?}");
        assert!(server.call("list_notes", &json!({})).ran().contains("Shopping"), "{dialect:?}");
    }
}

#[test]
fn only_the_tokens_of_the_person_reach_the_api() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut server = Server::start(&home, Dialect::PLAIN);
    let prompt = server.call("whoami", &json!({})).asked();
    assert!(world.api_log().is_empty(), "nothing is asked before the consent");
    Visit::to(&prompt.url).signed_in_as("carol").approves();
    assert!(server.call("whoami", &json!({})).ran().contains("\"carol\""));
    assert_eq!(world.api_log().len(), 1);
    assert_eq!(world.counts()["introspections"], 1);
}

#[test]
fn a_prompt_says_all_that_a_model_needs() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut server = Server::start(&home, Dialect::PLAIN);
    let prompt = server.call("write_note", &json!({"title": "x"})).asked();
    for part in ["Notes", "notes:write", "15 minutes", "again with the same arguments"] {
        assert!(prompt.message.contains(part), "`{part}` is missing: {}", prompt.message);
    }
    assert!(prompt.url.len() < 80, "a link that people can retype: {}", prompt.url);
}

#[test]
fn a_pending_authorization_keeps_its_link() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut server = Server::start(&home, Dialect::PLAIN);
    let first = server.call("whoami", &json!({})).asked();
    let again = server.call("whoami", &json!({})).asked();
    let sibling = server.call("list_notes", &json!({})).asked();
    assert_eq!(first.url, again.url);
    assert_eq!(first.url, sibling.url);
}

#[test]
fn a_link_still_works_after_a_restart() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut server = Server::start(&home, Dialect::PLAIN);
    let prompt = server.call("whoami", &json!({})).asked();
    let held = Visit::to(&prompt.url).hold();
    server.kill();

    let mut server = Server::start(&home, Dialect::PLAIN);
    listening(&prompt.url);
    // The user who had already gone to the provider comes back to the new process.
    let page = request("GET", &held.callback_url, &[("cookie", &held.cookie)], "");
    assert_eq!(page.status, 303, "{}", page.body);
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));

    // A link that was never opened is still the same link, and opens.
    let prompt = server.call("write_note", &json!({"title": "x"})).asked();
    server.kill();
    let mut server = Server::start(&home, Dialect::PLAIN);
    listening(&prompt.url);
    Visit::to(&prompt.url).approves();
    assert!(matches!(server.call("write_note", &json!({"title": "x"})), Answer::Ran(_)));
}
