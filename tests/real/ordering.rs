//! 2025-11-25: a completion notice never comes before the -32042 that it belongs to. A client that
//! received the notice first would wait for it for ever.

use std::fmt::Write as _;

use serde_json::json;

use crate::harness::{Answer, Dialect, Home, Server, Visit, Way, World, provider, request};

const ROUNDS: usize = 20;
const BURST: usize = 50;

/// A first call gives the link; then the callback races with a burst of calls. Each round has a
/// provider of its own, so that each begins without a grant.
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
    let mut asked = 0;
    for (round, name) in names.iter().enumerate() {
        let tool = format!("whoami_{name}");
        let first = server.call(&tool, &json!({})).asked();
        assert_eq!(first.way, Way::Error);
        let held = Visit::to(&first.url).hold();
        let callback =
            || request("GET", &held.callback_url, &[("cookie", &held.cookie)], "").status;
        // The rounds alternate which of them starts first.
        let (calls, status) = std::thread::scope(|scope| {
            if round.is_multiple_of(2) {
                let callback = scope.spawn(callback);
                (burst(&mut server, &tool), callback.join().unwrap())
            } else {
                let calls = burst(&mut server, &tool);
                (calls, callback())
            }
        });
        assert_eq!(status, 303);
        let mut elicitations = vec![first.elicitation.unwrap()];
        for call in calls {
            match server.end(call) {
                Answer::Ran(_) => {}
                other => elicitations.extend(other.asked().elicitation),
            }
        }
        for elicitation in &elicitations {
            server.completion(elicitation);
        }
        server.call(&tool, &json!({})).ran();
        asked += elicitations.len() - 1;
    }
    assert!(asked > ROUNDS, "the callbacks were always faster: {asked} errors to be overtaken");
    let (_, heard) = server.close();
    for (at, message) in heard.iter().enumerate() {
        let Some(id) = message["params"]["elicitationId"].as_str() else { continue };
        let was_asked = heard[..at].iter().any(|before| {
            before["error"]["data"]["elicitations"][0]["elicitationId"].as_str() == Some(id)
        });
        assert!(was_asked, "a notice for an elicitation that nobody has heard of: {message}");
    }
}

/// Starts so many calls that their errors queue on the way out.
fn burst(server: &mut Server, tool: &str) -> Vec<u64> {
    (0..BURST).map(|_| server.begin(tool, &json!({}))).collect()
}
