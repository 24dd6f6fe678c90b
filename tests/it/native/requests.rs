//! Requests of a tool's code: where the token goes, what a refusal means, and what a path is.

use countersign::broker::code::CodeTools;
use countersign::model::failure::ApiRefusal;
use countersign::model::request_problem::RequestProblem;
use countersign::model::{Failure, FailureKind, Outcome, PromptReason};
use countersign::prelude::*;
use serde_json::json;

use super::world::{TOKEN, World, tokens};
use crate::support::provider::{Act, Server, answer, json as said};

/// Sends one request.
struct Sends {
    api: String,
    foreign: String,
}

#[derive(Deserialize, JsonSchema)]
struct What {
    what: String,
}

impl Tool for Sends {
    type Args = What;
    type Output = String;

    fn name(&self) -> &str {
        "github_sends"
    }

    fn description(&self) -> &str {
        "Sends a request."
    }

    fn authorization(&self) -> Option<Authorization> {
        Some(Authorization::new("github", ["public_repo"]))
    }

    async fn run(&self, ctx: &Context, args: What) -> Result<String, ToolError> {
        let (api, foreign, http) = (&self.api, &self.foreign, ctx.http());
        let request = match args.what.as_str() {
            "foreign" => http.get(&format!("{foreign}/x")),
            "anonymous" => http.get(&format!("{foreign}/x")).anonymous(),
            "path" => http.get(&format!("{api}/items/{{id}}")).path("id", "../secrets"),
            "formatted" => http.get(&format!("{api}/items/{}", "../secrets")),
            "header" => http.get(&format!("{api}/x")).header("Authorization", "Bearer mine"),
            "posted" => http.post(&format!("{api}/x")).json(&json!({ "a": [1] }))?,
            other => http.get(&format!("{api}/{other}")),
        };
        Ok(request.send().await?.text()?)
    }
}

async fn world() -> (World, Server) {
    let foreign = Server::saying(said("{}")).await;
    let other = foreign.origin.clone();
    let tools =
        |api: &str| CodeTools::default().with(Sends { api: api.to_owned(), foreign: other });
    (World::with(tools).await, foreign)
}

async fn failure(world: &World, what: &str) -> Failure {
    match world.call_and_consent("github_sends", json!({ "what": what })).await {
        Outcome::Failed(failure) => failure,
        other => panic!("{what}: {other:?}"),
    }
}

#[tokio::test]
async fn the_token_never_goes_to_a_foreign_host() {
    let (world, foreign) = world().await;
    let kind = failure(&world, "foreign").await.kind;
    assert!(matches!(kind, FailureKind::NotBuilt(RequestProblem::ForeignHost { .. })), "{kind:?}");
    // Nor does a request without it go to a private address that is not named.
    let kind = failure(&world, "anonymous").await.kind;
    assert!(matches!(kind, FailureKind::NotReached { .. }), "{kind:?}");
    assert!(foreign.requests().is_empty(), "{:?}", foreign.requests());
}

#[tokio::test]
async fn an_argument_stays_one_segment_of_the_path() {
    let (world, _foreign) = world().await;
    for what in ["path", "formatted", "header"] {
        let kind = failure(&world, what).await.kind;
        assert!(matches!(kind, FailureKind::NotBuilt(_)), "{what}: {kind:?}");
    }
    assert!(world.provider.calls().is_empty(), "{:?}", world.provider.calls());
}

#[tokio::test]
async fn a_body_is_json() {
    let (world, _foreign) = world().await;
    let done = world.call_and_consent("github_sends", json!({ "what": "posted" })).await;
    assert!(matches!(done, Outcome::Complete(_)), "{done:?}");
    let calls = world.provider.calls();
    assert!(calls[0].starts_with("POST /x ") && calls[0].ends_with(r#"{"a":[1]}"#), "{calls:?}");
}

#[tokio::test]
async fn a_refusal_keeps_the_meaning_that_it_has_for_every_tool() {
    let (world, _foreign) = world().await;
    let kind = failure(&world, "busy").await.kind;
    let is_limit =
        matches!(&kind, FailureKind::Refused { refusal: ApiRefusal::RateLimited(_), .. });
    assert!(is_limit, "{kind:?}");
    // A missing scope asks for a wider consent.
    world.provider.says(tokens(TOKEN));
    let Outcome::AuthorizationRequired(prompt) =
        world.call("github_sends", json!({ "what": "scope" })).await
    else {
        panic!("not asked")
    };
    assert_eq!(prompt.reason, PromptReason::MoreScopes);
}

#[tokio::test]
async fn what_the_api_echoes_of_the_token_does_not_reach_the_code() {
    let (world, _foreign) = world().await;
    let Outcome::Complete(result) =
        world.call_and_consent("github_sends", json!({ "what": "echo" })).await
    else {
        panic!("it did not run")
    };
    assert!(!result.into_text().unwrap().contains(TOKEN));
}

#[tokio::test]
async fn a_refused_token_is_renewed_and_the_request_sent_again() {
    let (world, _foreign) = world().await;
    world.provider.says(tokens("an-old-token"));
    let mut issued = 0;
    world.provider.tokens(move |_| {
        issued += 1;
        Act::Say(tokens(if issued == 1 { "an-old-token" } else { TOKEN }))
    });
    let done = world.call_and_consent("github_sends", json!({ "what": "me" })).await;
    assert!(matches!(done, Outcome::Complete(_)), "{done:?}");
    assert_eq!((world.provider.calls().len(), world.provider.refreshes()), (2, 1));
    // One that is refused again is a failure, and the tool runs no second time.
    world.provider.api(|_| Act::Say(answer("401 Unauthorized", "", "")));
    let kind = failure(&world, "me").await.kind;
    assert!(matches!(kind, FailureKind::Refused { .. }), "{kind:?}");
    assert_eq!(world.provider.calls().len(), 4);
}
