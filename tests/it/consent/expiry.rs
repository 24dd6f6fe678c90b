//! Expiry of links and tokens.

use std::time::Duration;

use countersign::model::{Outcome, PromptReason};
use countersign::store::keeper::{KeeperLock, KeeperState, state};
use reqwest::StatusCode;

use super::world::{World, tokens};
use crate::support::provider::Act;

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_link_is_reused_for_fifteen_minutes_and_then_replaced() {
    let world = World::new().await;
    let first = world.prompt().await;
    assert_eq!(first.lives_minutes, 15);
    world.pass(14 * MINUTE);
    let again = world.prompt().await;
    assert_eq!((again.url.as_str(), again.lives_minutes), (first.url.as_str(), 1));
    assert_eq!(world.get(&first.url).await.status, StatusCode::OK);
    world.pass(MINUTE);
    assert_eq!(world.get(&first.url).await.status, StatusCode::GONE);
    assert_eq!(world.click(&first.url).await.status, StatusCode::GONE);
    let second = world.prompt().await;
    assert_ne!(second.url, first.url);
    assert_eq!(world.get(&second.url).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_no_link_live_longer() {
    let world = World::new().await;
    let first = world.prompt().await.url;
    let departure = world.click(&first).await;
    world.set_back(60 * MINUTE);
    assert_eq!(world.get(&first).await.status, StatusCode::GONE);
    assert_eq!(world.come_back(&departure, "code=c0de").await.status, StatusCode::GONE);
    assert!(world.provider.requests().is_empty(), "the code was sent");
    let second = world.prompt().await;
    assert_ne!(second.url, first);
    // A correction of a few seconds is no reason to ask again.
    world.set_back(MINUTE / 2);
    assert_eq!(world.get(&second.url).await.status, StatusCode::OK);
    assert_eq!(world.prompt().await.lives_minutes, 15);
}

#[tokio::test]
async fn a_keeper_stays_until_the_last_link_is_over() {
    let world = World::in_folder().await;
    world.prompt().await;
    world.pass(10 * MINUTE);
    world.prompt_as(None).await;
    let lock = KeeperLock::take(&world.data()).unwrap().expect("no other keeper");
    let (says, mut is_ready) = tokio::sync::oneshot::channel();
    let ready = || says.send(()).map_err(|()| std::io::ErrorKind::Other.into());
    let mut kept = std::pin::pin!(world.app.keep(lock, ready, std::future::pending()));
    tokio::select! {
        _ = &mut kept => panic!("it ended beside an open link"),
        said = &mut is_ready => said.unwrap(),
    }
    // It checks several times.
    assert!(tokio::time::timeout(Duration::from_millis(800), &mut kept).await.is_err());
    assert!(matches!(state(&world.data()).unwrap(), KeeperState::Ready { .. }));
    world.pass(5 * MINUTE);
    tokio::time::timeout(Duration::from_secs(20), kept).await.expect("it ends").unwrap();
    assert_eq!(state(&world.data()).unwrap(), KeeperState::Absent);
}

#[tokio::test]
async fn an_answer_that_comes_after_the_link_s_end_is_not_exchanged() {
    let world = World::new().await;
    let link = world.prompt().await.url;
    world.pass(14 * MINUTE);
    let departure = world.click(&link).await;
    world.pass(MINUTE);
    let late = world.come_back(&departure, "code=c0de").await;
    assert_eq!(late.status, StatusCode::GONE);
    assert!(world.provider.requests().is_empty(), "the code was sent");
}

#[tokio::test]
async fn a_link_can_be_taken_to_the_provider_a_bounded_number_of_times() {
    let world = World::new().await;
    let link = world.prompt().await.url;
    for _ in 0..20 {
        assert_eq!(world.click(&link).await.status, StatusCode::SEE_OTHER);
    }
    assert_eq!(world.click(&link).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_ne!(world.prompt().await.url, link, "a new link mends it");
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end_once_for_all_and_the_new_one_is_kept() {
    let world = World::new().await;
    world.provider.accepts(&["first", "second"]);
    world.provider.says(tokens(
        r#"{"access_token":"first","refresh_token":"r1","expires_in":3600,"scope":"notes:read"}"#,
    ));
    assert_eq!(world.consent().await.status, StatusCode::SEE_OTHER);
    assert!(!world.result().await.is_error);
    assert_eq!(world.provider.refreshes(), 0);

    world.pass(56 * MINUTE);
    world
        .provider
        .says(tokens(r#"{"access_token":"second","refresh_token":"r2","expires_in":3600}"#));
    let calls = futures_util::future::join_all((0..50).map(|_| world.call())).await;
    for outcome in calls {
        assert!(matches!(outcome, Outcome::Complete(_)));
    }
    assert_eq!(world.provider.refreshes(), 1);

    world.pass(56 * MINUTE);
    world.provider.says(tokens(r#"{"access_token":"second","expires_in":3600}"#));
    assert!(!world.result().await.is_error);
    assert!(world.provider.requests().last().unwrap().contains("refresh_token=r2"));
    // No refresh token in the answer: the one that was sent stays in use (RFC 6749 §6).
    world.pass(56 * MINUTE);
    assert!(!world.result().await.is_error);
    assert!(world.provider.requests().last().unwrap().contains("refresh_token=r2"));
}

#[tokio::test]
async fn an_expired_grant_without_a_refresh_token_needs_a_new_consent() {
    let world = World::new().await;
    world.provider.accepts(&["only"]);
    world.provider.says(tokens(r#"{"access_token":"only","expires_in":600}"#));
    world.consent().await;
    world.pass(9 * MINUTE);
    assert!(!world.result().await.is_error, "used to its end");
    world.pass(MINUTE);
    assert_eq!(world.prompt().await.reason, PromptReason::Ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_does_not_take_the_new_token_with_it() {
    let world = World::new().await;
    world.provider.accepts(&["first", "second"]);
    world
        .provider
        .says(tokens(r#"{"access_token":"first","refresh_token":"r1","expires_in":600}"#));
    world.consent().await;
    world.pass(10 * MINUTE);

    let (asked, was_asked) = tokio::sync::oneshot::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let mut asked = Some(asked);
    world.provider.tokens(move |_| {
        if let Some(asked) = asked.take() {
            asked.send(()).unwrap();
            tokio::task::block_in_place(|| may_go_on.recv().unwrap());
        }
        Act::Say(tokens(r#"{"access_token":"second","refresh_token":"r2","expires_in":600}"#))
    });
    tokio::select! {
        _ = world.call() => panic!("the call was to be given up"),
        asked = was_asked => asked.unwrap(),
    }
    go_on.send(()).unwrap();
    // Waits for the refresh in flight instead of sending another.
    assert!(!world.result().await.is_error);
    assert_eq!(world.provider.refreshes(), 1);
}

#[tokio::test]
async fn a_token_that_is_refused_right_after_the_consent_does_not_go_round_in_circles() {
    let world = World::new().await;
    world.provider.accepts(&[]);
    world.provider.says(tokens(r#"{"access_token":"unloved"}"#));
    world.consent().await;
    let result = world.result().await;
    assert!(result.is_error, "{}", result.text);
    world.pass(3 * MINUTE);
    assert_eq!(world.prompt().await.reason, PromptReason::Ended);
}

/// A provider's clock ahead of ours, or a slow machine, is no reason to ask the user again.
#[tokio::test]
async fn a_token_whose_time_runs_out_on_its_way_does_not_end_the_grant() {
    let world = World::new().await;
    world.provider.says(tokens(r#"{"access_token":"a","refresh_token":"r","expires_in":60}"#));
    world.consent().await;
    world.pass(3 * MINUTE);
    world.provider.hesitates(MINUTE);
    let result = world.result().await;
    assert!(result.is_error, "{}", result.text);
    assert!(world.provider.refreshes() <= 4, "{}", world.provider.refreshes());
    world.provider.accepts(&["a"]);
    assert!(!world.result().await.is_error);
}
