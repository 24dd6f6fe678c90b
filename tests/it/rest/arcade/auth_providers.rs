//! `/v1/admin/auth_providers`.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::rest::tls::{self, AUTHORITY};
use crate::rest::world::{Reply, TOKEN, World, key_of};
use crate::support::provider::{Act, json as answer};

const PATH: &str = "/v1/admin/auth_providers";
/// Part of every client secret that is sent.
const SECRET: &str = "s3cr3t-of-the-app";

/// The settings of an app whose authorization server is at this origin.
fn app_at(origin: &str) -> Value {
    json!({
        "client_id": "us-over-rest",
        "client_secret": SECRET,
        "authorize_request": { "endpoint": format!("{origin}/authorize") },
        "token_request": { "endpoint": format!("{origin}/token"), "auth_method": "client_secret_post" },
        "user_info_request": { "endpoint": format!("{origin}/me") },
    })
}

fn hooli() -> Value {
    json!({ "id": "hooli", "description": "Hooli", "oauth2": app_at("https://id.example.com") })
}

async fn send(world: &World, method: Method, key: &str, id: &str, body: Option<Value>) -> Reply {
    world.send(method, key, &format!("{PATH}/{id}"), body, &[]).await
}

async fn ids(world: &World, key: &str) -> Vec<String> {
    let page = world.get(key, PATH).await.ok();
    let items = page["items"].as_array().unwrap().iter();
    items.map(|provider| provider["id"].as_str().unwrap().to_owned()).collect()
}

/// Asks for a consent at a provider.
async fn ask(world: &World, key: &str, requirement: Value) -> Reply {
    let body = json!({ "auth_requirement": requirement, "user_id": "bob" });
    world.post(key, "/v1/auth/authorize", body).await
}

fn named(id: &str) -> Value {
    json!({ "provider_id": id, "provider_type": "oauth2", "oauth2": { "scopes": ["read"] } })
}

