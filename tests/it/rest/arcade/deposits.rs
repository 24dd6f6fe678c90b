//! `POST /v1/connections`: tokens that users consented to elsewhere.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::rest::world::{Reply, World, key_of};
use crate::support::provider::{Act, answer as status, json as said};
use crate::support::wait_until_async;

/// Body of a deposit for the user `bob` of an application.
fn body(more: &Value) -> Value {
    let mut body = json!({
        "user_id": "bob", "provider": "acme", "client_id": "us", "refresh_token": "refresh-1",
        "scopes": ["notes:read"],
    });
    let fields = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body
}

pub(super) async fn deposit(world: &World, app: &str, more: Value) -> Reply {
    world.post(&key_of(app), "/v1/connections", body(&more)).await
}

pub(super) async fn call(world: &World, app: &str, user: &str) -> Reply {
    let call = json!({"tool_name": "Notes.Read", "input": {"id": 1}, "user_id": user});
    world.post(&key_of(app), "/v1/tools/execute", call).await
}

/// A provider that rotates its refresh tokens and takes each once.
pub(super) fn rotates(world: &World) {
    let mut next = 1;
    world.provider.tokens(move |body| {
        if !body.contains(&format!("refresh_token=refresh-{next}")) {
            return Act::Say(refusal("invalid_grant"));
        }
        next += 1;
        let tokens = json!({
            "access_token": format!("access-{next}"), "refresh_token": format!("refresh-{next}"),
            "expires_in": 3600,
        });
        Act::Say(said(tokens.to_string()))
    });
}

pub(super) fn refusal(code: &str) -> Vec<u8> {
    let head = "Content-Type: application/json\r\n";
    status("400 Bad Request", head, json!({ "error": code }).to_string())
}

#[tokio::test]
async fn a_refresh_token_is_moved_in_and_calls_run_without_a_consent() {
    let world = World::for_many().await;
    rotates(&world);
    call(&world, "app", "bob").await.is_refused(403, "tool_authorization_required");
    let moved = deposit(&world, "app", json!({})).await;
    assert_eq!(moved.status.as_u16(), 201, "{moved:?}");
    let expected = json!({
        "id": moved.json["id"], "status": "live", "user_id": "bob", "provider_id": "acme",
        "connection_id": "default", "provider_user_info": {"label": null},
        "scopes": ["notes:read"], "ungranted_scopes": [],
        "away": false, "expires_at": "2027-01-15T09:00:00Z", "renews": true,
    });
    assert_eq!(moved.json, expected);
    assert_eq!(call(&world, "app", "bob").await.ok()["success"], true);
    assert!(world.provider.calls()[0].contains("Bearer access-2"), "{:?}", world.provider.calls());
    // Its refresh token is spent, and is not sent again.
    let again = deposit(&world, "app", json!({})).await;
    assert_eq!((again.status.as_u16(), &again.json), (200, &expected));
    assert_eq!(world.provider.refreshes(), 1);
    let listed = world.get(&key_of("app"), "/v1/admin/user_connections").await.ok();
    assert_eq!(listed["items"][0]["id"], expected["id"]);
    // Renewed like any other grant.
    world.pass(std::time::Duration::from_hours(2));
    assert_eq!(call(&world, "app", "bob").await.ok()["success"], true);
    assert_eq!(world.provider.refreshes(), 2);
}

#[tokio::test]
async fn a_key_without_the_right_and_a_user_of_another_key_get_nothing() {
    let world = World::for_many().await;
    rotates(&world);
    for key in ["plain", "other_admin", "ana"] {
        deposit(&world, key, json!({})).await.is_refused(403, "forbidden");
    }
    world
        .post("", "/v1/connections", body(&json!({})))
        .await
        .is_refused(401, "invalid_authorization");
    // At another key, this name is another user.
    deposit(&world, "other", json!({})).await.ok();
    call(&world, "app", "bob").await.is_refused(403, "tool_authorization_required");
    assert_eq!(call(&world, "other", "bob").await.ok()["success"], true);
    let machine = World::on_machine().await;
    machine.post("any", "/v1/connections", body(&json!({}))).await.is_refused(403, "forbidden");
}

