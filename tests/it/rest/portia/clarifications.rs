//! Questions to the user.

use serde_json::json;

use super::world::{Conversation, World};

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
