//! Access tokens that only the issuer can read (RFC 7662).

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use countersign::identity::{Denied, IssuerError, TokenFault};
use serde_json::{Value, json};

use super::signing::with;
use super::world::{RESOURCE, World, bearer};
use crate::support::provider::{answer, json as said};

const TOKEN: &str = "opaque-canary-token";

async fn asking() -> World {
    let world = World::of(|issuer| issuer.introspect = true).await;
    says(&world, &json!({}));
    world
}

/// Makes the issuer send a valid answer with these changes.
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
    world.pass(Duration::from_secs(10));
    // An answer is valid no longer than the token.
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
        (json!({"aud": null}), TokenFault::NoAudience),
        (json!({"aud": "https://other.example"}), TokenFault::Audience),
        (json!({"iss": "https://other.example"}), TokenFault::Issuer),
        (json!({"sub": null}), TokenFault::Claim("sub")),
        (json!({"exp": now - 61}), TokenFault::Expired),
        (json!({"nbf": now + 600}), TokenFault::TooEarly),
        (json!({"token_type": "refresh_token"}), TokenFault::NotAccess),
        (json!({"token_type": "DPoP"}), TokenFault::NotAccess),
        // Keycloak reports `Bearer` for these, too.
        (json!({"token_type": "Bearer", "typ": "Refresh"}), TokenFault::NotAccess),
        (json!({"typ": "Offline"}), TokenFault::NotAccess),
        (json!({"typ": "ID"}), TokenFault::NotAccess),
        (json!({"typ": "id_token"}), TokenFault::NotAccess),
        (json!({"token_use": "id"}), TokenFault::NotAccess),
        (json!({"nonce": "x"}), TokenFault::NotAccess),
        (json!({"cnf": {"x5t#S256": "x"}}), TokenFault::Bound),
    ];
    for (more, fault) in cases {
        says(&world, &more);
        // A refused token is not asked about again for some seconds.
        world.pass(Duration::from_secs(11));
        assert_eq!(world.fault(TOKEN).await, fault, "{more}");
    }
    world.pass(Duration::from_mins(1));
    let now = world.seconds();
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

/// Our secret and the token go only where the token endpoint is.
#[tokio::test]
async fn an_endpoint_elsewhere_is_not_asked() {
    let (world, elsewhere) = (asking().await, World::new().await);
    // Over https, because otherwise the document is refused as a whole.
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

/// The operator weighs one request per call against how late a revocation is noticed.
#[tokio::test]
async fn the_operator_says_how_long_an_answer_is_believed() {
    for (seconds, asked) in [(0, 3), (5, 2), (600, 1)] {
        let world = World::of(|issuer| {
            issuer.introspect = true;
            issuer.introspection_cache = Duration::from_secs(seconds);
        })
        .await;
        says(&world, &json!({}));
        world.accepted(TOKEN).await;
        world.accepted(TOKEN).await;
        world.pass(Duration::from_secs(6));
        world.accepted(TOKEN).await;
        assert_eq!(world.asked("/introspect"), asked, "{seconds}");
    }
}

#[tokio::test]
async fn a_token_that_was_refused_is_not_asked_about_again_at_once() {
    let world = asking().await;
    says(&world, &json!({"active": false}));
    for _ in 0..150 {
        assert_eq!(world.fault(TOKEN).await, TokenFault::Inactive);
    }
    assert_eq!(world.asked("/introspect"), 1);
    // The issuer's replicas may learn of a new token a moment later.
    says(&world, &json!({}));
    world.pass(Duration::from_secs(11));
    world.accepted(TOKEN).await;
}

async fn from(world: &World, address: &str, token: &str) -> Result<(), Denied> {
    let address: IpAddr = address.parse().unwrap();
    world.authenticator.authenticate(&bearer(token), address).await.map(|_| ())
}

#[tokio::test]
async fn invented_tokens_of_one_address_cost_the_issuer_no_more_than_a_few_questions() {
    let world = asking().await;
    says(&world, &json!({"active": false}));
    let mut refused = 0;
    for number in 0..150 {
        let denied = from(&world, "192.0.2.66", &format!("invented-{number}")).await.unwrap_err();
        refused += usize::from(matches!(denied, Denied::TooManyFailures));
    }
    assert_eq!((world.asked("/introspect"), refused), (20, 130));
    assert_eq!(Denied::TooManyFailures.status(), 429);
    // Other addresses are not affected, and this address is served again after a minute.
    says(&world, &json!({}));
    from(&world, "192.0.2.1", "good").await.unwrap();
    assert!(from(&world, "192.0.2.66", "better").await.is_err());
    // A token that is known to be good needs no request.
    from(&world, "192.0.2.66", "good").await.unwrap();
    world.pass(Duration::from_mins(1));
    from(&world, "192.0.2.66", "better").await.unwrap();
}

/// With a slow issuer, the requests of one address wait for each other, and no other address waits
/// for them.
#[tokio::test]
async fn one_address_does_not_take_every_turn() {
    let world = asking().await;
    // The endpoints are known before the issuer becomes slow.
    from(&world, "192.0.2.1", "first").await.unwrap();
    let permits = world.hold_back();
    let before = world.server.requests().len();
    let invented: Vec<String> = (0..60).map(|number| format!("invented-{number}")).collect();
    let flood = futures_util::future::join_all(
        invented.iter().map(|token| from(&world, "192.0.2.66", token)),
    );
    let (mut flood, mut honest) = (Box::pin(flood), Box::pin(from(&world, "192.0.2.1", "honest")));
    assert!(futures_util::poll!(&mut flood).is_pending());
    // Eight requests of the one address, and the one of the other.
    tokio::select! {
        _ = &mut flood => panic!("nothing is answered yet"),
        _ = &mut honest => panic!("nothing is answered yet"),
        () = world.server.has_got(before + 9) => {}
    }
    permits.add_permits(1);
    let (honest, _) = tokio::join!(honest, flood);
    honest.unwrap();
}
