//! What the client stores: users, plans, runs, reported calls, large outputs.

use std::time::Duration;

use countersign::model::event::EndedBy;
use countersign::model::run::{DeletedDocuments, PlanRun};
use countersign::model::{Caller, UserId};
use serde_json::{Value, json};

use super::world::{Conversation, KEY, OTHER_KEY, PERSONS_KEY, PLAN, RUN, World, context};
use crate::support::wait_until_async;

const PLANS: &str = "/api/v0/plans/";
const RUNS: &str = "/api/v0/plan-runs/";

fn plan() -> Value {
    json!({
        "id": PLAN,
        "query": "Star the repository.",
        "tool_ids": ["portia:github::star_repo"],
        "steps": [{"task": "Star it", "inputs": [], "tool_id": "portia:github::star_repo", "output": "$x", "condition": null}],
        "plan_inputs": [],
        "structured_output_schema": null,
    })
}

fn run(user: &str, state: &str, clarifications: &Value) -> Value {
    let outputs = json!({
        "clarifications": clarifications,
        "step_outputs": {"$x": {"value": "x", "summary": null}},
        "final_output": null,
    });
    json!({
        "current_step_index": 0,
        "state": state,
        "end_user": user,
        "outputs": outputs,
        "plan_id": PLAN,
        "plan_run_inputs": {},
    })
}

fn run_path() -> String {
    format!("{RUNS}{RUN}/")
}

fn memory_path(run: &str, name: &str) -> String {
    format!("/api/v0/agent-memory/plan-runs/{run}/outputs/{name}/")
}

/// Stores an output as the client does: a form with a file.
async fn put_memory(world: &World, key: &str, path: &str, value: &str) -> u16 {
    let key = format!("Api-Key {key}");
    let headers =
        [("authorization", key.as_str()), ("content-type", "multipart/form-data; boundary=edge")];
    let body = format!(
        "--edge\r\nContent-Disposition: form-data; name=\"summary\"\r\n\r\nMany issues\r\n\
         --edge\r\nContent-Disposition: form-data; name=\"value\"; filename=\"output\"\r\n\
         Content-Type: application/json\r\n\r\n{value}\r\n--edge--\r\n"
    );
    world.send_raw("PUT", path, &headers, &body).await.status
}

#[tokio::test]
async fn what_is_stored_is_given_back() {
    let world = World::new().await;
    let mut talk = Conversation::new(&world, "storage");
    let user = "/api/v0/end-user/ana@example.com/";
    talk.say("A user of whom nothing is known", "GET", user, None).await;
    let facts = json!({
        "external_id": "ana@example.com",
        "name": "Ana",
        "email": null,
        "phone_number": null,
        "additional_data": {"team": "eng", "room": "5"},
    });
    talk.say("Facts are stored", "PUT", user, Some(&facts)).await;
    let change = json!({"name": "Ana", "additional_data": {"room": null, "floor": "2"}});
    talk.say("A key without a value is removed", "PUT", user, Some(&change)).await;
    talk.say("And read", "GET", user, None).await;
    talk.say("A plan is stored", "POST", PLANS, Some(&plan())).await;
    talk.say("And read, with keys that are not known", "GET", &format!("{PLANS}{PLAN}/"), None)
        .await;
    let search = json!({"query": "Star", "threshold": 0.5, "limit": 5});
    talk.say("No similar plan", "POST", &format!("{PLANS}embeddings/search/"), Some(&search)).await;
    let path = run_path();
    talk.say("A run that is not there", "GET", &path, None).await;
    let new = run("ana@example.com", "NOT_STARTED", &json!([]));
    talk.say("A run is stored", "PUT", &path, Some(&new)).await;
    let done = run("ana@example.com", "COMPLETE", &json!([]));
    talk.say("And changed", "PUT", &path, Some(&done)).await;
    talk.say("And read", "GET", &path, None).await;
    talk.say("And listed", "GET", &format!("{RUNS}?page=1"), None).await;
    talk.say("None in this state", "GET", &format!("{RUNS}?page=1&run_state=FAILED"), None).await;
    let call = json!({
        "plan_run_id": RUN,
        "tool_name": "Star",
        "step": 0,
        "end_user_id": "ana@example.com",
        "input": {},
        "output": null,
        "status": "SUCCESS",
        "latency_seconds": 0.5,
    });
    talk.say("A call is reported", "POST", "/api/v0/tool-calls/", Some(&call)).await;
    talk.say("An output that is not there", "GET", &memory_path(RUN, "$x"), None).await;
    talk.hold();
}

