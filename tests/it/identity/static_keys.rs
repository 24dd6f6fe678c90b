//! Callers without an issuer's token: static keys, the local machine's token, and no credentials.

use std::sync::Arc;

use countersign::identity::{Authenticator, Denied, KeyError, Malformed, RestCaller, TokenFault};
use countersign::model::id::BadUserId;
use countersign::model::principal::{BrowserProof, ConfirmOrder, NoBrowserProof, Verifier};
use countersign::model::server_auth::{ApplicationSettings, KeyHolder, ResolvedAuth, ResolvedKey};
use countersign::model::{Caller, Clock, Principal, UserId};
use countersign::net::{Net, Policy};
use http::HeaderMap;

use super::world::{FROM, RESOURCE, bearer, settings};

const ANA: &str = "ana-0123456789abcdef0123456789abcdef";
const SHOP: &str = "shop-0123456789abcdef0123456789abcdef";
const DESK: &str = "desk-0123456789abcdef0123456789abcdef";

fn key(name: &str, key: &str, holder: KeyHolder) -> ResolvedKey {
    ResolvedKey { name: name.into(), values: vec![key.into()], holder }
}

fn ana(name: &str, value: &str) -> ResolvedKey {
    key(name, value, KeyHolder::Person(UserId::new("ana")))
}

fn usual() -> Vec<ResolvedKey> {
    let verifier_url = Some("https://shop.example/verify".parse().unwrap());
    vec![
        ana("laptop", ANA),
        key(
            "shop",
            SHOP,
            KeyHolder::Application(ApplicationSettings {
                verifier_url,
                ..ApplicationSettings::default()
            }),
        ),
        key("desk", DESK, KeyHolder::Application(ApplicationSettings::default())),
    ]
}

fn with_keys(keys: Vec<ResolvedKey>, issuer: Option<&str>) -> Result<Authenticator, KeyError> {
    Authenticator::new(
        ResolvedAuth { issuer: issuer.map(settings), keys },
        RESOURCE.parse().unwrap(),
        &Net::new(Policy::default()),
        &Clock::system(),
    )
}

fn local() -> Principal {
    Principal::local(Caller::local(UserId::new("default")))
}

