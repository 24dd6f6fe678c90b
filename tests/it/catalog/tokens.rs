//! Token requests in the form that each provider expects, and our parsing of its documented
//! answers, over a real connection.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::model::consent_plan::ClientRegistration;
use countersign::model::{Scopes, Time};
use countersign::net::{Net, Policy};
use countersign::oauth::{Issued, OAuthClient, TokenError};
use secrecy::ExposeSecret;
use url::form_urlencoded;

use super::{oauth, provider};
use crate::command::fixture;
use crate::support::provider::{Act, Server, answer};
use crate::support::world::TestClock;

/// 2026-01-01T00:00:00Z
const NOW: i64 = 1_767_225_600_000;

fn client() -> OAuthClient {
    // The first test to run installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    OAuthClient::new(Net::new(Policy::default()), TestClock::at(NOW).clock())
}

/// Registration of a provider, with its endpoints moved to a test server.
fn registration(id: &str, server: &Server) -> ClientRegistration {
    let provider = provider(id);
    let settings = oauth(&provider).unwrap();
    let here = |path: &str| format!("{}/{path}", server.origin).parse().unwrap();
    ClientRegistration {
        client_id: "our-id".into(),
        client_secret: Some("our-secret".into()),
        token_endpoint: here("token"),
        refresh_endpoint: settings.endpoints.refresh.as_ref().map(|_| here("refresh")),
        token_params: settings.token_params.clone(),
        token_auth: settings.token_auth.unwrap(),
        token_body: settings.token_body,
        response: settings.response.clone(),
        revocation: None,
        learnt: false,
    }
}

async fn exchange(id: &str, server: &Server) -> Result<Issued, TokenError> {
    let registration = registration(id, server);
    let redirect_uri = "http://127.0.0.1:8971/oauth/callback/x";
    client().exchange(&registration, &"the-code".into(), redirect_uri, None).await
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Samples {
    sample: Vec<Sample>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    provider: String,
    source: String,
    what: String,
    status: Option<String>,
    body: String,
    access: Option<String>,
    refresh: Option<String>,
    life: Option<u64>,
    scopes: Option<Vec<String>>,
    error: Option<String>,
}

#[tokio::test]
async fn each_documented_answer_is_understood() {
    let text = std::fs::read_to_string(fixture("token_responses.toml")).unwrap();
    let samples: Samples = toml::from_str(&text).unwrap();
    assert!(samples.sample.len() > 20);
    for sample in samples.sample {
        let name = format!("{}: {}", sample.provider, sample.what);
        assert!(sample.source.starts_with("https://"), "{name}");
        let status = sample.status.as_deref().unwrap_or("200 OK");
        let server = Server::saying(answer(status, "", sample.body)).await;
        match exchange(&sample.provider, &server).await {
            Ok(issued) => {
                let access = issued.tokens.access.expose_secret();
                assert_eq!(Some(access), sample.access.as_deref(), "{name}");
                let refresh = issued.tokens.refresh.as_ref().map(ExposeSecret::expose_secret);
                assert_eq!(refresh, sample.refresh.as_deref(), "{name}");
                let end =
                    sample.life.map(|life| Time::from_millis(NOW).after(Duration::from_secs(life)));
                assert_eq!(issued.tokens.expires_at, end, "{name}");
                assert_eq!(issued.scopes, sample.scopes.map(Scopes::new), "{name}");
            }
            Err(TokenError::Refused { code }) => assert_eq!(Some(code), sample.error, "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

/// Returns the head, in lower case, and the fields of the only request that the server received.
fn sent(server: &Server) -> (String, Vec<(String, String)>) {
    let requests = server.requests();
    let [request] = requests.as_slice() else { panic!("{requests:#?}") };
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let fields = if body.starts_with('{') {
        let body: serde_json::Map<String, serde_json::Value> = serde_json::from_str(body).unwrap();
        body.into_iter().map(|(name, value)| (name, value.as_str().unwrap().to_owned())).collect()
    } else {
        form_urlencoded::parse(body.as_bytes()).into_owned().collect()
    };
    (head.to_owned(), fields)
}

async fn server() -> Server {
    Server::start(|_| Act::Say(answer("200 OK", "", r#"{"access_token":"fake"}"#))).await
}

/// A provider, its `Authorization` header, and the parameters beyond RFC 6749 §4.1.3.
type Way<'a> = (&'a str, Option<&'a str>, &'a [(&'a str, &'a str)]);

#[tokio::test]
async fn each_provider_is_shown_who_we_are_in_its_way() {
    let basic = format!("Basic {}", STANDARD.encode("our-id:our-secret"));
    let ways: &[Way<'_>] = &[
        ("github", None, &[("client_id", "our-id"), ("client_secret", "our-secret")]),
        ("notion", Some(&basic), &[]),
        ("zoom", Some(&basic), &[]),
        ("stripe_app", Some("Bearer our-secret"), &[]),
        (
            "shopify",
            None,
            &[("client_id", "our-id"), ("client_secret", "our-secret"), ("expiring", "1")],
        ),
        (
            "zendesk",
            None,
            &[
                ("client_id", "our-id"),
                ("client_secret", "our-secret"),
                ("expires_in", "172800"),
                ("refresh_token_expires_in", "7776000"),
            ],
        ),
    ];
    for (id, authorization, own) in ways {
        let server = server().await;
        exchange(id, &server).await.unwrap();
        let (head, mut fields) = sent(&server);
        let header = head.lines().find_map(|line| line.strip_prefix("authorization: "));
        assert_eq!(header, *authorization, "{id}");
        let is_json = head.contains("content-type: application/json");
        assert_eq!(is_json, *id == "notion", "{id}: {head}");
        fields.retain(|(name, _)| !["grant_type", "code", "redirect_uri"].contains(&name.as_str()));
        fields.sort();
        let own: Vec<(String, String)> =
            own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(fields, own, "{id}");
    }
}

#[tokio::test]
async fn a_refresh_goes_where_the_provider_takes_it_and_keeps_what_is_not_replaced() {
    for (id, path) in [("figma", "/refresh"), ("github", "/token")] {
        let server = server().await;
        let registration = registration(id, &server);
        let issued = client().refresh(&registration, &"the-refresh".into()).await.unwrap();
        assert_eq!(issued.tokens.refresh.unwrap().expose_secret(), "the-refresh", "{id}");
        let (head, fields) = sent(&server);
        assert!(head.starts_with(&format!("POST {path} ")), "{id}: {head}");
        assert!(fields.contains(&("refresh_token".into(), "the-refresh".into())), "{id}");
    }
}
