//! Access tokens that are JWTs: which are accepted, and each way of forging or misusing one.

use std::time::Duration;

use countersign::identity::{Denied, TokenFault};
use countersign::model::principal::{BrowserProof, NoBrowserProof};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::signing::{Key, encode, with};
use super::world::{FROM, RESOURCE, World};

#[tokio::test]
async fn a_token_of_the_issuer_says_who_calls() {
    let world = World::new().await;
    let token = world.token(&json!({}), &json!({"groups": ["eng", 7, "on-call"]}));
    let ana = world.accepted(&token).await;
    assert_eq!(ana.caller.namespace, world.server.origin);
    assert_eq!(ana.caller.user.as_str(), "ana");
    assert_eq!(ana.groups.iter().collect::<Vec<_>>(), ["eng", "on-call"]);
    assert_eq!(ana.browser_proof, Ok(BrowserProof::SignedIn));
    let one = world.token(&json!({}), &json!({"groups": "eng ops"}));
    assert_eq!(world.accepted(&one).await.groups.iter().collect::<Vec<_>>(), ["eng ops"]);
    let none = world.token(&json!({}), &json!({"groups": {"eng": true}}));
    assert!(world.accepted(&none).await.groups.is_empty());
}

#[tokio::test]
async fn without_a_registration_no_browser_can_be_known() {
    let world = World::of(|issuer| issuer.client = None).await;
    let ana = world.accepted(&world.token(&json!({}), &json!({}))).await;
    assert_eq!(ana.browser_proof, Err(NoBrowserProof::NoClientId));
}

#[tokio::test]
async fn every_algorithm_of_every_kind_of_key_is_taken() {
    let world = World::new().await;
    let (rsa, p384, ed) = (Key::rsa(), Key::p384(), Key::ed25519());
    world.publish(&[rsa.named("rsa"), p384.named("p384"), ed.named("ed")]);
    for (key, id, algorithms) in [
        (&rsa, "rsa", &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..]),
        (&p384, "p384", &["ES384"]),
        (&ed, "ed", &["EdDSA", "Ed25519"]),
    ] {
        for algorithm in algorithms {
            let token = key.sign(&json!({"alg": algorithm, "kid": id}), &world.claims());
            assert_eq!(world.accepted(&token).await.caller.user.as_str(), "ana", "{algorithm}");
        }
    }
}

/// faults.md 86: an attacker without the issuer's key signs by any means at hand.
#[tokio::test]
async fn a_token_that_the_issuer_did_not_sign_is_refused() {
    let world = World::new().await;
    let rsa = Key::rsa();
    world.publish(&[world.key.named("k1"), rsa.named("rsa")]);
    let claims = world.claims();

    for none in ["none", "None", "nOnE", ""] {
        let head = encode(json!({"alg": none, "kid": "k1"}).to_string());
        let token = format!("{head}.{}.", encode(claims.to_string()));
        assert_eq!(world.fault(&token).await, TokenFault::Algorithm, "{none}");
    }
    // The public key as the secret of a MAC, in two notations.
    let jwk = rsa.jwk();
    for secret in [jwk["n"].as_str().unwrap().to_owned(), jwk.to_string()] {
        for algorithm in ["HS256", "HS384", "HS512"] {
            let head = encode(json!({"alg": algorithm, "kid": "rsa"}).to_string());
            let signed = format!("{head}.{}", encode(claims.to_string()));
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
            mac.update(signed.as_bytes());
            let token = format!("{signed}.{}", encode(mac.finalize().into_bytes()));
            assert_eq!(world.fault(&token).await, TokenFault::Algorithm);
        }
    }
    // The attacker's own key, with the name of the issuer's key and included in the header.
    let own = Key::p256();
    let brought = json!({"alg": "ES256", "kid": "k1", "jwk": own.jwk(),
        "jku": format!("{}/own", world.server.origin), "x5u": format!("{}/own", world.server.origin)});
    assert_eq!(world.fault(&own.sign(&brought, &claims)).await, TokenFault::Signature);
    assert_eq!(world.asked("/own"), 0);
    // The signature of another token.
    let good = world.token(&json!({}), &json!({}));
    let (_, signature) = good.rsplit_once('.').unwrap();
    let head = encode(json!({"alg": "ES256", "kid": "k1"}).to_string());
    let bob = encode(with(claims.clone(), &json!({"sub": "bob"})).to_string());
    assert_eq!(world.fault(&format!("{head}.{bob}.{signature}")).await, TokenFault::Signature);
    assert_eq!(world.fault(&format!("{head}.{bob}.")).await, TokenFault::Signature);
    assert_eq!(world.fault(&format!("{head}.{bob}.!")).await, TokenFault::NotSigned);
}

