//! Grants without a browser of ours, against a loopback server that answers as the tests tell it
//! to.

mod assertion;
mod device;
mod service;

use countersign::model::Time;
use countersign::model::consent_plan::ClientRegistration;
use countersign::model::oauth::{TokenAuth, TokenBody, TokenResponseShape};
use countersign::net::{Net, Policy};
use countersign::oauth::OAuthClient;

use crate::support::provider::Server;
use crate::support::world::TestClock;

const START: i64 = 1_700_000_000_000;

fn clock() -> TestClock {
    TestClock::at(START)
}

fn oauth(clock: &TestClock) -> OAuthClient {
    OAuthClient::new(Net::new(Policy::default()), clock.clock())
}

fn at(seconds: i64) -> Time {
    Time::from_millis(START + seconds * 1000)
}

fn client(server: &Server, token_auth: TokenAuth) -> ClientRegistration {
    ClientRegistration {
        client_id: "our-id".into(),
        client_secret: (token_auth != TokenAuth::None).then(|| "our+secret".into()),
        token_endpoint: format!("{}/token", server.origin).parse().expect("a URL"),
        refresh_endpoint: None,
        token_params: Vec::new(),
        token_auth,
        token_body: TokenBody::Form,
        response: TokenResponseShape::default(),
        revocation: None,
        learnt: false,
    }
}

/// The fields of the last request's form.
fn sent(server: &Server) -> Vec<(String, String)> {
    let request = server.requests().pop().expect("a request");
    let (_, body) = request.split_once("\r\n\r\n").expect("a body");
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A process without a `tools.toml` may finish a link; the link's record holds what it allows.
#[tokio::test]
async fn a_learnt_endpoint_has_a_private_address_only_where_the_link_s_maker_allows_it() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Server::saying("").await;
    let learnt = ClientRegistration {
        token_endpoint: server.origin.replace("http:", "https:").parse().unwrap(),
        learnt: true,
        ..client(&server, TokenAuth::None)
    };
    let policy = Policy { allow_private: vec!["127.0.0.0/8".parse().unwrap()] };
    let maker = OAuthClient::new(Net::new(policy), clock().clock());
    let finisher = oauth(&clock());
    let tries = [
        (finisher.clone(), true),
        (finisher.allowing(&[]), true),
        (finisher.allowing(&["10.0.0.0/8".into()]), true),
        (finisher.allowing(&maker.allowed_blocks()), false),
    ];
    for (oauth, is_refused) in tries {
        let code = "code".into();
        let exchange = oauth.exchange(&learnt, &code, "http://127.0.0.1/cb", None);
        let Err(error) = exchange.await else { panic!("it speaks no TLS") };
        let error = error.to_string();
        assert_eq!(error.contains("does not name this host"), is_refused, "{error}");
    }
}