#[tokio::test]
async fn a_large_output_is_fetched_by_a_link_that_ends() {
    let world = World::new().await;
    let path = memory_path(RUN, "$issues");
    assert_eq!(put_memory(&world, KEY, &path, "[1]").await, 404, "no such run");
    world.send(KEY, "PUT", &run_path(), Some(&run("ana", "IN_PROGRESS", &json!([])))).await;
    assert_eq!(put_memory(&world, KEY, &path, "[1, 2]").await, 200);
    let found = world.send(KEY, "GET", &path, None).await.json();
    assert_eq!(found["summary"], "Many issues");
    let url = found["url"].as_str().unwrap();
    for word in ["ana", "issues", RUN] {
        assert!(!url.contains(word), "{word} in {url}");
    }
    let value = world.path_of(url);
    let fetched = world.send_raw("GET", &value, &[], "").await;
    assert_eq!((fetched.status, &*fetched.body), (200, "[1, 2]"));
    assert_eq!(fetched.header("content-type"), Some("application/octet-stream"));
    let from_page = world.send_raw("GET", &value, &[("origin", "https://evil.example")], "").await;
    assert_eq!(from_page.status, 403);
    let altered = value.replacen("values/", "values/A", 1);
    assert_eq!(world.send_raw("GET", &altered, &[], "").await.status, 404);
    let big = "x".repeat(1_000_001);
    assert_eq!(put_memory(&world, KEY, &path, &big).await, 413);
    let huge = "x".repeat(1_600_000);
    assert_eq!(put_memory(&world, KEY, &path, &huge).await, 413);
    world.pass(Duration::from_mins(5));
    assert_eq!(world.send_raw("GET", &value, &[], "").await.status, 404, "its time is over");
}

/// The client learns of the consent from the stored run, and its older copy takes nothing back.
#[tokio::test]
async fn a_consent_resolves_the_stored_clarification() {
    let world = World::new().await;
    let tools = json!({
        "tool_ids": ["portia:github::star_repo"],
        "execution_context": context(Some("ana")),
    });
    let asked = world.send(KEY, "POST", "/api/v0/tools/batch/ready/", Some(&tools)).await.json();
    let clarifications = &asked["clarifications"];
    let waiting = run("ana", "NEED_CLARIFICATION", clarifications);
    world.send(KEY, "PUT", &run_path(), Some(&waiting)).await;
    world.consent(clarifications[0]["action_url"].as_str().unwrap()).await;
    let stored = async || {
        let run = world.send(KEY, "GET", &run_path(), None).await.json();
        run["outputs"]["clarifications"][0].clone()
    };
    wait_until_async("the clarification is resolved", async || stored().await["resolved"] == true)
        .await;
    assert_eq!(stored().await["response"], "complete");
    let put = world.send(KEY, "PUT", &run_path(), Some(&waiting)).await.json();
    assert_eq!(put["outputs"]["clarifications"][0]["resolved"], true);
    assert_eq!(stored().await["resolved"], true);
}

#[tokio::test]
async fn documents_that_cannot_be_stored_are_refused() {
    let world = World::new().await;
    let good = run("ana", "COMPLETE", &json!([]));
    let with = |key: &str, value: Value| {
        let mut run = good.clone();
        run[key] = value;
        run
    };
    let path = run_path();
    let mut other_plan = plan();
    other_plan["id"] = json!("plan-1");
    // Stored, it would be deeper than a record can be read.
    let deep = (0..110).fold(json!(1), |inner, _| json!([inner]));
    let mut deep_plan = plan();
    deep_plan["steps"] = deep.clone();
    let big = with("plan_run_inputs", json!({"x": "y".repeat(1_600_000)}));
    for (method, path, body, status) in [
        ("PUT", &*path, with("state", json!("DONE")), 400),
        ("PUT", &path, with("outputs", json!([])), 400),
        ("PUT", &path, with("end_user", json!("\n")), 400),
        ("PUT", "/api/v0/plan-runs/prun-1/", good.clone(), 400),
        ("PUT", &path, big, 413),
        ("PUT", &path, with("plan_run_inputs", json!({ "x": deep })), 400),
        ("POST", PLANS, deep_plan, 400),
        ("POST", PLANS, other_plan, 400),
        ("POST", PLANS, json!([]), 400),
        ("POST", PLANS, json!({"id": PLAN}), 400),
        ("POST", "/api/v0/tool-calls/", json!({"status": "SUCCESS"}), 400),
        ("PUT", "/api/v0/end-user/ana/", json!({"additional_data": {"a": 1}}), 400),
    ] {
        let reply = world.send(KEY, method, path, Some(&body)).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.body);
        assert!(reply.json()["detail"].is_string());
    }
    let json_form = world.send(KEY, "PUT", &memory_path(RUN, "x"), Some(&json!({}))).await;
    assert_eq!(json_form.status, 415);
    let page = world.send(KEY, "GET", &format!("{RUNS}?page=x"), None).await;
    assert_eq!(page.status, 400);
}

