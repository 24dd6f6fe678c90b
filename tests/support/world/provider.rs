//! A provider whose every answer a test decides: its token and revocation endpoints, and its API.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::TestClock;
use crate::support::provider::{Act, Server, answer, json};

/// Answers a request, or the body of a request to the token endpoint.
type Answers = dyn FnMut(&str) -> Act + Send;

#[derive(Clone)]
pub struct Provider {
    server: Arc<Server>,
    behaviour: Arc<Behaviour>,
}

struct Behaviour {
    clock: TestClock,
    tokens: Mutex<Box<Answers>>,
    /// The bearer tokens that the API accepts.
    accepted: Mutex<Vec<String>>,
    /// Bodies sent to the token and revocation endpoints.
    grants: Mutex<Vec<String>>,
    /// Milliseconds that the API takes to refuse a token.
    hesitation: AtomicU64,
    /// Replaces the API's behaviour, its check of tokens included.
    api: Mutex<Option<Box<Answers>>>,
    /// Requests that reached the API.
    calls: Mutex<Vec<String>>,
}

impl Behaviour {
    fn answer(&self, request: &str) -> Act {
        if request.starts_with("POST /token") || request.starts_with("POST /revoke") {
            let body = request.rsplit("\r\n\r\n").next().unwrap_or_default();
            self.grants.lock().unwrap().push(body.to_owned());
            return (self.tokens.lock().unwrap())(body);
        }
        self.calls.lock().unwrap().push(request.to_owned());
        if let Some(api) = &mut *self.api.lock().unwrap() {
            return api(request);
        }
        if request.starts_with("GET /barred") {
            let challenge = "WWW-Authenticate: Bearer error=insufficient_scope\r\n";
            return Act::Say(answer("403 Forbidden", challenge, ""));
        }
        let accepted = self.accepted.lock().unwrap();
        let is_accepted = accepted.iter().any(|token| {
            request.to_ascii_lowercase().contains(&format!("authorization: bearer {token}\r\n"))
        });
        Act::Say(if is_accepted {
            json(r#"{"ok":true}"#)
        } else {
            self.clock.pass(Duration::from_millis(self.hesitation.load(Ordering::SeqCst)));
            answer("401 Unauthorized", "", "")
        })
    }
}

impl Provider {
    /// A provider that expects no request to its token endpoint and whose API accepts no token,
    /// until the test says otherwise.
    pub async fn start(clock: &TestClock) -> Self {
        let behaviour = Arc::new(Behaviour {
            clock: clock.clone(),
            tokens: Mutex::new(Box::new(|_| panic!("no token was to be asked for"))),
            accepted: Mutex::default(),
            grants: Mutex::default(),
            hesitation: AtomicU64::default(),
            api: Mutex::default(),
            calls: Mutex::default(),
        });
        let behind = Arc::clone(&behaviour);
        let server = Server::start(move |request| behind.answer(request)).await;
        Self { server: Arc::new(server), behaviour }
    }

    pub fn origin(&self) -> &str {
        &self.server.origin
    }

    /// Sets the behaviour of the token and revocation endpoints from now on.
    pub fn tokens(&self, endpoint: impl FnMut(&str) -> Act + Send + 'static) {
        *self.behaviour.tokens.lock().unwrap() = Box::new(endpoint);
    }

    /// Makes the token endpoint answer with these bytes from now on.
    pub fn says(&self, bytes: Vec<u8>) {
        self.tokens(move |_| Act::Say(bytes.clone()));
    }

    /// Makes the API accept exactly these tokens from now on.
    pub fn accepts(&self, tokens: &[&str]) {
        *self.behaviour.accepted.lock().unwrap() =
            tokens.iter().map(|&token| token.to_owned()).collect();
    }

    /// Makes the API take this long to refuse a token from now on.
    pub fn hesitates(&self, span: Duration) {
        let millis = span.as_millis().try_into().unwrap();
        self.behaviour.hesitation.store(millis, Ordering::SeqCst);
    }

    /// Sets the API's behaviour from now on.
    pub fn api(&self, api: impl FnMut(&str) -> Act + Send + 'static) {
        *self.behaviour.api.lock().unwrap() = Some(Box::new(api));
    }

    /// The requests that reached the API, head and body.
    pub fn calls(&self) -> Vec<String> {
        self.behaviour.calls.lock().unwrap().clone()
    }

    /// Bodies sent to the token and revocation endpoints.
    pub fn requests(&self) -> Vec<String> {
        self.behaviour.grants.lock().unwrap().clone()
    }

    pub fn refreshes(&self) -> usize {
        let requests = self.behaviour.grants.lock().unwrap();
        requests.iter().filter(|body| body.contains("grant_type=refresh_token")).count()
    }

    /// Number of requests whose first line begins so, e.g. `POST /revoke `.
    pub fn received(&self, begin: &str) -> usize {
        self.server.requests().iter().filter(|request| request.starts_with(begin)).count()
    }

    /// Number of connections that were opened to the provider.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }
}
