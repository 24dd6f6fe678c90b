//! 2026-07-28: consent in rounds, linked only by a `requestState` that the client keeps.

use serde_json::{Value, json};

use crate::harness::{Answer, Dialect, Home, Prompt, Server, Visit, Way, World, request};

/// A server that has just asked for the consent that `whoami` needs.
fn asked(home: &Home) -> (Server, Prompt) {
    let mut server = Server::start(home, Dialect::ROUNDS);
    let prompt = server.call("whoami", &json!({})).asked();
    assert_eq!(prompt.way, Way::Input);
    (server, prompt)
}

#[track_caller]
fn assert_refused(answer: &Answer) {
    assert!(matches!(answer, Answer::Refused { .. } | Answer::Failed(_)), "{answer:?}");
}

#[test]
fn a_round_is_held_until_the_consent_is_there() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let (mut server, prompt) = asked(&home);
    let round = server.begin_round("whoami", &json!({}), &prompt, "accept");
    let held = Visit::to(&prompt.url).hold();
    server.tools();
    let is_open = |server: &Server| server.heard().iter().all(|message| message["id"] != round);
    assert!(is_open(&server), "nothing is known yet, and the round was answered");
    request("GET", &held.callback_url, &[("cookie", &held.cookie)], "");
    assert!(server.end(round).ran().contains("\"ana\""));
}

#[test]
fn a_long_wait_goes_on_in_further_rounds() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let (mut server, prompt) = asked(&home);
    let round = server.begin_round("whoami", &json!({}), &prompt, "accept");
    let Answer::Waiting(state) = server.end(round) else { panic!("nobody has consented yet") };
    assert_ne!(Some(&state), prompt.state.as_ref(), "the state counts the rounds");
    let round = server.begin_waiting_round("whoami", &json!({}), &state);
    Visit::to(&prompt.url).approves();
    assert!(server.end(round).ran().contains("\"ana\""));
}

#[test]
fn a_host_that_refuses_by_itself_is_given_the_link_as_text() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let (mut server, prompt) = asked(&home);
    for action in ["decline", "cancel"] {
        let round = server.begin_round("whoami", &json!({}), &prompt, action);
        let told = server.end(round).asked();
        assert_eq!((told.way, &told.url), (Way::Text, &prompt.url), "{action}");
    }
    let again = server.call("whoami", &json!({})).asked();
    Visit::to(&again.url).approves();
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
}

#[test]
fn a_provider_that_is_told_no_ends_the_wait() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let (mut server, prompt) = asked(&home);
    let round = server.begin_round("whoami", &json!({}), &prompt, "accept");
    Visit::to(&prompt.url).denying().go();
    server.end(round).failed();
    assert!(world.api_log().is_empty());
}

#[test]
fn a_state_that_was_tampered_with_is_refused() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let (mut server, prompt) = asked(&home);
    let state = prompt.state.clone().unwrap();
    let flipped = |at: usize| {
        let mut bytes = state.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let tampered = [
        flipped(0),
        flipped(state.len() / 2),
        flipped(state.len() - 3),
        state[..state.len() / 2].to_owned(),
        format!("{state}{state}"),
        "x".to_owned(),
        String::new(),
    ];
    let attempt = |server: &mut Server, state: &str| {
        let prompt = Prompt { state: Some(state.into()), ..prompt.clone() };
        let round = server.begin_round("whoami", &json!({}), &prompt, "accept");
        server.end(round)
    };
    for state in &tampered {
        assert_refused(&attempt(&mut server, state));
    }
    // A consent does not make a forged state valid, either.
    Visit::to(&prompt.url).approves();
    for state in &tampered {
        assert_refused(&attempt(&mut server, state));
    }
    assert!(world.api_log().is_empty());
    assert!(attempt(&mut server, &state).ran().contains("\"ana\""));
}

#[test]
fn a_state_is_good_for_its_own_call_only() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut server = Server::start(&home, Dialect::ROUNDS);
    let call: Value = json!({"title": "mine"});
    let prompt = server.call("write_note", &call).asked();
    Visit::to(&prompt.url).approves();
    for (tool, arguments) in [
        ("write_note", json!({"title": "other"})),
        ("write_note", json!({"title": "mine", "text": "more"})),
        ("write_note_unaware", call.clone()),
    ] {
        let round = server.begin_round(tool, &arguments, &prompt, "accept");
        assert_refused(&server.end(round));
    }
    assert!(world.api_log().is_empty());
    let round = server.begin_round("write_note", &call, &prompt, "accept");
    assert!(server.end(round).ran().contains("mine"));
}

#[test]
fn a_state_is_good_for_its_own_user_only() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let (server, prompt) = asked(&home);
    Visit::to(&prompt.url).approves();
    server.close();
    let mut bob = Server::start_as(&home, Dialect::ROUNDS, "bob");
    let round = bob.begin_round("whoami", &json!({}), &prompt, "accept");
    assert_refused(&bob.end(round));
    assert!(world.api_log().is_empty());
}
