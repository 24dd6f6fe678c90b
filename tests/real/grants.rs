//! Grants without a browser of ours, at a certified authorization server: device code, client
//! credentials, assertions.

use std::time::Duration;

use countersign::model::assertion::Algorithm;
use countersign::model::consent_plan::ClientRegistration;
use countersign::model::oauth::{TokenAuth, TokenBody, TokenResponseShape};
use countersign::model::{Clock, Scopes};
use countersign::net::{Net, Policy};
use countersign::oauth::{
    Assertion, DeviceCode, Issued, Metadata, OAuthClient, Poll, ServiceAccount, Signer, Verdict,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::harness::{Visit, World, request};

pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Our OAuth client, at the world's authorization server.
pub struct Us {
    pub oauth: OAuthClient,
    metadata: Metadata,
}

impl Us {
    pub async fn at(world: &World) -> Self {
        let oauth = OAuthClient::new(Net::new(Policy::default()), Clock::system());
        let metadata = oauth.discover(&world.issuer().parse().unwrap()).await.unwrap();
        Self { oauth, metadata }
    }

    pub fn client(&self, id: &str, secret: &str, token_auth: TokenAuth) -> ClientRegistration {
        ClientRegistration {
            client_id: id.into(),
            client_secret: (token_auth != TokenAuth::None).then(|| secret.into()),
            token_endpoint: self.metadata.token_endpoint.clone(),
            refresh_endpoint: None,
            token_params: Vec::new(),
            token_auth,
            token_body: TokenBody::Form,
            response: TokenResponseShape::default(),
            revocation: None,
            learnt: false,
        }
    }

    fn robot(&self) -> ClientRegistration {
        self.client("robot", "robot-secret-0123456789", TokenAuth::Basic)
    }

    pub async fn code(&self, client: &ClientRegistration) -> DeviceCode {
        let endpoint = self.metadata.device_authorization_endpoint.as_ref().unwrap();
        let scopes = Scopes::new(["openid", "notes:read"]);
        self.oauth.device_authorization(client, endpoint, &scopes).await.unwrap()
    }
}

/// Returns the caller that the API sees behind this token.
fn whoami(world: &World, issued: &Issued) -> Value {
    let bearer = format!("Bearer {}", issued.tokens.access.expose_secret());
    request("GET", &format!("{}/me", world.api()), &[("authorization", &bearer)], "").json()
}

#[test]
fn a_device_code_that_a_person_enters_becomes_a_grant() {
    let world = World::start();
    run(async {
        let us = Us::at(&world).await;
        for client in [
            us.client("web-basic", "basic+secret/with:signs%25", TokenAuth::Basic),
            us.client("web-post", "post-secret-0123456789", TokenAuth::Post),
            us.client("native", "", TokenAuth::None),
        ] {
            let mut code = us.code(&client).await;
            assert_eq!(code.interval, Duration::from_secs(1));
            let early = us.oauth.poll(&client, &mut code).await;
            assert!(matches!(early, Ok(Poll::Pending)), "{early:?}");
            Visit::with_code(code.verification_uri.as_str(), &code.user_code).approves();
            let done = us.oauth.poll(&client, &mut code).await;
            let Ok(Poll::Issued(issued)) = done else { panic!("{done:?}") };
            assert!(issued.tokens.refresh.is_some());
            assert_eq!(whoami(&world, &issued)["sub"], "ana");
        }
    });
}

#[test]
fn a_device_code_that_a_person_refuses_is_over() {
    let world = World::start();
    run(async {
        let us = Us::at(&world).await;
        let client = us.client("native", "", TokenAuth::None);
        for refuse in [Visit::aborting, Visit::denying] {
            let mut code = us.code(&client).await;
            let page = code.verification_uri_complete.clone().unwrap();
            refuse(Visit::with_code(page.as_str(), "")).go();
            let answer = us.oauth.poll(&client, &mut code).await;
            assert!(matches!(answer, Ok(Poll::Denied)), "{answer:?}");
        }
    });
}

#[test]
fn our_own_credentials_get_a_token_for_the_server() {
    let world = World::start();
    run(async {
        let us = Us::at(&world).await;
        let scopes = Scopes::new(["notes:read"]);
        let issued = us.oauth.client_credentials(&us.robot(), &scopes).await.unwrap();
        assert_eq!(whoami(&world, &issued), json!({"sub": "robot", "scope": "notes:read"}));
        let wrong = us.client("robot", "wrong", TokenAuth::Basic);
        let error = us.oauth.client_credentials(&wrong, &scopes).await.unwrap_err();
        assert_eq!(error.verdict(), Verdict::Operator);
    });
}

#[test]
fn assertions_signed_by_any_algorithm_are_taken_once() {
    let world = World::start();
    run(async {
        let us = Us::at(&world).await;
        let nobody = us.client("", "", TokenAuth::None);
        let scopes = Scopes::new(["notes:read"]);
        for algorithm in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA] {
            let name = algorithm.name();
            let key = SecretString::from(world.assertion_key(name).to_owned());
            let assertion = Assertion {
                signer: Signer::new(&key, algorithm, Some(name.into())).unwrap(),
                issuer: world.assertion_issuer().into(),
                subject: Some("ana".into()),
                audience: us.metadata.issuer.clone(),
                lifetime: Duration::from_mins(5),
                claims: Vec::new(),
                claims_scope: false,
            };
            // With a client of our own, and twice with no client beside the assertion: each
            // assertion is a new one.
            for client in [&us.robot(), &nobody, &nobody] {
                let issued = us.oauth.jwt_bearer(client, &assertion, &scopes).await.unwrap();
                let who = whoami(&world, &issued);
                assert_eq!(who, json!({"sub": "ana", "scope": "notes:read"}), "{name}");
            }
            let elsewhere = Assertion { audience: "https://other.example".into(), ..assertion };
            let refused = us.oauth.jwt_bearer(&nobody, &elsewhere, &scopes).await;
            assert_eq!(refused.unwrap_err().verdict(), Verdict::GrantEnded);
        }
    });
}

#[test]
fn a_service_account_s_file_is_all_that_is_needed() {
    let world = World::start();
    run(async {
        let us = Us::at(&world).await;
        let endpoint = &us.metadata.token_endpoint;
        let file = json!({
            "type": "service_account",
            "client_email": world.assertion_issuer(),
            "private_key": world.assertion_key("RS256"),
            "private_key_id": "RS256",
            "token_uri": endpoint,
        });
        let file = SecretString::from(file.to_string());
        let account = ServiceAccount::read(&file, endpoint).unwrap();
        let assertion = Assertion {
            signer: account.signer,
            issuer: account.email,
            subject: None,
            audience: endpoint.to_string(),
            lifetime: Duration::from_mins(5),
            claims: Vec::new(),
            claims_scope: true,
        };
        let nobody = us.client("", "", TokenAuth::None);
        let scopes = Scopes::new(["notes:read"]);
        let issued = us.oauth.jwt_bearer(&nobody, &assertion, &scopes).await.unwrap();
        let who = whoami(&world, &issued);
        assert_eq!(who, json!({"sub": world.assertion_issuer(), "scope": "notes:read"}));
    });
}
