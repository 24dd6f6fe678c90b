//! The device flow.

use std::time::Duration;

use countersign::model::Scopes;
use countersign::model::oauth::TokenAuth;
use countersign::oauth::{DeviceCode, Poll, TokenError};
use secrecy::ExposeSecret as _;

use super::{at, client, clock, oauth, pairs, sent};
use crate::support::provider::{Act, Server, answer, json};

const CODE: &str = r#"{"device_code":"d","user_code":"WDJB-MJHT","verification_uri":"https://acme.example/device",
    "verification_uri_complete":"https://acme.example/device?user_code=WDJB-MJHT","expires_in":900,"interval":7}"#;

async fn ask(code: &str) -> Result<DeviceCode, TokenError> {
    let server = Server::saying(json(code)).await;
    let endpoint = format!("{}/device", server.origin).parse().expect("a URL");
    let client = client(&server, TokenAuth::Post);
    oauth(&clock()).device_authorization(&client, &endpoint, &Scopes::default()).await
}

#[tokio::test]
async fn a_code_is_asked_for_and_read() {
    for (auth, fields) in [
        (
            TokenAuth::Post,
            &[("scope", "a b"), ("client_id", "our-id"), ("client_secret", "our+secret")][..],
        ),
        (TokenAuth::None, &[("scope", "a b"), ("client_id", "our-id")]),
        (TokenAuth::Basic, &[("scope", "a b"), ("client_id", "our-id")]),
    ] {
        let server = Server::saying(json(CODE)).await;
        let endpoint = format!("{}/device", server.origin).parse().expect("a URL");
        let code = oauth(&clock())
            .device_authorization(&client(&server, auth), &endpoint, &Scopes::new(["a", "b"]))
            .await
            .expect("a code");
        assert_eq!(sent(&server), pairs(fields));
        let request = server.requests().remove(0);
        assert!(request.starts_with("POST /device "), "{request}");
        assert_eq!(request.contains("authorization: Basic"), auth == TokenAuth::Basic);
        assert_eq!(code.user_code, "WDJB-MJHT");
        assert_eq!(code.verification_uri.as_str(), "https://acme.example/device");
        assert!(code.verification_uri_complete.is_some());
        assert_eq!((code.expires_at, code.interval), (at(900), Duration::from_secs(7)));
        assert!(!format!("{code:?}").contains("\"d\""), "{code:?}");
    }
}

#[tokio::test]
async fn what_is_left_out_is_what_the_rfc_says() {
    let google = r#"{"device_code":"d","user_code":"A","verification_url":"https://g.example/"}"#;
    let code = ask(google).await.expect("a code");
    assert_eq!(code.interval, Duration::from_secs(5));
    assert_eq!(code.verification_uri.as_str(), "https://g.example/");
    let odd = r#"{"device_code":"d","user_code":"A","verification_uri":"https://g.example/","expires_in":"1e9","interval":0}"#;
    let code = ask(odd).await.expect("a code");
    assert_eq!((code.interval, code.expires_at), (Duration::from_secs(5), at(1800)));
}