/// Stores something of everything for `ana` of the application `app`.
async fn stored(world: &World) -> [String; 5] {
    let paths = [
        run_path(),
        format!("{PLANS}{PLAN}/"),
        memory_path(RUN, "$x"),
        "/api/v0/end-user/ana/".to_owned(),
        RUNS.to_owned(),
    ];
    let run = run("ana", "COMPLETE", &json!([]));
    assert_eq!(world.send(KEY, "PUT", &paths[0], Some(&run)).await.status, 200);
    assert_eq!(world.send(KEY, "POST", PLANS, Some(&plan())).await.status, 201);
    assert_eq!(put_memory(world, KEY, &paths[2], "secret value").await, 200);
    let facts = json!({"name": "Ana Anders", "additional_data": {"team": "eng"}});
    assert_eq!(world.send(KEY, "PUT", &paths[3], Some(&facts)).await.status, 200);
    let call = json!({
        "plan_run_id": RUN, "tool_name": "Star", "end_user_id": "ana", "status": "FAILED",
    });
    assert_eq!(world.send(KEY, "POST", "/api/v0/tool-calls/", Some(&call)).await.status, 201);
    paths
}

/// Another application finds nothing by any id, and changes nothing.
#[tokio::test]
async fn another_application_finds_nothing() {
    let world = World::of_many().await;
    let paths = stored(&world).await;
    for key in [OTHER_KEY, PERSONS_KEY] {
        for path in &paths[..3] {
            assert_eq!(world.send(key, "GET", path, None).await.status, 404, "{path}");
        }
        let user = world.send(key, "GET", &paths[3], None).await.json();
        assert_eq!((&user["name"], &user["additional_data"]), (&json!(null), &json!({})));
        let list = world.send(key, "GET", RUNS, None).await.json();
        assert_eq!((&list["results"], &list["count"]), (&json!([]), &json!(0)));
        assert_eq!(put_memory(&world, key, &paths[2], "theirs").await, 404);
        // The same ids are free in another space.
        let theirs = run("ana", "FAILED", &json!([]));
        assert_eq!(world.send(key, "PUT", &paths[0], Some(&theirs)).await.status, 200);
        let facts = json!({"name": "Other"});
        assert_eq!(world.send(key, "PUT", &paths[3], Some(&facts)).await.status, 200);
    }
    let kept = world.send(KEY, "GET", &paths[0], None).await.json();
    assert_eq!(kept["state"], "COMPLETE");
    assert_eq!(world.send(KEY, "GET", &paths[3], None).await.json()["name"], "Ana Anders");
    let other_user = run("ben", "FAILED", &json!([]));
    let moved = world.send(KEY, "PUT", &paths[0], Some(&other_user)).await;
    assert_eq!(moved.status, 404, "a run stays with its user");
}

/// All that is stored about a user goes with the user, and the plan with its last run.
#[tokio::test]
async fn what_is_stored_goes_with_the_user() {
    let world = World::of_many().await;
    let paths = stored(&world).await;
    let ben = "prun-11111111-f910-4c53-b3c5-69d1aa4ebf42";
    let bens = format!("{RUNS}{ben}/");
    let run = run("ben", "COMPLETE", &json!([]));
    world.send(KEY, "PUT", &bens, Some(&run)).await;
    let end = async |user: &str| {
        let caller = Caller { namespace: "key:app".into(), user: UserId::new(user) };
        let ended = world.app().broker.users().end_access(&caller, EndedBy::Application).await;
        ended.unwrap().documents
    };
    assert_eq!(records(&world).await.len(), 5);
    // An operator finds them by name, although they have connected nothing.
    let mut found: Vec<String> = world
        .app()
        .broker
        .users()
        .who_began()
        .await
        .unwrap()
        .into_iter()
        .map(|caller| format!("{} {}", caller.namespace, caller.user))
        .collect();
    found.sort();
    assert_eq!(found, ["key:app ana", "key:app ben"]);
    // What is stored in the same millisecond counts as begun before.
    world.pass(Duration::from_secs(1));
    // Beside the run: the output, the reported call and the facts.
    assert_eq!(end("ana").await, DeletedDocuments { runs: 1, others: 3 });
    let gone = async |path: &str| world.send(KEY, "GET", path, None).await.status == 404;
    assert!(gone(&paths[0]).await && gone(&paths[2]).await);
    assert_eq!(world.send(KEY, "GET", &paths[3], None).await.json()["name"], json!(null));
    assert!(!gone(&paths[1]).await, "ben has run the plan too");
    assert!(!gone(&bens).await);
    assert_eq!(end("ben").await, DeletedDocuments { runs: 1, others: 1 });
    assert!(gone(&paths[1]).await && gone(&bens).await);
    assert_eq!(end("ben").await, DeletedDocuments::default());
    assert!(records(&world).await.is_empty(), "{:?}", records(&world).await);
}

