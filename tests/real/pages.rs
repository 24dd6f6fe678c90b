//! Pages in a real Chromium against every REST route of a server on the user's own machine, which
//! accepts any key: no request of a page reaches a handler, whatever its site.

use std::process::Command;

use serde_json::{Value, json};

use crate::arcade::world::tools;
use crate::harness::{Home, Running, Served, World, part};
use crate::support::http::{Reply, request};

const PLAN: &str = "plan-5f0c7c38-f910-4c53-b3c5-69d1aa4ebf42";
const RUN: &str = "prun-6a0c7c38-f910-4c53-b3c5-69d1aa4ebf42";
/// The route that answers everyone alike.
const HEALTH: &str = "/v1/health";

/// Each operation of the server's own document, with something that exists in its path.
fn operations(served: &Served) -> Vec<Value> {
    let document = ask(served, "GET", "/openapi.json").json();
    let paths = document["paths"].as_object().expect("paths");
    let fill = |part: &'_ str, path: &str| match part {
        "{id}" if path.contains("/tools/") => "countersign:notes:whoami".to_owned(),
        "{id}" if path.contains("/plans/") => PLAN.to_owned(),
        "{id}" if path.contains("/plan-runs/") => RUN.to_owned(),
        "{name}" => "Notes.Whoami".to_owned(),
        "{run}" => RUN.to_owned(),
        part if part.starts_with('{') => "ana".to_owned(),
        part => part.to_owned(),
    };
    let operation = |path: &str, method: &str| {
        let parts: Vec<String> = path.split('/').map(|part| fill(part, path)).collect();
        json!({ "method": method.to_uppercase(), "path": parts.join("/") })
    };
    let each = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods");
        methods.keys().map(move |method| operation(path, method))
    });
    each.collect()
}

/// A body with the fields of every request.
fn body() -> Value {
    json!({
        "tool_name": "Notes.Whoami", "tool_names": ["Notes.Whoami"], "user_id": "ana", "input": {},
        "auth_requirement": { "provider_id": "notes" }, "flow_id": "x", "value": "x",
        "tool_ids": ["countersign:notes:whoami"], "arguments": {}, "authorize": true,
        "execution_context": { "end_user_id": "ana", "plan_run_id": RUN },
        "id": PLAN, "query": "x", "steps": [], "plan_id": PLAN, "end_user": "ana",
        "current_step_index": 0, "state": "FAILED", "outputs": {}, "plan_run_id": RUN,
        "step": 0, "end_user_id": "ana", "status": "SUCCESS", "latency_seconds": 1.0,
        "name": "x",
    })
}

fn ask(served: &Served, method: &str, path: &str) -> Reply {
    let url = format!("{}{path}", served.origin());
    request(method, &url, &[("authorization", "any-key")], "")
}

#[test]
fn no_page_reaches_a_rest_route() {
    let world = World::start();
    let home = Home::new(&tools(&world, ""));
    let served = Served::start(&home);
    let operations = operations(&served);
    assert!(operations.len() > 30, "{operations:?}");
    let asked = json!({ "server": served.origin(), "operations": operations, "body": body() });
    let mut browser = Command::new(part("COUNTERSIGN_REAL_NODE"));
    browser
        .arg(part("COUNTERSIGN_REAL_DIR").join("world/page_requests.mjs"))
        .arg(asked.to_string());
    let finished = Running::start(browser).end();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let seen = finished.json();

    let refused = |page: &str, by: u64, preflight: u64, readable: Option<&str>| {
        let attempts = seen[page].as_array().expect("attempts");
        assert!(attempts.len() > 4 * operations.len(), "{}", attempts.len());
        for attempt in attempts.iter().filter(|attempt| attempt["path"] != HEALTH) {
            let status = if attempt["how"] == "with a key" { preflight } else { by };
            assert_eq!(attempt["statuses"], json!([status]), "{page}: {attempt}");
            let read = attempt["readable"].as_str();
            let is_refusal = read.is_none_or(|text| readable.is_some_and(|it| text.contains(it)));
            assert!(is_refusal, "{page}: {attempt}");
        }
        for attempt in attempts.iter().filter(|attempt| attempt["path"] == HEALTH) {
            let read = attempt["readable"].as_str();
            assert!(read.is_none_or(|text| readable.is_some() && text == r#"{"healthy":true}"#));
        }
    };
    // The preflight is no method of the route, and no answer allows the page to go on.
    refused("foreign", 403, 405, None);
    refused("own", 403, 403, Some(r#""forbidden""#));
    refused("rebinding", 421, 421, Some(r#""misdirected_request""#));

    for path in [format!("/api/v0/plans/{PLAN}/"), format!("/api/v0/plan-runs/{RUN}/")] {
        assert_eq!(ask(&served, "GET", &path).status, 404, "{path}");
    }
    let user = ask(&served, "GET", "/api/v0/end-user/ana/").json();
    assert_eq!((&user["external_id"], &user["name"]), (&json!("ana"), &json!(null)));
    assert!(world.api_log().is_empty(), "{:?}", world.api_log());
    for line in [" call ", " link "] {
        assert!(!home.log().contains(&format!("record:{line}")), "{}", home.log());
    }
}
