//! Requests that are refused: always with a status and a body of JSON, since the client repeats
//! after anything else.

use serde_json::json;

use super::world::{Conversation, KEY, OTHER_KEY, PERSONS_KEY, World, run_body};

const TEXT: &str = "/api/v0/tools/countersign:tools:text/run/";

#[tokio::test]
async fn a_request_that_cannot_be_served_says_why() {
    let world = World::new().await;
    let mut talk = Conversation::new(&world, "errors");
    let unknown = "/api/v0/tools/portia:github::star_repos/run/";
    let good = run_body(Some("ana"), &json!({}));
    talk.say("No such tool", "POST", unknown, Some(&good)).await;
    talk.say("No context", "POST", TEXT, Some(&json!({"arguments": {}}))).await;
    talk.say("Arguments that are no object", "POST", TEXT, Some(&run_body(None, &json!([1]))))
        .await;
    talk.say("A user who cannot be", "POST", TEXT, Some(&run_body(Some(" ana"), &json!({})))).await;
    let context = json!({"end_user_id": "ana", "plan_run_id": "prun-1"});
    let run = json!({"arguments": {}, "execution_context": context});
    talk.say("A run with another kind of id", "POST", TEXT, Some(&run)).await;
    talk.hold();
}

#[tokio::test]
async fn refusals_of_the_gate_are_json_too() {
    let world = World::new().await;
    let body = run_body(Some("ana"), &json!({})).to_string();
    let key = format!("Api-Key {KEY}");
    let key = ("authorization", key.as_str());
    let json = ("content-type", "application/json");
    let big = "x".repeat(5 * 1024 * 1024);
    for (headers, body, status, error) in [
        (&[json][..], &*body, 401, "invalid_authorization"),
        (&[key, ("content-type", "text/plain")], &body, 415, "unsupported_media_type"),
        (&[key, json], "{", 400, "malformed_request"),
        (&[key, json], &big, 413, "payload_too_large"),
        (&[key, json, ("origin", "http://127.0.0.1")], &body, 403, "forbidden"),
        (&[key, json, ("sec-fetch-site", "cross-site")], &body, 403, "forbidden"),
    ] {
        let reply = world.send_raw("POST", TEXT, headers, body).await;
        assert_eq!((reply.status, &reply.json()["error"]), (status, &json!(error)), "{headers:?}");
        assert!(reply.json()["detail"].is_string());
    }
}

#[tokio::test]
async fn a_person_s_key_serves_that_person_only() {
    let world = World::of_many().await;
    let run = async |key: &str, user: Option<&str>| {
        world.send(key, "POST", TEXT, Some(&run_body(user, &json!({})))).await.status
    };
    for user in [None, Some("ana"), Some("portia:default_user")] {
        assert_eq!(run(PERSONS_KEY, user).await, 200, "{user:?}");
    }
    assert_eq!(run(PERSONS_KEY, Some("ben")).await, 403);
    for key in [KEY, OTHER_KEY] {
        for user in [None, Some(""), Some("ben"), Some("portia:default_user")] {
            assert_eq!(run(key, user).await, 200, "{user:?}");
        }
    }
}