/// A write that began before the user's access was ended is undone. What is stored of the user since
/// then stays.
#[tokio::test]
async fn an_undone_write_takes_nothing_along_that_was_stored_later() {
    let world = World::of_many().await;
    let ana = Caller { namespace: "key:app".into(), user: UserId::new("ana") };
    let later = world.app().broker.now().after(Duration::from_secs(2));
    let (store, tables) = (world.app().broker.store().await.unwrap(), world.tables_of_a_peer());
    let run = run("ana", "COMPLETE", &json!([]));
    assert_eq!(world.send(KEY, "PUT", &run_path(), Some(&run)).await.status, 200);
    let held = store.plan_run("key:app", RUN).await.unwrap().unwrap();
    let kept = PlanRun { changed_at: later, ..held.value.clone() };
    assert!(tables.runs.runs.put("key:app", &kept, Some(&held)).await.unwrap());
    // Each write of this second begins before it.
    tables.cutoffs.cut_off(&ana, later.before(Duration::from_secs(1))).await.unwrap();
    let other = format!("{RUNS}prun-11111111-f910-4c53-b3c5-69d1aa4ebf42/");
    assert_eq!(world.send(KEY, "PUT", &other, Some(&run)).await.status, 404);
    assert_eq!(put_memory(&world, KEY, &memory_path(RUN, "$x"), "secret value").await, 404);
    assert_eq!(records(&world).await, [("planrun".to_owned(), 1)]);
    assert_eq!(world.send(KEY, "GET", &run_path(), None).await.status, 200);
}

/// An operator who ends the access of a user of whom only facts are stored has ended something.
#[tokio::test]
async fn facts_alone_are_something_to_end() {
    let world = World::of_many().await;
    let facts = json!({"name": "Ana Anders", "additional_data": {}});
    let path = "/api/v0/end-user/ana/";
    assert_eq!(world.send(KEY, "PUT", path, Some(&facts)).await.status, 200);
    let ana = Caller { namespace: "key:app".into(), user: UserId::new("ana") };
    let users = world.app().broker.users();
    assert!(!users.end_access(&ana, EndedBy::Operator).await.unwrap().is_nothing());
    assert!(users.end_access(&ana, EndedBy::Operator).await.unwrap().is_nothing());
}

/// A plan without a run is a text of the person whose own key has stored it.
#[tokio::test]
async fn a_plan_of_a_personal_key_goes_with_its_person() {
    let world = World::of_many().await;
    assert_eq!(world.send(PERSONS_KEY, "POST", PLANS, Some(&plan())).await.status, 201);
    assert_eq!(world.send(KEY, "POST", PLANS, Some(&plan())).await.status, 201);
    world.pass(Duration::from_secs(1));
    let caller = Caller { namespace: "key:laptop".into(), user: UserId::new("ana") };
    world.app().broker.users().end_access(&caller, EndedBy::Application).await.unwrap();
    let path = format!("{PLANS}{PLAN}/");
    assert_eq!(world.send(PERSONS_KEY, "GET", &path, None).await.status, 404);
    assert_eq!(world.send(KEY, "GET", &path, None).await.status, 200);
}

