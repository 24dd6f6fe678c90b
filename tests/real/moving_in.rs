//! Users who have consented elsewhere, moved in with their refresh tokens: a certified authorization
//! server that rotates these, the command beside a running server, and applications.

use std::fmt::Write as _;
use std::fs;

use countersign::model::oauth::TokenAuth;
use countersign::oauth::Poll;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::grants::{Us, run};
use crate::harness::{Home, Reply, Served, Visit, World, report, request};

const GRANTS: usize = 100;
/// Scripted browsers at a time.
const BROWSERS: usize = 10;

const STORE_KEY: &str = "bW92ZWQgbW92ZWQgbW92ZWQgbW92ZWQgbW92ZWQgMDE=";
const APP_KEY: &str = "application-key-0123456789abcdef";
const OTHER_KEY: &str = "other-application-key-0123456789";

const TOOL: &str = r#"
[tools.notes_whoami]
description = "Who the API thinks the caller is."
provider    = "notes"
scopes      = ["notes:read"]
request     = "GET /me"
"#;

/// Refresh tokens of this client, each of a user `user-N` who has consented on another device.
fn elsewhere(world: &World, client_id: &str, secret: &str, count: usize) -> Vec<String> {
    run(async {
        let us = Us::at(world).await;
        let client = us.client(client_id, secret, TokenAuth::Basic);
        let mut tokens = Vec::new();
        for begin in (0..count).step_by(BROWSERS) {
            let mut visits = Vec::new();
            for number in begin..count.min(begin + BROWSERS) {
                let code = us.code(&client).await;
                let visit = Visit::with_code(code.verification_uri.as_str(), &code.user_code);
                visits.push((code, visit.signed_in_as(&format!("user-{number}")).begin()));
            }
            for (mut code, visit) in visits {
                assert_eq!(visit.end().status, Some(200));
                let done = us.oauth.poll(&client, &mut code).await;
                let Ok(Poll::Issued(issued)) = done else { panic!("{done:?}") };
                tokens.push(issued.tokens.refresh.unwrap().expose_secret().to_owned());
            }
        }
        tokens
    })
}

fn post(served: &Served, key: &str, path: &str, body: &Value) -> Reply {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    request("POST", &format!("{}{path}", served.origin()), &headers, &body.to_string())
}

fn whoami(served: &Served, key: &str, user: &str) -> Value {
    let call = json!({"tool_name": "Notes.Whoami", "user_id": user});
    post(served, key, "/v1/tools/execute", &call).json()
}

fn home(world: &World) -> Home {
    let auth = r#"
        [[server.auth.api_keys]]
        name = "app"
        key = "env:APP_KEY"
        admin = true
        deposit = true
        tokens = true
        verifier_url = "https://app.example/verify"
        [[server.auth.api_keys]]
        name = "other"
        key = "env:OTHER_KEY"
        deposit = true
        verifier_url = "https://other.example/verify"
    "#;
    Home::new(&format!("{auth}{}{TOOL}", world.provider()))
        .with("COUNTERSIGN_KEY", STORE_KEY)
        .with("APP_KEY", APP_KEY)
        .with("OTHER_KEY", OTHER_KEY)
}

