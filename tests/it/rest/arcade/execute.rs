//! `POST /v1/tools/execute`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::rest::world::{Reply, World, key_of};
use crate::support::provider::{Act, answer, json as said};

async fn execute(world: &World, key: &str, body: Value) -> Reply {
    world.post(key, "/v1/tools/execute", body).await
}

fn read(user: &str) -> Value {
    json!({"tool_name": "Notes.Read", "user_id": user, "input": {"id": 7}})
}

/// Returns the page that the user must open.
#[track_caller]
fn link(reply: &Reply) -> String {
    // The words by which Arcade's JavaScript client recognizes a missing consent.
    let message = reply.is_refused(403, "tool_authorization_required");
    assert!(message.starts_with("authorization required: "), "{message}");
    let authorization = &reply.json["authorization"];
    assert_eq!(authorization["status"], "pending");
    assert!(authorization["id"].as_str().unwrap().starts_with("ar_"));
    let url = authorization["url"].as_str().unwrap();
    assert!(message.contains(url) && url.contains("/connect/"), "{message}");
    url.to_owned()
}

#[tokio::test]
async fn a_tool_runs_once_its_user_has_consented() {
    let world = World::on_machine().await;
    let refused = execute(&world, "any", read("")).await;
    let page = world.consent("", "", &link(&refused)).await;
    assert!(page.text.contains("connected"), "{}", page.text);
    let answer = execute(&world, "any", read("")).await.ok();
    assert!(answer["id"].as_str().unwrap().starts_with("te_"));
    assert!(answer["execution_id"].as_str().unwrap().starts_with("tc_"));
    assert!(answer["duration"].as_f64().unwrap() > 0.0);
    assert_eq!(answer["finished_at"], "2027-01-15T08:00:00Z");
    for (field, value) in [
        ("execution_type", json!("immediate")),
        ("status", json!("completed")),
        ("success", json!(true)),
        ("run_at", Value::Null),
        (
            "output",
            json!({"value": {"ok": true}, "error": null, "logs": [], "authorization": null}),
        ),
    ] {
        assert_eq!(answer[field], value, "{field}");
        assert!(answer.get(field).is_some(), "clients expect the null of `{field}`");
    }
    assert!(world.provider.calls()[0].starts_with("GET /notes/7 "));
    // Another user of the machine has consented to nothing.
    link(&execute(&world, "any", read("bob")).await);
}

#[tokio::test]
async fn an_application_calls_for_its_own_users_only() {
    let world = World::for_many().await;
    let refused = execute(&world, &key_of("plain"), read("bob")).await;
    world.consent("plain", "bob", &link(&refused)).await;
    execute(&world, &key_of("plain"), read("bob")).await.ok();
    // The same name is another person to another application, and for the operator.
    for key in ["other", "app"] {
        link(&execute(&world, &key_of(key), read("bob")).await);
    }
    execute(&world, &key_of("ana"), read("bob")).await.is_refused(403, "forbidden");
    link(&execute(&world, &format!("Bearer {}", key_of("plain")), read("ana")).await);
    for body in
        [json!({"tool_name": "Notes.Read"}), json!({"tool_name": "Notes.Read", "user_id": ""})]
    {
        let refused = execute(&world, &key_of("plain"), body).await;
        assert!(refused.is_refused(400, "malformed_request").contains("user_id"));
    }
    assert_eq!(world.provider.calls().len(), 1);
}

#[tokio::test]
async fn arguments_have_the_contract_s_names() {
    let world = World::on_machine().await;
    let star = |input: Value| json!({"tool_name": "Github_SetStarred", "input": input});
    execute(&world, "any", star(json!({"repository": "rust-lang/rust"}))).await.ok();
    execute(&world, "any", star(json!({"owner": "a", "repo": "b"}))).await.ok();
    let calls = world.provider.calls();
    assert!(calls[0].starts_with("PUT /star/rust-lang/rust "), "{}", calls[0]);
    assert!(calls[1].starts_with("PUT /star/a/b "), "{}", calls[1]);
    let failed = execute(&world, "any", star(json!({"repository": "rust"}))).await.ok();
    let error = &failed["output"]["error"];
    assert_eq!(
        (&error["kind"], &error["can_retry"]),
        (&json!("TOOL_RUNTIME_BAD_INPUT_VALUE"), &json!(true))
    );
    assert!(error["message"].as_str().unwrap().contains("`repository`"), "{error}");
    assert_eq!(error["additional_prompt_content"], error["message"]);
    let told = async |input: Value| {
        let failed = execute(&world, "any", star(input)).await.ok();
        failed["output"]["error"]["message"].as_str().unwrap().to_owned()
    };
    let missing = "- `repository` is missing: a string. Written as `owner/repo`";
    let unknown = "- `repositry` is not known, did you mean `repository`?";
    assert!(told(json!({})).await.ends_with(missing));
    let both = told(json!({"repositry": "a/b"})).await;
    assert!(both.ends_with(&format!("{missing}\n{unknown}")), "{both}");
    let other = told(json!({"zzz": 1})).await;
    assert!(other.ends_with("- `zzz` is not known: there are `repository`"), "{other}");
    assert_eq!(world.provider.calls().len(), 2);
}

