//! Calls that need an answer of the user before anything is sent.

use countersign::broker::Call;
use countersign::model::event::CallOutcome;
use countersign::model::{FailureKind, Outcome, Principal, Question};
use serde_json::{Value, json};

use super::world::{World, ana, tools_toml};

const SORTED: &str = r#"
    [tools.sorted]
    description = "Lists what there is."
    request     = "GET /list?by={by}&of={of}"
    [tools.sorted.params]
    by = { type = "string", enum = ["stars", "forks"], description = "How." }
    of = { type = "string", description = "Whose." }
"#;

async fn sorted(world: &World, arguments: &Value) -> Outcome {
    let principal = Principal::local(ana());
    let arguments = arguments.as_object().cloned();
    let call = Call { arguments, ..Call::new(&principal, "sorted") };
    world.app.broker.call(call).await.unwrap()
}

#[tokio::test]
async fn arguments_that_the_user_can_supply_are_a_question() {
    let world = World::of(|origin| {
        format!(
            "[server]\n{}{}",
            tools_toml(origin),
            SORTED.replace("GET ", &format!("GET {origin}"))
        )
    })
    .await;
    for arguments in [json!({}), json!({ "by": "stars" }), json!({ "by": "star", "of": "ben" })] {
        let outcome = sorted(&world, &arguments).await;
        assert_eq!(outcome.outcome(), CallOutcome::InvalidArguments);
        let Outcome::InputRequired(required) = outcome else { panic!("{outcome:?}") };
        assert_eq!(required.tool.as_str(), "sorted");
        assert!(matches!(required.question, Question::Arguments(_)), "{:?}", required.question);
    }
    // Only the model can correct these.
    for arguments in [json!({ "by": 7 }), json!({ "by": "stars", "off": "ben" })] {
        let outcome = sorted(&world, &arguments).await;
        let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
        assert!(matches!(failure.kind, FailureKind::InvalidArguments(_)), "{:?}", failure.kind);
    }
}