/// A key is used only for its purpose, regardless of a token's header.
#[tokio::test]
async fn a_key_is_used_by_its_own_algorithm_only() {
    let world = World::new().await;
    let rsa = Key::rsa();
    let signed =
        |algorithm: &str| rsa.sign(&json!({"alg": algorithm, "kid": "rsa"}), &world.claims());
    world.publish(&[with(rsa.named("rsa"), &json!({"alg": "PS256"}))]);
    assert_eq!(world.fault(&signed("RS256")).await, TokenFault::Signature);
    assert_eq!(world.fault(&signed("ES256")).await, TokenFault::Signature);
    world.accepted(&signed("PS256")).await;
}

#[tokio::test]
async fn a_key_for_something_else_checks_no_signature() {
    for other in [json!({"use": "enc"}), json!({"key_ops": ["encrypt"]}), json!({"alg": "ECDH-ES"})]
    {
        let world = World::new().await;
        world.publish(&[with(world.key.named("k1"), &other)]);
        let token = world.token(&json!({}), &json!({}));
        assert_eq!(world.fault(&token).await, TokenFault::Signature, "{other}");
    }
    let world = World::new().await;
    world.publish(&[with(world.key.named("k1"), &json!({"use": "sig", "key_ops": ["verify"]}))]);
    world.accepted(&world.token(&json!({}), &json!({}))).await;
}

#[tokio::test]
async fn an_extension_that_must_be_understood_is_not() {
    let world = World::new().await;
    for critical in [json!(["b64"]), json!([]), json!("exp")] {
        let token = world.token(&json!({"crit": critical, "b64": false}), &json!({}));
        assert_eq!(world.fault(&token).await, TokenFault::Critical);
    }
}

/// The name of a key is compared and used for nothing else.
#[tokio::test]
async fn a_key_s_name_is_no_path_and_no_query() {
    let world = World::new().await;
    for id in ["k2", "../../jwks", "' OR 1=1 --", "http://evil.example/k1", "K1", "k1 ", ""] {
        let token = world.token(&json!({"kid": id}), &json!({}));
        assert_eq!(world.fault(&token).await, TokenFault::Signature, "{id}");
    }
    assert_eq!(world.server.requests().len(), 2, "{:?}", world.server.requests());
}

#[tokio::test]
async fn a_token_that_names_no_key_is_checked_only_where_there_is_no_choice() {
    let world = World::new().await;
    let nameless = world.token(&json!({"kid": null}), &json!({}));
    world.publish(&[world.key.named("k1"), Key::p384().named("k2")]);
    world.accepted(&nameless).await;
    let world = World::new().await;
    let nameless = world.token(&json!({"kid": null}), &json!({}));
    world.publish(&[world.key.named("k1"), Key::p256().named("k2")]);
    assert_eq!(world.fault(&nameless).await, TokenFault::Signature);
}

