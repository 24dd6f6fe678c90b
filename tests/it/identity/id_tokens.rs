//! Browsers that signed in: ID tokens (OpenID Connect Core §3.1.3.7) and userinfo.

use countersign::identity::{Claims, Denied, Issuer, TokenFault};
use countersign::model::secret::SecretString;
use serde_json::{Value, json};

use super::signing::with;
use super::world::World;
use crate::support::provider::json as said;

const NONCE: &str = "nonce-of-this-browser";

/// A valid ID token with these changes.
fn id_token(world: &World, more: &Value) -> SecretString {
    let usual = with(world.claims(), &json!({"aud": "us", "nonce": NONCE}));
    world.key.sign(&json!({"alg": "ES256", "kid": "k1", "typ": "JWT"}), &with(usual, more)).into()
}

fn issuer(world: &World) -> &Issuer {
    world.authenticator.issuer().unwrap()
}

async fn verify(world: &World, token: SecretString) -> Result<Claims, Denied> {
    issuer(world).verify_id_token(&token, "us", &NONCE.into()).await
}

#[tokio::test]
async fn a_browser_and_a_bearer_are_the_same_person() {
    let world = World::new().await;
    let bearer = world.accepted(&world.token(&json!({}), &json!({"groups": ["eng"]}))).await;
    let claims = verify(&world, id_token(&world, &json!({"groups": ["eng"]}))).await.unwrap();
    let person = issuer(&world).person(&claims).unwrap();
    assert_eq!((person.caller, person.groups), (bearer.caller.clone(), bearer.groups.clone()));
}

#[tokio::test]
async fn what_an_id_token_must_claim() {
    let world = World::new().await;
    let now = world.seconds();
    let cases = [
        (json!({"iss": "https://other.example"}), TokenFault::Issuer),
        (json!({"aud": "others"}), TokenFault::Client),
        (json!({"aud": ["us", "others"]}), TokenFault::Client),
        (json!({"aud": ["us", "others"], "azp": "others"}), TokenFault::Client),
        (json!({"azp": "others"}), TokenFault::Client),
        (json!({"azp": 1}), TokenFault::Client),
        (json!({"exp": null}), TokenFault::Claim("exp")),
        (json!({"exp": now - 61}), TokenFault::Expired),
        (json!({"iat": null}), TokenFault::Claim("iat")),
        (json!({"iat": now + 61}), TokenFault::TooEarly),
        (json!({"sub": null}), TokenFault::Claim("sub")),
        (json!({"nonce": null}), TokenFault::Nonce),
        (json!({"nonce": "nonce-of-another-browser"}), TokenFault::Nonce),
    ];
    for (more, fault) in cases {
        match verify(&world, id_token(&world, &more)).await {
            Err(Denied::InvalidToken(found)) => assert_eq!(found, fault, "{more}"),
            other => panic!("{more}: {other:?}"),
        }
    }
    for more in [json!({"aud": ["us", "others"], "azp": "us"}), json!({"aud": ["us"]})] {
        verify(&world, id_token(&world, &more)).await.unwrap();
    }
}

/// faults.md 72: unsigned, with another algorithm, signed by another party, or not an ID token at
/// all.
#[tokio::test]
async fn what_is_no_id_token_of_the_issuer_is_refused() {
    let world = World::new().await;
    let claims = with(world.claims(), &json!({"aud": "us", "nonce": NONCE}));
    let other = super::signing::Key::p256();
    let unsigned = {
        use super::signing::encode;
        format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(claims.to_string()))
    };
    let cases = [
        (unsigned, TokenFault::Algorithm),
        (other.sign(&json!({"alg": "ES256", "kid": "k1"}), &claims), TokenFault::Signature),
        (
            world.key.sign(&json!({"alg": "ES256", "kid": "k1", "typ": "at+jwt"}), &claims),
            TokenFault::NotIdentity,
        ),
        ("opaque".to_owned(), TokenFault::NotSigned),
        (String::new(), TokenFault::NotSigned),
    ];
    for (token, fault) in cases {
        let found = verify(&world, token.into()).await;
        assert!(
            matches!(found, Err(Denied::InvalidToken(found)) if found == fault),
            "{fault:?}: {found:?}"
        );
    }
}

#[tokio::test]
async fn userinfo_names_whom_the_id_token_does_not() {
    let world = World::of(|issuer| issuer.user_claim = "preferred_username".into()).await;
    let claims = verify(&world, id_token(&world, &json!({}))).await.unwrap();
    assert_eq!(issuer(&world).person(&claims), Err(TokenFault::NoPerson));
    let says = |answer: Value| world.answers.lock().unwrap().userinfo = said(answer.to_string());
    says(json!({"sub": "ana", "preferred_username": "ana.b"}));
    let access: SecretString = "access-canary".into();
    let more = issuer(&world).userinfo(&access, &claims).await.unwrap();
    assert_eq!(issuer(&world).person(&more).unwrap().caller.user.as_str(), "ana.b");
    let request = world.server.requests().pop().unwrap();
    assert!(request.to_lowercase().contains("authorization: bearer access-canary"));
    // The userinfo of another user.
    for sub in [json!("bob"), Value::Null] {
        says(with(json!({"preferred_username": "ana.b"}), &json!({"sub": sub})));
        let found = issuer(&world).userinfo(&access, &claims).await;
        assert!(matches!(found, Err(Denied::InvalidToken(TokenFault::NoPerson))), "{found:?}");
    }
}

/// The access token goes only to the issuer that the operator configured.
#[tokio::test]
async fn userinfo_elsewhere_is_not_asked() {
    let (world, elsewhere) = (World::new().await, World::new().await);
    let url = elsewhere.server.origin.replacen("http", "https", 1) + "/userinfo";
    world.answers.lock().unwrap().metadata = json!({"userinfo_endpoint": url});
    let claims = verify(&world, id_token(&world, &json!({}))).await.unwrap();
    let found = issuer(&world).userinfo(&"access-canary".into(), &claims).await;
    assert!(matches!(found, Err(Denied::InvalidToken(TokenFault::NoPerson))), "{found:?}");
    assert_eq!(elsewhere.server.connections(), 0);
}

#[tokio::test]
async fn our_registration_is_what_a_code_is_exchanged_with() {
    let world = World::new().await;
    let client = issuer(&world).registration().await.unwrap();
    assert_eq!((client.client_id.as_str(), client.learnt), ("us", false));
    assert_eq!(client.token_endpoint.path(), "/token");
    let metadata = issuer(&world).metadata().await.unwrap();
    assert_eq!(metadata.authorization_endpoint.unwrap().path(), "/authorize");
    let world = World::of(|issuer| issuer.client = None).await;
    assert!(matches!(issuer(&world).registration().await, Err(Denied::Unavailable(_))));
}
