//! Access tokens that only the issuer can read (RFC 7662).

use std::time::Duration;

use base64::Engine as _;
use countersign::identity::{Denied, IssuerError, TokenFault};
use serde_json::{Value, json};

use super::signing::with;
use super::world::{RESOURCE, World};
use crate::server::{answer, json as said};

const TOKEN: &str = "opaque-canary-token";

async fn asking() -> World {
    let world = World::of(|issuer| issuer.introspect = true).await;
    says(&world, &json!({}));
    world
}

/// A good answer but for some fields.
fn says(world: &World, more: &Value) {
    let good = json!({"active": true, "sub": "ana", "aud": [RESOURCE], "groups": ["eng"]});
    world.answers.lock().unwrap().introspection = said(with(good, more).to_string());
}

#[tokio::test]
async fn the_issuer_says_who_calls() {
    let world = asking().await;
    let ana = world.accepted(TOKEN).await;
    assert_eq!((ana.caller.user.as_str(), ana.groups.len()), ("ana", 1));
    assert_eq!(ana.caller.namespace, world.server.origin);
    let request = world.server.requests().pop().unwrap();
    let basic = base64::engine::general_purpose::STANDARD.encode("us:our-secret");
    assert!(request.contains(&format!("Basic {basic}")), "{request}");
    assert!(request.ends_with(&format!("token={TOKEN}&token_type_hint=access_token")), "{request}");
}

#[tokio::test]
async fn an_answer_is_good_for_a_minute_at_most() {
    let world = asking().await;
    world.accepted(TOKEN).await;
    says(&world, &json!({"active": false}));
    world.pass(Duration::from_secs(59));
    world.accepted(TOKEN).await;
    assert_eq!(world.asked("/introspect"), 1);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.fault(TOKEN).await, TokenFault::Inactive);
    // And no longer than the token.
    says(&world, &json!({"exp": world.seconds() + 10}));
    world.accepted(TOKEN).await;
    says(&world, &json!({"active": false}));
    world.pass(Duration::from_secs(11));
    assert_eq!(world.fault(TOKEN).await, TokenFault::Inactive);
}

#[tokio::test]
async fn what_an_answer_must_say() {
    let world = asking().await;
    let now = world.seconds();
    let cases = [
        (json!({"active": false}), TokenFault::Inactive),
        (json!({"active": null}), TokenFault::Inactive),
        (json!({"active": "true"}), TokenFault::Inactive),
        (json!({"aud": null}), TokenFault::Audience),
        (json!({"aud": "https://other.example"}), TokenFault::Audience),
        (json!({"iss": "https://other.example"}), TokenFault::Issuer),
        (json!({"sub": null}), TokenFault::Claim("sub")),
        (json!({"exp": now - 61}), TokenFault::Expired),
        (json!({"nbf": now + 61}), TokenFault::TooEarly),
        (json!({"token_type": "refresh_token"}), TokenFault::NotAccess),
        (json!({"token_type": "DPoP"}), TokenFault::NotAccess),
        (json!({"cnf": {"x5t#S256": "x"}}), TokenFault::Bound),
    ];
    for (more, fault) in cases {
        says(&world, &more);
        assert_eq!(world.fault(TOKEN).await, fault, "{more}");
    }
    says(&world, &json!({"iss": world.server.origin, "token_type": "Bearer", "exp": now + 60}));
    world.accepted(TOKEN).await;
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_not_the_client_s_fault() {
    let world = asking().await;
    for fault in [
        answer("401 Unauthorized", "", ""),
        answer("500 Internal Server Error", "", ""),
        said("<html>"),
        said("[]"),
    ] {
        world.answers.lock().unwrap().introspection = fault;
        match world.present(TOKEN).await {
            Err(Denied::Unavailable(error)) => {
                assert!(matches!(*error, IssuerError::Introspection(_)), "{error}");
                assert!(!format!("{error} {error:?}").contains("canary"));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Neither our secret nor the token goes anywhere else than where the token endpoint stands.
#[tokio::test]
async fn an_endpoint_elsewhere_is_not_asked() {
    let (world, elsewhere) = (asking().await, World::new().await);
    // Over https, or the document is refused as a whole.
    let url = elsewhere.server.origin.replacen("http", "https", 1) + "/introspect";
    world.answers.lock().unwrap().metadata = json!({"introspection_endpoint": url});
    match world.present(TOKEN).await {
        Err(Denied::Unavailable(error)) => {
            assert!(matches!(*error, IssuerError::NoEndpoint(_)), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(elsewhere.server.connections(), 0);
}

#[tokio::test]
async fn it_is_asked_only_where_that_is_written_and_never_about_a_jwt() {
    let world = World::new().await;
    says(&world, &json!({}));
    assert_eq!(world.fault(TOKEN).await, TokenFault::Opaque);
    assert_eq!(world.server.requests().len(), 0);
    let world = asking().await;
    let foreign =
        super::signing::Key::p256().sign(&json!({"alg": "ES256", "kid": "k1"}), &world.claims());
    assert_eq!(world.fault(&foreign).await, TokenFault::Signature);
    assert_eq!(world.asked("/introspect"), 0);
}