#[tokio::test]
async fn what_a_token_must_claim() {
    let world = World::new().await;
    let origin = &world.server.origin;
    let cases = [
        (json!({"exp": null}), TokenFault::Claim("exp")),
        (json!({"exp": "soon"}), TokenFault::Claim("exp")),
        (json!({"nbf": "soon"}), TokenFault::Claim("nbf")),
        (json!({"iat": {}}), TokenFault::Claim("iat")),
        (json!({"iss": null}), TokenFault::Claim("iss")),
        (json!({"sub": null}), TokenFault::Claim("sub")),
        (json!({"sub": ""}), TokenFault::Claim("sub")),
        (json!({"sub": 1}), TokenFault::Claim("sub")),
        (json!({"aud": null}), TokenFault::NoAudience),
        (json!({"aud": []}), TokenFault::Audience),
        (json!({"aud": "us"}), TokenFault::Audience),
        (json!({"aud": ["https://other.example/mcp"]}), TokenFault::Audience),
        (json!({"aud": format!("{RESOURCE}/")}), TokenFault::Audience),
        (json!({"aud": {RESOURCE: true}}), TokenFault::Audience),
        // Another tenant; another spelling.
        (json!({"iss": format!("{origin}/other")}), TokenFault::Issuer),
        (json!({"iss": format!("{origin}/")}), TokenFault::Issuer),
        (json!({"iss": origin.to_uppercase()}), TokenFault::Issuer),
        // Sender-constrained.
        (json!({"cnf": {"jkt": "x"}}), TokenFault::Bound),
    ];
    for (claims, fault) in cases {
        assert_eq!(world.fault(&world.token(&json!({}), &claims)).await, fault, "{claims}");
    }
    let several = world.token(&json!({}), &json!({"aud": ["https://other.example", RESOURCE]}));
    world.accepted(&several).await;
}

/// Cognito's access tokens have no `aud`; its ID tokens do.
#[tokio::test]
async fn a_token_without_audience_is_accepted_from_the_clients_that_are_listed() {
    let world = World::of(|issuer| issuer.allowed_clients = vec!["abc".into(), "def".into()]).await;
    let cognito = |more: Value| {
        let usual = json!({"aud": null, "client_id": "abc", "token_use": "access"});
        world.token(&json!({"typ": null}), &with(usual, &more))
    };
    for client in ["abc", "def"] {
        let token = cognito(json!({"client_id": client}));
        assert_eq!(world.accepted(&token).await.caller.user.as_str(), "ana", "{client}");
    }
    // RFC 9068 says in the header what Cognito says in a claim.
    let typed = json!({"aud": null, "client_id": "abc"});
    world.accepted(&world.token(&json!({"typ": "at+jwt"}), &typed)).await;
    for (more, fault) in [
        (json!({"client_id": "other"}), TokenFault::UnknownClient),
        (json!({"client_id": "ABC"}), TokenFault::UnknownClient),
        (json!({"client_id": null}), TokenFault::Claim("client_id")),
        (json!({"client_id": ["abc"]}), TokenFault::Claim("client_id")),
        (json!({"token_use": null}), TokenFault::NotAccess),
        (json!({"token_use": "id"}), TokenFault::NotAccess),
        (json!({"token_use": "refresh"}), TokenFault::NotAccess),
        // An audience that is present counts.
        (json!({"aud": "https://other.example/mcp"}), TokenFault::Audience),
        (json!({"aud": "abc"}), TokenFault::Audience),
        (json!({"aud": []}), TokenFault::Audience),
    ] {
        assert_eq!(world.fault(&cognito(more.clone())).await, fault, "{more}");
    }
    world.accepted(&cognito(json!({"aud": RESOURCE}))).await;
    // Without the setting, the token is refused with a fitting hint.
    let world = World::new().await;
    let token = world.token(&json!({}), &json!({"aud": null, "client_id": "abc"}));
    let denied = world.present(&token).await.unwrap_err();
    assert!(matches!(denied, Denied::InvalidToken(TokenFault::NoAudience)), "{denied:?}");
    assert!(denied.hint().contains("`allowed_clients`"), "{}", denied.hint());
}

#[tokio::test]
async fn a_written_audience_is_the_only_one() {
    let world = World::of(|issuer| issuer.audience = Some("api://tools".into())).await;
    world.accepted(&world.token(&json!({}), &json!({"aud": "api://tools"}))).await;
    assert_eq!(world.fault(&world.token(&json!({}), &json!({}))).await, TokenFault::Audience);
}

