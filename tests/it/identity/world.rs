//! An issuer on loopback whose every answer a test decides, and a server that trusts it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::identity::{Authenticator, Denied, TokenFault};
use countersign::model::Principal;
use countersign::model::server_auth::{Client, ResolvedAuth, ResolvedIssuer};
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::signing::{Key, with};
use crate::support::provider::{Act, Server, answer, json as said};
use crate::support::world::{self, TestClock};

/// The server's public origin.
const ORIGIN: &str = "https://tools.acme.example";
pub(super) const RESOURCE: &str = "https://tools.acme.example/mcp";

/// The client's address, for tests that are not about it.
pub(super) const FROM: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The issuer's answers.
pub(super) struct Answers {
    /// Answer to each request for the key set.
    pub(super) keys: Vec<u8>,
    pub(super) introspection: Vec<u8>,
    pub(super) userinfo: Vec<u8>,
    /// Changes to the usual fields of the discovery document; `null` removes one.
    pub(super) metadata: Value,
    /// Breaks off every connection.
    pub(super) is_down: bool,
    /// Answers wait for a permit, which is not used up.
    pub(super) permits: Option<Arc<Semaphore>>,
}

/// The issuer, and the server.
pub(super) struct World {
    pub(super) server: Server,
    pub(super) answers: Arc<Mutex<Answers>>,
    pub(super) authenticator: Authenticator,
    pub(super) key: Key,
    clock: TestClock,
}

/// Settings that the operator writes beside `issuer`.
pub(super) fn settings(url: &str) -> ResolvedIssuer {
    ResolvedIssuer {
        client: Some(Client { id: "us".into(), secret: Some("our-secret".into()) }),
        ..ResolvedIssuer::of(url.parse().unwrap())
    }
}

impl World {
    pub(super) async fn new() -> Self {
        Self::of(|_| {}).await
    }

    /// A server whose operator changed the usual settings.
    pub(super) async fn of(write: impl FnOnce(&mut ResolvedIssuer)) -> Self {
        let key = Key::p256();
        let answers = Arc::new(Mutex::new(Answers {
            keys: said(json!({"keys": [key.named("k1")]}).to_string()),
            introspection: answer("500 Internal Server Error", "", ""),
            userinfo: answer("500 Internal Server Error", "", ""),
            metadata: json!({}),
            is_down: false,
            permits: None,
        }));
        let deciding = Arc::clone(&answers);
        let server =
            Server::start(move |request| respond(request, &deciding.lock().unwrap())).await;
        let mut issuer = settings(&server.origin);
        write(&mut issuer);
        let clock = TestClock::new();
        let world = world::World::at(Some(ORIGIN), &clock, "");
        let access = world.for_many(ResolvedAuth { issuer: Some(issuer), keys: Vec::new() });
        let authenticator = world.app.authenticator(access).unwrap();
        Self { server, answers, authenticator, key, clock }
    }

    pub(super) fn publish(&self, keys: &[Value]) {
        self.answers.lock().unwrap().keys = said(json!({"keys": keys}).to_string());
    }

    pub(super) fn seconds(&self) -> i64 {
        self.clock.seconds()
    }

    pub(super) fn pass(&self, span: Duration) {
        self.clock.pass(span);
    }

    /// Claims of a good access token of `ana`.
    pub(super) fn claims(&self) -> Value {
        let now = self.seconds();
        json!({"iss": self.server.origin, "sub": "ana", "aud": RESOURCE, "iat": now, "exp": now + 600})
    }

    /// A valid access token with these changes in header and claims.
    pub(super) fn token(&self, header: &Value, claims: &Value) -> String {
        let usual = json!({"alg": "ES256", "kid": "k1", "typ": "at+jwt"});
        self.key.sign(&with(usual, header), &with(self.claims(), claims))
    }

    pub(super) async fn present(&self, token: &str) -> Result<Arc<Principal>, Denied> {
        self.authenticator.authenticate(&bearer(token), FROM).await
    }

    /// Returns the caller that a token is accepted for.
    pub(super) async fn accepted(&self, token: &str) -> Arc<Principal> {
        self.present(token).await.unwrap()
    }

    /// Returns the fault for which a token is refused.
    pub(super) async fn fault(&self, token: &str) -> TokenFault {
        match self.present(token).await {
            Err(Denied::InvalidToken(fault)) => fault,
            other => panic!("{other:?}"),
        }
    }

    /// Makes the issuer answer only once the semaphore has a permit.
    pub(super) fn hold_back(&self) -> Arc<Semaphore> {
        let permits = Arc::new(Semaphore::new(0));
        self.answers.lock().unwrap().permits = Some(Arc::clone(&permits));
        permits
    }

    /// How often a path was requested.
    pub(super) fn asked(&self, path: &str) -> usize {
        let line = |request: &String| request.split(' ').nth(1) == Some(path);
        self.server.requests().iter().filter(|request| line(request)).count()
    }
}

pub(super) fn bearer(token: &str) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(http::header::AUTHORIZATION, value)])
}

fn respond(request: &str, answers: &Answers) -> Act {
    if answers.is_down {
        return Act::SayAndClose(Vec::new());
    }
    let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let at = |path: &str| format!("http://{host}{path}");
    let said = match request.split(' ').nth(1).unwrap() {
        "/.well-known/openid-configuration" => {
            let usual = json!({
                "issuer": at(""), "authorization_endpoint": at("/authorize"),
                "token_endpoint": at("/token"), "jwks_uri": at("/jwks"),
                "introspection_endpoint": at("/introspect"), "userinfo_endpoint": at("/userinfo"),
            });
            said(with(usual, &answers.metadata).to_string())
        }
        "/jwks" => answers.keys.clone(),
        "/introspect" => answers.introspection.clone(),
        "/userinfo" => answers.userinfo.clone(),
        _ => answer("404 Not Found", "", ""),
    };
    match &answers.permits {
        Some(permits) => Act::SayWhen(Arc::clone(permits), said),
        None => Act::Say(said),
    }
}