/// What is stored for a user and with a key has a limit, and other users and keys have their own.
#[tokio::test]
async fn what_is_stored_has_a_limit_for_each_user_and_each_key() {
    let world = World::with_little_room().await;
    let put = async |key: &str, at: usize, user: &str, bytes: usize| {
        let path = format!("{RUNS}prun-{at:08}-f910-4c53-b3c5-69d1aa4ebf42/");
        let mut run = run(user, "COMPLETE", &json!([]));
        run["plan_run_inputs"] = json!({ "x": "y".repeat(bytes) });
        world.send(key, "PUT", &path, Some(&run)).await
    };
    for at in 0..4 {
        assert_eq!(put(KEY, at, "ana", 10).await.status, 200);
    }
    let full = put(KEY, 4, "ana", 10).await;
    assert_eq!((full.status, &full.json()["error"]), (413, &json!("payload_too_large")));
    let detail = full.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("this user") && detail.contains("`[store] keep_runs`"), "{detail}");
    assert_eq!(put_memory(&world, KEY, &memory_path(RUN, "$x"), "1").await, 404);
    let ana = "prun-00000000-f910-4c53-b3c5-69d1aa4ebf42";
    assert_eq!(put_memory(&world, KEY, &memory_path(ana, "$x"), "1").await, 413);
    let reported = json!({
        "plan_run_id": ana, "tool_name": "Star", "end_user_id": "ana", "status": "FAILED",
        "step": 0, "input": {}, "output": null, "latency_seconds": 0.5,
    });
    let facts = json!({ "name": "Ana", "additional_data": {} });
    for (method, path, body) in
        [("POST", "/api/v0/tool-calls/", &reported), ("PUT", "/api/v0/end-user/ana/", &facts)]
    {
        assert_eq!(world.send(KEY, method, path, Some(body)).await.status, 413, "{path}");
    }
    // A stored run can change, up to the bytes of the user.
    assert_eq!(put(KEY, 0, "ana", 15_000).await.status, 200);
    assert_eq!(put(KEY, 1, "ana", 10_000).await.status, 413);
    assert_eq!(put(KEY, 0, "ana", 10).await.status, 200);
    // Another user has room until the key is full; another key has its own.
    assert_eq!(put(KEY, 5, "ben", 10).await.status, 200);
    assert_eq!(put(KEY, 6, "ben", 10).await.status, 200);
    let full = put(KEY, 7, "ben", 10).await;
    assert_eq!(full.status, 413);
    assert!(full.json()["detail"].as_str().unwrap().contains("this key"));
    assert_eq!(world.send(KEY, "POST", PLANS, Some(&plan())).await.status, 413);
    assert_eq!(put(OTHER_KEY, 8, "ben", 10).await.status, 200);
    // Documents that are deleted make room.
    world.pass(Duration::from_secs(1));
    let caller = Caller { namespace: "key:app".into(), user: UserId::new("ana") };
    world.app().broker.users().end_access(&caller, EndedBy::Application).await.unwrap();
    world.pass(Duration::from_secs(1));
    assert_eq!(put(KEY, 7, "ben", 10).await.status, 200);
    assert_eq!(put(KEY, 9, "ana", 10).await.status, 200);
}

/// Kinds of what clients store, with the number of their records.
async fn records(world: &World) -> Vec<(String, usize)> {
    let verified = world.app().broker.store().await.unwrap().verify().await.unwrap();
    assert!(verified.is_good(), "{verified:?}");
    let kinds = ["plan", "planrun", "rundocument", "memory", "toolcall", "person"];
    let found = verified.kinds.into_iter().map(|kind| (kind.name, kind.good));
    found.filter(|(name, count)| *count > 0 && kinds.contains(&name.as_str())).collect()
}

#[tokio::test]
async fn what_is_stored_is_kept_for_thirty_days() {
    let world = World::of_many().await;
    let paths = stored(&world).await;
    world.pass(Duration::from_hours(29 * 24));
    let run = run("ana", "COMPLETE", &json!([]));
    world.send(KEY, "PUT", &paths[0], Some(&run)).await;
    world.pass(Duration::from_hours(2 * 24));
    // A write begins the deletion.
    let other = PLAN.replace('0', "1");
    let mut plan = plan();
    plan["id"] = json!(other);
    world.send(KEY, "POST", PLANS, Some(&plan)).await;
    let is_gone = async || world.send(KEY, "GET", &paths[1], None).await.status == 404;
    wait_until_async("the plan is deleted", is_gone).await;
    assert_eq!(world.send(KEY, "GET", &paths[0], None).await.status, 200, "changed since");
    wait_until_async("the output is deleted", async || {
        world.send(KEY, "GET", &paths[2], None).await.status == 404
    })
    .await;
    assert_eq!(world.send(KEY, "GET", &paths[3], None).await.json()["name"], json!(null));
}