#[tokio::test]
async fn clocks_may_differ_by_a_minute() {
    let world = World::new().await;
    let now = world.seconds();
    let cases: [(Value, Option<TokenFault>); 8] = [
        (json!({"exp": now - 59}), None),
        (json!({"exp": now - 61}), Some(TokenFault::Expired)),
        (json!({"exp": 0}), Some(TokenFault::Expired)),
        (json!({"nbf": now + 59}), None),
        (json!({"nbf": now + 61}), Some(TokenFault::TooEarly)),
        (json!({"iat": now + 59}), None),
        (json!({"iat": now + 61}), Some(TokenFault::TooEarly)),
        (json!({"exp": 1e300, "iat": -1e300, "nbf": 1.5}), None),
    ];
    for (claims, fault) in cases {
        let token = world.token(&json!({}), &claims);
        match fault {
            None => drop(world.accepted(&token).await),
            Some(fault) => assert_eq!(world.fault(&token).await, fault, "{claims}"),
        }
    }
}

/// An ID token has been shown to every client that the person signed in to.
#[tokio::test]
async fn an_id_token_is_no_access_token() {
    let world = World::of(|issuer| issuer.audience = Some("us".into())).await;
    let signed = |kind: Value, claims: Value| {
        world.token(&json!({"typ": kind}), &with(claims, &json!({"aud": "us"})))
    };
    for mark in ["nonce", "at_hash", "c_hash", "events"] {
        for kind in [json!("JWT"), Value::Null] {
            let token = signed(kind, json!({mark: "x"}));
            assert_eq!(world.fault(&token).await, TokenFault::NotAccess, "{mark}");
        }
    }
    for kind in ["ID", "Refresh", "Offline", "Logout"] {
        let token = signed(json!("JWT"), json!({"typ": kind}));
        assert_eq!(world.fault(&token).await, TokenFault::NotAccess, "{kind}");
    }
    for kind in ["id+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt", "token-introspection+jwt"] {
        let token = signed(json!(kind), json!({}));
        assert_eq!(world.fault(&token).await, TokenFault::NotAccess, "{kind}");
    }
    for kind in
        [json!("at+jwt"), json!("application/at+jwt"), json!("AT+JWT"), json!("JWT"), Value::Null]
    {
        world.accepted(&signed(kind, json!({"typ": "Bearer"}))).await;
    }
    // Addressed to its client, which is not this server.
    let world = World::new().await;
    let token = world.token(&json!({"typ": null}), &json!({"aud": "us"}));
    assert_eq!(world.fault(&token).await, TokenFault::Audience);
}

/// faults.md 92: names of people.
#[tokio::test]
async fn a_person_is_named_by_a_text_that_can_be_an_id() {
    let world = World::new().await;
    let long = "u".repeat(1024);
    for id in [" ana", "ana\n", "\u{a0}", "a\0b", &long] {
        let fault = world.fault(&world.token(&json!({}), &json!({"sub": id}))).await;
        assert!(matches!(fault, TokenFault::Person(_)), "{id:?}: {fault:?}");
    }
    let mut people = Vec::new();
    for id in ["ana", "Ana", "\u{430}na", "../ana", "ana@example.com"] {
        let principal = world.accepted(&world.token(&json!({}), &json!({"sub": id}))).await;
        assert_eq!(principal.caller.user.as_str(), id);
        assert!(!people.contains(&principal.caller));
        people.push(principal.caller.clone());
    }
}

#[tokio::test]
async fn another_claim_may_name_the_person() {
    let world = World::of(|issuer| issuer.user_claim = "oid".into()).await;
    let token = world.token(&json!({}), &json!({"oid": "7f"}));
    assert_eq!(world.accepted(&token).await.caller.user.as_str(), "7f");
    for oid in [Value::Null, json!(7), json!(["7"]), json!("")] {
        let token = world.token(&json!({}), &json!({"oid": oid}));
        assert_eq!(world.fault(&token).await, TokenFault::NoPerson);
    }
}

