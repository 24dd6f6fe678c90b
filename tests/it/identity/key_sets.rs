//! The issuer's keys: unavailable, slow to change or false, and fetched no more often than needed
//! (faults.md 87).

use std::time::Duration;

use countersign::identity::{Denied, IssuerError, TokenFault};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::signing::{Key, with};
use super::world::{FROM, World, bearer};
use crate::support::provider::{answer, json as said};

const JWKS: &str = "/jwks";

async fn unavailable(world: &World, token: &str) -> std::sync::Arc<IssuerError> {
    match world.present(token).await {
        Err(Denied::Unavailable(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_issuer_that_is_down_lets_nobody_in_and_mends_itself() {
    let world = World::new().await;
    let token = world.token(&json!({}), &json!({}));
    world.answers.lock().unwrap().is_down = true;
    let error = unavailable(&world, &token).await;
    assert!(!error.hint().is_empty());
    assert_eq!(Denied::Unavailable(error).challenge(None), None);
    // For a moment the server does not even ask it.
    let before = world.server.requests().len();
    unavailable(&world, &token).await;
    assert_eq!(world.server.requests().len(), before);
    world.answers.lock().unwrap().is_down = false;
    world.pass(Duration::from_secs(6));
    world.accepted(&token).await;
}

#[tokio::test]
async fn many_at_the_first_start_ask_once() {
    let world = World::new().await;
    let token = world.token(&json!({}), &json!({}));
    let all = join_all((0..100).map(|_| world.present(&token))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(world.asked(JWKS), 1);
}

/// At the start, the first call triggers the fetch; the others arrive while it runs.
#[tokio::test]
async fn callers_who_come_while_the_issuer_is_asked_wait_for_its_answer() {
    let world = World::new().await;
    let permits = world.hold_back();
    let token = world.token(&json!({}), &json!({}));
    let mut first = Box::pin(world.present(&token));
    assert!(futures_util::poll!(&mut first).is_pending());
    world.server.has_got(1).await;
    let mut others = Box::pin(join_all((0..20).map(|_| world.present(&token))));
    assert!(futures_util::poll!(&mut others).is_pending());
    permits.add_permits(1);
    assert!(first.await.is_ok());
    for other in others.await {
        assert!(other.is_ok(), "{other:?}");
    }
    assert_eq!(world.asked(JWKS), 1);
}

/// Clients discard their tokens on 401 `invalid_token`.
#[tokio::test]
async fn callers_who_come_while_new_keys_are_fetched_wait_for_them() {
    let world = World::new().await;
    world.accepted(&world.token(&json!({}), &json!({}))).await;
    let before = world.server.requests().len();
    world.pass(Duration::from_secs(11));
    let new = Key::p256();
    world.publish(&[new.named("k2")]);
    let permits = world.hold_back();
    let token = new.sign(&json!({"alg": "ES256", "kid": "k2"}), &world.claims());
    let mut first = Box::pin(world.present(&token));
    assert!(futures_util::poll!(&mut first).is_pending());
    world.server.has_got(before + 1).await;
    let mut others = Box::pin(join_all((0..12).map(|_| world.present(&token))));
    assert!(futures_util::poll!(&mut others).is_pending());
    permits.add_permits(1);
    assert!(first.await.is_ok());
    for other in others.await {
        assert!(other.is_ok(), "{other:?}");
    }
    assert_eq!(world.asked(JWKS), 2);
}

/// Whether the key is new is unknown then, so the token is not called invalid.
#[tokio::test]
async fn a_key_that_is_not_found_while_the_issuer_is_down_is_no_fault_of_the_token() {
    let world = World::new().await;
    world.accepted(&world.token(&json!({}), &json!({}))).await;
    world.answers.lock().unwrap().is_down = true;
    world.pass(Duration::from_secs(11));
    let new = Key::p256().sign(&json!({"alg": "ES256", "kid": "k2"}), &world.claims());
    unavailable(&world, &new).await;
    world.accepted(&world.token(&json!({}), &json!({"sub": "ben"}))).await;
}

/// A client that sends the first token and hangs up does not leave the others without keys.
#[tokio::test]
async fn a_question_outlives_whoever_caused_it() {
    let world = World::new().await;
    let token = world.token(&json!({}), &json!({}));
    let (headers, mut asking) = (bearer(&token), Box::pin(world.present(&token)));
    assert!(futures_util::poll!(&mut asking).is_pending());
    drop(asking);
    let ana = world.authenticator.authenticate(&headers, FROM).await;
    assert!(ana.is_ok(), "{ana:?}");
    assert_eq!(world.asked(JWKS), 1);
}

#[tokio::test]
async fn a_thousand_invented_keys_make_no_storm() {
    let world = World::new().await;
    world.accepted(&world.token(&json!({}), &json!({}))).await;
    world.pass(Duration::from_secs(61));
    let invented = |number: usize| world.token(&json!({"kid": format!("k-{number}")}), &json!({}));
    let tokens: Vec<String> = (0..1000).map(invented).collect();
    for part in tokens.chunks(250) {
        for denied in join_all(part.iter().map(|token| world.present(token))).await {
            assert!(matches!(denied, Err(Denied::InvalidToken(TokenFault::Signature))));
        }
    }
    assert_eq!(world.asked(JWKS), 2);
}

#[tokio::test]
async fn a_new_key_is_found_within_a_minute() {
    let world = World::new().await;
    world.accepted(&world.token(&json!({}), &json!({}))).await;
    let new = Key::ed25519();
    world.publish(&[world.key.named("k1"), new.named("k2")]);
    world.pass(Duration::from_secs(61));
    let token = new.sign(&json!({"alg": "EdDSA", "kid": "k2"}), &world.claims());
    world.accepted(&token).await;
    world.accepted(&world.token(&json!({}), &json!({"sub": "bob"}))).await;
    assert_eq!(world.asked(JWKS), 2);
}

/// Some issuers keep a key's name and change the key.
#[tokio::test]
async fn a_key_that_was_exchanged_under_its_name_is_found_too() {
    let world = World::new().await;
    world.accepted(&world.token(&json!({}), &json!({}))).await;
    let new = Key::p256();
    world.publish(&[new.named("k1")]);
    world.pass(Duration::from_secs(61));
    world.accepted(&new.sign(&json!({"alg": "ES256", "kid": "k1"}), &world.claims())).await;
    let old = world.token(&json!({}), &json!({"sub": "bob"}));
    assert_eq!(world.fault(&old).await, TokenFault::Signature);
}

#[tokio::test]
async fn several_keys_of_one_name_are_each_tried() {
    let world = World::new().await;
    world.publish(&[Key::p256().named("k1"), Key::rsa().named("k1"), world.key.named("k1")]);
    world.accepted(&world.token(&json!({}), &json!({}))).await;
}

#[tokio::test]
async fn old_keys_go_on_for_a_day_while_the_issuer_is_down() {
    let world = World::new().await;
    world.accepted(&world.token(&json!({}), &json!({}))).await;
    world.answers.lock().unwrap().is_down = true;
    for _ in 0..23 {
        world.pass(Duration::from_hours(1));
        world.accepted(&world.token(&json!({}), &json!({}))).await;
    }
    world.pass(Duration::from_mins(61));
    unavailable(&world, &world.token(&json!({}), &json!({}))).await;
    world.answers.lock().unwrap().is_down = false;
    world.pass(Duration::from_secs(6));
    world.accepted(&world.token(&json!({}), &json!({}))).await;
}

/// An issuer that is known to be in trouble keeps no caller waiting.
#[tokio::test]
async fn nobody_waits_for_an_issuer_that_failed_a_moment_ago() {
    let world = World::new().await;
    world.accepted(&world.token(&json!({}), &json!({}))).await;
    world.answers.lock().unwrap().is_down = true;
    world.pass(Duration::from_mins(16));
    world.accepted(&world.token(&json!({}), &json!({}))).await;
    world.pass(Duration::from_mins(2));
    let token = world.token(&json!({}), &json!({}));
    let asked = world.server.requests().len();
    let mut presented = std::pin::pin!(world.present(&token));
    assert!(matches!(futures_util::poll!(&mut presented), std::task::Poll::Ready(Ok(_))));
    assert_eq!(world.server.requests().len(), asked);
}

/// A key that the issuer withdrew is refused once the set is old, whether or not it was in use
/// since.
#[tokio::test]
async fn a_key_that_was_taken_back_is_no_longer_good() {
    let world = World::new().await;
    world.accepted(&world.token(&json!({}), &json!({}))).await;
    world.publish(&[Key::p256().named("k2")]);
    world.pass(Duration::from_mins(16));
    let token = world.token(&json!({}), &json!({}));
    assert_eq!(world.fault(&token).await, TokenFault::Signature);
}

#[tokio::test]
async fn a_key_set_that_is_none_lets_nobody_in() {
    let many: Vec<Value> = (0..101).map(|_| json!({"kty": "oct"})).collect();
    let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300 * 1024));
    let faults = [
        answer("500 Internal Server Error", "", ""),
        answer("302 Found", "Location: /jwks2\r\n", ""),
        said("<html>"),
        said("[]"),
        said("{\"keys\": {}}"),
        said(json!({ "keys": many }).to_string()),
        said(large),
    ];
    for fault in faults {
        let world = World::new().await;
        world.answers.lock().unwrap().keys = fault;
        unavailable(&world, &world.token(&json!({}), &json!({}))).await;
    }
}

/// Tomorrow's key, or a mistaken entry, must not disable today's key.
#[tokio::test]
async fn keys_that_are_not_understood_are_passed_over() {
    let world = World::new().await;
    let odd = |more: Value| with(world.key.named("k1"), &more);
    world.publish(&[
        json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "k1", "pub": "x"}),
        json!({"kty": "oct", "kid": "k1", "k": "c2VjcmV0"}),
        json!({"kty": 1}),
        json!("k1"),
        odd(json!({"x": "AA"})),
        odd(json!({"y": "!"})),
        odd(json!({"crv": "P-521"})),
        world.key.named("k1"),
    ]);
    world.accepted(&world.token(&json!({}), &json!({}))).await;
}

#[tokio::test]
async fn a_document_that_speaks_for_another_issuer_is_not_believed() {
    let world = World::new().await;
    world.answers.lock().unwrap().metadata = json!({"issuer": "https://other.example"});
    let error = unavailable(&world, &world.token(&json!({}), &json!({}))).await;
    assert!(matches!(*error, IssuerError::Discovery(_)), "{error}");
}

/// A URL that the document names on another origin is untrusted: https and public addresses only.
#[tokio::test]
async fn keys_elsewhere_are_not_fetched_from_this_machine() {
    let world = World::new().await;
    let elsewhere = World::new().await;
    let token = world.token(&json!({}), &json!({}));
    for scheme in ["http", "https"] {
        let origin = elsewhere.server.origin.replacen("http", scheme, 1);
        world.answers.lock().unwrap().metadata = json!({"jwks_uri": format!("{origin}/jwks")});
        unavailable(&world, &token).await;
        world.pass(Duration::from_secs(6));
    }
    assert_eq!(elsewhere.server.connections(), 0);
}
