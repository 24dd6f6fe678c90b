//! Questions to the user.

use serde_json::json;

use super::world::{Conversation, KEY, RUN, World, context};

const ISSUES: &str = "countersign:issues:list";

#[tokio::test]
async fn a_missing_or_mistyped_argument_is_a_question() {
    let world = World::new().await;
    let mut talk = Conversation::new(&world, "clarifications");
    let none = json!({});
    let first = talk.run("A value is missing: Input", "ana", ISSUES, &none).await.json();
    talk.run("The same question again has the same id", "ana", ISSUES, &none).await;
    let search = json!({"search_term": "rust"});
    talk.run("A choice is missing: Multiple Choice", "ana", ISSUES, &search).await;
    let mistyped = json!({"search_term": "rust", "state": "opne"});
    talk.run("A choice is mistyped: Value Confirmation", "ana", ISSUES, &mistyped).await;
    let joined = json!({"repo": "docs"});
    talk.run("Half of a joined value", "ana", "portia:github::star_repo", &joined).await;
    let wrong = json!({"search_term": "rust", "state": "open", "page": "x"});
    talk.run("What only the model can mend: soft", "ana", ISSUES, &wrong).await;
    let good = json!({"search_term": "rust", "state": "open"});
    talk.run("The answers", "ana", ISSUES, &good).await;
    talk.hold();
    assert_eq!(first["output"]["value"].as_array().unwrap().len(), 1, "one at a time");
}

/// A confirmation is answered on a page of the server, so its answer reaches no client: readiness
/// reports it until then.
#[tokio::test]
async fn a_confirmation_is_an_action_until_it_is_answered() {
    let world = World::with_payments().await;
    let mut talk = Conversation::new(&world, "confirmation");
    let (pay, ready) = ("countersign:tools:pay", "/api/v0/tools/batch/ready/");
    let five = json!({"sum": 5, "to": "Ben"});
    let tools = json!({"tool_ids": [pay], "execution_context": context(Some("ana"))});
    talk.say("Nothing is known to be needed", "POST", ready, Some(&tools)).await;
    let asked = talk.run("The call asks", "ana", pay, &five).await.json();
    let asked = &asked["output"]["value"][0];
    let polled = talk.say("So does readiness", "POST", ready, Some(&tools)).await.json();
    assert_eq!(polled["clarifications"][0]["id"], asked["id"]);
    let mut elsewhere = tools.clone();
    elsewhere["execution_context"]["plan_run_id"] = json!(RUN.replace('6', "7"));
    let other_run = world.send(KEY, "POST", ready, Some(&elsewhere)).await.json();
    assert_eq!(other_run["ready"], true, "it is for this run only");
    world.press(asked["action_url"].as_str().unwrap(), "run").await;
    talk.note("The user has confirmed");
    talk.say("Nothing is needed any more", "POST", ready, Some(&tools)).await;
    talk.run("It runs", "ana", pay, &five).await;
    let again = talk.run("Once: the next call asks again", "ana", pay, &five).await.json();
    let again = &again["output"]["value"][0];
    assert_ne!(again["id"], asked["id"]);
    world.press(again["action_url"].as_str().unwrap(), "decline").await;
    talk.note("The user has declined");
    talk.say("Nothing is needed", "POST", ready, Some(&tools)).await;
    talk.run("And the call fails: hard", "ana", pay, &five).await;
    talk.hold();
}
