//! When an account was last used.

use std::time::Duration;

use countersign::model::Time;

use super::world::{World, ana, tokens};
use crate::support::wait_until_async;

const MINUTE: Duration = Duration::from_mins(1);

/// A world in which `acme` is connected.
async fn world() -> World {
    let world = World::new().await;
    world.provider.says(tokens(r#"{"access_token":"first","scope":"notes:read"}"#));
    world.provider.accepts(&["first"]);
    world.consent().await;
    world
}

async fn shown(world: &World) -> Option<Time> {
    world.accounts().await.first().expect("it is connected").last_used
}

/// Returns the last use that the store holds.
async fn written(world: &World) -> Option<Time> {
    let store = world.app.broker.store().await.unwrap();
    let grants = store.grants(&ana()).await.unwrap();
    store.last_use(grants.first().expect("it is connected").place()).await.unwrap()
}

/// Waits until the store holds this last use, which is written in the background.
async fn comes_to_be_written(world: &World, at: Time) {
    wait_until_async("the last use in the store", async || written(world).await == Some(at)).await;
}

#[tokio::test]
async fn a_use_is_seen_at_once_and_written_once_an_hour() {
    let world = world().await;
    assert_eq!(shown(&world).await, None);
    world.result().await;
    let first = world.time();
    assert_eq!(shown(&world).await, Some(first));
    comes_to_be_written(&world, first).await;

    world.pass(59 * MINUTE);
    world.result().await;
    assert_eq!(shown(&world).await, Some(world.time()));
    world.pass(MINUTE);
    world.result().await;
    // A write for the call before would be visible by now, or would come first.
    comes_to_be_written(&world, world.time()).await;
    assert_eq!(world.time(), first.after(60 * MINUTE));
}

#[tokio::test]
async fn what_was_not_written_is_written_at_the_end() {
    let world = world().await;
    world.result().await;
    let first = world.time();
    comes_to_be_written(&world, first).await;
    world.pass(10 * MINUTE);
    world.result().await;
    let second = world.time();
    assert_eq!(written(&world).await, Some(first));
    let world = world.restarted("[server]", "[server]").await;
    assert_eq!(shown(&world).await, Some(second));
}

#[tokio::test]
async fn it_goes_with_the_grant_and_says_nothing_of_the_next_one() {
    let world = world().await;
    world.result().await;
    let first = world.time();
    comes_to_be_written(&world, first).await;
    let store = world.app.broker.store().await.unwrap();
    let place = store.grants(&ana()).await.unwrap().pop().unwrap().place().clone();
    world.app.broker.accounts().revoke(&ana(), "acme", None).await.unwrap();
    assert_eq!(store.last_use(&place).await.unwrap(), None);

    world.pass(MINUTE);
    world.consent().await;
    assert_eq!(shown(&world).await, None, "of the one before");
}