#[tokio::test]
async fn what_cannot_be_moved_in_is_refused_with_the_remedy_and_nothing_is_sent() {
    let world = World::for_many().await;
    let long = "t".repeat(17_000);
    for (more, status, name, part) in [
        (json!({"client_id": "theirs"}), 422, "wrong_client", "another client than `us`"),
        (json!({"provider": "nothing"}), 404, "not_found", "your key has none"),
        (json!({"refresh_token": null}), 400, "malformed_request", "send `refresh_token`"),
        (json!({"refresh_token": ""}), 400, "malformed_request", "refresh token is empty"),
        (json!({"refresh_token": "a\nb"}), 400, "malformed_request", "characters"),
        (json!({"access_token": "a\r\nX: y"}), 400, "malformed_request", "access token"),
        (json!({"refresh_token": long}), 400, "malformed_request", "longer than 16 KiB"),
        (json!({"refresh_token": 7}), 400, "malformed_request", "`refresh_token` has a wrong type"),
        (json!({"token_type": "DPoP"}), 400, "malformed_request", "`Bearer`"),
        (json!({"scopes": ["a b"]}), 400, "malformed_request", "scope"),
        (json!({"user_id": " bob"}), 400, "malformed_request", "`user_id`"),
        (json!({"user_id": ""}), 400, "malformed_request", "`user_id`"),
        (json!({"connection_id": "work"}), 400, "malformed_request", "accounts = true"),
        (json!({"expires_at": "tomorrow"}), 400, "malformed_request", "`expires_at`"),
        (
            json!({"refresh_token": null, "access_token": "a", "expires_at": 1}),
            422,
            "dead_token",
            "has expired",
        ),
    ] {
        let refused = deposit(&world, "app", more.clone()).await;
        let message = refused.is_refused(status, name);
        assert!(message.contains(part), "{more}: {message}");
        assert!(!message.contains("refresh-1") && !message.contains("tttt"), "{message}");
    }
    assert!(world.provider.requests().is_empty());
}

