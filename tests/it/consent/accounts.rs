//! Account states as users see them, and disconnecting accounts.

use std::time::Duration;

use countersign::broker::accounts::list::AccountState;
use countersign::broker::consent::end::{Disconnected, Ended};
use countersign::oauth::Revoked;
use futures_util::future::join_all;

use super::world::{World, ana, tokens};
use crate::support::provider::{Act, answer};

fn how(ends: Vec<Ended>) -> Vec<Disconnected> {
    ends.into_iter().map(|end| end.how).collect()
}

async fn state(world: &World) -> AccountState {
    world.app.broker.accounts().list(&ana()).await.unwrap().pop().expect("an account").state
}

#[tokio::test]
async fn an_account_whose_time_is_over_is_not_called_connected() {
    let world = World::new().await;
    world.provider.says(tokens(r#"{"access_token":"only","expires_in":600}"#));
    world.consent().await;
    assert_eq!(state(&world).await, AccountState::Connected);
    world.pass(Duration::from_mins(10));
    assert!(matches!(state(&world).await, AccountState::Ended(_)));

    let world = World::new().await;
    world.provider.says(tokens(r#"{"access_token":"a","refresh_token":"r","expires_in":600}"#));
    world.consent().await;
    world.pass(Duration::from_mins(100));
    assert_eq!(state(&world).await, AccountState::Connected, "it renews by itself");
}

#[tokio::test]
async fn what_is_revoked_is_forgotten_and_said_to_be() {
    let world = World::new().await;
    world.provider.says(tokens(r#"{"access_token":"first"}"#));
    world.consent().await;
    let broker = &world.app.broker;
    assert_eq!(broker.accounts().revoke(&ana(), "other", None).await.unwrap(), []);
    let ends = how(broker.accounts().revoke(&ana(), "acme", None).await.unwrap());
    assert_eq!(ends, [Disconnected::AtProvider(Revoked::NoWay)]);
    assert_eq!(broker.accounts().revoke(&ana(), "acme", None).await.unwrap(), []);
    world.prompt().await;
}

/// Restarts with a secret that is no longer set, or with another tools.toml.
#[tokio::test]
async fn what_this_tools_toml_cannot_use_is_still_forgotten_and_nobody_is_told_its_tokens() {
    let table = [
        ("client_id = \"us\"", "client_id = \"env:TEST_UNSET\""),
        ("client_id = \"us\"", "client_id = \"others\""),
        ("acme", "umbrella"),
    ];
    for (written, instead) in table {
        let world = World::new().await;
        world.provider.says(tokens(r#"{"access_token":"first","refresh_token":"r1"}"#));
        world.consent().await;
        let world = world.restarted(written, instead).await;
        let is_unset = instead.contains("UNSET");
        match state(&world).await {
            AccountState::NotSetUp(why) => assert!(is_unset && why.contains("UNSET"), "{why}"),
            AccountState::OtherConfiguration => assert!(!is_unset),
            other => panic!("{instead}: {other:?}"),
        }
        let sent = world.provider.requests().len();
        let ends = how(world.app.broker.accounts().revoke(&ana(), "acme", None).await.unwrap());
        match ends.as_slice() {
            [Disconnected::NotSetUp(_)] => assert!(is_unset),
            [Disconnected::OtherConfiguration] => assert!(!is_unset),
            other => panic!("{instead}: {other:?}"),
        }
        assert_eq!(world.provider.requests().len(), sent);
        assert!(world.app.broker.accounts().list(&ana()).await.unwrap().is_empty());
    }
}

/// The user wants the account gone: Countersign forgets it and reports what the provider did.
#[tokio::test]
async fn what_the_provider_does_not_end_is_forgotten_all_the_same() {
    let table: Vec<(fn() -> Act, Revoked)> = vec![
        (|| Act::Say(answer("200 OK", "", "")), Revoked::Yes),
        (|| Act::Say(answer("404 Not Found", "", "")), Revoked::Yes),
        (|| Act::Say(answer("500 Internal Server Error", "", "")), Revoked::Failed),
        (|| Act::Say(answer("302 Found", "Location: /login\r\n", "")), Revoked::Failed),
        (|| Act::SayAndClose(Vec::new()), Revoked::Failed),
        // Takes twenty seconds, in parallel with the other cases.
        (|| Act::Stall(Vec::new()), Revoked::Failed),
    ];
    join_all(table.into_iter().map(|(act, end)| async move {
        let world = World::new().await;
        world.prompt().await;
        let way =
            format!("loopback      = \"any-port\"\nrevoke_url = \"{}/revoke\"", world.origin());
        let world = world.restarted("loopback      = \"any-port\"", &way).await;
        world.provider.says(tokens(r#"{"access_token":"first","refresh_token":"r1"}"#));
        world.consent().await;
        world.provider.tokens(move |_| act());
        let ends = how(world.app.broker.accounts().revoke(&ana(), "acme", None).await.unwrap());
        assert_eq!(ends, [Disconnected::AtProvider(end)]);
        assert_eq!(world.provider.requests().pop().unwrap(), "token=r1&client_id=us");
        assert!(world.app.broker.accounts().list(&ana()).await.unwrap().is_empty());
        world.prompt().await;
    }))
    .await;
}
