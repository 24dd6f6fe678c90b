//! Every route of the REST faces, asked with another key for what one application's user has.

use countersign::web::routes::{Access, ROUTES, RouteMethod};
use reqwest::Method;
use serde_json::{Value, json};

use super::world::{World, key_of};

const PLAN: &str = "plan-5f0c7c38-f910-4c53-b3c5-69d1aa4ebf42";
const RUN: &str = "prun-6a0c7c38-f910-4c53-b3c5-69d1aa4ebf42";
/// Part of everything that the first application stores; the others never send it.
const CANARY: &str = "only-for-the-first-application";

/// What the first application's user `bob` has, and the ids by which it is named.
struct Kept {
    ids: Vec<String>,
    /// Texts that no other caller may read.
    secrets: Vec<String>,
}

async fn keep(world: &World) -> Kept {
    let app = key_of("app");
    let tool = |name: &str| json!({ "tool_name": name, "user_id": "bob" });
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let connected = world.post(&app, "/v1/tools/authorize", tool("Notes.Read")).await.ok();
    world.consent("app", "bob", &text(&connected, "url")).await;
    let pending = world.post(&app, "/v1/tools/authorize", tool("Umbra.Look")).await.ok();
    let plan = json!({ "id": PLAN, "query": CANARY, "tool_ids": [], "steps": [] });
    world.post(&app, "/api/v0/plans/", plan).await.ok();
    let run = json!({
        "current_step_index": 0, "state": "COMPLETE", "end_user": "bob", "plan_id": PLAN,
        "outputs": { "final_output": CANARY },
    });
    let put = async |path: &str, body: Value| {
        world.send(Method::PUT, &app, path, Some(body), &[]).await.ok();
    };
    put(&format!("/api/v0/plan-runs/{RUN}/"), run).await;
    put("/api/v0/end-user/bob/", json!({ "name": CANARY, "email": CANARY })).await;
    world.post(&app, "/v1/admin/secrets/API_KEY", json!({ "value": CANARY })).await.ok();
    let request = |path: &str| json!({ "endpoint": format!("https://id.example.com/{path}") });
    let oauth2 = json!({
        "client_id": CANARY, "client_secret": CANARY,
        "authorize_request": request("authorize"), "token_request": request("token"),
    });
    let provider = json!({ "id": "hooli", "description": CANARY, "oauth2": oauth2 });
    world.post(&app, "/v1/admin/auth_providers", provider).await.ok();
    let asked = json!({ "auth_requirement": { "id": "hooli" }, "user_id": "bob" });
    let asked = world.post(&app, "/v1/auth/authorize", asked).await.ok();
    let later = json!({
        "tool_name": "Github.SetStarred", "user_id": "bob", "run_at": "2027-02-01T00:00:00",
        "input": { "repository": format!("{CANARY}/b") },
    });
    let later = world.post(&app, "/v1/tools/execute", later).await.ok();
    let connections = world.get(&app, "/v1/admin/user_connections").await.ok();
    let secrets = world.get(&app, "/v1/admin/secrets").await.ok();
    let ids = vec![
        "bob".to_owned(),
        PLAN.to_owned(),
        RUN.to_owned(),
        "API_KEY".to_owned(),
        text(&connected, "id"),
        text(&pending, "id"),
        text(&connections["items"][0], "id"),
        text(&secrets["items"][0], "id"),
        "hooli".to_owned(),
        "~app~hooli".to_owned(),
        text(&asked, "id"),
        text(&later, "id"),
    ];
    // The provider's token for bob is the code that his browser brought.
    let urls = [text(&pending, "url"), text(&asked, "url")];
    let secrets = [CANARY.to_owned(), "code-bob".to_owned()].into_iter().chain(urls).collect();
    Kept { ids, secrets }
}

/// All that the first application sees of it.
async fn seen(world: &World, ids: &[String]) -> Vec<Value> {
    let app = key_of("app");
    let mut seen = Vec::new();
    for path in [
        "/v1/admin/user_connections".to_owned(),
        "/v1/admin/secrets".to_owned(),
        "/v1/admin/auth_providers".to_owned(),
        "/v1/scheduled_tools".to_owned(),
        format!("/api/v0/plans/{PLAN}/"),
        format!("/api/v0/plan-runs/{RUN}/"),
        "/api/v0/plan-runs/".to_owned(),
        "/api/v0/end-user/bob/".to_owned(),
    ] {
        seen.push(world.get(&app, &path).await.ok());
    }
    for id in ids.iter().filter(|id| id.starts_with("ar_")) {
        seen.push(world.get(&app, &format!("/v1/auth/status?id={id}")).await.ok());
    }
    for id in ids.iter().filter(|id| id.starts_with("te_")) {
        seen.push(world.get(&app, &format!("/v1/scheduled_tools/{id}")).await.ok());
    }
    seen
}

/// A body with the fields of every request, all of them naming bob and what is his.
fn body() -> Value {
    json!({
        "tool_name": "Notes.Read", "tool_names": ["Notes.Read"], "user_id": "bob", "input": {},
        "auth_requirement": { "provider_id": "acme" }, "flow_id": "x", "value": "other",
        "tool_ids": ["countersign:notes:read"], "arguments": {},
        "execution_context": { "end_user_id": "bob", "plan_run_id": RUN },
        "id": PLAN, "query": "other", "steps": [], "plan_id": PLAN, "end_user": "bob",
        "current_step_index": 0, "state": "FAILED", "outputs": {}, "plan_run_id": RUN,
        "step": 0, "end_user_id": "bob", "status": "SUCCESS", "latency_seconds": 1.0,
        "name": "other", "provider": "acme", "client_id": "us", "refresh_token": "other",
    })
}

fn method(method: RouteMethod) -> Method {
    match method {
        RouteMethod::Get => Method::GET,
        RouteMethod::Post => Method::POST,
        RouteMethod::Put => Method::PUT,
        RouteMethod::Patch => Method::PATCH,
        RouteMethod::Delete => Method::DELETE,
        other => panic!("{other:?}"),
    }
}

/// The addresses of a path: each id in each of its variable segments, and in the query.
fn addresses(path: &str, ids: &[String]) -> Vec<String> {
    let fill = |id: &String| {
        let segments = path.split('/').map(|it| if it.starts_with('{') { id.as_str() } else { it });
        segments.collect::<Vec<_>>().join("/")
    };
    ids.iter().map(|id| format!("{}?id={id}&user_id=bob&user[id]=bob&wait=0", fill(id))).collect()
}

#[tokio::test]
async fn no_other_key_sees_or_touches_what_an_application_s_user_has() {
    let world = World::for_many().await;
    let kept = keep(&world).await;
    let before = seen(&world, &kept.ids).await;
    let mut asked = 0;
    for key in ["other_admin", "other", "plain", "ana"] {
        for route in ROUTES {
            if !matches!(route.access, Access::Rest | Access::RestAdmin | Access::RestDeposit) {
                continue;
            }
            let method = method(route.method);
            let has_body = method != Method::GET && method != Method::DELETE;
            for address in addresses(route.path, &kept.ids) {
                let body = has_body.then(body);
                let key = key_of(key);
                let reply = world.send(method.clone(), &key, &address, body, &[]).await;
                let answer = format!("{} {:?}", reply.json, reply.headers);
                for secret in &kept.secrets {
                    assert!(!answer.contains(secret), "{method} {address}: {answer}");
                }
                asked += 1;
            }
        }
    }
    assert!(asked > 300, "{asked}");
    assert_eq!(seen(&world, &kept.ids).await, before);
}
