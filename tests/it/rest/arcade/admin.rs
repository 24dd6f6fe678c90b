//! `/v1/admin/secrets` and `/v1/admin/settings`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::rest::world::{Reply, TOKEN, World, key_of};

async fn put(world: &World, key: &str, name: &str, body: Value) -> Reply {
    world.post(key, &format!("/v1/admin/secrets/{name}"), body).await
}

async fn names(world: &World, key: &str) -> Vec<String> {
    let page = world.get(key, "/v1/admin/secrets").await.ok();
    let items = page["items"].as_array().unwrap().iter();
    items.map(|secret| secret["key"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_secret_is_stored_listed_and_deleted_and_never_shown() {
    let world = World::for_many().await;
    let app = key_of("app");
    let body = json!({"value": "s3cr3t-value", "description": "for the API"});
    let stored = put(&world, &app, "API_KEY", body).await.ok();
    assert!(stored["id"].as_str().unwrap().starts_with("sec_"));
    let expected = json!({
        "id": stored["id"],
        "key": "API_KEY",
        "description": "for the API",
        "hint": null,
        "binding": {"id": "key:app", "type": "project"},
        "created_at": "2027-01-15T08:00:00Z",
        "updated_at": "2027-01-15T08:00:00Z",
        "last_accessed_at": null,
    });
    assert_eq!(stored, expected);
    let listed = world.get(&app, "/v1/admin/secrets").await.ok();
    assert_eq!((&listed["items"][0], &listed["total_count"]), (&expected, &json!(1)));
    assert!(!listed.to_string().contains("s3cr3t-value"));
    // The same name in another case is the same secret.
    world.pass(std::time::Duration::from_mins(1));
    let again = put(&world, &app, "api_key", json!({"value": "other"})).await.ok();
    assert_eq!((&again["id"], &again["created_at"]), (&expected["id"], &expected["created_at"]));
    assert_eq!(again["updated_at"], "2027-01-15T08:01:00Z");
    assert_eq!(names(&world, &app).await, ["api_key"]);
    let path = format!("/v1/admin/secrets/{}", stored["id"].as_str().unwrap());
    let deleted = world.send(Method::DELETE, &app, &path, None, &[]).await;
    assert_eq!((deleted.status.as_u16(), deleted.json), (204, Value::Null));
    world.send(Method::DELETE, &app, &path, None, &[]).await.is_refused(404, "not_found");
    assert!(names(&world, &app).await.is_empty());
}

/// Arcade's clients read one page of secrets.
#[tokio::test]
async fn all_secrets_are_on_one_page() {
    let world = World::with_token().await;
    for at in 0..30 {
        put(&world, TOKEN, &format!("KEY_{at:02}"), json!({"value": "v"})).await.ok();
    }
    let all = names(&world, TOKEN).await;
    assert_eq!((all.len(), all[0].as_str(), all[29].as_str()), (30, "KEY_00", "KEY_29"));
    let page = world.get(TOKEN, "/v1/admin/secrets?limit=10&offset=25").await.ok();
    assert_eq!(page["items"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn a_secret_that_cannot_be_kept_is_refused() {
    let world = World::with_token().await;
    let long = "v".repeat(5001);
    for body in [json!({}), json!({"value": ""}), json!({"value": long}), json!({"value": 1})] {
        let refused = put(&world, TOKEN, "KEY", body).await;
        let message = refused.is_refused(400, "malformed_request");
        assert!(!message.contains("vvv"), "{message}");
    }
    put(&world, TOKEN, &"k".repeat(256), json!({"value": "v"}))
        .await
        .is_refused(400, "malformed_request");
    put(&world, TOKEN, "KEY", json!({"value": "v".repeat(5000)})).await.ok();
}

/// `app` and `other_admin` may administer; each has its own secrets.
#[tokio::test]
async fn an_application_finds_no_secret_of_another_one() {
    let world = World::for_many().await;
    let (app, other) = (key_of("app"), key_of("other_admin"));
    let stored = put(&world, &app, "API_KEY", json!({"value": "v"})).await.ok();
    assert!(names(&world, &other).await.is_empty());
    let path = format!("/v1/admin/secrets/{}", stored["id"].as_str().unwrap());
    world.send(Method::DELETE, &other, &path, None, &[]).await.is_refused(404, "not_found");
    put(&world, &other, "API_KEY", json!({"value": "w"})).await.ok();
    assert_eq!(names(&world, &app).await, ["API_KEY"]);
    for key in ["plain", "ana"] {
        let refused = world.get(&key_of(key), "/v1/admin/secrets").await;
        refused.is_refused(403, "admin_required");
    }
}

#[tokio::test]
async fn session_verification_is_read_only() {
    let path = "/v1/admin/settings/session_verification";
    let world = World::for_many().await;
    let app = key_of("app");
    let set = world.get(&app, path).await.ok();
    let expected = json!({
        "verifier_url": "https://app.example/verify",
        "unsafe_skip_verification": false,
        "unsafe_skip_verification_choice_allowed": false,
    });
    assert_eq!(set, expected);
    let put = async |body: Value| world.send(Method::PUT, &app, path, Some(body), &[]).await;
    assert_eq!(put(json!({"verifier_url": "https://app.example/verify"})).await.ok(), expected);
    for other in [
        json!({"verifier_url": "https://evil.example/"}),
        json!({"verifier_url": null}),
        json!({"verifier_url": "https://app.example/verify", "unsafe_skip_verification": true}),
    ] {
        put(other).await.is_refused(403, "read_only");
    }
    let machine = World::with_token().await;
    assert_eq!(machine.get(TOKEN, path).await.ok()["verifier_url"], Value::Null);
}
