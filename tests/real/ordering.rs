//! 2025-11-25: a completion notice never comes before the -32042 that it belongs to. A client that heard the notice
//! first would wait for it for ever.

use std::fmt::Write as _;

use serde_json::json;

use crate::harness::{Answer, Dialect, Home, Server, Visit, Way, World, provider, request};

const ROUNDS: usize = 20;

/// The link is known from a first call; then the callback and a second call race. Each round has a provider of its own,
/// so that each begins without a grant.
#[test]
fn a_completion_notice_never_overtakes_its_error() {
    let names: Vec<String> = (0..ROUNDS).map(|round| format!("notes{round}")).collect();
    let redirects: Vec<String> =
        names.iter().map(|name| format!("http://127.0.0.1/oauth/callback/{name}")).collect();
    let world = World::with(&json!({ "redirect_uris": redirects }), json!({}));
    let mut tools = String::new();
    for name in &names {
        tools.push_str(&provider(name, world.issuer(), world.api()));
        writeln!(
            tools,
            "[tools.whoami_{name}]\ndescription = \"Who\"\nprovider = \"{name}\"\n\
             scopes = [\"notes:read\"]\nrequest = \"GET /me\""
        )
        .unwrap();
    }
    let home = Home::new(&tools);
    let mut server = Server::start(&home, Dialect::ERRORS);
    for (round, name) in names.iter().enumerate() {
        let tool = format!("whoami_{name}");
        let first = server.call(&tool, &json!({})).asked();
        assert_eq!(first.way, Way::Error);
        let held = Visit::to(&first.url).hold();
        let (second, late) = race(&mut server, &tool, round, move || {
            request("GET", &held.callback_url, &[("cookie", &held.cookie)], "").status
        });
        assert_eq!(late, 303);
        let second_at = server.until("the second answer", |message| message["id"] == second);
        let mut due = vec![first.elicitation.unwrap()];
        match Answer::of(&server.wait(second)) {
            Answer::Ran(_) => {}
            Answer::Asked(prompt) => due.push(prompt.elicitation.unwrap()),
            other => panic!("{other:?}"),
        }
        for elicitation in &due {
            let notice = server.completion(elicitation);
            if elicitation != &due[0] {
                assert!(notice > second_at, "round {round}: announced before it was asked for");
            }
        }
        assert!(matches!(server.call(&tool, &json!({})), Answer::Ran(_)));
    }
    let (_, heard) = server.close();
    for (at, message) in heard.iter().enumerate() {
        let Some(id) = message["params"]["elicitationId"].as_str() else { continue };
        let asked = heard[..at].iter().any(|before| {
            before["error"]["data"]["elicitations"][0]["elicitationId"].as_str() == Some(id)
        });
        assert!(asked, "a notice for an elicitation that nobody has heard of: {message}");
    }
}

/// Sends a second call while `callback` runs; which of them is under way first alternates.
fn race(
    server: &mut Server,
    tool: &str,
    round: usize,
    callback: impl FnOnce() -> u16 + Send + 'static,
) -> (u64, u16) {
    if round.is_multiple_of(2) {
        let callback = std::thread::spawn(callback);
        let second = server.begin(tool, &json!({}));
        (second, callback.join().unwrap())
    } else {
        let second = server.begin(tool, &json!({}));
        (second, callback())
    }
}
