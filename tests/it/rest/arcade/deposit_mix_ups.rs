//! `POST /v1/connections` with tokens of the wrong account, of another connection, or of one that was
//! ended: no consent is lost, none comes back, and none is attached to another user.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::deposits::{call, deposit, refusal, rotates};
use crate::rest::world::{Reply, World, key_of};
use crate::support::provider::{Act, answer as status, json as said};
use crate::support::wait_until_async;

/// An API that reads the account from the token: `of-ana-…`.
fn tells_accounts(world: &World) {
    world.provider.api(|request| {
        let Some((_, who)) = request.split_once("of-") else {
            return Act::Say(status("401 Unauthorized", "", ""));
        };
        let who = who.split(['\r', '-']).next().unwrap();
        Act::Say(said(json!({"sub": format!("id-{who}"), "email": who}).to_string()))
    });
    let spent = Mutex::new(HashSet::new());
    world.provider.tokens(move |body| {
        let sent = body.split("refresh_token=").nth(1).unwrap_or("refresh-bob");
        let who = sent.split('&').next().unwrap().trim_start_matches("refresh-").to_owned();
        // It takes each token once.
        if !spent.lock().insert(who.clone()) {
            return Act::Say(refusal("invalid_grant"));
        }
        let issued = json!({
            "access_token": format!("of-{who}-new"), "refresh_token": format!("next-{who}"),
            "expires_in": 3600,
        });
        Act::Say(said(issued.to_string()))
    });
}

/// The only connection in the list of the application.
async fn listed(world: &World) -> Value {
    let all = world.get(&key_of("app"), "/v1/admin/user_connections").await.ok();
    assert_eq!(all["total_count"], 1, "{all}");
    all["items"][0].clone()
}

async fn end(world: &World, of: &str) {
    let path = format!("/v1/admin/user_connections?{of}");
    world.send(Method::DELETE, &key_of("app"), &path, None, &[]).await.ok();
}

