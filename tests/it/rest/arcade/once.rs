//! Repeated requests: `Idempotency-Key`, and the count of Arcade's clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::rest::world::{Reply, World, key_of};
use crate::support::provider::{Act, answer, json as said};
use crate::support::wait_until_async;

async fn star(world: &World, key: &str, repository: &str, headers: &[(&str, &str)]) -> Reply {
    let input = json!({"repository": repository});
    let body = json!({"tool_name": "Github.SetStarred", "user_id": "bob", "input": input});
    world.send(Method::POST, key, "/v1/tools/execute", Some(body), headers).await
}

#[tokio::test]
async fn a_call_with_a_key_runs_once() {
    let world = World::on_machine().await;
    let key = [("Idempotency-Key", "stainless-node-retry-1")];
    let first = star(&world, "any", "a/b", &key).await;
    assert!(!first.headers.contains_key("idempotent-replayed"));
    let second = star(&world, "any", "a/b", &key).await;
    assert_eq!(second.headers["idempotent-replayed"], "true");
    assert_eq!(second.ok(), first.ok());
    assert_eq!(world.provider.calls().len(), 1);
    // The key stands for that call alone.
    star(&world, "any", "other/b", &key).await.is_refused(422, "idempotency_key_reused");
    assert_eq!(world.provider.calls().len(), 1);
    // Without a key, and with another one, it is another call.
    star(&world, "any", "a/b", &[]).await.ok();
    star(&world, "any", "a/b", &[("Idempotency-Key", "2")]).await.ok();
    assert_eq!(world.provider.calls().len(), 3);
    world.pass(Duration::from_hours(25));
    star(&world, "any", "a/b", &key).await.ok();
    assert_eq!(world.provider.calls().len(), 4);
    let long = "k".repeat(256);
    for bad in [("Idempotency-Key", "a b"), ("Idempotency-Key", &long)] {
        star(&world, "any", "a/b", &[bad]).await.is_refused(400, "malformed_request");
    }
    assert_eq!(world.provider.calls().len(), 4);
}

#[tokio::test]
async fn two_requests_with_a_key_at_once_are_one_call() {
    let world = World::on_machine().await;
    let running = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&running);
    world.provider.api(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(200));
        Act::Say(said(r#"{"ok":true}"#))
    });
    let key = [("Idempotency-Key", "k")];
    let (one, other) =
        tokio::join!(star(&world, "any", "a/b", &key), star(&world, "any", "a/b", &key));
    assert_eq!(one.ok(), other.ok());
    assert_eq!(running.load(Ordering::SeqCst), 1);
}