/// `hooli` is a provider that `app` has made.
#[tokio::test]
async fn a_provider_that_another_key_made_is_unknown() {
    let world = World::for_many().await;
    let request = |path: &str| json!({"endpoint": format!("{}/{path}", world.provider.origin())});
    let oauth2 = json!({
        "client_id": "us", "client_secret": "s",
        "authorize_request": request("authorize"), "token_request": request("token"),
    });
    let made = json!({"id": "hooli", "oauth2": oauth2});
    let made = world.post(&key_of("app"), "/v1/admin/auth_providers", made).await;
    if made.status.is_success() {
        rotates(&world);
        assert_eq!(
            deposit(&world, "app", json!({"provider": "hooli"})).await.ok()["status"],
            "live"
        );
    }
    for name in ["hooli", "~app~hooli"] {
        let refused = deposit(&world, "other", json!({"provider": name})).await;
        refused.is_refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_dead_token_is_told_once_and_never_sent_again() {
    let world = World::for_many().await;
    world.provider.says(refusal("invalid_grant"));
    for _ in 0..2 {
        let dead = deposit(&world, "app", json!({})).await;
        let message = dead.is_refused(422, "dead_token");
        assert!(
            message.contains("`invalid_grant`") && message.contains("consent anew"),
            "{message}"
        );
        assert_eq!(dead.headers["x-should-retry"], "false");
    }
    assert_eq!(world.provider.refreshes(), 1);
    call(&world, "app", "bob").await.is_refused(403, "tool_authorization_required");
    // A fresh token takes its place.
    rotates(&world);
    deposit(&world, "app", json!({"refresh_token": "refresh-1", "away": true}))
        .await
        .is_refused(422, "dead_token");
    world.provider.says(said(r#"{"access_token":"a","refresh_token":"next"}"#));
    deposit(&world, "app", json!({"refresh_token": "other"})).await.ok();
    assert_eq!(call(&world, "app", "bob").await.ok()["success"], true);
}

/// A refusal of our client, and a provider in trouble, say nothing about the token: the repeat goes on.
#[tokio::test]
async fn what_the_provider_does_not_decide_is_kept_and_not_used() {
    let world = World::for_many().await;
    let trouble = status("503 Service Unavailable", "", "");
    for (bytes, part) in [(refusal("invalid_client"), "client_secret"), (trouble, "in a minute")] {
        world.provider.says(bytes);
        let refused = deposit(&world, "app", json!({})).await;
        let message = refused.is_refused(503, "unavailable");
        assert!(message.contains(part), "{message}");
        call(&world, "app", "bob").await.is_refused(403, "tool_authorization_required");
        let listed = world.get(&key_of("app"), "/v1/admin/user_connections").await.ok();
        assert_eq!(listed["items"][0]["connection_status"], "inactive", "{listed}");
        world.pass(std::time::Duration::from_mins(2));
    }
    // Another token has to wait until the first one is decided or given up.
    let other = deposit(&world, "app", json!({"refresh_token": "other"})).await;
    other.is_refused(409, "already_connected");
    rotates(&world);
    deposit(&world, "app", json!({})).await.ok();
    assert_eq!(call(&world, "app", "bob").await.ok()["success"], true);
}

/// The user's own consent is never replaced, whichever comes first.
#[tokio::test]
async fn a_consent_of_the_user_stays() {
    let world = World::for_many().await;
    let asked = call(&world, "app", "bob").await.json;
    let link = asked["authorization"]["url"].as_str().unwrap().to_owned();
    world.consent("app", "bob", &link).await;
    let sent = world.provider.requests().len();
    let refused = deposit(&world, "app", json!({})).await;
    let message = refused.is_refused(409, "already_connected");
    assert!(message.contains("/connections"), "{message}");
    assert_eq!(world.provider.requests().len(), sent);
    call(&world, "app", "bob").await.ok();
    assert!(world.provider.calls().last().unwrap().contains("Bearer code-bob"));
}

/// No act of the user stands behind a deposit, so it does not bring back what was ended.
#[tokio::test]
async fn after_the_end_of_a_user_s_access_nothing_is_moved_in() {
    let world = World::for_many().await;
    rotates(&world);
    let path = "/v1/admin/user_connections?user_id=bob";
    world.send(reqwest::Method::DELETE, &key_of("app"), path, None, &[]).await.ok();
    world.pass(std::time::Duration::from_hours(1));
    let refused = deposit(&world, "app", json!({})).await;
    assert!(refused.is_refused(403, "access_ended").contains("consent anew"));
    assert_eq!(world.provider.refreshes(), 0);
    // No access of another user was ended.
    deposit(&world, "app", json!({"user_id": "eve"})).await.ok();
}

/// Tools get no scope that the depositor has not named, also after a renewal.
#[tokio::test]
async fn scopes_are_those_that_both_name() {
    let world = World::for_many().await;
    world.provider.says(said(
        r#"{"access_token":"a","refresh_token":"r","expires_in":3600,"scope":"notes:read notes:write"}"#,
    ));
    let scopes = json!({"scopes": ["notes:read", "notes:delete"]});
    let moved = deposit(&world, "app", scopes).await.ok();
    assert_eq!(moved["scopes"], json!(["notes:read"]));
    assert_eq!(moved["ungranted_scopes"], json!(["notes:delete"]));
    let write = json!({"tool_name": "Notes.Write", "input": {"content": "x"}, "user_id": "bob"});
    for _ in 0..2 {
        let asked = world.post(&key_of("app"), "/v1/tools/execute", write.clone()).await;
        asked.is_refused(403, "tool_authorization_required");
        assert_eq!(call(&world, "app", "bob").await.ok()["success"], true);
        world.pass(std::time::Duration::from_hours(2));
    }
    assert_eq!(world.provider.refreshes(), 2);
    let named = json!({"user_id": "eve", "scopes": null, "refresh_token": "of-eve"});
    let named = deposit(&world, "app", named).await.ok();
    assert_eq!(named["scopes"], json!(["notes:read", "notes:write"]));
}

/// Without a refresh token and without a way to ask, the first call decides.
#[tokio::test]
async fn an_access_token_alone_is_unproven_until_its_first_call() {
    let world = World::for_many().await;
    let alone = json!({"refresh_token": null, "access_token": "alone", "expires_in": 3600});
    let moved = deposit(&world, "app", alone.clone()).await.ok();
    assert_eq!((&moved["status"], &moved["renews"]), (&json!("unproven"), &json!(false)));
    assert_eq!(call(&world, "app", "bob").await.ok()["success"], true);
    assert_eq!(deposit(&world, "app", alone.clone()).await.ok()["status"], "live");
    // The API refuses that of another user.
    let mut eve = alone;
    eve["user_id"] = json!("eve");
    eve["access_token"] = json!("of-eve");
    assert_eq!(deposit(&world, "app", eve.clone()).await.ok()["status"], "unproven");
    world.provider.api(|_| Act::Say(status("401 Unauthorized", "", "")));
    call(&world, "app", "eve").await.is_refused(403, "tool_authorization_required");
    let dead = deposit(&world, "app", eve).await;
    assert!(dead.is_refused(422, "dead_token").contains("the API refuses the access token"));
}

/// Starts a deposit whose renewal waits, does `meanwhile`, and then lets the provider answer.
async fn during_a_deposit<F: Future<Output = ()>>(
    world: &World,
    meanwhile: impl FnOnce() -> F,
) -> Reply {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    world.provider.tokens(move |body| {
        if body.contains("refresh_token=refresh-1") {
            let late = said(r#"{"access_token":"late","refresh_token":"next","expires_in":3600}"#);
            return Act::SayWhen(Arc::clone(&held), late);
        }
        Act::Say(said(r#"{"access_token":"code-bob"}"#))
    });
    let act = async {
        let is_sent = async || world.provider.refreshes() == 1;
        wait_until_async("the renewal", is_sent).await;
        meanwhile().await;
        gate.add_permits(1);
    };
    tokio::join!(deposit(world, "app", json!({})), act).0
}

#[tokio::test]
async fn a_consent_during_a_deposit_counts() {
    let world = World::for_many().await;
    let refused = during_a_deposit(&world, || async {
        let asked = call(&world, "app", "bob").await.json;
        world.consent("app", "bob", asked["authorization"]["url"].as_str().unwrap()).await;
    });
    refused.await.is_refused(409, "already_connected");
    call(&world, "app", "bob").await.ok();
    assert!(world.provider.calls().last().unwrap().contains("Bearer code-bob"));
}

#[tokio::test]
async fn an_end_during_a_deposit_counts() {
    for path in ["user_id=bob&provider_id=acme", "user_id=bob"] {
        let world = World::for_many().await;
        let path = format!("/v1/admin/user_connections?{path}");
        let refused = during_a_deposit(&world, || async {
            world.send(reqwest::Method::DELETE, &key_of("app"), &path, None, &[]).await.ok();
        });
        refused.await.is_refused(403, "access_ended");
        let listed = world.get(&key_of("app"), "/v1/admin/user_connections").await.ok();
        assert_eq!(listed["total_count"], 0, "{listed}");
        call(&world, "app", "bob").await.is_refused(403, "tool_authorization_required");
    }
}

#[tokio::test]
async fn the_same_deposit_twice_at_once_is_sent_once() {
    let world = World::for_many().await;
    let second = std::cell::RefCell::new(None);
    let first = during_a_deposit(&world, || async {
        let twice = deposit(&world, "app", json!({}));
        // The second one waits for the first, whose answer is let go only afterwards.
        let waits = tokio::time::timeout(std::time::Duration::from_millis(200), twice).await;
        *second.borrow_mut() = waits.ok();
    });
    first.await.ok();
    assert!(second.borrow().is_none(), "{second:?}");
    assert_eq!(deposit(&world, "app", json!({})).await.status.as_u16(), 200);
    assert_eq!(world.provider.refreshes(), 1);
}

#[tokio::test]
async fn deposits_of_one_key_are_limited_and_others_go_on() {
    let world = World::for_many().await;
    rotates(&world);
    let wrong = json!({"client_id": "theirs"});
    for _ in 0..600 {
        deposit(&world, "app", wrong.clone()).await.is_refused(422, "wrong_client");
    }
    let limited = deposit(&world, "app", wrong).await;
    limited.is_refused(429, "rate_limited");
    assert_eq!(limited.headers["retry-after"], "60");
    deposit(&world, "other", json!({})).await.ok();
}

/// A deposited token is handed out to its application only, and never its refresh token.
#[tokio::test]
async fn a_token_is_handed_out_as_the_user_or_the_depositor_has_agreed() {
    let world = World::for_many().await;
    rotates(&world);
    let ask = async |app: &str, more: Value| {
        let mut body = json!({"user_id": "bob", "provider": "acme", "scopes": ["notes:read"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.post(&key_of(app), "/v1/token", body).await
    };
    let asked = ask("app", json!({})).await;
    asked.is_refused(403, "tool_authorization_required");
    let link = asked.json["authorization"]["url"].as_str().unwrap().to_owned();
    assert!(world.open("app", "bob", &link).await.text.contains("gets the access token"));
    deposit(&world, "app", json!({})).await.ok();
    let given = ask("app", json!({})).await;
    assert_eq!(given.headers["cache-control"], "no-store");
    let expected = json!({
        "access_token": "access-2", "token_type": "Bearer", "expires_in": 3600, "scope": "notes:read",
    });
    assert_eq!(given.ok(), expected);
    // Renewed if it has expired.
    world.pass(std::time::Duration::from_hours(2));
    assert_eq!(ask("app", json!({})).await.ok()["access_token"], "access-3");
    ask("app", json!({"scopes": ["notes:write"]}))
        .await
        .is_refused(403, "tool_authorization_required");
    for (app, more, status, name) in [
        ("plain", json!({}), 403, "forbidden"),
        ("other", json!({}), 403, "forbidden"),
        ("ana", json!({"user_id": "ana"}), 403, "forbidden"),
        ("after", json!({}), 403, "tool_authorization_required"),
        ("app", json!({"provider": "nothing"}), 404, "not_found"),
        ("app", json!({"scopes": ["a b"]}), 400, "malformed_request"),
        ("app", json!({"connection_id": "\n"}), 400, "malformed_request"),
        ("app", json!({"user_id": ""}), 400, "malformed_request"),
    ] {
        ask(app, more).await.is_refused(status, name);
    }
}
