//! Tokens that are no longer valid: refreshed once, widened where the API requires more, and given
//! up only when the provider gives them up.

use serde_json::{Value, json};

use crate::harness::{Answer, Dialect, Home, Server, Visit, World, press, wait_until};

const AT_ONCE: usize = 200;

/// A server with a consent for what `tool` needs.
fn connected(world: &World, tool: &str, arguments: &Value) -> (Home, Server) {
    let home = Home::new(&world.tools());
    let mut server = Server::start(&home, Dialect::PLAIN);
    let prompt = server.call(tool, arguments).asked();
    Visit::to(&prompt.url).approves();
    (home, server)
}

fn call_at_once(server: &mut Server) {
    let calls: Vec<u64> = (0..AT_ONCE).map(|_| server.begin("whoami", &json!({}))).collect();
    for call in calls {
        assert!(server.end(call).ran().contains("\"ana\""));
    }
}

#[test]
fn two_hundred_calls_with_an_expired_token_make_one_refresh() {
    let world = World::with(&json!({"access_token_seconds": 4}), json!({}));
    let (_home, mut server) = connected(&world, "whoami", &json!({}));
    world.pull("ttl", &json!({"seconds": 3600}));
    let issued = world.issued();
    let token = issued["access_tokens"][0].as_str().unwrap();
    world.until_expired(token);
    call_at_once(&mut server);
    assert_eq!(world.refreshes(), 1, "{}", world.counts());
    assert_eq!(world.counts()["grants_destroyed"], 0);
}

#[test]
fn two_hundred_calls_with_a_refused_token_make_one_refresh() {
    let world = World::start();
    let (_home, mut server) = connected(&world, "whoami", &json!({}));
    world.pull("expire-access-tokens", &json!({}));
    call_at_once(&mut server);
    assert_eq!(world.refreshes(), 1, "{}", world.counts());
    // The new access token is stored, and so is the new refresh token.
    world.pull("expire-access-tokens", &json!({}));
    call_at_once(&mut server);
    assert_eq!(world.refreshes(), 2, "{}", world.counts());
    assert_eq!(world.counts()["refresh_reuses"], 0);
}

#[test]
fn a_refreshed_grant_outlives_a_kill() {
    let world = World::start();
    let (home, mut server) = connected(&world, "whoami", &json!({}));
    for _ in 0..5 {
        world.pull("expire-access-tokens", &json!({}));
        server.call("whoami", &json!({})).ran();
        server.kill();
        server = Server::start(&home, Dialect::PLAIN);
        server.call("whoami", &json!({})).ran();
    }
    assert_eq!(world.refreshes(), 5, "{}", world.counts());
}

#[test]
fn a_token_that_stays_refused_is_not_refreshed_for_ever() {
    let world = World::start();
    let tools = format!(
        "{}\n[tools.barred]\ndescription = \"x\"\nprovider = \"notes\"\nrequest = \"GET /fault/401\"\n",
        world.tools()
    );
    let (home, mut server) = connected(&world, "whoami", &json!({}));
    server.close();
    home.write_tools(&tools);
    server = Server::start(&home, Dialect::PLAIN);
    let answer = server.call("barred", &json!({}));
    assert!(matches!(answer, Answer::Failed(_) | Answer::Asked(_)), "{answer:?}");
    assert!(world.refreshes() <= 1, "{}", world.counts());
    assert!(world.api_log().len() <= 2, "{:?}", world.api_log());
}

#[test]
fn a_missing_scope_is_asked_for_by_name_and_beside_what_is_there() {
    let world = World::start();
    let (_home, mut server) = connected(&world, "whoami", &json!({}));
    let call = json!({"title": "Ferns"});
    let prompt = server.call("write_note", &call).asked();
    assert!(prompt.message.contains("notes:write"), "{}", prompt.message);
    assert_eq!(asked_scopes(&prompt.url), ["notes:read", "notes:write"]);
    Visit::to(&prompt.url).approves();
    assert!(server.call("write_note", &call).ran().contains("Ferns"));
    assert!(server.call("whoami", &json!({})).ran().contains("notes:read"));
}

#[test]
fn a_scope_that_only_the_api_knows_of_is_asked_for_too() {
    let world = World::start();
    let (_home, mut server) = connected(&world, "whoami", &json!({}));
    let call = json!({"title": "Mosses"});
    let prompt = server.call("write_note_unaware", &call).asked();
    assert!(prompt.message.contains("notes:write"), "{}", prompt.message);
    assert_eq!(asked_scopes(&prompt.url), ["notes:read", "notes:write"]);
    Visit::to(&prompt.url).approves();
    assert!(server.call("write_note_unaware", &call).ran().contains("Mosses"));
}