/// A hundred grants are moved in with their refresh tokens, and calls run without a consent.
#[test]
fn a_hundred_grants_are_moved_in_and_calls_run_without_a_consent() {
    let world = World::start();
    let tokens = elsewhere(&world, "web-basic", "basic+secret/with:signs%25", GRANTS);
    let home = home(&world);
    let served = Served::start(&home);
    let mut table = "user_id,provider,client_id,refresh_token,scopes\n".to_owned();
    for (number, token) in tokens.iter().enumerate() {
        writeln!(table, "user-{number},notes,web-basic,{token},openid notes:read").unwrap();
    }
    fs::write(home.path("users.csv"), table).unwrap();

    let before = world.refreshes();
    let began = Instant::now();
    let moved = home.run(&["import", "csv", "users.csv", "--of", "app", "--json"]);
    let took = began.elapsed();
    assert_eq!(moved.code, Some(0), "{moved:?} {}", home.log());
    assert_eq!(moved.json()["totals"]["live"], GRANTS);
    assert_eq!(world.refreshes() - before, GRANTS as u64);
    report(&format!("{GRANTS} grants moved in after {} ms", took.as_millis()));

    // Again: the refresh tokens of the file are spent, and none is sent.
    let again = home.run(&["import", "csv", "users.csv", "--of", "app", "--json"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(again.json()["entries"][0]["is_new"], false);
    assert_eq!(world.refreshes() - before, GRANTS as u64);

    for number in 0..GRANTS {
        let user = format!("user-{number}");
        let called = whoami(&served, APP_KEY, &user);
        assert_eq!(called["output"]["value"]["sub"], json!(user), "{called}");
    }
    // They are renewed like all others.
    world.pull("expire-access-tokens", &json!({}));
    let called = whoami(&served, APP_KEY, "user-7");
    assert_eq!(called["output"]["value"]["sub"], "user-7", "{called}");
    let question = json!({"user_id": "user-3", "provider": "notes", "scopes": ["notes:read"]});
    // The operator has moved it in, so the user has not agreed that the application gets the token.
    let asked = post(&served, APP_KEY, "/v1/token", &question);
    assert_eq!((asked.status, &asked.json()["name"]), (403, &json!("tool_authorization_required")));
    // No user of another application is connected.
    let other = whoami(&served, OTHER_KEY, "user-3");
    assert_eq!(other["name"], "tool_authorization_required", "{other}");
    let written = format!("{}{}{}", moved.stdout, again.stdout, home.log());
    assert!(!tokens.iter().any(|token| written.contains(token)));
}

/// Each refusal says what helps, and a token that was deposited by its application is handed out to it.
#[test]
fn a_wrong_client_a_dead_token_and_another_key_s_provider_are_told() {
    let world = World::start();
    let [live, other_s, dead] =
        elsewhere(&world, "web-basic", "basic+secret/with:signs%25", 3).try_into().unwrap();
    let foreign = elsewhere(&world, "web-post", "post-secret-0123456789", 1).remove(0);
    let home = home(&world);
    let served = Served::start(&home);
    let deposit = |key: &str, more: Value| {
        let mut body = json!({
            "user_id": "ben", "provider": "notes", "client_id": "web-basic",
            "scopes": ["openid", "notes:read"],
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = post(&served, key, "/v1/connections", &body);
        let written = reply.body.clone();
        for token in [&live, &other_s, &dead, &foreign] {
            assert!(!written.contains(token.as_str()), "{written}");
        }
        reply
    };
    let refused = |reply: &Reply, status: u16, name: &str, part: &str| {
        let json = reply.json();
        assert_eq!((reply.status, &json["name"]), (status, &json!(name)), "{}", reply.body);
        assert!(json["message"].as_str().unwrap().contains(part), "{}", reply.body);
    };
    // The file says whose client it is, or says it wrongly.
    let said = deposit(APP_KEY, json!({"refresh_token": foreign, "client_id": "web-post"}));
    refused(&said, 422, "wrong_client", "another client than `web-basic`");
    let unsaid = deposit(APP_KEY, json!({"refresh_token": foreign}));
    refused(&unsaid, 422, "dead_token", "only tokens of the client that is configured here");

    let moved = deposit(APP_KEY, json!({"refresh_token": live, "account": "user-0"}));
    assert_eq!(moved.status, 201, "{}", moved.body);
    assert_eq!(whoami(&served, APP_KEY, "ben")["output"]["value"]["sub"], "user-0");
    let question = json!({"user_id": "ben", "provider": "notes", "scopes": ["notes:read"]});
    let token = post(&served, APP_KEY, "/v1/token", &question);
    assert_eq!(token.status, 200, "{}", token.body);
    let token = token.json();
    assert!(world.is_active(token["access_token"].as_str().unwrap()), "it works at the provider");
    assert!(token["refresh_token"].is_null() && token["expires_in"].as_u64() > Some(0), "{token}");

    // Another account than claimed: no call uses it.
    let lie =
        deposit(APP_KEY, json!({"refresh_token": other_s, "user_id": "eve", "account": "ana"}));
    refused(&lie, 422, "wrong_account", "belongs to another account");
    assert_eq!(whoami(&served, APP_KEY, "eve")["name"], "tool_authorization_required");

    world.pull("revoke-grants", &json!({}));
    let gone = deposit(APP_KEY, json!({"refresh_token": dead, "user_id": "dan"}));
    refused(&gone, 422, "dead_token", "`invalid_grant`");

    // A provider that `app` makes is none for `other`.
    let request = |path: &str| json!({"endpoint": format!("https://id.example.com/{path}")});
    let made = json!({"id": "hooli", "oauth2": {
        "client_id": "us", "client_secret": "s",
        "authorize_request": request("authorize"), "token_request": request("token"),
    }});
    assert_eq!(post(&served, APP_KEY, "/v1/admin/auth_providers", &made).status, 201);
    let stranger = deposit(OTHER_KEY, json!({"provider": "hooli", "refresh_token": "x"}));
    refused(&stranger, 404, "not_found", "your key has none");
    assert!(home.log().contains("deposit"), "{}", home.log());
}
