//! A user's refusals are counted, so that a model that keeps asking does not wear them down.

use std::time::Duration;

use countersign::model::requester::AskedBy;
use countersign::model::{AccountName, Outcome, Principal, Scopes};

use super::world::{World, ana, tokens};

async fn decline(world: &World) {
    let link = world.prompt().await.url;
    world.post(&link, &[("answer", "decline")]).await;
}

async fn deny(world: &World, code: &str) {
    let link = world.prompt().await.url;
    let departure = world.click(&link).await;
    world.come_back(&departure, &format!("error={code}")).await;
}

async fn is_refused(world: &World) -> bool {
    matches!(world.call().await, Outcome::Refused(_))
}

#[tokio::test]
async fn what_was_refused_twice_within_an_hour_is_not_asked_for_again_by_a_tool() {
    let world = World::new().await;
    decline(&world).await;
    world.pass(Duration::from_mins(20));
    deny(&world, "access_denied").await;
    assert!(is_refused(&world).await);
    // Sweeping expired records does not forget the refusals.
    world.pass(Duration::from_mins(20));
    world.app.broker.consents().delete_expired().await.unwrap();
    assert!(is_refused(&world).await);
    world.pass(Duration::from_mins(21));
    world.prompt().await;
}

#[tokio::test]
async fn a_person_can_still_begin_it_themselves() {
    let world = World::new().await;
    decline(&world).await;
    decline(&world).await;
    assert!(is_refused(&world).await);
    let broker = &world.app.broker;
    let provider = broker.provider("acme").unwrap();
    let (account, asked_by) = (AccountName::default(), AskedBy::default());
    let scopes = Scopes::new(["notes:read"]);
    let prompt = broker
        .consents()
        .begin(&Principal::local(ana()), &provider, &account, &scopes, asked_by)
        .await
        .unwrap();
    // Tools get the same link, too.
    assert_eq!(world.prompt().await.url, prompt.url);
    world.provider.says(tokens(r#"{"access_token":"first"}"#));
    world.provider.accepts(&["first"]);
    world.consent_by(&prompt.url).await;
    assert!(!world.result().await.is_error);
}

#[tokio::test]
async fn what_the_provider_says_of_itself_is_no_refusal() {
    let world = World::new().await;
    for _ in 0..4 {
        deny(&world, "server_error").await;
    }
    world.prompt().await;
}

#[tokio::test]
async fn a_scope_that_is_unticked_again_and_again_is_refused() {
    let world = World::new().await;
    world.provider.says(tokens(r#"{"access_token":"first","scope":"profile"}"#));
    world.consent().await;
    world.consent().await;
    assert!(is_refused(&world).await);
}
