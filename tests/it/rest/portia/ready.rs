//! Readiness: consents that tools need, asked for before and during a run.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{Conversation, KEY, OTHER_KEY, RUN, World, context};
use crate::support::provider::json as said;

const BATCH: &str = "/api/v0/tools/batch/ready/";
const SEARCH: &str = "portia:github::search_repos";
const STAR: &str = "portia:github::star_repo";

fn batch(user: &str, tools: &[&str]) -> Value {
    json!({ "tool_ids": tools, "execution_context": context(Some(user)) })
}

fn clarification(answer: &Value) -> &Value {
    let [clarification] = answer["clarifications"].as_array().unwrap().as_slice() else {
        panic!("{answer}")
    };
    clarification
}

/// The whole of the client's first run: both tools' consent is asked for at once, and given while the
/// client polls.
#[tokio::test]
async fn two_tools_of_one_provider_are_asked_for_at_once() {
    let world = World::new().await;
    let mut talk = Conversation::new(&world, "ready");
    let both = batch("ana", &[SEARCH, STAR]);
    let first = talk.say("Before the run", "POST", BATCH, Some(&both)).await.json();
    let asked = clarification(&first).clone();
    assert_eq!(first["ready"], false);
    for _ in 0..3 {
        world.pass(Duration::from_secs(2));
        let polled = world.send(KEY, "POST", BATCH, Some(&both)).await.json();
        assert_eq!(polled, first, "a poll is answered like the one before");
    }
    let one = json!({ "execution_context": context(Some("ana")) });
    let single = talk.say(
        "One tool alone",
        "POST",
        "/api/v0/tools/portia:github::star_repo/ready/",
        Some(&one),
    );
    let single = single.await.json();
    assert_eq!(clarification(&single)["id"], asked["id"], "the same link, widened or not");
    let star = json!({"repo": "portiaAI/docs"});
    let early = talk.run("A run before the consent asks the same", "ana", STAR, &star).await.json();
    assert_eq!(early["output"]["value"][0]["id"], asked["id"]);
    world.consent(asked["action_url"].as_str().unwrap()).await;
    talk.note("The user has consented");
    talk.say("The next poll", "POST", BATCH, Some(&both)).await;
    talk.run("The first step", "ana", SEARCH, &json!({"search_term": "portia"})).await;
    talk.run("The second step", "ana", STAR, &star).await;
    talk.say("A second user", "POST", BATCH, Some(&batch("ben", &[SEARCH, STAR]))).await;
    talk.say("The default user", "POST", BATCH, Some(&batch("portia:default_user", &[STAR]))).await;
    talk.say(
        "Tools that need nothing, or do not exist",
        "POST",
        BATCH,
        Some(&batch("ana", &["text", "portia:none"])),
    )
    .await;
    talk.hold();
    let authorize = world.provider.received("GET /authorize");
    assert_eq!(authorize, 0, "the browser of this test goes there, not the server");
}

/// A token that is used once is gone before the next step: that asks again, and so does readiness.
#[tokio::test]
async fn a_token_that_is_used_once_is_asked_for_again() {
    let world = World::with("[store]\nretention = \"use_once\"\n").await;
    let mut talk = Conversation::new(&world, "use_once");
    let search = json!({"search_term": "portia"});
    let first = talk.run("The first step asks", "ana", SEARCH, &search).await.json();
    let link = first["output"]["value"][0]["action_url"].as_str().unwrap();
    world.consent(link).await;
    talk.note("The user has consented");
    talk.run("It runs", "ana", SEARCH, &search).await;
    let again = talk.run("The second step asks again", "ana", SEARCH, &search).await.json();
    let polled = talk.say("So does readiness", "POST", BATCH, Some(&batch("ana", &[SEARCH]))).await;
    assert_eq!(clarification(&polled.json())["id"], again["output"]["value"][0]["id"]);
    talk.hold();
}

