//! Calls with `run_at`: their consent, their time, and the checks when they run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countersign::app::Access;
use countersign::broker::once::OwnedCall;
use countersign::broker::schedule::{CallForLater, Scheduling, Unschedulable};
use countersign::model::scheduled::{NotRun, ScheduledCall, ScheduledEnd, ScheduledState, Voucher};
use countersign::model::{Caller, Grant, Principal, ToolName, UserId};
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use crate::rest::world::{Reply, World, key_of};
use crate::support::provider::{Act, json as said};
use crate::support::wait_until_async;
use crate::support::world::provider::Provider;
use crate::support::world::{self, TestClock};

/// Now is eight o'clock.
const IN_TEN_MINUTES: &str = "2027-01-15T08:10:00";
const MINUTES: fn(u64) -> Duration = Duration::from_mins;

fn write(user: &str, at: &str) -> Value {
    json!({"tool_name": "Notes.Write", "user_id": user, "input": {"content": "hello"}, "run_at": at})
}

fn star(user: &str, repository: &str, at: &str) -> Value {
    let input = json!({"repository": repository});
    json!({"tool_name": "Github.SetStarred", "user_id": user, "input": input, "run_at": at})
}

async fn schedule(world: &World, key: &str, body: Value) -> Reply {
    world.post(key, "/v1/tools/execute", body).await
}

fn id(scheduled: &Value) -> String {
    scheduled["id"].as_str().unwrap().to_owned()
}

async fn look(world: &World, key: &str, id: &str) -> Value {
    world.get(key, &format!("/v1/scheduled_tools/{id}")).await.ok()
}

/// Has the server look for calls that are due, and returns this one when it has ended.
async fn ended(world: &World, key: &str, id: &str) -> Value {
    // One of the two users is one of this key.
    for user in ["", "bob"] {
        schedule(world, key, star(user, "far/away", "2027-12-01T00:00:00")).await;
    }
    wait_until_async("the end of a scheduled call", async || {
        let status = look(world, key, id).await["execution_status"].clone();
        status == "completed" || status == "failed"
    })
    .await;
    look(world, key, id).await
}

/// Checks a call that was not run.
#[track_caller]
fn assert_not_run(call: &Value, kind: &str, why: &str) {
    assert_eq!(call["execution_status"], "failed", "{call}");
    let attempt = &call["attempts"][0];
    let (error, message) = (&attempt["output"]["error"], &attempt["system_error_message"]);
    assert_eq!((&error["kind"], &error["message"]), (&json!(kind), message), "{call}");
    assert!(message.as_str().unwrap().contains(why), "{call}");
    assert_eq!(attempt["success"], false);
}