#[tokio::test]
async fn a_provider_is_made_listed_changed_and_deleted_and_its_secret_never_shown() {
    let world = World::for_many().await;
    let app = key_of("app");
    let made = world.post(&app, PATH, hooli()).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let request = |path: &str| json!({ "endpoint": format!("https://id.example.com/{path}") });
    let mut token = request("token");
    token["auth_method"] = json!("client_secret_post");
    let expected = json!({
        "id": "hooli", "type": "oauth2", "provider_id": null, "description": "Hooli",
        "external_id": null, "status": "active",
        "binding": { "id": "key:app", "type": "project" },
        "oauth2": {
            "client_id": "us-over-rest",
            "client_secret": { "exists": true, "editable": true, "binding": "project", "hint": null },
            "redirect_uri": "https://tools.example/oauth/callback/~app~hooli",
            "scope_delimiter": " ",
            "pkce": { "enabled": true, "code_challenge_method": "S256" },
            "authorize_request": request("authorize"),
            "token_request": token,
            "user_info_request": request("me"),
        },
        "created_at": "2027-01-15T08:00:00Z", "updated_at": "2027-01-15T08:00:00Z",
    });
    assert_eq!(made.json, expected);
    let listed = world.get(&app, PATH).await.ok();
    assert_eq!(listed["items"][0], expected);
    world.pass(std::time::Duration::from_mins(1));
    let change =
        json!({ "id": "hooli", "description": "New", "oauth2": { "scope_delimiter": "," } });
    let changed = send(&world, Method::PATCH, &app, "hooli", Some(change)).await.ok();
    let got = send(&world, Method::GET, &app, "hooli", None).await.ok();
    assert_eq!(got, changed);
    assert_eq!(
        (&got["description"], &got["oauth2"]["scope_delimiter"]),
        (&json!("New"), &json!(","))
    );
    assert_eq!(got["oauth2"]["token_request"], expected["oauth2"]["token_request"]);
    assert_eq!(got["updated_at"], "2027-01-15T08:01:00Z");
    let deleted = send(&world, Method::DELETE, &app, "hooli", None).await.ok();
    assert_eq!(deleted["id"], "hooli");
    for said in [&listed, &changed, &got, &deleted, &made.json] {
        assert!(!said.to_string().contains(SECRET), "{said}");
    }
    for method in [Method::GET, Method::DELETE] {
        send(&world, method, &app, "hooli", None).await.is_refused(404, "not_found");
    }
    assert_eq!(ids(&world, &app).await, ["acme", "umbra"]);
    // The name is free again.
    assert_eq!(world.post(&app, PATH, hooli()).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_provider_of_tools_toml_is_shown_and_neither_changed_nor_shadowed() {
    let world = World::for_many().await;
    let app = key_of("app");
    let shown = send(&world, Method::GET, &app, "acme", None).await.ok();
    assert_eq!(shown["binding"], json!({ "id": "tools.toml", "type": "static" }));
    assert_eq!(
        (&shown["description"], &shown["oauth2"]["client_id"]),
        (&json!("Acme"), &Value::Null)
    );
    let mut shadow = hooli();
    shadow["id"] = json!("acme");
    let refused = world.post(&app, PATH, shadow).await;
    assert!(refused.is_refused(400, "malformed_request").contains("tools.toml"));
    let change = json!({ "oauth2": app_at("https://evil.example") });
    for (method, body) in [(Method::PATCH, Some(change)), (Method::DELETE, None)] {
        let refused = send(&world, method, &app, "acme", body).await;
        assert!(refused.is_refused(403, "read_only").contains("tools.toml"));
    }
    assert_eq!(ids(&world, &app).await, ["acme", "umbra"]);
    // Nor under the name of the built-in provider that it stands for.
    let mut alias = hooli();
    alias["provider_id"] = json!("github");
    world.post(&app, PATH, alias).await.ok();
    let pending = ask(&world, &app, named("acme")).await.ok();
    assert_eq!(pending["provider_id"], "acme");
}

#[tokio::test]
async fn a_provider_belongs_to_the_key_that_made_it() {
    let world = World::for_many().await;
    let (app, other) = (key_of("app"), key_of("other_admin"));
    world.post(&app, PATH, hooli()).await.ok();
    let pending = ask(&world, &app, named("hooli")).await.ok();
    assert_eq!((&pending["provider_id"], &pending["status"]), (&json!("hooli"), &json!("pending")));
    assert_eq!(ids(&world, &other).await, ["acme", "umbra"]);
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let body = (method == Method::PATCH).then(|| json!({ "status": "inactive" }));
        for id in ["hooli", "~app~hooli"] {
            let refused = send(&world, method.clone(), &other, id, body.clone()).await;
            refused.is_refused(404, "not_found");
        }
    }
    for key in [&other, &key_of("plain"), &key_of("ana")] {
        for id in ["hooli", "~app~hooli"] {
            let user = if *key == key_of("ana") { "ana" } else { "bob" };
            for requirement in [named(id), json!({ "id": id })] {
                let body = json!({ "auth_requirement": requirement, "user_id": user });
                let refused = world.post(key, "/v1/auth/authorize", body).await;
                refused.is_refused(404, "not_found");
            }
        }
        let status = format!("/v1/auth/status?id={}", pending["id"].as_str().unwrap());
        let refused = world.get(key, &status).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{refused:?}");
    }
    assert!(world.finds("app", "~app~hooli").await && world.finds("other_admin", "acme").await);
    assert!(!world.finds("other_admin", "~app~hooli").await);
    for key in ["plain", "ana"] {
        world.get(&key_of(key), PATH).await.is_refused(403, "admin_required");
    }
    // Another key's provider of this name is another one.
    let own = world.post(&other, PATH, hooli()).await.ok();
    assert_eq!(
        own["oauth2"]["redirect_uri"],
        "https://tools.example/oauth/callback/~other_admin~hooli"
    );
    send(&world, Method::DELETE, &other, "hooli", None).await.ok();
    assert!(ids(&world, &app).await.contains(&"hooli".to_owned()));
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused() {
    let world = World::with_token().await;
    let with = |key: &str, value: Value| {
        let mut body = hooli();
        body[key] = value;
        body
    };
    let long = "x".repeat(1001);
    for (body, words) in [
        (json!({}), "`id`"),
        (json!({ "id": "hooli" }), "client_id"),
        (with("id", json!("Hooli")), "lower-case"),
        (with("id", json!("")), "lower-case"),
        (with("id", json!("~app~x")), "lower-case"),
        (with("id", json!("h".repeat(101))), "100"),
        (with("type", json!("saml")), "oauth2"),
        (with("description", json!(long)), "description"),
        (with("external_id", json!("x".repeat(51))), "external_id"),
        (with("status", json!("paused")), "status"),
        (with("oauth2", app_at("https://127.0.0.1:9")), "authorize_request.endpoint"),
        (with("oauth2", app_at("http://id.example.com")), "authorize_request.endpoint"),
        (with("provider_id", json!("gitub")), "`github`"),
    ] {
        let refused = world.post(TOKEN, PATH, body).await;
        let message = refused.is_refused(400, "malformed_request");
        assert!(message.contains(words) && !message.contains(SECRET), "{message}");
    }
    let made = world.post(TOKEN, PATH, hooli()).await.ok();
    assert_eq!(made["binding"]["id"], "local");
    // No status that Arcade's clients repeat.
    let again = world.post(TOKEN, PATH, hooli()).await;
    again.is_refused(400, "malformed_request");
    let other_id = json!({ "id": "other" });
    let refused = send(&world, Method::PATCH, TOKEN, "hooli", Some(other_id)).await;
    refused.is_refused(400, "malformed_request");
}

/// No answer has the client secret, and an administrator cannot have it sent to a host of their own.
#[tokio::test]
async fn a_stored_secret_is_not_sent_to_another_host() {
    let world = World::for_many().await;
    let app = key_of("app");
    world.post(&app, PATH, hooli()).await.ok();
    let change = async |oauth2: Value| {
        send(&world, Method::PATCH, &app, "hooli", Some(json!({ "oauth2": oauth2 }))).await
    };
    let elsewhere = json!({ "endpoint": "https://evil.example/token" });
    for request in ["token_request", "refresh_request"] {
        let refused = change(json!({ request: elsewhere })).await;
        assert!(refused.is_refused(400, "malformed_request").contains("client_secret"));
    }
    let beside = json!({ "endpoint": "https://id.example.com/oauth/token" });
    change(json!({ "token_request": beside })).await.ok();
    change(json!({ "token_request": elsewhere, "client_secret": "another" })).await.ok();
}

#[tokio::test]
async fn an_inactive_provider_asks_no_user() {
    let world = World::for_many().await;
    let app = key_of("app");
    let mut body = hooli();
    body["status"] = json!("inactive");
    body["provider_id"] = json!("github");
    world.post(&app, PATH, body.clone()).await.ok();
    let refused = ask(&world, &app, named("hooli")).await;
    refused.is_refused(403, "forbidden");
    let active = json!({ "status": "active" });
    send(&world, Method::PATCH, &app, "hooli", Some(active)).await.ok();
    ask(&world, &app, named("hooli")).await.ok();
    // By the built-in provider that it stands for; of two such, one must be named.
    let pending = ask(&world, &app, named("github")).await.ok();
    assert_eq!(pending["provider_id"], "hooli");
    body["id"] = json!("hooli-2");
    world.post(&app, PATH, body).await.ok();
    ask(&world, &app, named("github")).await.is_refused(400, "malformed_request");
}

/// The endpoints of such a provider are learnt, so they must be reached by https: a process trusts
/// the authorities of its environment, so the test runs itself again in one that trusts ours.
#[tokio::test]
async fn its_users_consent_and_the_application_gets_the_token_until_it_is_deleted() {
    const NAME: &str = "rest::arcade::auth_providers::its_users_consent_and_the_application_gets_the_token_until_it_is_deleted";
    if std::env::vars_os().any(|(name, value)| name == AUTHORITY.0 && value == AUTHORITY.1) {
        return consent_to_deletion().await;
    }
    let executable = std::env::current_exe().expect("this executable");
    let mut command = tokio::process::Command::new(executable);
    let output = command.args(["--exact", NAME]).env(AUTHORITY.0, AUTHORITY.1).output();
    let output = output.await.expect("it ran");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

async fn consent_to_deletion() {
    let world = World::for_many_with("allow_private = [\"127.0.0.0/8\"]").await;
    world.provider.tokens(|body| {
        assert!(body.contains("us-over-rest") && body.contains(SECRET), "{body}");
        let token = if body.contains("grant_type=refresh_token") { "renewed" } else { "first" };
        let said = json!({ "access_token": token, "refresh_token": "r", "expires_in": 3600 });
        Act::Say(answer(said.to_string()))
    });
    world.provider.api(|_| Act::Say(answer(r#"{"sub":"7","email":"bob@hooli.example"}"#)));
    let app = key_of("app");
    let origin = tls::before(world.provider.origin());
    let mut body = hooli();
    body["oauth2"] = app_at(&origin);
    world.post(&app, PATH, body).await.ok();

    let pending = ask(&world, &app, named("hooli")).await.ok();
    let page = world.consent("app", "bob", pending["url"].as_str().unwrap()).await;
    assert!(page.text.contains("Hooli (127.0.0.1:"), "{}", page.text);
    let status = format!("/v1/auth/status?id={}", pending["id"].as_str().unwrap());
    let completed = world.get(&app, &status).await.ok();
    assert_eq!(completed["status"], "completed");
    assert_eq!(
        (&completed["provider_id"], &completed["scopes"]),
        (&json!("hooli"), &json!(["read"]))
    );
    let context = &completed["context"];
    assert_eq!((&context["token"], &context["user_info"]["id"]), (&json!("first"), &json!("7")));

    // It is renewed, listed under its name, and kept from another key.
    world.pass(std::time::Duration::from_mins(59));
    let renewed = ask(&world, &app, named("hooli")).await.ok();
    assert_eq!(
        (&renewed["status"], &renewed["context"]["token"]),
        (&json!("completed"), &json!("renewed"))
    );
    let connections = "/v1/admin/user_connections";
    let listed = world.get(&app, &format!("{connections}?provider_id=hooli")).await.ok();
    assert_eq!(
        (&listed["total_count"], &listed["items"][0]["provider_id"]),
        (&json!(1), &json!("hooli"))
    );
    assert_eq!(listed["items"][0]["connection_status"], "active");
    let other = key_of("other_admin");
    let connection = format!("/v1/auth/status?id={}", completed["id"].as_str().unwrap());
    world.get(&other, &connection).await.is_refused(404, "not_found");
    assert_eq!(world.get(&other, connections).await.ok()["total_count"], 0);

    // An inactive provider keeps its accounts, and hands out no token.
    let status = |status: &str| Some(json!({ "status": status }));
    send(&world, Method::PATCH, &app, "hooli", status("inactive")).await.ok();
    assert_eq!(world.get(&app, &connection).await.ok()["context"].get("token"), None);
    send(&world, Method::PATCH, &app, "hooli", status("active")).await.ok();
    assert_eq!(world.get(&app, &connection).await.ok()["context"]["token"], "renewed");

    // Deleting it ends the account, and the link that another user has not answered yet.
    let asked = json!({ "auth_requirement": named("hooli"), "user_id": "eve" });
    let open = world.post(&app, "/v1/auth/authorize", asked).await.ok();
    send(&world, Method::DELETE, &app, "hooli", None).await.ok();
    assert_eq!(world.get(&app, connections).await.ok()["total_count"], 0);
    world.get(&app, &connection).await.is_refused(404, "not_found");
    let status = format!("/v1/auth/status?id={}", open["id"].as_str().unwrap());
    world.get(&app, &status).await.is_refused(404, "not_found");
    ask(&world, &app, named("hooli")).await.is_refused(404, "not_found");
}