async fn present(
    server: &Authenticator,
    token: &str,
    headers: &[(&'static str, &str)],
) -> Result<Arc<Principal>, Denied> {
    let mut all = bearer(token);
    for (name, value) in headers {
        all.append(*name, value.parse().unwrap());
    }
    server.authenticate(&all, FROM).await
}

#[tokio::test]
async fn a_person_s_key_is_the_person() {
    let server = with_keys(usual(), None).unwrap();
    let found = present(&server, ANA, &[]).await.unwrap();
    assert_eq!(found.caller, Caller { namespace: "key:laptop".into(), user: UserId::new("ana") });
    assert_eq!(found.browser_proof, Ok(BrowserProof::SignedIn));
    assert_eq!(server.person_of_key(&ANA.into()), Some(found.caller.clone()));
    assert_eq!(server.person_of_key(&SHOP.into()), None);
    assert_eq!(server.person_of_key(&"".into()), None);
    assert!(server.issuer().is_none() && server.resource_metadata().is_none());
}

/// A key leads to the same accounts as a token, even while the issuer is down.
#[tokio::test]
async fn beside_an_issuer_a_key_s_person_is_the_issuer_s() {
    let server = with_keys(usual(), Some("https://login.acme.example")).unwrap();
    let found = present(&server, ANA, &[]).await.unwrap();
    assert_eq!(found.caller.namespace, "https://login.acme.example");
    assert_eq!(found.browser_proof, Ok(BrowserProof::SignedIn));
    let shop = present(&server, SHOP, &[("countersign-user", "ana")]).await.unwrap();
    assert_eq!(shop.caller.namespace, "key:shop");
    let mut issuer = settings("https://login.acme.example/tenant");
    issuer.client = None;
    let server = Authenticator::new(
        ResolvedAuth { issuer: Some(issuer), keys: usual() },
        RESOURCE.parse().unwrap(),
        &Net::new(Policy::default()),
        &Clock::system(),
    );
    let found = present(&server.unwrap(), ANA, &[]).await.unwrap();
    assert_eq!(found.caller.namespace, "https://login.acme.example/tenant");
    assert_eq!(found.browser_proof, Err(NoBrowserProof::NoClientId));
}

#[tokio::test]
async fn an_application_names_its_end_user() {
    let server = with_keys(usual(), None).unwrap();
    for name in ["countersign-user", "arcade-user-id"] {
        let found = present(&server, SHOP, &[(name, "ana")]).await.unwrap();
        assert_eq!(found.caller, Caller { namespace: "key:shop".into(), user: UserId::new("ana") });
        let url = "https://shop.example/verify".parse().unwrap();
        assert_eq!(
            found.browser_proof,
            Ok(BrowserProof::Application(Verifier {
                key: "shop".into(),
                url,
                confirm: ConfirmOrder::Before
            }))
        );
    }
    let desk = present(&server, DESK, &[("countersign-user", "ana")]).await.unwrap();
    assert_eq!(desk.caller.namespace, "key:desk");
    assert_eq!(desk.browser_proof, Err(NoBrowserProof::NoVerifier { key: "desk".into() }));
}

/// faults.md 92, and headers that contradict each other.
#[tokio::test]
async fn an_end_user_must_be_one_and_an_id() {
    let server = with_keys(usual(), None).unwrap();
    let long = "u".repeat(1024);
    let cases: [(&[(&'static str, &str)], Malformed); 6] = [
        (&[], Malformed::NoUser),
        (&[("countersign-user", "")], Malformed::User(BadUserId::Size)),
        (&[("countersign-user", &long)], Malformed::User(BadUserId::Size)),
        (&[("countersign-user", "ana"), ("countersign-user", "ana")], Malformed::TwoUsers),
        (&[("countersign-user", "ana"), ("arcade-user-id", "bob")], Malformed::TwoUsers),
        (&[("arcade-user-id", "ana"), ("arcade-user-id", "bob")], Malformed::TwoUsers),
    ];
    for (headers, expected) in cases {
        match present(&server, SHOP, headers).await {
            Err(Denied::Malformed(found)) => assert_eq!(found, expected, "{headers:?}"),
            other => panic!("{headers:?}: {other:?}"),
        }
    }
    let mut people = Vec::new();
    for id in ["ana", "Ana", "../ana", "ana@example.com"] {
        let found = present(&server, SHOP, &[("countersign-user", id)]).await.unwrap();
        assert_eq!(found.caller.user.as_str(), id);
        assert!(!people.contains(&found.caller));
        people.push(found.caller.clone());
    }
}

#[tokio::test]
async fn a_person_s_key_names_nobody_else() {
    let server = with_keys(usual(), None).unwrap();
    assert!(present(&server, ANA, &[("countersign-user", "ana")]).await.is_ok());
    let other = present(&server, ANA, &[("arcade-user-id", "bob")]).await;
    assert!(matches!(other, Err(Denied::Malformed(Malformed::OtherUser))), "{other:?}");
}

#[tokio::test]
async fn an_application_may_name_its_end_user_elsewhere() {
    let server = with_keys(usual(), None).unwrap();
    let Ok(RestCaller::Application(shop)) = server.rest(&bearer(SHOP), FROM).await else {
        panic!("an application");
    };
    assert_eq!(shop.name, "shop");
    assert_eq!(shop.caller(UserId::new("ana")).namespace, "key:shop");
    let ana = server.rest(&bearer(ANA), FROM).await;
    assert!(matches!(ana, Ok(RestCaller::Person(_))), "{ana:?}");
    assert!(matches!(server.rest(&HeaderMap::new(), FROM).await, Err(Denied::Missing)));
    let unknown = server.rest(&bearer("nothing"), FROM).await;
    assert!(matches!(unknown, Err(Denied::InvalidToken(TokenFault::Unknown))));
}

/// faults.md 85.
#[tokio::test]
async fn nobody_is_known_by_anything_but_a_whole_key_in_one_header() {
    let server = with_keys(usual(), None).unwrap();
    assert!(matches!(server.authenticate(&HeaderMap::new(), FROM).await, Err(Denied::Missing)));
    for other in [&ANA[1..], &ANA[..ANA.len() - 1], &ANA.to_uppercase(), "laptop", "ana"] {
        let denied = present(&server, other, &[]).await;
        assert!(matches!(denied, Err(Denied::InvalidToken(TokenFault::Unknown))), "{denied:?}");
    }
    for place in ["x-api-key", "cookie", "proxy-authorization"] {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static(place),
            format!("Bearer {ANA}").parse().unwrap(),
        )]);
        assert!(
            matches!(server.authenticate(&headers, FROM).await, Err(Denied::Missing)),
            "{place}"
        );
    }
    let mut two = bearer(ANA);
    two.append("authorization", format!("Bearer {ANA}").parse().unwrap());
    let denied = server.authenticate(&two, FROM).await;
    assert!(matches!(denied, Err(Denied::Malformed(Malformed::TwoAuthorizations))));
    assert!(matches!(server.rest(&two, FROM).await, Err(Denied::Malformed(_))));
}

#[test]
fn keys_that_cannot_be_told_apart_are_refused() {
    let refused = |keys| with_keys(keys, None).err().unwrap();
    assert_eq!(
        refused(vec![ana("a", ANA), ana("b", ANA)]),
        KeyError::SameValue { first: "a".into(), second: "b".into() }
    );
    assert_eq!(
        refused(vec![ana("a", ANA), ana("a", SHOP)]),
        KeyError::SameName { name: "a".into() }
    );
    for value in ["", " ", "with space", "line\n", "\u{e9}"] {
        assert_eq!(refused(vec![ana("a", value)]), KeyError::Unfit { name: "a".into() });
    }
}

#[tokio::test]
async fn a_server_of_one_s_own_machine_asks_for_nothing() {
    let server = Authenticator::local(local());
    assert!(server.authenticate(&HeaderMap::new(), FROM).await.unwrap().is_local());
    assert!(present(&server, "whatever", &[]).await.unwrap().is_local());
    // All the users that it names would be one.
    let named = present(&server, "whatever", &[("countersign-user", "ana")]).await;
    assert!(matches!(named, Err(Denied::Malformed(Malformed::OtherUser))));
}

#[tokio::test]
async fn a_token_is_asked_for_where_there_is_one() {
    let server = Authenticator::with_token(local(), &ANA.into());
    assert!(present(&server, ANA, &[]).await.unwrap().is_local());
    assert!(matches!(server.authenticate(&HeaderMap::new(), FROM).await, Err(Denied::Missing)));
    let other = present(&server, SHOP, &[]).await;
    assert!(matches!(other, Err(Denied::InvalidToken(TokenFault::OtherToken))));
}

/// While an application's key is exchanged, its old and its new value both belong to the
/// application.
#[tokio::test]
async fn a_key_is_exchanged_without_a_gap() {
    let both = ResolvedKey {
        values: vec!["the-new-value-of-the-key".into(), SHOP.into()],
        ..key("shop", SHOP, KeyHolder::Application(ApplicationSettings::default()))
    };
    let server = with_keys(vec![both.clone()], None).unwrap();
    let user = [("countersign-user", "ana")];
    let old = present(&server, SHOP, &user).await.unwrap();
    let new = present(&server, "the-new-value-of-the-key", &user).await.unwrap();
    assert_eq!(old.caller, new.caller);
    let shared = with_keys(vec![both, ana("laptop", SHOP)], None);
    assert!(matches!(shared.err().unwrap(), KeyError::SameValue { .. }));
}

#[test]
fn clients_are_told_where_tokens_are_had() {
    let server = with_keys(Vec::new(), Some("https://login.acme.example")).unwrap();
    assert_eq!(
        serde_json::to_value(server.resource_metadata().unwrap()).unwrap(),
        serde_json::json!({
            "resource": RESOURCE,
            "authorization_servers": ["https://login.acme.example"],
            "scopes_supported": ["openid"],
            "bearer_methods_supported": ["header"],
        })
    );
}
