//! Large answers, many at a time: within their memory, fairly, and in time.

use countersign::model::{Caller, UserId};

use super::*;
use crate::support::provider::{Act, answer};

#[tokio::test]
async fn an_answer_of_too_many_values_is_refused_in_words() {
    let many = format!("[{}1]", "1,".repeat(4_700_000));
    let server = Server::saying(json_answer(many)).await;
    let result = call(&tool(&server)).await;
    assert!(result.is_error, "{}", result.text);
    assert!(result.text.contains("500000 values") && result.text.contains("smaller page"));
    // The write has happened.
    let write = with(tool(&server), |action| action.method = Method::Post);
    let result = call(&write).await;
    assert!(result.text.contains("do not repeat it"), "{}", result.text);
}

/// Stalled answers hold all the memory, and a late call gets none.
#[tokio::test]
async fn a_call_that_finds_no_memory_says_so_in_time() {
    let begun = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
    let part = format!("{begun}{}", "x".repeat(2 * 1024 * 1024));
    let server = Server::start(move |_| Act::Stall(part.clone().into())).await;
    let (upstream, stalled) = (std::sync::Arc::new(upstream()), tool(&server));
    let mut holders = tokio::task::JoinSet::new();
    for at in 0..12 {
        let (upstream, tool) = (std::sync::Arc::clone(&upstream), stalled.clone());
        let caller =
            Caller { namespace: "test".into(), user: UserId::new(format!("user{}", at % 3)) };
        holders.spawn(async move {
            upstream.execute_for(&caller, &tool, None, &Map::new(), None).await;
        });
    }
    server.has_got(12).await;
    let quick = with(stalled, |action| action.timeout = Duration::from_secs(3));
    let late = Caller { namespace: "test".into(), user: UserId::new("late") };
    let mut result = Shown::text("");
    // The first call may still find memory, before the others have read as far.
    for _ in 0..5 {
        let begun = tokio::time::Instant::now();
        result = result_of(upstream.execute_for(&late, &quick, None, &Map::new(), None).await);
        assert!(begun.elapsed() < Duration::from_secs(10));
        if result.text.contains("no memory") {
            break;
        }
    }
    assert!(result.is_error && result.text.contains("no memory left"), "{}", result.text);
    // A small answer needs none.
    let small = Server::saying(answer("200 OK", "Content-Type: text/plain\r\n", "small")).await;
    let answer = upstream.execute_for(&late, &tool(&small), None, &Map::new(), None).await;
    assert_eq!(result_of(answer).text, "small");
    holders.abort_all();
}

/// Forty slow filters of one caller, and one of another.
#[tokio::test]
async fn a_slow_caller_does_not_stand_before_another_s_filter() {
    let server = Server::saying(json_answer("[1]")).await;
    let upstream = std::sync::Arc::new(upstream());
    let slow = with(tool(&server), |action| {
        action.select = Some(Filter::new("def f: f; f", 3));
        action.timeout = Duration::from_mins(1);
    });
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (upstream, tool) = (std::sync::Arc::clone(&upstream), slow.clone());
        let ana = Caller { namespace: "test".into(), user: UserId::new("ana") };
        waiting
            .spawn(async move { upstream.execute_for(&ana, &tool, None, &Map::new(), None).await });
    }
    server.has_got(40).await;
    let ben = Caller { namespace: "test".into(), user: UserId::new("ben") };
    let sum = "reduce .[] as $x (0; . + $x)";
    let quick = with(tool(&server), |action| action.select = Some(Filter::new(sum, 3)));
    let begun = tokio::time::Instant::now();
    let answer = upstream.execute_for(&ben, &quick, None, &Map::new(), None).await;
    assert_eq!(result_of(answer).text, "1");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Waiting counts: a call that cannot begin within its tool's timeout fails with a message.
    let short = with(slow, |action| action.timeout = Duration::from_secs(1));
    let ana = Caller { namespace: "test".into(), user: UserId::new("ana") };
    let answer = upstream.execute_for(&ana, &short, None, &Map::new(), None).await;
    let text = result_of(answer).text;
    assert!(text.contains("no worker was free in time"), "{text}");
    waiting.abort_all();
}