fn link(refused: &Reply) -> String {
    refused.is_refused(403, "tool_authorization_required");
    refused.json["authorization"]["url"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_call_runs_at_its_time_with_a_consent_that_covers_it() {
    let world = World::on_machine().await;
    let now = json!({"tool_name": "Notes.Write", "input": {"content": "now"}});
    world.consent("", "", &link(&schedule(&world, "any", now.clone()).await)).await;
    schedule(&world, "any", now).await.ok();
    // That consent is for calls while the user is there.
    let asked = link(&schedule(&world, "any", write("", IN_TEN_MINUTES)).await);
    let page = crate::support::browser::Browser::new().get(&asked).await;
    assert!(page.text.contains("Also while you are away:"), "{}", page.text);
    world.consent("", "", &asked).await;
    let scheduled = schedule(&world, "any", write("", IN_TEN_MINUTES)).await.ok();
    let id = id(&scheduled);
    let run_at = "2027-01-15T08:10:00Z";
    assert_eq!(
        scheduled,
        json!({
            "id": id, "execution_id": id.replace("te_", "tc_"), "execution_type": "scheduled",
            "status": "scheduled", "success": true, "duration": 0.0, "finished_at": null,
            "run_at": run_at, "output": null,
        })
    );
    let mut expected = json!({
        "id": id, "created_at": "2027-01-15T08:00:00Z", "updated_at": "2027-01-15T08:00:00Z",
        "run_at": run_at, "tool_name": "Write", "toolkit_name": "Notes",
        "toolkit_version": "1.0.0", "user_id": "ana", "execution_type": "scheduled",
        "execution_status": "pending",
    });
    let page = world.get("any", "/v1/scheduled_tools?limit=10").await.ok();
    assert_eq!((&page["items"], &page["total_count"]), (&json!([expected]), &json!(1)));
    expected["input"] = json!({"content": "hello"});
    expected["attempts"] = json!([]);
    assert_eq!(look(&world, "any", &id).await, expected);
    world.pass(MINUTES(9));
    assert_eq!(world.provider.calls().len(), 1);
    world.pass(MINUTES(2));
    let call = ended(&world, "any", &id).await;
    let attempt = &call["attempts"][0];
    assert_eq!(
        (&call["execution_status"], &attempt["success"]),
        (&json!("completed"), &json!(true))
    );
    assert_eq!(attempt["output"]["value"], json!({"ok": true}), "{call}");
    assert_eq!(call["started_at"], "2027-01-15T08:11:00Z");
    let calls = world.provider.calls();
    assert!(calls[1].starts_with("POST /notes ") && calls[1].contains("hello"), "{calls:?}");
    assert_eq!(calls.len(), 2);
    world.pass(Duration::from_hours(24 * 31));
    world.server.app.broker.consents().delete_expired().await.unwrap();
    let path = format!("/v1/scheduled_tools/{id}");
    world.get("any", &path).await.is_refused(404, "not_found");
}

/// The page says what its user agrees to: which tool runs when, without them.
#[tokio::test]
async fn the_page_names_the_tool_and_the_time_of_each_scheduled_call() {
    let world = World::on_machine().await;
    let browser = crate::support::browser::Browser::new();
    let line = |tool: &str, at: &str| {
        format!(
            "Acme: <code>{tool}</code>, <time datetime=\"2027-01-15T{at}:00Z\">15 January 2027, {at} UTC</time>, without you"
        )
    };
    let (first, second) = (line("notes_write", "08:10"), line("notes_write", "09:00"));
    let asked = link(&schedule(&world, "any", write("", IN_TEN_MINUTES)).await);
    let before = browser.get(&asked).await;
    assert!(before.text.contains(&first) && !before.text.contains(&second), "{}", before.text);
    // The same tool at another time.
    let again = write("", "2027-01-15T09:00:00");
    assert_eq!(link(&schedule(&world, "any", again).await), asked);
    let answer = browser.post(&asked, &[("answer", "continue"), ("shown", before.shown())]).await;
    assert_ne!(answer.status, reqwest::StatusCode::SEE_OTHER, "the page said less");
    let page = browser.get(&asked).await;
    assert!(page.text.contains(&first) && page.text.contains(&second), "{}", page.text);
    // Ten more: the page names six, and says that it covers all.
    for minute in 11..21 {
        schedule(&world, "any", write("", &format!("2027-01-15T08:{minute}:00"))).await;
    }
    let page = browser.get(&asked).await;
    assert_eq!(page.text.matches(", without you").count(), 6, "{}", page.text);
    assert!(page.text.contains("calls that are scheduled for later"), "{}", page.text);
}

/// Schedules a call of `bob`, and gives the consent that it needs.
async fn schedule_with_consent(world: &World, body: Value) -> String {
    let asked = link(&schedule(world, &key_of("app"), body.clone()).await);
    world.consent("app", "bob", &asked).await;
    id(&schedule(world, &key_of("app"), body).await.ok())
}

fn bob() -> Caller {
    Caller { namespace: Caller::namespace_of_key("app"), user: UserId::new("bob") }
}

#[tokio::test]
async fn a_consent_that_covers_no_absence_does_not_run_a_call() {
    let world = World::for_many().await;
    let key = key_of("app");
    let scheduled = schedule_with_consent(&world, write("bob", IN_TEN_MINUTES)).await;
    // As if a later version had a way to take that part of a consent back.
    let held = world.broker().store().await.unwrap().grants(&bob()).await.unwrap().remove(0);
    let narrowed = Grant { away: false, ..held.value.clone() };
    let table = world.server.tables_of_a_peer().grants;
    table.replace(narrowed, &held).await.unwrap().unwrap();
    world.pass(MINUTES(10));
    schedule(&world, &key, star("bob", "far/away", "2027-12-01T00:00:00")).await.ok();
    let call = ended(&world, &key, &scheduled).await;
    assert_not_run(
        &call,
        "TOOL_REQUIREMENTS_NOT_MET",
        "does not cover calls while the user is away",
    );
    assert!(world.provider.calls().is_empty());
}

/// The account is disconnected, and its user consents later to another call while they are away.
#[tokio::test]
async fn a_disconnected_account_ends_the_calls_that_wait_for_it() {
    let world = World::for_many().await;
    let key = key_of("app");
    let first = schedule_with_consent(&world, write("bob", IN_TEN_MINUTES)).await;
    let other = star("bob", "a/b", IN_TEN_MINUTES);
    let without_account = id(&schedule(&world, &key, other).await.ok());
    let connections = "/v1/admin/user_connections?user_id=bob&provider_id=acme";
    world.send(Method::DELETE, &key, connections, None, &[]).await.ok();
    let call = look(&world, &key, &first).await;
    assert_not_run(&call, "TOOL_REQUIREMENTS_NOT_MET", "has been disconnected since");
    assert_eq!(look(&world, &key, &without_account).await["execution_status"], "pending");
    let read = json!({
        "tool_name": "Notes.Read", "user_id": "bob", "input": {"id": 1}, "run_at": IN_TEN_MINUTES,
    });
    let second = schedule_with_consent(&world, read).await;
    world.pass(MINUTES(10));
    for id in [&second, &without_account] {
        assert_eq!(ended(&world, &key, id).await["execution_status"], "completed");
    }
    let calls = world.provider.calls();
    assert!(calls.iter().all(|call| !call.starts_with("POST /notes")), "{calls:?}");
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert_eq!(look(&world, &key, &first).await, call);
}

/// A second account would make it unclear which one a call without a name means.
#[tokio::test]
async fn a_call_runs_with_the_account_that_it_was_scheduled_for() {
    let world = World::for_many_with_accounts().await;
    let key = key_of("app");
    let named = |account: &str| {
        let mut body = write("bob", IN_TEN_MINUTES);
        body["input"]["account"] = account.into();
        body
    };
    schedule_with_consent(&world, named("work")).await;
    let unnamed = id(&schedule(&world, &key, write("bob", IN_TEN_MINUTES)).await.ok());
    schedule_with_consent(&world, named("private")).await;
    let table = world.server.tables_of_a_peer().scheduled;
    let store = world.broker().store().await.unwrap();
    let held =
        store.scheduled("key:app", unnamed.trim_start_matches("te_")).await.unwrap().unwrap();
    assert_eq!(held.value.consent.as_ref().unwrap().account.as_str(), "work");
    // As if the provider had named another account than it does now.
    let mut replaced = ScheduledCall { id: "replaced".into(), ..held.value };
    replaced.consent.as_mut().unwrap().identity = Some("7".into());
    table.put(replaced).await.unwrap().unwrap();
    world.pass(MINUTES(10));
    let call = ended(&world, &key, &unnamed).await;
    assert_eq!(call["execution_status"], "completed", "{call}");
    let call = ended(&world, &key, "te_replaced").await;
    assert_not_run(&call, "TOOL_REQUIREMENTS_NOT_MET", "connected another account since");
}

#[tokio::test]
async fn a_key_is_checked_again_when_a_call_runs() {
    let world = World::for_many().await;
    let scheduled = schedule(&world, &key_of("other"), star("bob", "a/b", IN_TEN_MINUTES)).await;
    let of_other = id(&scheduled.ok());
    let scheduled = schedule(&world, &key_of("plain"), star("bob", "c/d", IN_TEN_MINUTES)).await;
    let of_plain = id(&scheduled.ok());
    let scheduled = schedule(&world, &key_of("ana"), star("", "e/f", IN_TEN_MINUTES)).await;
    let of_ana = id(&scheduled.ok());
    // Its time comes while no server runs, so that none with the old keys can run it.
    let world = world.restarted_with_other_keys(&["other", "ana"], MINUTES(10)).await;
    for (key, id) in [("other-s-new-key", of_other), ("ana-s-new-key", of_ana)] {
        let call = ended(&world, key, &id).await;
        assert_not_run(&call, "CONTEXT_DENIED", "the key that scheduled it");
    }
    ended(&world, &key_of("plain"), &of_plain).await;
    assert_eq!(world.provider.calls().len(), 1);
}

/// The operator has narrowed who may use the tool.
#[tokio::test]
async fn the_users_of_a_tool_are_checked_again_when_a_call_runs() {
    let world = World::for_many().await;
    let scheduled = schedule(&world, &key_of("plain"), star("bob", "a/b", IN_TEN_MINUTES)).await;
    let of_plain = id(&scheduled.ok());
    let (tool, narrowed) =
        ("[tools.repo_star]", "[tools.repo_star]\nallow = [\"group:operators\"]");
    let world = world.restarted_with(tool, narrowed, MINUTES(10)).await;
    let call = ended(&world, &key_of("plain"), &of_plain).await;
    assert_not_run(&call, "CONTEXT_DENIED", "no such tool");
    assert!(world.provider.calls().is_empty());
}

/// The operator has changed what the tool sends, and then only how it is described.
#[tokio::test]
async fn a_tool_that_has_changed_is_not_run() {
    for (written, instead, why) in [
        (
            "PUT ORIGIN/star/{owner}/{repo}",
            "DELETE ORIGIN/star/{owner}/{repo}",
            Some("changed the tool"),
        ),
        ("/star/{owner}/{repo}", "/stars/{owner}/{repo}", Some("changed the tool")),
        ("Stars a repository.", "Stars a repository for its user.", None),
    ] {
        let world = World::on_machine().await;
        let scheduled = id(&schedule(&world, "any", star("", "a/b", IN_TEN_MINUTES)).await.ok());
        let origin = world.provider.origin().to_owned();
        let (written, instead) =
            (written.replace("ORIGIN", &origin), instead.replace("ORIGIN", &origin));
        let world = world.restarted_with(&written, &instead, MINUTES(10)).await;
        let call = ended(&world, "any", &scheduled).await;
        match why {
            Some(why) => assert_not_run(&call, "CONTEXT_DENIED", why),
            None => assert_eq!(call["execution_status"], "completed", "{call}"),
        }
        assert_eq!(world.provider.calls().len(), usize::from(why.is_none()));
    }
}

/// The client of the provider is another one, so no consent to it is there.
#[tokio::test]
async fn a_call_does_not_run_as_another_client_of_its_provider() {
    let world = World::for_many().await;
    let scheduled = schedule_with_consent(&world, write("bob", IN_TEN_MINUTES)).await;
    let world =
        world.restarted_with("client_id = \"us\"", "client_id = \"others\"", MINUTES(10)).await;
    let call = ended(&world, &key_of("app"), &scheduled).await;
    assert_not_run(&call, "CONTEXT_DENIED", "changed the tool");
    assert!(world.provider.calls().is_empty());
}

/// A process ends in the middle of a call, and the next one comes too late for another.
#[tokio::test]
async fn a_call_whose_process_has_ended_is_not_run_again_and_a_late_one_never() {
    let world = World::on_machine().await;
    let (sent, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    world.provider.api(move |_| {
        let _ = sent.send(());
        Act::Stall(Vec::new())
    });
    let first = id(&schedule(&world, "any", star("", "a/b", IN_TEN_MINUTES)).await.ok());
    let late = id(&schedule(&world, "any", star("", "c/d", "2027-01-15T08:30:00")).await.ok());
    world.pass(MINUTES(10));
    schedule(&world, "any", star("", "far/away", "2027-12-01T00:00:00")).await.ok();
    tokio::time::timeout(Duration::from_secs(10), waiting.recv()).await.unwrap().unwrap();
    assert_eq!(look(&world, "any", &first).await["execution_status"], "running");
    world.pass(MINUTES(81));
    let world = world.restarted_with("[tools.", "[tools.", Duration::ZERO).await;
    let call = ended(&world, "any", &first).await;
    assert_not_run(&call, "TOOL_RUNTIME_FATAL", "not known whether it ran");
    let call = ended(&world, "any", &late).await;
    assert_not_run(&call, "TOOL_RUNTIME_FATAL", "within an hour of its time");
    assert_eq!(world.provider.calls().len(), 1);
}

/// Forty calls of one application are due, and the API holds each of them.
#[tokio::test]
async fn slow_calls_of_one_key_leave_room_for_those_of_another() {
    let world = World::for_many().await;
    let released = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&released);
    world.provider.api(move |request| {
        if request.contains("/slow") {
            Act::SayWhen(Arc::clone(&held), said(r#"{"ok":true}"#))
        } else {
            Act::Say(said(r#"{"ok":true}"#))
        }
    });
    let mut slow = Vec::new();
    for number in 0..40 {
        let body = star(&format!("user{number}"), "a/slow", IN_TEN_MINUTES);
        slow.push(id(&schedule(&world, &key_of("app"), body).await.ok()));
    }
    let quick = star("bob", "a/quick", "2027-01-15T08:10:01");
    let quick = id(&schedule(&world, &key_of("plain"), quick).await.ok());
    world.pass(MINUTES(11));
    let call = ended(&world, &key_of("plain"), &quick).await;
    assert_eq!(call["execution_status"], "completed", "{call}");
    let sent = world.provider.calls().iter().filter(|call| call.contains("/slow")).count();
    assert!(sent <= 8, "{sent} calls of one key at once");
    released.add_permits(slow.len());
    for id in &slow {
        let call = ended(&world, &key_of("app"), id).await;
        assert_eq!(call["execution_status"], "completed", "{call}");
    }
}

/// Of two servers that look at the same time, one runs a call.
#[tokio::test]
async fn a_call_that_two_servers_find_runs_once() {
    let world = World::on_machine().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    world.provider.api(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Act::Say(said(r#"{"ok":true}"#))
    });
    world.serve_once_more();
    let mut ids = Vec::new();
    for number in 0..8 {
        let repository = format!("a/{number}");
        ids.push(id(&schedule(&world, "any", star("", &repository, IN_TEN_MINUTES)).await.ok()));
    }
    world.pass(MINUTES(10));
    for _ in 0..2 {
        schedule(&world, "any", star("", "far/away", "2027-12-01T00:00:00")).await.ok();
    }
    for id in &ids {
        assert_eq!(ended(&world, "any", id).await["execution_status"], "completed");
    }
    assert_eq!(calls.load(Ordering::SeqCst), ids.len());
}

#[tokio::test]
async fn a_repeated_request_schedules_one_call() {
    let world = World::on_machine().await;
    let send = async |at: &str, headers: &[(&str, &str)]| {
        let body = Some(star("", "a/b", at));
        world.send(Method::POST, "any", "/v1/tools/execute", body, headers).await
    };
    let key = [("Idempotency-Key", "k")];
    let first = send(IN_TEN_MINUTES, &key).await.ok();
    let second = send(IN_TEN_MINUTES, &key).await;
    assert_eq!(second.headers["idempotent-replayed"], "true");
    assert_eq!(second.ok(), first);
    send("2027-01-15T08:20:00", &key).await.is_refused(422, "idempotency_key_reused");
    let counted = |count: &'static str| [("X-Stainless-Retry-Count", count)];
    let third = send(IN_TEN_MINUTES, &counted("0")).await.ok();
    assert_eq!(send(IN_TEN_MINUTES, &counted("1")).await.ok(), third);
    assert_ne!(third["id"], first["id"]);
    let page = world.get("any", "/v1/scheduled_tools").await.ok();
    assert_eq!(page["total_count"], 2);
    assert!(world.provider.calls().is_empty());
}

#[tokio::test]
async fn a_call_that_cannot_be_scheduled_is_refused() {
    let world = World::on_machine().await;
    for (at, why) in [
        ("tomorrow", "must be a time"),
        ("", "must be a time"),
        ("2027-01-15T07:58:00", "in the past"),
        ("2028-01-17T08:00:00Z", "more than a year"),
    ] {
        let refused = schedule(&world, "any", star("", "a/b", at)).await;
        let message = refused.is_refused(400, "malformed_request");
        assert!(message.contains(why), "{message}");
    }
    let long = star("", &format!("a/{}", "b".repeat(32_000)), IN_TEN_MINUTES);
    schedule(&world, "any", long).await.is_refused(400, "malformed_request");
    // Arguments are checked before their time.
    let failed = schedule(&world, "any", star("", "no-slash", IN_TEN_MINUTES)).await.ok();
    assert_eq!(
        (&failed["status"], &failed["execution_type"]),
        (&json!("failed"), &json!("immediate"))
    );
    let nothing = world.get("any", "/v1/scheduled_tools").await.ok();
    assert_eq!(nothing["items"], json!([]));
    world.get("any", "/v1/scheduled_tools/te_unknown").await.is_refused(404, "not_found");
    world.get("any", "/v1/scheduled_tools?limit=x").await.is_refused(400, "malformed_request");
    // A hundred may wait.
    schedule(&world, "any", star("", "a/b", IN_TEN_MINUTES)).await.ok();
    let table = world.server.tables_of_a_peer().scheduled;
    let [only] = &world.server.app.broker.scheduled("local").await.unwrap()[..] else { panic!() };
    for number in 0..99 {
        let call = ScheduledCall { id: number.to_string(), ..only.clone() };
        table.put(call).await.unwrap().unwrap();
    }
    let refused = schedule(&world, "any", star("", "a/b", IN_TEN_MINUTES)).await;
    let message = refused.is_refused(400, "malformed_request");
    assert!(message.contains("of this user"), "{message}");
    schedule(&world, "any", star("bob", "a/b", IN_TEN_MINUTES)).await.ok();
}

/// A thousand calls of one key may wait, and the latest two hundred that have ended are kept.
#[tokio::test]
async fn a_key_has_limits_on_the_calls_that_wait_and_that_have_ended() {
    let world = World::on_machine().await;
    schedule(&world, "any", star("", "a/b", IN_TEN_MINUTES)).await.ok();
    let table = world.server.tables_of_a_peer().scheduled;
    let [only] = &world.broker().scheduled("local").await.unwrap()[..] else { panic!() };
    for age in 0..210 {
        let at = only.created_at.before(Duration::from_secs(age));
        let end = ScheduledEnd::NotRun(NotRun::Missed);
        let state = ScheduledState::Ended { since: None, at, end };
        let call = ScheduledCall { id: format!("ended-{age}"), state, ..only.clone() };
        table.put(call).await.unwrap().unwrap();
    }
    schedule(&world, "any", star("", "a/b", IN_TEN_MINUTES)).await.ok();
    let calls = world.broker().scheduled("local").await.unwrap();
    let ended: Vec<_> = calls.iter().filter(|call| call.has_ended()).collect();
    assert_eq!(ended.len(), 200);
    assert!(ended.iter().all(|call| call.id != "ended-209"), "the oldest makes room");
    for number in 0..998 {
        let caller = Caller::local(UserId::new(format!("user{}", number / 50)));
        let call = ScheduledCall { id: number.to_string(), caller, ..only.clone() };
        table.put(call).await.unwrap().unwrap();
    }
    let refused = schedule(&world, "any", star("", "a/b", IN_TEN_MINUTES)).await;
    let message = refused.is_refused(400, "malformed_request");
    assert!(message.contains("of this key"), "{message}");
}

/// A call that its user confirms each time cannot run while they are away.
#[tokio::test]
async fn a_call_that_its_user_confirms_is_not_scheduled() {
    let (clock, ana) = (TestClock::new(), Caller::local(UserId::new("ana")));
    let tools = world::payments("http://127.0.0.1:1");
    let server = world::World::altered(None, &clock, &tools, world::confirm_payments);
    let Value::Object(arguments) = json!({"sum": 5, "to": "Ben"}) else { panic!("an object") };
    let call = OwnedCall {
        principal: Principal::local(ana),
        tool: ToolName::new("pay"),
        arguments: arguments.clone(),
        client: "client".into(),
    };
    let (space, voucher, run_at) = ("local".into(), Voucher::Machine, clock.clock().now());
    let tool_id = "Pay".into();
    let later = CallForLater { call, space, voucher, tool_id, written: arguments, run_at };
    let scheduled = server.app.broker.schedule(later).await.unwrap();
    assert!(matches!(scheduled, Scheduling::Unfit(Unschedulable::AsksEachTime)), "{scheduled:?}");
}

/// Where a tool of the same name may be another tool, a call waits until its time is over.
#[tokio::test]
async fn a_call_runs_only_under_the_tools_that_it_was_scheduled_under() {
    let world = World::on_machine().await;
    let scheduled = schedule(&world, "any", star("", "a/b", IN_TEN_MINUTES)).await.ok();
    let table = world.server.tables_of_a_peer().scheduled;
    let [only] = &world.server.app.broker.scheduled("local").await.unwrap()[..] else { panic!() };
    let config = "another tools.toml".to_owned();
    table.put(ScheduledCall { id: "other".into(), config, ..only.clone() }).await.unwrap().unwrap();
    world.pass(MINUTES(10));
    ended(&world, "any", &id(&scheduled)).await;
    assert_eq!(look(&world, "any", "te_other").await["execution_status"], "pending");
    world.pass(MINUTES(61));
    let call = ended(&world, "any", "te_other").await;
    assert_not_run(&call, "TOOL_RUNTIME_FATAL", "within an hour of its time");
    assert_eq!(world.provider.calls().len(), 1);
}

/// The access of the user ends while the call is being stored.
#[tokio::test]
async fn nothing_is_scheduled_while_the_user_s_access_ends() {
    let world = World::for_many().await;
    let later = world.broker().now().after(Duration::from_secs(1));
    // Each request of this second begins before it.
    world.server.tables_of_a_peer().cutoffs.cut_off(&bob(), later).await.unwrap();
    let refused = schedule(&world, &key_of("app"), star("bob", "a/b", IN_TEN_MINUTES)).await;
    assert_eq!(refused.status, reqwest::StatusCode::SERVICE_UNAVAILABLE, "{refused:?}");
    assert!(world.broker().scheduled("key:app").await.unwrap().is_empty());
    world.pass(Duration::from_secs(2));
    schedule(&world, &key_of("app"), star("bob", "a/b", IN_TEN_MINUTES)).await.ok();
}

#[tokio::test]
async fn scheduled_calls_go_with_their_user() {
    let world = World::for_many().await;
    for user in ["bob", "eve"] {
        schedule(&world, &key_of("app"), star(user, "a/b", IN_TEN_MINUTES)).await.ok();
    }
    let bob = bob();
    let users = world.server.app.broker.users();
    assert!(users.who_began().await.unwrap().contains(&bob));
    world.pass(MINUTES(1));
    let by = countersign::model::event::EndedBy::Operator;
    assert_eq!(users.end_access(&bob, by).await.unwrap().scheduled, 1);
    let left = world.server.app.broker.scheduled("key:app").await.unwrap();
    let [left] = &left[..] else { panic!("{left:?}") };
    assert_eq!(left.caller.user.as_str(), "eve");
    assert!(matches!(left.state, ScheduledState::Waiting));
}

/// A server that is told to end waits for the call that it has begun.
#[tokio::test]
async fn a_server_ends_after_the_calls_that_it_runs() {
    let (clock, ana) = (TestClock::new(), Caller::local(UserId::new("ana")));
    let provider = Provider::start(&clock).await;
    let released = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&released);
    provider.api(move |_| Act::SayWhen(Arc::clone(&held), said(r#"{"ok":true}"#)));
    let tools = "[tools.star]\ndescription = \"Stars.\"\nrequest = \"POST ORIGIN/star\"";
    let server = world::World::new(&clock, &tools.replace("ORIGIN", provider.origin()));
    let (end, told) = tokio::sync::oneshot::channel::<()>();
    let (_, served) =
        server.serve_until(Access::Local(ana.clone()), async move { told.await.unwrap() });
    let call = OwnedCall {
        principal: Principal::local(ana),
        tool: ToolName::new("star"),
        arguments: Map::new(),
        client: "client".into(),
    };
    let (space, voucher, written) = ("local".into(), Voucher::Machine, Map::new());
    let run_at = clock.clock().now();
    let later = CallForLater { call, space, voucher, tool_id: "Star".into(), written, run_at };
    let scheduled = server.app.broker.schedule(later).await.unwrap();
    let Scheduling::Scheduled(call) = scheduled else { panic!("{scheduled:?}") };
    wait_until_async("the call", async || provider.calls().len() == 1).await;
    end.send(()).unwrap();
    tokio::task::yield_now().await;
    released.add_permits(1);
    tokio::time::timeout(Duration::from_secs(20), served).await.unwrap().unwrap();
    let call = server.app.broker.scheduled_one("local", &call.id).await.unwrap().unwrap();
    let end = ScheduledEnd::Ran {
        succeeded: true,
        output: Some(
            json!({"value": {"ok": true}, "error": null, "logs": [], "authorization": null}),
        ),
    };
    assert!(matches!(&call.state, ScheduledState::Ended { end: it, .. } if *it == end), "{call:?}");
}
