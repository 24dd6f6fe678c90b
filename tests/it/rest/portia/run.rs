//! Calls.

use serde_json::json;

use super::world::{Conversation, World};

#[tokio::test]
async fn outputs_and_errors_have_the_forms_of_the_contract() {
    let world = World::new().await;
    let mut talk = Conversation::new(&world, "run");
    let none = json!({});
    talk.run("A text", "ana", "countersign:tools:text", &none).await;
    talk.run("An object", "ana", "countersign:notes:list", &none).await;
    talk.run("A list of numbers is wrapped", "ana", "countersign:tools:numbers", &none).await;
    talk.run("What looks like a clarification too", "ana", "countersign:tools:categories", &none)
        .await;
    talk.run("A tool by its own name", "ana", "text", &none).await;
    let bad = json!({"kind": "b", "colour": "red"});
    talk.run("Arguments that do not fit: soft", "ana", "countersign:notes:list", &bad).await;
    talk.run("The API knows no such thing: soft", "ana", "countersign:tools:missing", &none).await;
    talk.run("The API is busy: soft", "ana", "countersign:tools:busy", &none).await;
    talk.run("The API forbids it: hard", "ana", "countersign:tools:forbidden", &none).await;
    talk.run("A write that may have run: hard", "ana", "countersign:broken:write", &none).await;
    talk.hold();
}