/// At many issuers, users can enter any address that they like.
#[tokio::test]
async fn an_address_names_a_person_only_if_it_is_verified() {
    let world = World::of(|issuer| issuer.user_claim = "email".into()).await;
    let token = |verified: Value| {
        world.token(&json!({}), &json!({"email": "ana@example.com", "email_verified": verified}))
    };
    for verified in [Value::Null, json!(false), json!("false"), json!(1)] {
        assert_eq!(world.fault(&token(verified)).await, TokenFault::Unverified);
    }
    for verified in [json!(true), json!("true")] {
        world.accepted(&token(verified)).await;
    }
}

/// Some issuers end in a slash, which a URL does not show: the issuer's own spelling counts.
#[tokio::test]
async fn an_issuer_is_spelled_as_it_spells_itself() {
    let world = World::new().await;
    let (bare, slash) = (world.server.origin.clone(), format!("{}/", world.server.origin));
    let servers =
        |world: &World| world.authenticator.resource_metadata().unwrap().authorization_servers;
    assert_eq!(servers(&world), [bare.as_str()]);
    world.answers.lock().unwrap().metadata = json!({"issuer": slash});
    let ana = world.accepted(&world.token(&json!({}), &json!({"iss": slash}))).await;
    assert_eq!(ana.caller.namespace, bare);
    assert_eq!(world.fault(&world.token(&json!({}), &json!({}))).await, TokenFault::Issuer);
    assert_eq!(servers(&world), [slash]);
}

/// One `sub` at two issuers is two people.
#[tokio::test]
async fn people_are_kept_apart_by_their_issuer() {
    let (one, other) = (World::new().await, World::new().await);
    let first = one.accepted(&one.token(&json!({}), &json!({}))).await;
    let second = other.accepted(&other.token(&json!({}), &json!({}))).await;
    assert_eq!(first.caller.user, second.caller.user);
    assert_ne!(first.caller, second.caller);
}

#[tokio::test]
async fn what_is_remembered_ends_with_the_token_or_after_a_minute() {
    let world = World::new().await;
    let short = world.token(&json!({}), &json!({"exp": world.seconds() + 10}));
    let long = world.token(&json!({}), &json!({}));
    world.accepted(&short).await;
    world.accepted(&long).await;
    // Within the minute nothing is checked again, so even the key does not matter.
    world.pass(Duration::from_secs(59));
    world.publish(&[]);
    world.accepted(&long).await;
    // The leeway applies to the first check only.
    world.pass(Duration::from_secs(12));
    assert_eq!(world.fault(&short).await, TokenFault::Expired);
    // The key is gone as soon as the set is fetched again.
    world.pass(Duration::from_mins(20));
    let after = world.token(&json!({}), &json!({}));
    assert_eq!(world.fault(&after).await, TokenFault::Signature);
}

#[tokio::test]
async fn a_header_that_names_somebody_else_is_a_mistake() {
    let world = World::new().await;
    let mut headers = super::world::bearer(&world.token(&json!({}), &json!({})));
    headers.insert("countersign-user", "ana".parse().unwrap());
    assert!(world.authenticator.authenticate(&headers, FROM).await.is_ok());
    headers.insert("countersign-user", "bob".parse().unwrap());
    let denied = world.authenticator.authenticate(&headers, FROM).await;
    assert!(matches!(denied, Err(Denied::Malformed(_))), "{denied:?}");
}

#[tokio::test]
async fn no_token_and_no_key_shows_up_in_what_is_said() {
    let world = World::new().await;
    let token = world.token(&json!({"kid": "canary-kid"}), &json!({"sub": "canary-sub"}));
    let denied = world.present(&token).await.unwrap_err();
    let text = format!("{denied} {denied:?} {} {:?}", denied.hint(), denied.challenge(None));
    for part in token.split('.').chain(["canary"]) {
        assert!(!text.contains(part), "{text}");
    }
}
