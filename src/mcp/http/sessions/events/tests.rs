use futures_util::{FutureExt as _, StreamExt as _};
use rmcp::model::{EmptyResult, ServerResult};

use super::*;
use crate::model::UserId;

fn caller(name: &str) -> Caller {
    Caller::local(UserId::new(name))
}

fn session() -> SessionId {
    "s".into()
}

fn request(id: i64) -> RequestId {
    RequestId::Number(id)
}

fn answer(id: i64) -> ServerSseMessage {
    let result = ServerResult::EmptyResult(EmptyResult {});
    ServerSseMessage::from_message(JsonRpcMessage::response(result, request(id)))
}

/// An answer of at least `bytes` bytes.
fn long_answer(id: i64, bytes: usize) -> ServerSseMessage {
    let error = rmcp::ErrorData::internal_error("x".repeat(bytes), None);
    ServerSseMessage::from_message(JsonRpcMessage::error(error, Some(request(id))))
}

/// Begins a stream that answers this request, as rmcp and `Sessions` do; returns the id of its
/// first event.
fn begin(events: &Events, name: &str, whose: &Caller, id: i64) -> EventId {
    let first = events.store(name, &ServerSseMessage::retry(Duration::from_secs(1)));
    let first = EventId::parse(&first).unwrap();
    events.own(first.stream, &session(), whose, Some(request(id)));
    EventId { request: Some(request(id)), ..first }
}

/// Returns the ids of the answers that a client reads when it resumes, until its stream ends.
async fn back(events: &Events, last: &EventId) -> Vec<serde_json::Value> {
    match events.after(&session(), last, Instant::now()) {
        Found::Request { stream, next } => {
            let found = events.follow(stream, next);
            let message = |event: ServerSseMessage| serde_json::to_value(&event.message).unwrap();
            found.map(message).map(|mut message| message["id"].take()).collect().await
        }
        Found::Gone(request) => vec![serde_json::json!(format!("{request} is gone"))],
        Found::Finished => vec!["finished".into()],
        Found::Standalone { .. } | Found::Unknown => Vec::new(),
    }
}

/// Drops the streams that will have expired after `later`.
fn sweep(events: &Events, later: Duration) {
    events.0.state.lock().sweep(Instant::now() + later);
}

#[tokio::test]
async fn an_answer_can_be_fetched_for_two_minutes_and_is_then_said_to_be_gone() {
    let second = Duration::from_secs(1);
    let events = Events::default();
    let first = begin(&events, "a", &caller("ana"), 7);
    // A stream without an answer is kept for longer.
    sweep(&events, COMPLETE_STREAM_TTL * 2);
    events.store("a", &answer(7));
    sweep(&events, COMPLETE_STREAM_TTL.saturating_sub(second));
    assert_eq!(back(&events, &first).await, [7]);
    assert_eq!(back(&events, &first).await, [7], "again");
    sweep(&events, COMPLETE_STREAM_TTL);
    assert_eq!(back(&events, &first).await, ["7 is gone"]);
    let state = events.0.state.lock();
    assert!(state.streams.is_empty() && state.names.is_empty() && state.callers.is_empty());
    assert_eq!(state.bytes, 0);
}

#[tokio::test]
async fn who_comes_back_before_the_answer_waits_for_it() {
    let events = Events::default();
    let first = begin(&events, "a", &caller("ana"), 7);
    let mut waiting = Box::pin(back(&events, &first));
    assert!(waiting.as_mut().now_or_never().is_none());
    begin(&events, "b", &caller("ana"), 8);
    events.store("b", &answer(8));
    assert!(waiting.as_mut().now_or_never().is_none(), "another request's answer");
    events.store("a", &answer(7));
    assert_eq!(waiting.await, [7]);
}

#[tokio::test]
async fn an_answer_that_is_there_before_its_stream_is_known_is_kept_all_the_same() {
    let events = Events::default();
    let first = events.store("a", &ServerSseMessage::retry(Duration::from_secs(1)));
    let id = EventId::parse(&events.store("a", &answer(7))).unwrap();
    let first = EventId::parse(&first).unwrap();
    assert!(
        matches!(events.after(&session(), &first, Instant::now()), Found::Unknown),
        "nobody's yet"
    );
    events.own(first.stream, &session(), &caller("ana"), Some(request(7)));
    assert_eq!(back(&events, &first).await, [7]);
    assert_eq!(back(&events, &id).await, [7], "nothing is behind it");
}