/// A scope that only the API asks for is known to readiness from then on: otherwise the client would
/// run the step again at once, without end.
#[tokio::test]
async fn a_scope_that_only_a_call_shows_is_reported_until_it_is_granted() {
    let world = World::new().await;
    let token = |token: &str, scopes: &str| {
        let tokens = said(format!(r#"{{"access_token":"{token}","scope":"{scopes}"}}"#));
        world.provider.says(tokens);
    };
    token("a-token", "repo:read");
    let admin = "countersign:github:admin";
    let tools = batch("ana", &[admin]);
    let first = world.send(KEY, "POST", BATCH, Some(&tools)).await.json();
    world.consent(clarification(&first)["action_url"].as_str().unwrap()).await;
    let mut talk = Conversation::new(&world, "step_up");
    talk.say("The tool's own scope is granted", "POST", BATCH, Some(&tools)).await;
    let none = json!({});
    let asked = talk.run("The API asks for another one", "ana", admin, &none).await.json();
    let asked = &asked["output"]["value"][0];
    let polled = talk.say("Readiness reports it", "POST", BATCH, Some(&tools)).await.json();
    assert_eq!(clarification(&polled)["id"], asked["id"]);
    for _ in 0..3 {
        world.pass(Duration::from_secs(2));
        assert_eq!(world.send(KEY, "POST", BATCH, Some(&tools)).await.json(), polled);
    }
    token("b-token", "repo:read starring");
    world.consent(asked["action_url"].as_str().unwrap()).await;
    talk.note("The user has consented");
    talk.say("The next poll", "POST", BATCH, Some(&tools)).await;
    talk.run("It runs", "ana", admin, &none).await;
    talk.hold();
}

/// The id is another one in another run: each client resolves its own.
#[tokio::test]
async fn a_clarification_belongs_to_its_run() {
    let world = World::new().await;
    let other = RUN.replace('6', "7");
    let mut context = context(Some("ana"));
    let first = world.send(KEY, "POST", BATCH, Some(&batch("ana", &[STAR]))).await.json();
    context["plan_run_id"] = json!(other);
    let second = json!({ "tool_ids": [STAR], "execution_context": context });
    let second = world.send(KEY, "POST", BATCH, Some(&second)).await.json();
    let (first, second) = (clarification(&first), clarification(&second));
    assert_eq!(first["action_url"], second["action_url"], "one link for the user");
    assert_ne!(first["id"], second["id"]);
    assert_eq!((&first["plan_run_id"], &second["plan_run_id"]), (&json!(RUN), &json!(other)));
}

#[tokio::test]
async fn a_question_that_cannot_be_read_is_refused() {
    let world = World::new().await;
    let many: Vec<String> = (0..201).map(|n| format!("portia:x:{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let bad_run = json!({"tool_ids": [], "execution_context": {"plan_run_id": "1"}});
    for body in [json!({}), json!({"tool_ids": "x"}), bad_run, batch("ana", &many)] {
        let reply = world.send(KEY, "POST", BATCH, Some(&body)).await;
        assert_eq!((reply.status, &reply.json()["error"]), (400, &json!("malformed_request")));
    }
    let one = json!({ "execution_context": context(Some("ana")) });
    let unknown = world.send(KEY, "POST", "/api/v0/tools/portia:none/ready/", Some(&one)).await;
    assert_eq!(unknown.status, 404);
}

/// A consent of one application's user is none of another application's user of the same name.
#[tokio::test]
async fn applications_share_no_users() {
    let world = World::of_many().await;
    let ana = batch("ana", &[STAR]);
    let ours = world.send(KEY, "POST", BATCH, Some(&ana)).await.json();
    let theirs = world.send(OTHER_KEY, "POST", BATCH, Some(&ana)).await.json();
    let (ours, theirs) = (clarification(&ours), clarification(&theirs));
    assert_ne!(ours["action_url"], theirs["action_url"]);
    assert_ne!(ours["id"], theirs["id"]);
}
