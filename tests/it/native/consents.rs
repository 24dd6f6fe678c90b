//! The consent that a tool declares, in each form, and those that it asks for while it runs.

use countersign::broker::code::CodeTools;
use countersign::model::{Outcome, PromptReason};
use countersign::prelude::*;
use serde_json::{Value, json};

use super::world::{TOKEN, World};
use crate::support::host::{Answer, Dialect, Way};

#[tokio::test]
async fn each_revision_asks_for_the_consent_in_its_form_and_then_the_tool_runs() {
    for dialect in [Dialect::PLAIN, Dialect::ERRORS, Dialect::ROUNDS] {
        let world = World::of_example().await;
        let arguments = json!({ "repo": "ana/notes" });
        let asked = world.mcp(dialect, "github_star_repo", &arguments, &Value::Null).await.0;
        let prompt = Answer::of(&asked).asked();
        assert_eq!(prompt.way, dialect.way(), "{dialect:?}");
        assert!(prompt.message.contains("GitHub"), "{}", prompt.message);
        world.consent(&prompt.url).await;
        let more = match prompt.way {
            Way::Input => json!({
                "inputResponses": { prompt.request.unwrap(): { "action": "accept" } },
                "requestState": prompt.state,
            }),
            Way::Text | Way::Error => Value::Null,
        };
        let ran = world.mcp(dialect, "github_star_repo", &arguments, &more).await.0;
        let text = Answer::of(&ran).ran();
        assert!(text.starts_with("Starred ana/notes."), "{text}");
        let starred: Vec<String> = world.provider.calls();
        assert_eq!(starred.len(), 1, "{starred:?}");
        assert!(starred[0].starts_with("PUT /user/starred/ana/notes "), "{}", starred[0]);
        assert!(starred[0].to_ascii_lowercase().contains(&format!("bearer {TOKEN}")));
    }
}

#[tokio::test]
async fn one_link_asks_for_all_that_tools_of_code_and_of_tools_toml_need() {
    let world = World::of_example().await;
    let tools = ["github_star_repo", "github_read_gist", "github_search_repos"];
    let arguments = json!({ "tools": tools });
    let answer = world.mcp(Dialect::ROUNDS, "connections", &arguments, &Value::Null).await.0;
    let needed = &answer["result"]["structuredContent"]["needed"];
    let [need] = needed.as_array().map(Vec::as_slice).unwrap() else { panic!("{needed}") };
    assert_eq!(need["scopes"], json!(["gist", "public_repo"]));
    assert_eq!(need["tools"], json!(tools));
    world.consent(need["authorization_url"].as_str().unwrap()).await;
    let answer = world.mcp(Dialect::ROUNDS, "connections", &arguments, &Value::Null).await.0;
    assert_eq!(answer["result"]["structuredContent"]["ready"], json!(tools));
    let star = world.call("github_star_repo", json!({ "repo": "ana/notes" })).await;
    assert!(matches!(star, Outcome::Complete(_)), "{star:?}");
}

/// Asks for a token beyond what it declares, and counts its runs.
struct Wider;

impl Tool for Wider {
    type Args = NoArgs;
    type Output = String;

    fn name(&self) -> &str {
        "github_wider"
    }

    fn description(&self) -> &str {
        "Needs more than it declares."
    }

    fn effect(&self) -> Effect {
        Effect::Read
    }

    fn authorization(&self) -> Option<Authorization> {
        Some(Authorization::new("github", ["public_repo"]))
    }

    async fn run(&self, ctx: &Context, _args: NoArgs) -> Result<String, ToolError> {
        let declared = ctx.token("github", &[]).await?;
        let same = ctx.token("github", &["public_repo"]).await?;
        assert_eq!(declared.expose(), same.expose());
        let other = ctx.token("acme", &["notes"]).await?;
        let token = ctx.http().get("http://HOST/me").bearer(&other).send().await;
        Ok(format!("{} {}", other.expose() == TOKEN, token.is_ok()))
    }
}

const ACME: &str = r#"
[providers.acme]
title     = "Acme"
base_url  = "ORIGIN"
client_id = "us-there"
[providers.acme.oauth]
authorize_url = "ORIGIN/authorize"
token_url     = "ORIGIN/token"
loopback      = "any-port"
"#;

#[tokio::test]
async fn a_token_that_is_not_declared_asks_in_the_run_and_the_call_begins_anew() {
    let world = World::beside(ACME, |_| CodeTools::default().with(Wider)).await;
    let Outcome::AuthorizationRequired(first) = world.call("github_wider", json!({})).await else {
        panic!("not asked")
    };
    assert_eq!((first.title.as_str(), &first.reason), ("GitHub", &PromptReason::NotConnected));
    world.consent(&first.url).await;
    let Outcome::AuthorizationRequired(second) = world.call("github_wider", json!({})).await else {
        panic!("not asked")
    };
    assert_eq!((second.title.as_str(), second.tool.unwrap().as_str()), ("Acme", "github_wider"));
    assert_eq!(second.scopes.iter().collect::<Vec<_>>(), ["notes"]);
    world.consent(&second.url).await;
    let Outcome::Complete(result) = world.call("github_wider", json!({})).await else {
        panic!("it did not run")
    };
    assert_eq!(result.into_text().unwrap(), "true false");
}

/// Portia's clients throw the question of a call away and ask for readiness: if that knew of none,
/// they would call again without end.
#[tokio::test]
async fn readiness_knows_what_a_run_has_asked_for() {
    let world = World::beside(ACME, |_| CodeTools::default().with(Wider)).await;
    let context = json!({
        "end_user_id": "ana",
        "plan_run_id": "prun-6989f1aa-f910-4c53-b3c5-69d1aa4ebf42",
    });
    let tool = "countersign:github:wider";
    let ready = json!({ "tool_ids": [tool], "execution_context": context });
    let run = json!({ "arguments": {}, "execution_context": context });
    let path = format!("/api/v0/tools/{tool}/run/");
    for provider in ["GitHub", "Acme"] {
        let (status, asked) = world.post(&path, &run).await;
        let question = &asked["output"]["value"][0];
        assert_eq!((status, &question["category"]), (200, &json!("Action")), "{asked}");
        let guidance = question["user_guidance"].as_str().unwrap();
        assert!(guidance.contains(provider), "{guidance}");
        let (_, answer) = world.post("/api/v0/tools/batch/ready/", &ready).await;
        let [only] = answer["clarifications"].as_array().map(Vec::as_slice).unwrap() else {
            panic!("{answer}")
        };
        assert_eq!(only["action_url"], question["action_url"], "{answer}");
        world.consent(only["action_url"].as_str().unwrap()).await;
    }
    let (status, done) = world.post(&path, &run).await;
    assert_eq!((status, &done["output"]["value"]), (200, &json!("true false")), "{done}");
}