#[tokio::test]
async fn who_comes_back_behind_an_answer_gets_it_again_unless_it_has_just_gone_out() {
    let events = Events::default();
    let first = begin(&events, "a", &caller("ana"), 7);
    let last = EventId::parse(&events.store("a", &answer(7))).unwrap();
    assert_eq!(back(&events, &last).await, [7], "no client has taken it");
    events.taken(&last);
    assert_eq!(back(&events, &last).await, ["finished"]);
    assert_eq!(back(&events, &first).await, [7], "it may have broken off on its way");
    let later = Instant::now() + NO_REPEAT_WINDOW;
    assert!(matches!(events.after(&session(), &last, later), Found::Request { next: 1, .. }));
}

#[tokio::test]
async fn another_session_finds_nothing() {
    let events = Events::default();
    let first = begin(&events, "a", &caller("ana"), 7);
    events.store("a", &answer(7));
    let other: SessionId = "other".into();
    assert!(matches!(events.after(&other, &first, Instant::now()), Found::Gone(_)));
    let nameless = EventId { request: None, ..first };
    assert!(matches!(events.after(&other, &nameless, Instant::now()), Found::Unknown));
}

#[tokio::test]
async fn a_cancelled_request_and_an_ended_session_are_waited_for_no_longer() {
    let events = Events::default();
    events.admit(&session(), &caller("ana"));
    let first = begin(&events, "a", &caller("ana"), 7);
    let waiting = back(&events, &first);
    events.cancelled(&session(), &request(7));
    assert!(waiting.await.is_empty());
    events.end(&session());
    sweep(&events, Duration::ZERO);
    let is_standalone = |kept: &Kept| kept.request.is_none();
    assert!(!events.0.state.lock().streams.values().any(is_standalone));
    sweep(&events, COMPLETE_STREAM_TTL);
    assert!(events.0.state.lock().streams.is_empty());
}

#[tokio::test]
async fn memory_is_bounded_and_what_was_taken_goes_first() {
    let limits = Limits { all: 100_000, of_one: 20_000 };
    let events = Events::with(limits);
    let (ana, bob) = (caller("ana"), caller("bob"));
    let firsts: Vec<_> = (0..3).map(|id| begin(&events, &format!("a{id}"), &ana, id)).collect();
    let mut last = None;
    for id in 0..2 {
        last = EventId::parse(&events.store(&format!("a{id}"), &long_answer(id, 8000)));
    }
    events.taken(&last.unwrap());
    events.store("a2", &long_answer(2, 8000));
    assert_eq!(back(&events, &firsts[0]).await, [0], "the oldest, but not taken");
    assert_eq!(back(&events, &firsts[1]).await, ["1 is gone"]);
    assert_eq!(back(&events, &firsts[2]).await, [2]);
    // One answer that exceeds all limits.
    let huge = begin(&events, "huge", &bob, 9);
    events.store("huge", &long_answer(9, 300_000));
    assert_eq!(back(&events, &huge).await, ["9 is gone"]);
    assert_eq!(back(&events, &firsts[0]).await, [0], "another caller's");
    // Many callers, each within its own limit.
    for at in 0..20 {
        let whose = caller(&format!("user{at}"));
        begin(&events, &format!("u{at}"), &whose, at);
        events.store(&format!("u{at}"), &long_answer(at, 9000));
        assert!(events.0.state.lock().bytes <= limits.all);
    }
}

#[tokio::test]
async fn a_standalone_stream_gives_what_was_not_taken() {
    let events = Events::default();
    events.admit(&session(), &caller("ana"));
    let name = standalone_name(&session());
    let progress = |token: i64| {
        let token = rmcp::model::ProgressToken(request(token));
        let notice = rmcp::model::ProgressNotificationParam::new(token, 1.0);
        let notice = rmcp::model::ProgressNotification::new(notice);
        ServerSseMessage::from_message(JsonRpcMessage::notification(
            rmcp::model::ServerNotification::ProgressNotification(notice),
        ))
    };
    let ids: Vec<_> =
        (0..3).map(|at| EventId::parse(&events.store(&name, &progress(at))).unwrap()).collect();
    let (before, missed) = events.standalone(&session(), None);
    assert_eq!((before.unwrap().index, missed.len()), (0, 3));
    events.taken(&ids[1]);
    let (before, missed) = events.standalone(&session(), None);
    assert_eq!((before.as_ref(), missed.len()), (Some(&ids[1]), 1));
    let Found::Standalone { next } = events.after(&session(), &ids[0], Instant::now()) else {
        panic!()
    };
    assert_eq!(events.standalone(&session(), Some(next)).1.len(), 2);
}