/// It is not known whether the call had its effect, and so it is never sent again.
#[tokio::test]
async fn a_call_whose_server_has_ended_is_not_run_again() {
    let world = World::on_machine().await;
    world.provider.api(|_| Act::Stall(Vec::new()));
    let key = [("Idempotency-Key", "k")];
    tokio::select! {
        reply = star(&world, "any", "a/b", &key) => panic!("{reply:?}"),
        () = wait_until_async("the call", async || world.provider.calls().len() == 1) => {}
    }
    let world = world.restarted().await;
    world.provider.api(|_| Act::Say(said(r#"{"ok":true}"#)));
    for _ in 0..2 {
        let lost = star(&world, "any", "a/b", &key).await.ok();
        assert_eq!((&lost["status"], &lost["success"]), (&json!("failed"), &json!(false)));
        let error = &lost["output"]["error"];
        assert_eq!(error["can_retry"], false, "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("it is not known whether it ran"), "{message}");
    }
    assert_eq!(world.provider.calls().len(), 1);
    star(&world, "any", "a/b", &[("Idempotency-Key", "2")]).await.ok();
    assert_eq!(world.provider.calls().len(), 2);
}

/// Arcade's Python client sends no key, and counts.
#[tokio::test]
async fn a_counted_repeat_gets_the_answer_of_the_first() {
    let world = World::on_machine().await;
    let count = |count: &'static str| [("X-Stainless-Retry-Count", count)];
    let first = star(&world, "any", "a/b", &count("0")).await.ok();
    assert_eq!(star(&world, "any", "a/b", &count("1")).await.ok(), first);
    assert_eq!(star(&world, "any", "a/b", &count("2")).await.ok(), first);
    assert_eq!(world.provider.calls().len(), 1);
    // A new call with the same arguments is a new call.
    let second = star(&world, "any", "a/b", &count("0")).await.ok();
    assert_ne!(second, first);
    assert_eq!(star(&world, "any", "a/b", &count("1")).await.ok(), second);
    // The first request of a call never arrived.
    star(&world, "any", "c/d", &count("1")).await.ok();
    assert_eq!(world.provider.calls().len(), 3);
}

/// Two equal calls run beside each other, and the first one has no effect: a repeat of the second must
/// not take the place that the first one leaves.
#[tokio::test]
async fn a_repeat_beside_an_equal_call_does_not_run_again() {
    let world = World::on_machine().await;
    let (begun, released) = (AtomicUsize::new(0), Arc::new(Semaphore::new(0)));
    let awaited = Arc::clone(&released);
    world.provider.api(move |_| match begun.fetch_add(1, Ordering::SeqCst) {
        0 => Act::SayWhen(Arc::clone(&awaited), answer("429 Too Many Requests", "", "")),
        _ => Act::Say(said(r#"{"ok":true}"#)),
    });
    let count = |count: &'static str| [("X-Stainless-Retry-Count", count)];
    let (new, repeat) = (count("0"), count("1"));
    let beside = async {
        wait_until_async("the first call", async || world.provider.calls().len() == 1).await;
        let second = star(&world, "any", "a/b", &new).await.ok();
        assert_eq!(star(&world, "any", "a/b", &repeat).await.ok(), second);
        released.add_permits(1);
        second
    };
    let (first, second) = tokio::join!(star(&world, "any", "a/b", &new), beside);
    assert_eq!((&first.ok()["status"], &second["status"]), (&json!("failed"), &json!("completed")));
    assert_eq!(star(&world, "any", "a/b", &repeat).await.ok(), second);
    assert_eq!(world.provider.calls().len(), 2);
}

#[tokio::test]
async fn a_call_without_an_effect_leaves_its_key_free() {
    let world = World::on_machine().await;
    let key = [("Idempotency-Key", "k")];
    for refusal in ["404 Not Found", "429 Too Many Requests"] {
        world.provider.api(move |_| Act::Say(answer(refusal, "", "")));
        assert_eq!(star(&world, "any", "a/b", &key).await.ok()["status"], "failed");
        world.pass(Duration::from_mins(2));
    }
    world.provider.api(|_| Act::Say(said(r#"{"ok":true}"#)));
    assert_eq!(star(&world, "any", "a/b", &key).await.ok()["status"], "completed");
    // A consent that is missing is no answer to keep either.
    let write = json!({"tool_name": "Notes.Write", "input": {"content": "hello"}});
    let send = async || {
        world
            .send(
                Method::POST,
                "any",
                "/v1/tools/execute",
                Some(write.clone()),
                &[("Idempotency-Key", "w")],
            )
            .await
    };
    let refused = send().await;
    refused.is_refused(403, "tool_authorization_required");
    world.consent("", "", refused.json["authorization"]["url"].as_str().unwrap()).await;
    let written = send().await.ok();
    assert_eq!(written["status"], "completed");
    assert_eq!(send().await.ok(), written);
    let posts =
        world.provider.calls().iter().filter(|call| call.starts_with("POST /notes")).count();
    assert_eq!(posts, 1);
}

#[tokio::test]
async fn a_key_is_its_application_s_own() {
    let world = World::for_many().await;
    let key = [("Idempotency-Key", "k")];
    let first = star(&world, &key_of("app"), "a/b", &key).await.ok();
    let other = star(&world, &key_of("other"), "a/b", &key).await.ok();
    assert_ne!(first["id"], other["id"]);
    // Another user of the application cannot get the answer of the first.
    let body =
        json!({"tool_name": "Github.SetStarred", "user_id": "eve", "input": {"repository": "a/b"}});
    let reply =
        world.send(Method::POST, &key_of("app"), "/v1/tools/execute", Some(body), &key).await;
    reply.is_refused(422, "idempotency_key_reused");
    assert_eq!(world.provider.calls().len(), 2);
    let _: Value = star(&world, &key_of("app"), "a/b", &key).await.ok();
    assert_eq!(world.provider.calls().len(), 2);
}
