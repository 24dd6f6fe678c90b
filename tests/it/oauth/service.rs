//! Client credentials and assertions.

use std::time::Duration;

use countersign::model::Scopes;
use countersign::model::assertion::Algorithm;
use countersign::model::consent_plan::ClientRegistration;
use countersign::model::oauth::TokenAuth;
use countersign::oauth::{Assertion, Signer, TokenError, Verdict};
use secrecy::ExposeSecret as _;

use super::{at, client, clock, oauth, pairs, sent};
use crate::support::provider::{Server, answer, json};

const TOKEN: &str = r#"{"access_token":"t","token_type":"bearer","expires_in":600,"refresh_token":"r","scope":"a"}"#;

fn assertion() -> Assertion {
    let key = include_str!("../fixtures/rsa.pem");
    Assertion {
        signer: Signer::new(&key.into(), Algorithm::RS256, None).expect("a key"),
        issuer: "us".into(),
        subject: Some("us".into()),
        audience: "https://login.acme.example".into(),
        lifetime: Duration::from_mins(5),
        claims: Vec::new(),
        claims_scope: false,
    }
}

#[tokio::test]
async fn our_credentials_get_a_token_and_no_refresh_token() {
    let server = Server::saying(json(TOKEN)).await;
    let client = ClientRegistration {
        token_params: pairs(&[("audience", "https://api")]),
        ..client(&server, TokenAuth::Basic)
    };
    let issued = oauth(&clock())
        .client_credentials(&client, &Scopes::new(["a", "b"]))
        .await
        .expect("a token");
    assert_eq!(issued.tokens.access.expose_secret(), "t");
    assert!(issued.tokens.refresh.is_none());
    assert_eq!(issued.tokens.expires_at, Some(at(600)));
    assert_eq!(issued.scopes, Some(Scopes::new(["a"])));
    let expected =
        [("grant_type", "client_credentials"), ("scope", "a b"), ("audience", "https://api")];
    assert_eq!(sent(&server), pairs(&expected));
    let request = server.requests().remove(0);
    // our-id:our%2Bsecret (RFC 6749 §2.3.1)
    assert!(request.contains("authorization: Basic b3VyLWlkOm91ciUyQnNlY3JldA=="), "{request}");
    assert!(request.contains("accept: application/json"), "{request}");
}

#[tokio::test]
async fn a_secret_that_is_an_api_key_says_who_we_are() {
    let server = Server::saying(json(TOKEN)).await;
    let client = client(&server, TokenAuth::Bearer);
    oauth(&clock()).client_credentials(&client, &Scopes::default()).await.expect("a token");
    assert_eq!(sent(&server), pairs(&[("grant_type", "client_credentials")]));
    let request = server.requests().remove(0);
    assert!(request.contains("authorization: Bearer our+secret"), "{request}");
}

#[tokio::test]
async fn an_assertion_speaks_for_itself_or_beside_a_client() {
    let server = Server::saying(json(TOKEN)).await;
    let nobody =
        ClientRegistration { client_id: String::new(), ..client(&server, TokenAuth::None) };
    for (client, more) in [
        (nobody, pairs(&[])),
        (
            client(&server, TokenAuth::Post),
            pairs(&[("client_id", "our-id"), ("client_secret", "our+secret")]),
        ),
    ] {
        let oauth = oauth(&clock());
        let scopes = Scopes::new(["a"]);
        oauth.jwt_bearer(&client, &assertion(), &scopes).await.expect("a token");
        let mut fields = sent(&server);
        let (name, jwt) = fields.remove(1);
        assert_eq!((name.as_str(), jwt.split('.').count()), ("assertion", 3));
        let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
        assert_eq!(fields, [pairs(&[grant, ("scope", "a")]), more].concat());
        let google = Assertion { claims_scope: true, ..assertion() };
        oauth.jwt_bearer(&client, &google, &scopes).await.expect("a token");
        assert!(sent(&server).iter().all(|(name, _)| name != "scope"));
    }
}

#[tokio::test]
async fn a_refusal_is_read_as_everywhere() {
    let table = [
        (answer("400 Bad Request", "", r#"{"error":"invalid_client"}"#), Verdict::Operator),
        (answer("400 Bad Request", "", r#"{"error":"invalid_grant"}"#), Verdict::GrantEnded),
        (answer("503 Service Unavailable", "", "<html>"), Verdict::Passing),
        (json("<html>"), Verdict::Passing),
    ];
    for (bytes, verdict) in table {
        let server = Server::saying(bytes).await;
        let client = client(&server, TokenAuth::Basic);
        let none = Scopes::default();
        let error = oauth(&clock()).client_credentials(&client, &none).await.unwrap_err();
        assert_eq!(error.verdict(), verdict, "{error}");
        let error = oauth(&clock()).jwt_bearer(&client, &assertion(), &none).await;
        let error: TokenError = error.unwrap_err();
        assert_eq!(error.verdict(), verdict, "{error}");
    }
}