#[tokio::test]
async fn what_is_shown_cannot_steer_a_terminal_or_lead_astray() {
    let with = |user_code: &str, uri: &str, complete: &str| {
        serde_json::json!({"device_code": "d", "user_code": user_code, "verification_uri": uri,
            "verification_uri_complete": complete})
        .to_string()
    };
    let good = "https://acme.example/device";
    let steered = ask(&with("A\u{1b}[2J\u{202e}B\nC", good, "")).await.expect("a code");
    assert_eq!(steered.user_code, "A[2JBC");
    let long = ask(&with(&"x".repeat(500), good, "")).await.expect("a code");
    assert_eq!(long.user_code.len(), 64);
    let path = ask(&with("A", "https://acme.example/\u{1b}[2J", "")).await.expect("a code");
    assert!(path.verification_uri.as_str().is_ascii(), "{}", path.verification_uri);
    assert!(!path.verification_uri.as_str().contains('\u{1b}'));
    let elsewhere = ask(&with("A", good, "https://evil.example/?c=A")).await.expect("a code");
    assert_eq!(elsewhere.verification_uri_complete, None);
    for uri in ["http://acme.example/", "javascript:alert(1)", "file:///x", "https://u:p@x/", "x"] {
        assert!(matches!(ask(&with("A", uri, "")).await, Err(TokenError::Malformed(_))), "{uri}");
    }
    assert!(matches!(ask(&with("\u{1b}", good, "")).await, Err(TokenError::Malformed(_))));
    // GitHub refuses with status 200.
    let refused = ask(r#"{"error":"device_flow_disabled"}"#).await;
    assert!(matches!(refused, Err(TokenError::Refused { .. })), "{refused:?}");
}

/// Polls once; returns the answer and the seconds until the next poll.
async fn poll(act: impl Fn() -> Act + Send + Sync + 'static) -> (Result<Poll, TokenError>, u64) {
    let server = Server::start(move |request| {
        if request.starts_with("POST /device ") { Act::Say(json(CODE)) } else { act() }
    })
    .await;
    let endpoint = format!("{}/device", server.origin).parse().expect("a URL");
    let client = client(&server, TokenAuth::None);
    let oauth = oauth(&clock());
    let mut code =
        oauth.device_authorization(&client, &endpoint, &Scopes::default()).await.expect("a code");
    let answer = oauth.poll(&client, &mut code).await;
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let expected = pairs(&[grant, ("device_code", "d"), ("client_id", "our-id")]);
    assert_eq!(sent(&server), expected);
    (answer, code.interval.as_secs())
}

fn error(status: &'static str, code: &'static str) -> impl Fn() -> Act + Send + Sync + 'static {
    move || Act::Say(answer(status, "", format!(r#"{{"error":"{code}"}}"#)))
}

#[tokio::test]
async fn each_answer_is_final_or_asks_for_patience() {
    let (issued, _) = poll(|| Act::Say(json(r#"{"access_token":"t","refresh_token":"r"}"#))).await;
    let Ok(Poll::Issued(issued)) = issued else { panic!("{issued:?}") };
    assert_eq!(issued.tokens.refresh.expect("one").expose_secret(), "r");
    for status in ["400 Bad Request", "200 OK", "428 Precondition Required"] {
        let (answer, interval) = poll(error(status, "authorization_pending")).await;
        assert!(matches!(answer, Ok(Poll::Pending)), "{status}: {answer:?}");
        assert_eq!(interval, 7);
        let (answer, interval) = poll(error(status, "slow_down")).await;
        assert!(matches!(answer, Ok(Poll::Pending)), "{status}: {answer:?}");
        assert_eq!(interval, 12);
        let (answer, _) = poll(error(status, "expired_token")).await;
        assert!(matches!(answer, Ok(Poll::Expired)), "{status}: {answer:?}");
        let (answer, _) = poll(error(status, "access_denied")).await;
        assert!(matches!(answer, Ok(Poll::Denied)), "{status}: {answer:?}");
        let (answer, _) = poll(error(status, "invalid_client")).await;
        assert!(matches!(answer, Err(TokenError::Refused { .. })), "{status}: {answer:?}");
    }
}

#[tokio::test]
async fn trouble_on_the_way_is_waited_out() {
    let troubles: [fn() -> Act; 4] = [
        || Act::SayAndClose(Vec::new()),
        || Act::Say(answer("503 Service Unavailable", "", "<html>")),
        || Act::Say(answer("429 Too Many Requests", "", "")),
        || Act::Say(json("<html>")),
    ];
    for trouble in troubles {
        let (answer, interval) = poll(trouble).await;
        assert!(matches!(answer, Ok(Poll::Pending)), "{answer:?}");
        assert_eq!(interval, 14);
    }
}

#[tokio::test]
async fn a_code_that_has_run_out_is_not_asked_about() {
    let server = Server::saying(json(CODE)).await;
    let endpoint = format!("{}/device", server.origin).parse().expect("a URL");
    let client = client(&server, TokenAuth::None);
    let clock = clock();
    let oauth = oauth(&clock);
    let mut code =
        oauth.device_authorization(&client, &endpoint, &Scopes::default()).await.expect("a code");
    clock.pass(Duration::from_mins(15));
    assert!(matches!(oauth.poll(&client, &mut code).await, Ok(Poll::Expired)));
    assert_eq!(server.requests().len(), 1);
}