/// The account is the provider's word. A wrong `account` in a file must not cost the consents: the
/// provider has rotated their tokens, and the last ones are here only.
#[tokio::test]
async fn another_account_than_claimed_is_not_used_and_not_lost() {
    let world = World::for_many_with_userinfo().await;
    tells_accounts(&world);
    let claims = |more: Value| {
        let mut all = json!({"refresh_token": "refresh-eve", "account": "ana"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        deposit(&world, "app", all)
    };
    // Where an access token shows it, the refresh token is not sent.
    let refused = claims(json!({"access_token": "of-eve-old"})).await;
    assert!(refused.is_refused(422, "wrong_account").contains("another account: eve"));
    assert_eq!(world.provider.refreshes(), 0);
    // Without an access token only the renewed one shows it; so does one that lies.
    for more in [json!({}), json!({"access_token": "of-ana-old"})] {
        let refused = claims(more).await;
        assert!(refused.is_refused(422, "wrong_account").contains("nothing is lost"));
        assert_eq!(listed(&world).await["connection_status"], "inactive");
        call(&world, "app", "bob").await.is_refused(403, "tool_authorization_required");
    }
    let moved = claims(json!({"account": "id-eve"})).await.ok();
    assert_eq!(moved["provider_user_info"]["label"], "eve");
    assert_eq!(world.provider.refreshes(), 1);
    assert_eq!(call(&world, "app", "bob").await.ok()["success"], true);
    // The repeat of a kept deposit is compared, too.
    claims(json!({})).await.is_refused(422, "wrong_account");
}

/// A claim that cannot be compared is not taken as true.
#[tokio::test]
async fn an_account_that_the_provider_does_not_tell_is_not_confirmed() {
    let world = World::for_many().await;
    rotates(&world);
    for _ in 0..2 {
        let refused = deposit(&world, "app", json!({"account": "ana"})).await;
        let message = refused.is_refused(422, "wrong_account");
        assert!(message.contains("leave `account` out"), "{message}");
        call(&world, "app", "bob").await.is_refused(403, "tool_authorization_required");
    }
    deposit(&world, "app", json!({})).await.ok();
    assert_eq!(world.provider.refreshes(), 1);
    deposit(&world, "app", json!({"account": "ana"})).await.is_refused(422, "wrong_account");
}

/// An ended connection keeps its account until the user or an administrator has ended it.
#[tokio::test]
async fn the_place_of_another_account_is_not_taken() {
    let world = World::for_many_with_userinfo().await;
    tells_accounts(&world);
    deposit(&world, "app", json!({"refresh_token": "refresh-ana"})).await.ok();
    let of_eve = json!({"refresh_token": "refresh-eve", "access_token": "of-eve-old"});
    let refused = deposit(&world, "app", of_eve.clone()).await;
    assert!(refused.is_refused(409, "already_connected").contains("as ana"));
    world.pass(std::time::Duration::from_hours(2));
    world.provider.says(refusal("invalid_grant"));
    call(&world, "app", "bob").await.is_refused(403, "tool_authorization_required");
    tells_accounts(&world);
    let sent = world.provider.refreshes();
    for other in [of_eve.clone(), json!({"refresh_token": "refresh-ana2"})] {
        let refused = deposit(&world, "app", other).await;
        assert!(refused.is_refused(409, "already_connected").contains("end that connection first"));
    }
    assert_eq!(world.provider.refreshes(), sent);
    let same = json!({"refresh_token": "refresh-ana", "access_token": "of-ana-old"});
    deposit(&world, "app", same).await.is_refused(422, "dead_token");
    let same = json!({"refresh_token": "refresh-ana-3", "access_token": "of-ana-old"});
    deposit(&world, "app", same).await.ok();
}

/// The access token is of the account that was there, and the refresh token of another one.
#[tokio::test]
async fn a_refresh_token_of_another_account_does_not_take_an_ended_place() {
    let world = World::for_many_with_userinfo().await;
    tells_accounts(&world);
    deposit(&world, "app", json!({"refresh_token": "refresh-ana"})).await.ok();
    world.pass(Duration::from_hours(2));
    world.provider.says(refusal("invalid_grant"));
    call(&world, "app", "bob").await.is_refused(403, "tool_authorization_required");
    tells_accounts(&world);
    let mixed = json!({"refresh_token": "refresh-eve", "access_token": "of-ana-old"});
    for _ in 0..2 {
        let refused = deposit(&world, "app", mixed.clone()).await;
        assert!(refused.is_refused(409, "already_connected").contains("account ana"));
        call(&world, "app", "bob").await.is_refused(403, "tool_authorization_required");
    }
}

/// No act of the user stands behind a deposit, so it does not bring back what was ended, although the
/// provider still honours its tokens.
#[tokio::test]
async fn what_was_ended_is_not_moved_in_again() {
    let world = World::for_many().await;
    world.provider.tokens(|body| {
        let renewed = r#"{"access_token":"a","refresh_token":"refresh-1","expires_in":3600}"#;
        Act::Say(said(if body.contains("code=") { r#"{"access_token":"mine"}"# } else { renewed }))
    });
    deposit(&world, "app", json!({})).await.ok();
    end(&world, "user_id=bob&provider_id=acme").await;
    let sent = world.provider.refreshes();
    for again in [json!({}), json!({"refresh_token": "refresh-2"})] {
        let refused = deposit(&world, "app", again).await;
        assert!(refused.is_refused(403, "access_ended").contains("consent anew"));
    }
    assert_eq!(world.provider.refreshes(), sent);
    // The user can, at once; and what they end then stays ended as well.
    let asked = call(&world, "app", "bob").await.json;
    world.consent("app", "bob", asked["authorization"]["url"].as_str().unwrap()).await;
    assert_eq!(call(&world, "app", "bob").await.ok()["success"], true);
    end(&world, "user_id=bob&provider_id=acme").await;
    world.pass(Duration::from_hours(24));
    deposit(&world, "app", json!({})).await.is_refused(403, "access_ended");
    // An end does not last for ever, and is not another user's.
    deposit(&world, "app", json!({"user_id": "eve", "refresh_token": "r-eve"})).await.ok();
    world.pass(Duration::from_hours(30 * 24));
    deposit(&world, "app", json!({})).await.ok();
}

/// The only live refresh token is the one that came back, so no other deposit takes its place.
#[tokio::test]
async fn a_renewed_token_is_not_overwritten_before_its_account_is_known() {
    let world = World::for_many_with_userinfo().await;
    tells_accounts(&world);
    world.provider.api(|_| Act::Say(status("503 Service Unavailable", "", "")));
    let first = json!({"refresh_token": "refresh-ana", "account": "ana"});
    deposit(&world, "app", first).await.is_refused(503, "unavailable");
    assert_eq!(world.provider.refreshes(), 1);
    world.pass(Duration::from_mins(11));
    let other = json!({"refresh_token": "refresh-ana-other"});
    let refused = deposit(&world, "app", other.clone()).await;
    let message = refused.is_refused(409, "already_connected");
    assert!(message.contains("send the earlier one again"), "{message}");
    // Once the provider tells, the first one is completed.
    tells_accounts(&world);
    let refused = deposit(&world, "app", other).await;
    assert!(refused.is_refused(409, "already_connected").contains("as ana"));
    assert_eq!(call(&world, "app", "bob").await.ok()["success"], true);
    assert!(world.provider.calls().last().unwrap().contains("of-ana-new"));
}

/// Two rows of one token: the calls of one user would run in the account of the other, and a provider
/// that detects the reuse ends the consent.
#[tokio::test]
async fn a_token_is_moved_in_for_one_connection_only() {
    let world = World::for_many_with_accounts().await;
    rotates(&world);
    deposit(&world, "app", json!({})).await.ok();
    world.pass(Duration::from_hours(1));
    for more in [json!({"user_id": "eve"}), json!({"connection_id": "work"})] {
        let refused = deposit(&world, "app", more).await;
        let message = refused.is_refused(409, "already_connected");
        assert!(message.contains("moved in for another connection"), "{message}");
        assert!(!message.contains("bob"), "{message}");
    }
    assert_eq!(world.provider.refreshes(), 1);
    // Ended, it is free for the user whose it is, and not for another name of the same user.
    end(&world, "user_id=bob&provider_id=acme").await;
    deposit(&world, "app", json!({"connection_id": "work"}))
        .await
        .is_refused(409, "already_connected");
    let sent = deposit(&world, "app", json!({"user_id": "eve"})).await;
    sent.is_refused(422, "dead_token");
}

/// Two deposits of one token at the same time: one of them is sent.
#[tokio::test]
async fn of_two_deposits_of_one_token_at_once_one_is_sent() {
    let world = World::for_many().await;
    rotates(&world);
    let (bob, eve) = tokio::join!(
        deposit(&world, "app", json!({})),
        deposit(&world, "app", json!({"user_id": "eve"})),
    );
    let both = [bob.status.as_u16(), eve.status.as_u16()];
    assert!(both.contains(&201) && both.contains(&409), "{bob:?} {eve:?}");
    assert_eq!(world.provider.refreshes(), 1);
}

/// The access ends while the provider is asked whose the access token is: nothing is sent after that.
#[tokio::test]
async fn an_end_before_the_renewal_counts() {
    let world = World::for_many_with_userinfo().await;
    tells_accounts(&world);
    let (gate, asked) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (held, told) = (Arc::clone(&gate), Arc::clone(&asked));
    world.provider.api(move |_| {
        told.add_permits(1);
        Act::SayWhen(Arc::clone(&held), said(r#"{"sub":"id-ana","email":"ana"}"#))
    });
    let more = json!({
        "refresh_token": "refresh-ana", "access_token": "of-ana-old", "account": "ana",
    });
    let act = async {
        let is_asked = async || asked.available_permits() > 0;
        wait_until_async("the question whose account it is", is_asked).await;
        end(&world, "user_id=bob").await;
        gate.add_permits(1);
    };
    let refused: Reply = tokio::join!(deposit(&world, "app", more), act).0;
    refused.is_refused(403, "access_ended");
    assert_eq!(world.provider.refreshes(), 0);
    let all = world.get(&key_of("app"), "/v1/admin/user_connections").await.ok();
    assert_eq!(all["total_count"], 0, "{all}");
}

/// Some providers blame the client for the token of another one. One bad token must not keep all users
/// from being renewed.
#[tokio::test]
async fn a_deposit_that_the_provider_blames_on_the_client_stops_no_other_renewal() {
    let world = World::for_many().await;
    world.provider.tokens(|body| {
        if body.contains("refresh_token=bad") {
            return Act::Say(refusal("invalid_client"));
        }
        Act::Say(said(r#"{"access_token":"a","refresh_token":"next","expires_in":3600}"#))
    });
    deposit(&world, "app", json!({})).await.ok();
    world.pass(Duration::from_hours(2));
    let bad = json!({"user_id": "eve", "refresh_token": "bad"});
    let refused = deposit(&world, "app", bad).await;
    assert!(refused.is_refused(503, "unavailable").contains("client_secret"));
    assert_eq!(call(&world, "app", "bob").await.ok()["success"], true);
}

/// The last word of the depositor narrows what calls may do, and widens nothing.
#[tokio::test]
async fn a_repeated_deposit_narrows_what_calls_may_do() {
    let world = World::for_many().await;
    rotates(&world);
    let all = json!({"away": true, "scopes": ["notes:read", "notes:write"]});
    let moved = deposit(&world, "app", all.clone()).await.ok();
    assert_eq!((&moved["away"], &moved["scopes"]), (&json!(true), &all["scopes"]));
    let moved = deposit(&world, "app", json!({"away": false, "scopes": ["notes:read"]})).await;
    assert_eq!(moved.status.as_u16(), 200);
    for moved in [moved.ok(), deposit(&world, "app", all).await.ok()] {
        assert_eq!((&moved["away"], &moved["scopes"]), (&json!(false), &json!(["notes:read"])));
    }
    assert_eq!(world.provider.refreshes(), 1);
}