/// Arcade's clients send a request again after 408, 409, 429 and 5xx.
#[tokio::test]
async fn a_failed_call_is_no_failed_request() {
    let world = World::on_machine().await;
    let star = json!({"tool_name": "Github.SetStarred", "input": {"repository": "a/b"}});
    for (status, headers, kind, can_retry, wait) in [
        ("409 Conflict", "", "UPSTREAM_RUNTIME_BAD_REQUEST", false, Value::Null),
        ("422 Unprocessable Entity", "", "UPSTREAM_RUNTIME_VALIDATION_ERROR", true, Value::Null),
        ("404 Not Found", "", "UPSTREAM_RUNTIME_NOT_FOUND", true, Value::Null),
        ("403 Forbidden", "", "UPSTREAM_RUNTIME_AUTH_ERROR", false, Value::Null),
        ("500 Internal Server Error", "", "UPSTREAM_RUNTIME_SERVER_ERROR", true, json!(60_000)),
        (
            "429 Too Many Requests",
            "Retry-After: 7\r\n",
            "UPSTREAM_RUNTIME_RATE_LIMIT",
            true,
            json!(7000),
        ),
    ] {
        world.provider.api(move |_| Act::Say(answer(status, headers, "")));
        let failed = execute(&world, "any", star.clone()).await.ok();
        assert_eq!(failed["status"], "failed");
        assert_eq!((&failed["success"], &failed["output"]["value"]), (&json!(false), &Value::Null));
        let error = &failed["output"]["error"];
        assert_eq!(
            (&error["kind"], &error["can_retry"]),
            (&json!(kind), &json!(can_retry)),
            "{error}"
        );
        assert_eq!(error["status_code"], status[..3].parse::<u16>().unwrap());
        assert_eq!(error["retry_after_ms"], wait, "{error}");
        // The limit of the API holds for its next calls.
        world.pass(Duration::from_mins(2));
    }
}

#[tokio::test]
async fn remarks_about_the_data_are_logs() {
    let world = World::on_machine().await;
    world.provider.api(|_| Act::Say(said("{\"a\":\"\u{1}\"}")));
    let star = json!({"tool_name": "Github.SetStarred", "input": {"repository": "a/b"}});
    let answer = execute(&world, "any", star).await.ok();
    let log = &answer["output"]["logs"][0];
    assert_eq!(log["level"], "info");
    assert!(log["message"].as_str().unwrap().contains("not valid JSON"), "{answer}");
    assert_eq!(answer["success"], true);
}

#[tokio::test]
async fn a_user_who_has_refused_twice_is_not_asked_again() {
    let world = World::on_machine().await;
    for _ in 0..2 {
        let refused = execute(&world, "any", read("")).await;
        world.decline("", "", &link(&refused)).await;
    }
    let refused = execute(&world, "any", read("")).await;
    let message = refused.is_refused(403, "tool_authorization_required");
    assert!(message.starts_with("authorization required: "), "{message}");
    assert!(message.contains("command `auth login --user=ana`, or wait"), "{message}");
    assert_eq!(refused.json.get("authorization"), None);
}

/// The commands of a server's operator are not for them.
#[tokio::test]
async fn an_application_s_user_who_has_refused_twice_reads_of_a_page() {
    let world = World::for_many().await;
    let (key, call) = (key_of("app"), read("bob"));
    for _ in 0..2 {
        let refused = execute(&world, &key, call.clone()).await;
        world.decline("app", "bob", &link(&refused)).await;
    }
    let refused = execute(&world, &key, call).await;
    let message = refused.is_refused(403, "tool_authorization_required");
    assert!(message.contains("can connect `acme` on this server's page /connections"), "{message}");
    assert!(!message.contains("auth login"), "{message}");
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_refused() {
    let world = World::on_machine().await;
    for body in [
        json!({}),
        json!({"tool_name": 1}),
        json!({"tool_name": "Notes.Read", "input": []}),
        json!({"tool_name": "Notes.Read", "run_at": 1}),
        json!([]),
    ] {
        execute(&world, "any", body).await.is_refused(400, "malformed_request");
    }
    execute(&world, "any", json!({"tool_name": "Nothing"})).await.is_refused(404, "not_found");
    let null = json!({"tool_name": "Github.SetStarred", "user_id": null, "input": null, "x": 1});
    assert_eq!(execute(&world, "any", null).await.ok()["status"], "failed");
    assert!(world.provider.calls().is_empty());
}

#[tokio::test]
async fn with_a_token_the_key_is_the_token() {
    let world = World::with_token().await;
    execute(&world, "any", read("")).await.is_refused(401, "invalid_authorization");
    link(&execute(&world, crate::rest::world::TOKEN, read("")).await);
}
