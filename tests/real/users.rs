//! One store, several people.

use serde_json::json;

use crate::harness::{Dialect, Home, Server, Visit, World};

#[test]
fn a_second_person_is_asked_for_a_consent_of_their_own() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut ana = Server::start_as(&home, Dialect::PLAIN, "ana");
    let for_ana = ana.call("whoami", &json!({})).asked();
    Visit::to(&for_ana.url).signed_in_as("ana").approves();
    assert!(ana.call("whoami", &json!({})).ran().contains("\"ana\""));
    ana.close();

    let mut bob = Server::start_as(&home, Dialect::PLAIN, "bob");
    let for_bob = bob.call("whoami", &json!({})).asked();
    assert_ne!(for_bob.url, for_ana.url);
    Visit::to(&for_bob.url).signed_in_as("bob").approves();
    assert!(bob.call("whoami", &json!({})).ran().contains("\"bob\""));
    bob.close();

    let mut ana = Server::start_as(&home, Dialect::PLAIN, "ana");
    assert!(ana.call("whoami", &json!({})).ran().contains("\"ana\""));
}

#[test]
fn names_that_look_alike_are_different_people() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut ana = Server::start_as(&home, Dialect::PLAIN, "ana");
    let prompt = ana.call("whoami", &json!({})).asked();
    Visit::to(&prompt.url).approves();
    ana.close();
    for other in ["Ana", "\u{430}na", "ana/", "../ana", "ana\u{301}"] {
        let mut server = Server::start_as(&home, Dialect::PLAIN, other);
        server.call("whoami", &json!({})).asked();
    }
    for nobody in ["ana ", " ", "ana\n", &"a".repeat(300)] {
        let refused = home.run(&["auth", "status", "--user", nobody]);
        assert_eq!(refused.code, Some(2), "{nobody:?}");
    }
}

#[test]
fn the_end_user_is_never_taken_from_arguments() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut ana = Server::start_as(&home, Dialect::PLAIN, "ana");
    let prompt = ana.call("list_notes", &json!({})).asked();
    Visit::to(&prompt.url).approves();
    ana.close();
    let mut bob = Server::start_as(&home, Dialect::PLAIN, "bob");
    for arguments in [json!({"user_id": "ana"}), json!({"_meta": {"user": "ana"}, "user": "ana"})] {
        let answer = bob.call("list_notes", &arguments);
        assert!(!matches!(answer, crate::harness::Answer::Ran(_)), "{answer:?}");
    }
    bob.call("list_notes", &json!({})).asked();
    assert!(world.api_log().is_empty());
}
