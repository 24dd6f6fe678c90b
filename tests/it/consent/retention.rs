//! How long a grant is kept: the stricter of the setting at consent time and the current one
//! decides.

use std::time::Duration;

use countersign::broker::Call;
use countersign::broker::ready::Asking;
use countersign::broker::ready::authorize::ViewState;
use countersign::model::{AccountName, Outcome, Principal, PromptReason, Scopes};
use futures_util::future::join_all;

use super::world::{World, ana, tokens, tools_toml};
use crate::support::provider::answer;

const BOTH: &str =
    r#"{"access_token":"first","refresh_token":"r1","expires_in":600,"scope":"notes:read"}"#;

fn tools(origin: &str, retention: &str) -> String {
    let written = "client_id = \"us\"";
    tools_toml(origin).replace(written, &format!("{written}\n{retention}"))
}

async fn connected(retention: &str) -> World {
    let world = World::of(|origin| tools(origin, retention)).await;
    world.provider.accepts(&["first"]);
    world.provider.says(tokens(BOTH));
    world.consent().await;
    world
}

async fn ran(world: &World) -> bool {
    matches!(world.call().await, Outcome::Complete(_))
}

#[tokio::test]
async fn the_page_says_how_long_it_is_kept() {
    for (retention, words) in [
        ("", None),
        ("retention = \"no_refresh\"", Some("until the access runs out")),
        ("retention = \"use_once\"", Some("for one call")),
    ] {
        let world = World::of(|origin| tools(origin, retention)).await;
        let page = world.get(&world.prompt().await.url).await;
        for said in ["until the access runs out", "for one call"] {
            assert_eq!(page.text.contains(said), words == Some(said), "{retention}: {said}");
        }
    }
}

#[tokio::test]
async fn a_refresh_token_that_is_not_to_be_kept_is_not_used_either() {
    let world = connected("retention = \"no_refresh\"").await;
    assert!(!world.accounts().await[0].renews);
    assert!(ran(&world).await && ran(&world).await);
    world.pass(Duration::from_mins(10));
    assert_eq!(world.prompt().await.reason, PromptReason::Ended);
    assert_eq!(world.provider.refreshes(), 0);
}

/// Runs on several threads, because calls on one thread never interleave between read and claim.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_calls_at_once_one_uses_a_consent_for_once() {
    let world = connected("retention = \"use_once\"").await;
    for round in 1..=20 {
        let calls = (0..8).map(|_| {
            let broker = world.app.broker.clone();
            tokio::spawn(async move {
                let ana = Principal::local(ana());
                let call = Call::new(&ana, "read");
                broker.call(call).await.unwrap()
            })
        });
        let calls: Vec<_> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
        let ran = calls.iter().filter(|it| matches!(it, Outcome::Complete(_))).count();
        let asked =
            calls.iter().filter(|it| matches!(it, Outcome::AuthorizationRequired(_))).count();
        assert_eq!((ran, asked, world.provider.calls().len()), (1, 7, round), "round {round}");
        assert!(world.accounts().await.is_empty());
        world.consent().await;
    }
}

#[tokio::test]
async fn a_consent_for_once_that_comes_to_nothing_is_gone_too() {
    let world = connected("retention = \"use_once\"").await;
    world.provider.accepts(&[]);
    world.prompt().await;
    assert_eq!(world.provider.refreshes(), 0);
    assert!(world.accounts().await.is_empty());
}

