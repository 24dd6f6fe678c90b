//! An issuer whose users sign in when a test says so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::model::secret;
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use crate::identity::signing::{Key, with};
use crate::support::browser::Page;
use crate::support::provider::{Act, Server, answer, json as said};
use crate::support::world::TestClock;

pub(super) struct Issuer {
    pub(super) origin: String,
    server: Server,
    known: Arc<Mutex<Known>>,
}

struct Known {
    clock: TestClock,
    key: Key,
    codes: BTreeMap<String, Code>,
    /// Changes to the usual fields of the discovery document; `null` removes one.
    metadata: Value,
    /// Additional fields of the next ID tokens; `null` removes one.
    claims: Value,
    hands_out_id_tokens: bool,
}

/// A completed sign-in, for which the issuer has handed out a code.
struct Code {
    person: String,
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

impl Issuer {
    /// `metadata` changes the usual fields of the discovery document; `null` removes one.
    pub(super) async fn new(clock: &TestClock, metadata: Value) -> Self {
        let known = Arc::new(Mutex::new(Known {
            clock: clock.clone(),
            key: Key::p256(),
            codes: BTreeMap::new(),
            metadata,
            claims: json!({}),
            hands_out_id_tokens: true,
        }));
        let behind = Arc::clone(&known);
        let server = Server::start(move |request| behind.lock().unwrap().answer(request)).await;
        Self { origin: server.origin.clone(), server, known }
    }

    /// Signs a person in, in the browser that was sent here; returns the query that the browser
    /// brings back to us.
    pub(super) fn signs_in(&self, departure: &Page, person: &str) -> String {
        let parameter = |name| departure.parameter(name);
        assert!(departure.location().starts_with(&format!("{}/authorize?", self.origin)));
        assert_eq!(parameter("code_challenge_method"), "S256");
        let code = format!("code-{}", self.known.lock().unwrap().codes.len());
        let made = Code {
            person: person.to_owned(),
            nonce: parameter("nonce"),
            challenge: parameter("code_challenge"),
            redirect_uri: parameter("redirect_uri"),
        };
        self.known.lock().unwrap().codes.insert(code.clone(), made);
        format!("code={code}&state={}&iss={}", parameter("state"), encoded(&self.origin))
    }

    /// Sets additional claims of its ID tokens from now on.
    pub(super) fn claims(&self, claims: Value) {
        self.known.lock().unwrap().claims = claims;
    }

    pub(super) fn hands_out_no_id_tokens(&self) {
        self.known.lock().unwrap().hands_out_id_tokens = false;
    }

    /// Number of attempts to exchange a code.
    pub(super) fn exchanges(&self) -> usize {
        let requests = self.server.requests();
        requests.iter().filter(|request| request.starts_with("POST /token ")).count()
    }
}

impl Known {
    fn answer(&mut self, request: &str) -> Act {
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let origin = format!("http://{host}");
        Act::Say(match request.split(' ').nth(1).unwrap() {
            "/.well-known/openid-configuration" => {
                let usual = json!({
                    "issuer": origin,
                    "authorization_endpoint": format!("{origin}/authorize"),
                    "token_endpoint": format!("{origin}/token"),
                    "jwks_uri": format!("{origin}/jwks"),
                    "authorization_response_iss_parameter_supported": true,
                });
                said(with(usual, &self.metadata).to_string())
            }
            "/jwks" => said(json!({"keys": [self.key.named("k1")]}).to_string()),
            "/token" => match self.token(&origin, request) {
                Some(tokens) => said(tokens.to_string()),
                None => answer("400 Bad Request", "", r#"{"error":"invalid_grant"}"#),
            },
            _ => answer("404 Not Found", "", ""),
        })
    }

    fn token(&mut self, origin: &str, request: &str) -> Option<Value> {
        let (head, body) = request.split_once("\r\n\r\n")?;
        let secret = format!("authorization: Basic {}", STANDARD.encode("us:our-secret"));
        assert!(head.contains(&secret), "{head}");
        let fields: BTreeMap<String, String> =
            form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let code = self.codes.remove(fields.get("code")?)?;
        let is_ours = secret::fingerprint(fields.get("code_verifier")?) == code.challenge
            && *fields.get("redirect_uri")? == code.redirect_uri;
        let seconds = self.clock.seconds();
        let claims = json!({
            "iss": origin, "sub": code.person, "aud": "us", "nonce": code.nonce,
            "iat": seconds, "exp": seconds + 300,
        });
        let id_token =
            self.key.sign(&json!({"alg": "ES256", "kid": "k1"}), &with(claims, &self.claims));
        let mut tokens = json!({"access_token": "of-nobody-s-concern", "token_type": "Bearer"});
        if self.hands_out_id_tokens {
            tokens["id_token"] = id_token.into();
        }
        is_ours.then_some(tokens)
    }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Returns the address that an issuer's page would send the browser to.
pub(super) fn way_back(departure: &Page) -> Url {
    departure.parameter("redirect_uri").parse().unwrap()
}