/// Returns the scopes that a click on "Continue" requests from the provider.
fn asked_scopes(link: &str) -> Vec<String> {
    let reply = press(link, &[], "continue");
    assert_eq!(reply.status, 303, "{}", reply.body);
    let target = url::Url::parse(reply.header("location").unwrap()).unwrap();
    let scope = target.query_pairs().find(|(name, _)| name == "scope").unwrap().1.into_owned();
    let mut scopes: Vec<String> = scope.split(' ').map(Into::into).collect();
    scopes.sort();
    scopes
}

#[test]
fn a_scope_that_was_unticked_is_noticed_and_named() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut server = Server::start(&home, Dialect::PLAIN);
    server.call("whoami", &json!({})).asked();
    let call = json!({"title": "Lichens"});
    let prompt = server.call("write_note", &call).asked();
    let page = Visit::to(&prompt.url).without("notes:write").go();
    assert!(page.text.contains("notes:write"), "the page must name it: {}", page.text);
    // The granted scope is usable, and the missing one is asked for by name.
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
    let again = server.call("write_note", &call).asked();
    assert!(again.message.contains("notes:write"), "{}", again.message);
    assert!(again.message.contains("not granted"), "{}", again.message);
    Visit::to(&again.url).approves();
    assert!(server.call("write_note", &call).ran().contains("Lichens"));
}

#[test]
fn a_grant_that_was_revoked_needs_a_new_consent() {
    let world = World::start();
    let (_home, mut server) = connected(&world, "whoami", &json!({}));
    world.pull("revoke-grants", &json!({}));
    let prompt = server.call("whoami", &json!({})).asked();
    server.call("whoami", &json!({})).asked();
    assert_eq!(world.refreshes(), 1, "what is gone is not asked for again: {}", world.counts());
    Visit::to(&prompt.url).approves();
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
}

/// A token endpoint that fails for a moment costs no call; one that keeps failing costs calls, but
/// never the grant.
#[test]
fn a_token_endpoint_out_of_order_costs_no_grant() {
    // Without rotation, a refresh token is still valid after a lost answer.
    let world = World::with(&json!({"rotate_refresh_tokens": false}), json!({}));
    let (_home, mut server) = connected(&world, "whoami", &json!({}));
    let html = "<html><body><h1>502 Bad Gateway</h1></body></html>";
    let faults = [
        ("500", json!({"status": 500, "body": {"error": "server_error"}})),
        ("503", json!({"status": 503, "headers": {"retry-after": "1"}, "body": ""})),
        ("HTML", json!({"status": 502, "body": html, "content_type": "text/html"})),
        ("HTML with a 200", json!({"status": 200, "body": html, "content_type": "text/html"})),
        ("an empty 200", json!({"status": 200, "body": ""})),
        ("429", json!({"status": 429, "body": {"error": "slow_down"}})),
        ("a redirect", json!({"status": 302, "headers": {"location": "/"}, "body": ""})),
        ("lost before", json!({"drop": "before", "times": 1})),
        ("lost after", json!({"drop": "after", "times": 1})),
    ];
    for (name, fault) in faults {
        world.pull("expire-access-tokens", &json!({}));
        world.pull("token-fault", &fault);
        let answer = server.call("whoami", &json!({}));
        assert!(matches!(answer, Answer::Ran(_)), "{name}: {answer:?}");
    }
    for (name, fault) in [
        // A refusal in unknown words is not repeated within the call: it may be about the token.
        ("HTML with a 400", json!({"status": 400, "body": html, "content_type": "text/html"})),
        ("no token in it", json!({"status": 200, "body": {"token_type": "Bearer"}})),
        ("an unknown error", json!({"status": 400, "body": {"error": "moon_phase"}})),
        ("an error as object", json!({"status": 400, "body": {"error": {"message": "no"}}})),
        ("503", json!({"status": 503, "body": "", "times": 9})),
        ("503 for long", json!({"status": 503, "headers": {"retry-after": "20"}, "body": ""})),
        ("lost", json!({"drop": "after", "times": 9})),
    ] {
        world.pull("expire-access-tokens", &json!({}));
        world.pull("token-fault", &fault);
        let text = server.call("whoami", &json!({})).failed();
        assert!(text.contains("Nothing is lost"), "{name}: {text}");
        world.pull("token-fault", &json!({"times": 0}));
        // An endpoint in trouble is left alone for some seconds.
        wait_until(&format!("a call that runs after {name}"), || {
            matches!(server.call("whoami", &json!({})), Answer::Ran(_))
        });
    }
}

#[test]
fn a_secret_that_was_changed_is_named_to_whoever_can_act() {
    let world = World::start();
    let (home, server) = connected(&world, "whoami", &json!({}));
    server.close();
    world.pull("expire-access-tokens", &json!({}));
    let home = home.with("NOTES_CLIENT_SECRET", "yesterday's");
    let mut server = Server::start(&home, Dialect::PLAIN);
    let text = server.call("whoami", &json!({})).failed();
    assert!(text.contains("client_secret"), "{text}");
    server.close();
    let home = home.with("NOTES_CLIENT_SECRET", "basic+secret/with:signs%25");
    let mut server = Server::start(&home, Dialect::PLAIN);
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
}