#[tokio::test]
async fn what_becomes_stricter_counts_at_once_and_what_becomes_laxer_does_not() {
    // The grant is not deleted, because another tools.toml may allow it for longer.
    let world = connected("").await;
    let once = "client_id = \"us\"\nretention = \"use_once\"";
    let world = world.restarted("client_id = \"us\"", once).await;
    assert!(ran(&world).await && ran(&world).await);
    world.pass(Duration::from_mins(10));
    assert_eq!(world.prompt().await.reason, PromptReason::Ended);
    assert_eq!(world.accounts().await.len(), 1);

    let world = connected("retention = \"no_refresh\"").await;
    let world = world.restarted("retention = \"no_refresh\"", "").await;
    assert!(ran(&world).await);
    world.pass(Duration::from_mins(10));
    assert_eq!(world.prompt().await.reason, PromptReason::Ended);
    assert_eq!(world.provider.refreshes(), 0);

    let world = connected("").await;
    let strict = "client_id = \"us\"\nretention = \"no_refresh\"";
    let world = world.restarted("client_id = \"us\"", strict).await;
    world.pass(Duration::from_mins(10));
    world.prompt().await;
    assert_eq!(world.provider.refreshes(), 0);
}

/// As the user agreed, and as the operator says now.
#[tokio::test]
async fn a_token_for_one_call_is_handed_out_to_no_application() {
    let application = || Principal { gets_tokens: true, ..Principal::local(ana()) };
    let agree = async |world: &World| {
        let provider = world.app.broker.provider("acme").unwrap();
        let asking = Asking::LinkForToken { client: Some("Claude"), next: None };
        let (broker, ana, scopes) = (&world.app.broker, application(), Scopes::none());
        let view = broker.authorize(&ana, &provider, &scopes, asking).await;
        let ViewState::Pending { url, .. } = view.state else { panic!("{view:?}") };
        world.consent_by(&url).await;
    };
    let once = "client_id = \"us\"\nretention = \"use_once\"";
    let agreed = connected("retention = \"use_once\"").await;
    let agreed = agreed.restarted("retention = \"use_once\"", "").await;
    let stricter = connected("").await;
    agree(&stricter).await;
    let stricter = stricter.restarted("client_id = \"us\"", once).await;
    let usual = connected("").await;
    agree(&usual).await;
    for (world, is_handed_out) in [(agreed, false), (stricter, false), (usual, true)] {
        let (broker, ana) = (&world.app.broker, application());
        let provider = broker.provider("acme").unwrap();
        let token =
            broker.hand_out_token(&ana, &provider.id, &AccountName::default()).await.unwrap();
        assert_eq!(token.is_some(), is_handed_out);
        assert!(ran(&world).await, "the consent is still there");
    }
}

#[tokio::test]
async fn what_nobody_can_use_any_more_is_deleted_and_nothing_else() {
    let day = Duration::from_hours(25);
    for (tokens_said, is_left) in [
        (r#"{"access_token":"first","expires_in":600}"#, false),
        (r#"{"access_token":"first","refresh_token":"r","expires_in":600}"#, true),
        (r#"{"access_token":"first"}"#, true),
    ] {
        let world = connected("").await;
        world.provider.says(tokens(tokens_said));
        let broker = &world.app.broker;
        broker.accounts().revoke(&ana(), "acme", None).await.unwrap();
        world.consent().await;
        world.pass(day);
        let store = broker.store().await.unwrap();
        store.sweep_grants(world.time()).await.unwrap();
        assert_eq!(!world.accounts().await.is_empty(), is_left, "{tokens_said}");
    }
}

/// Traces of an ended grant stay visible to the user, but not for ever.
#[tokio::test]
async fn what_has_ended_is_shown_for_a_month() {
    let world = connected("").await;
    world.provider.accepts(&[]);
    world.pass(Duration::from_mins(3));
    world.provider.says(answer("400 Bad Request", "", r#"{"error":"invalid_grant"}"#));
    world.pass(Duration::from_mins(10));
    world.prompt().await;
    let store = world.app.broker.store().await.unwrap();
    for (days, is_left) in [(29, true), (2, false)] {
        world.pass(Duration::from_hours(days * 24));
        store.sweep_grants(world.time()).await.unwrap();
        assert_eq!(!world.accounts().await.is_empty(), is_left, "{days}");
    }
}
