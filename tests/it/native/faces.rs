//! The tools in each face: what clients read of them, and what a call gives.

use countersign::broker::code::CodeTools;
use countersign::prelude::*;
use serde_json::{Value, json};

use super::world::World;
use crate::support::host::{Answer, Dialect};

#[tokio::test]
async fn hosts_read_schema_hints_and_output_from_the_types() {
    let world = World::of_example().await;
    let list = world.mcp(Dialect::ROUNDS, "connections", &json!({}), &Value::Null).await;
    assert!(list.0["result"].is_object());
    let tools = world.get("/v1/tools").await;
    let items = tools["items"].as_array().unwrap();
    let search = items.iter().find(|tool| tool["name"] == "SearchRepos").unwrap();
    assert_eq!(search["qualified_name"], "Github.SearchRepos");
    let parameters = search["input"]["parameters"].as_array().unwrap();
    let of = |name: &str| parameters.iter().find(|it| it["name"] == name).unwrap();
    assert_eq!(of("query")["required"], true);
    assert_eq!(of("sort")["value_schema"]["enum"], json!(["stars", "forks"]));
    assert_eq!(of("limit")["value_schema"]["val_type"], "integer");
    assert_eq!(search["metadata"]["behavior"]["read_only"], true);
    assert_eq!(search["requirements"]["authorization"]["provider_id"], "github");
}

#[tokio::test]
async fn arcade_s_contract_runs_them_after_the_consent() {
    let world = World::of_example().await;
    let execute =
        |tool: &str, input: Value| json!({ "tool_name": tool, "input": input, "user_id": "ana" });
    let star = execute("Github.StarRepo", json!({ "repo": "ana/notes" }));
    let (status, refused) = world.post("/v1/tools/execute", &star).await;
    assert_eq!(status, 403, "{refused}");
    let asked = json!({ "tool_name": "Github.StarRepo", "user_id": "ana" });
    let (status, pending) = world.post("/v1/tools/authorize", &asked).await;
    assert_eq!((status, &pending["status"]), (200, &json!("pending")), "{pending}");
    world.consent(pending["url"].as_str().unwrap()).await;
    let (_, done) = world.post("/v1/tools/execute", &star).await;
    assert_eq!(done["output"]["value"], "Starred ana/notes.", "{done}");
    let search = execute("Github.SearchRepos", json!({ "query": "notes", "limit": "5" }));
    let (_, found) = world.post("/v1/tools/execute", &search).await;
    assert_eq!(found["output"]["value"]["items"][0]["full_name"], "ana/notes", "{found}");
    let soft = execute("Github.StarRepo", json!({ "repo": "notes" }));
    let (_, soft) = world.post("/v1/tools/execute", &soft).await;
    let error = &soft["output"]["error"];
    assert_eq!((&error["kind"], &error["can_retry"]), (&json!("TOOL_RUNTIME_RETRY"), &json!(true)));
    let blank = execute("Github.SearchRepos", json!({ "query": " " }));
    let (_, blank) = world.post("/v1/tools/execute", &blank).await;
    assert_eq!(blank["output"]["error"]["kind"], "TOOL_RUNTIME_CONTEXT_REQUIRED", "{blank}");
}

