//! Ends of a run: soft and hard errors, errors of other crates, panics, time limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use countersign::broker::code::CodeTools;
use countersign::model::{Failure, Outcome};
use countersign::prelude::*;
use countersign::words::failure_text;
use serde_json::{Value, json};

use super::world::{TOKEN, World};
use crate::support::wait_until_async;

/// Ends as it is told.
struct Ends {
    cancelled: Arc<AtomicBool>,
}

#[derive(Deserialize, JsonSchema)]
struct How {
    how: String,
    /// A value with a shape of its own
    point: Option<Point>,
}

#[derive(Deserialize, JsonSchema)]
struct Point {
    x: i32,
}

impl Tool for Ends {
    type Args = How;
    type Output = Value;

    fn name(&self) -> &str {
        "ends"
    }

    fn description(&self) -> &str {
        "Ends as it is told."
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn run(&self, ctx: &Context, args: How) -> Result<Value, ToolError> {
        match args.how.as_str() {
            "soft" => Err(ToolError::soft(format!("try “{}” again", "x".repeat(3)))),
            "hard" => Err(ToolError::hard("the account is closed")),
            "error" => Ok(serde_json::from_str("{\"password\": hunter2")?),
            "panic" => panic!("hunter2"),
            "point" => Ok(json!(args.point.map(|point| point.x))),
            "nothing" => Ok(Value::Null),
            "choice" => Err(Clarification::choice("how", "How?", ["soft", "hard"]).into()),
            _ => {
                let (cancellation, cancelled) = (ctx.cancellation(), Arc::clone(&self.cancelled));
                tokio::spawn(async move {
                    cancellation.cancelled().await;
                    cancelled.store(true, Ordering::SeqCst);
                });
                std::future::pending().await
            }
        }
    }
}

async fn world() -> (World, Arc<AtomicBool>) {
    let cancelled = Arc::new(AtomicBool::new(false));
    let tool = Ends { cancelled: Arc::clone(&cancelled) };
    (World::with(|_| CodeTools::default().with(tool)).await, cancelled)
}

async fn failure(world: &World, how: &str) -> Failure {
    match world.call("ends", json!({ "how": how })).await {
        Outcome::Failed(failure) => failure,
        other => panic!("{how}: {other:?}"),
    }
}

#[tokio::test]
async fn soft_and_hard_errors_are_told_apart_in_each_face() {
    let (world, _) = world().await;
    let soft = failure_text(&failure(&world, "soft").await);
    assert_eq!(
        soft,
        "ends reports: “try \"xxx\" again”. You may call it again with other arguments."
    );
    let hard = failure_text(&failure(&world, "hard").await);
    assert!(hard.contains("the account is closed") && hard.contains("will not help"), "{hard}");
    for (how, kind, can_retry, status) in [
        ("soft", "TOOL_RUNTIME_RETRY", true, 200),
        ("hard", "TOOL_RUNTIME_FATAL", false, 422),
        ("error", "TOOL_RUNTIME_FATAL", false, 422),
        ("panic", "TOOL_RUNTIME_FATAL", false, 422),
    ] {
        let body = json!({ "tool_name": "ends", "input": { "how": how }, "user_id": "ana" });
        let error = world.post("/v1/tools/execute", &body).await.1["output"]["error"].clone();
        assert_eq!(
            (&error["kind"], &error["can_retry"]),
            (&json!(kind), &json!(can_retry)),
            "{how}: {error}"
        );
        let body =
            json!({ "arguments": { "how": how }, "execution_context": { "end_user_id": "ana" } });
        let (found, answer) = world.post("/api/v0/tools/countersign:tools:ends/run/", &body).await;
        assert_eq!(found, status, "{how}: {answer}");
    }
}

#[tokio::test]
async fn the_text_of_another_error_is_for_the_operator_only() {
    let (world, _) = world().await;
    for how in ["error", "panic"] {
        let failure = failure(&world, how).await;
        let text = failure_text(&failure);
        assert!(!text.contains("hunter2") && text.contains("operator"), "{text}");
        assert!(failure.for_operator.is_some_and(|hint| hint.contains("`ends`")), "{how}");
    }
    // The server still runs.
    assert!(matches!(world.call("ends", json!({ "how": "nothing" })).await, Outcome::Complete(_)));
}

#[tokio::test]
async fn a_run_ends_at_its_time_limit_and_tells_what_it_has_spawned() {
    let (world, cancelled) = world().await;
    let text = failure_text(&failure(&world, "never").await);
    assert!(text.contains("did not end within 1 s"), "{text}");
    wait_until_async("the spawned work", async || cancelled.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn a_client_that_gives_up_takes_the_run_with_it() {
    let (world, cancelled) = world().await;
    let call = world.call("ends", json!({ "how": "never" }));
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    wait_until_async("the spawned work", async || cancelled.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn a_type_within_the_arguments_is_checked_by_its_schema() {
    let (world, _) = world().await;
    let point =
        async |point: Value| world.call("ends", json!({ "how": "point", "point": point })).await;
    let Outcome::Complete(result) = point(json!("{\"x\": 4}")).await else { panic!("not read") };
    assert_eq!(result.into_text().as_deref(), Some("4"));
    let Outcome::Failed(failure) = point(json!({ "x": "four" })).await else { panic!("it ran") };
    let text = failure_text(&failure);
    assert!(text.contains("`point/x` does not fit"), "{text}");
    let Outcome::Failed(failure) = point(json!({ "x": 5_000_000_000_u64 })).await else {
        panic!("it ran")
    };
    assert!(failure_text(&failure).contains("point"), "{failure:?}");
}

/// Shows the token in every way that it can.
struct Shows;

impl Tool for Shows {
    type Args = NoArgs;
    type Output = Vec<String>;

    fn name(&self) -> &str {
        "github_shows"
    }

    fn description(&self) -> &str {
        "Shows the token."
    }

    fn authorization(&self) -> Option<Authorization> {
        Some(Authorization::new("github", ["gist"]))
    }

    async fn run(&self, ctx: &Context, _args: NoArgs) -> Result<Vec<String>, ToolError> {
        let token = ctx.token("github", &["gist"]).await?.expose();
        let reversed: String = token.chars().rev().collect();
        Ok(vec![format!("it is {token}"), reversed.chars().rev().collect()])
    }
}

#[tokio::test]
async fn a_token_that_the_code_returns_does_not_reach_the_model() {
    let world = World::with(|_| CodeTools::default().with(Shows)).await;
    let Outcome::Complete(result) = world.call_and_consent("github_shows", json!({})).await else {
        panic!("it did not run")
    };
    let text = result.into_text().unwrap();
    assert!(!text.contains(TOKEN) && text.contains("[redacted]"), "{text}");
}