#[tokio::test]
async fn portia_s_contract_runs_them_and_asks_in_its_own_forms() {
    let world = World::of_example().await;
    let context =
        json!({ "end_user_id": "ana", "plan_run_id": "prun-6989f1aa-f910-4c53-b3c5-69d1aa4ebf42" });
    let run = |arguments: Value| json!({ "arguments": arguments, "execution_context": context });
    let (star, search) = ("portia:github::star_repo", "portia:github::search_repos");
    let ready = json!({ "tool_ids": [star, search], "execution_context": context });
    let (_, asked) = world.post("/api/v0/tools/batch/ready/", &ready).await;
    assert_eq!(asked["ready"], false, "{asked}");
    let clarifications = asked["clarifications"].as_array().unwrap();
    assert_eq!(clarifications.len(), 1, "{asked}");
    world.consent(clarifications[0]["action_url"].as_str().unwrap()).await;
    let (_, asked) = world.post("/api/v0/tools/batch/ready/", &ready).await;
    assert_eq!(asked["ready"], true, "{asked}");
    let path = |tool: &str| format!("/api/v0/tools/{tool}/run/");
    let (_, done) = world.post(&path(star), &run(json!({ "repo": "ana/notes" }))).await;
    assert_eq!(done["output"]["value"], "Starred ana/notes.", "{done}");
    let (status, soft) = world.post(&path(star), &run(json!({ "repo": "ana/gone" }))).await;
    assert_eq!((status, &soft["soft_error"]), (200, &json!(true)), "{soft}");
    let (_, blank) = world.post(&path(search), &run(json!({ "query": " " }))).await;
    let question = &blank["output"]["value"][0];
    assert_eq!(
        (&question["category"], &question["argument_name"]),
        (&json!("Input"), &json!("query")),
        "{blank}"
    );
    assert_eq!(question["user_guidance"], "What should be searched for?");
    let listed = world.get("/api/v0/tools/descriptions-v2/").await;
    assert!(listed["tools"].as_array().unwrap().iter().any(|tool| tool["tool_id"] == star));
}

#[tokio::test]
async fn an_object_is_structured_content_framed_as_the_answer_of_its_host() {
    let world = World::of_example().await;
    let found = world.call_and_consent("github_search_repos", json!({ "query": "notes" })).await;
    assert!(matches!(found, countersign::model::Outcome::Complete(_)), "{found:?}");
    let arguments = json!({ "query": "notes", "sort": "STARS" });
    let answer = world.mcp(Dialect::PLAIN, "github_search_repos", &arguments, &Value::Null).await.0;
    let result = &answer["result"];
    assert_eq!(result["structuredContent"]["items"][0]["stargazers_count"], 3, "{answer}");
    assert!(result["_meta"]["countersign/origin"]["host"].is_string(), "{answer}");
    assert!(world.provider.calls().last().unwrap().contains("sort=stars"));
    // A parameter that the type does not take never reaches the code.
    let wrong = json!({ "query": "notes", "limit": 51, "order": "x" });
    let answer = world.mcp(Dialect::PLAIN, "github_search_repos", &wrong, &Value::Null).await.0;
    let text = Answer::of(&answer).failed();
    assert!(text.contains("at most 50") && text.contains("`order` is not known"), "{text}");
}

/// Reports its progress.
struct Counts;

impl Tool for Counts {
    type Args = NoArgs;
    type Output = Value;

    fn name(&self) -> &str {
        "counts"
    }

    fn description(&self) -> &str {
        "Counts."
    }

    async fn run(&self, ctx: &Context, _args: NoArgs) -> Result<Value, ToolError> {
        for step in [1.0, 2.0, 1.5, 3.0] {
            ctx.progress(step, Some(3.0), "counting");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        Ok(json!({ "user": ctx.user(), "application": ctx.application(), "client": ctx.client() }))
    }
}

#[tokio::test]
async fn progress_reaches_a_client_that_asks_for_it() {
    let world = World::with(|_| CodeTools::default().with(Counts)).await;
    for dialect in [Dialect::PLAIN, Dialect::ROUNDS] {
        let more = json!({ "_meta": { "progressToken": "p" } });
        let (answer, before) = world.mcp(dialect, "counts", &json!({}), &more).await;
        let notices: Vec<&Value> =
            before.iter().filter(|it| it["method"] == "notifications/progress").collect();
        let steps: Vec<f64> =
            notices.iter().filter_map(|it| it["params"]["progress"].as_f64()).collect();
        assert_eq!(steps, [1.0, 2.0, 3.0], "{dialect:?}: {before:?}");
        assert!(notices.iter().all(|it| it["params"]["total"] == 3.0), "{notices:?}");
        assert!(Answer::of(&answer).ran().contains(r#""user":"ana""#), "{answer}");
        let (_, before) = world.mcp(dialect, "counts", &json!({}), &Value::Null).await;
        assert!(before.is_empty(), "{before:?}");
    }
}
