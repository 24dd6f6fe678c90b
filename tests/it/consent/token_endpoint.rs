//! Everything that a token endpoint may answer, and what it means for a grant.

use std::time::Duration;

use countersign::model::PromptReason;
use reqwest::StatusCode;

use super::world::{World, tokens};
use crate::server::{Act, answer};

const FIRST: &str = r#"{"access_token":"first","refresh_token":"r1","expires_in":600}"#;
const SECOND: &str = r#"{"access_token":"second","refresh_token":"r2","expires_in":600}"#;

/// A world with a grant whose access token has just expired.
async fn expired() -> World {
    let world = World::new().await;
    world.provider.accepts(&["first", "second"]);
    world.provider.says(tokens(FIRST));
    assert_eq!(world.consent().await.status, StatusCode::SEE_OTHER);
    world.pass(Duration::from_secs(601));
    world
}

#[tokio::test]
async fn answers_that_say_nothing_about_the_grant_keep_it() {
    let html = "Content-Type: text/html\r\n";
    let answers: Vec<(&str, Vec<u8>)> = vec![
        ("500", answer("500 Internal Server Error", "", "")),
        ("503 with a code", answer("503 Service Unavailable", "", r#"{"error":"invalid_grant"}"#)),
        ("429", answer("429 Too Many Requests", "Retry-After: 1\r\n", "")),
        ("302", answer("302 Found", "Location: http://127.0.0.1:1/\r\n", "")),
        ("HTML", answer("200 OK", html, "<html>maintenance</html>")),
        ("400 HTML", answer("400 Bad Request", html, "<html>no</html>")),
        ("empty", answer("200 OK", "", "")),
        ("no token", answer("200 OK", "", r#"{"token_type":"bearer"}"#)),
        ("temporarily", answer("400 Bad Request", "", r#"{"error":"temporarily_unavailable"}"#)),
        ("line break", answer("200 OK", "", r#"{"access_token":"a\r\nb"}"#)),
        ("huge", answer("200 OK", "", vec![b' '; 300 * 1024])),
    ];
    for (name, bytes) in answers {
        let world = expired().await;
        world.provider.says(bytes);
        let result = world.result().await;
        assert!(result.is_error, "{name}");
        assert!(result.text.contains("Nothing is lost"), "{name}: {}", result.text);
        world.provider.says(tokens(SECOND));
        assert!(!world.result().await.is_error, "{name}: works again");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_off_keeps_the_grant() {
    for act in
        [|| Act::SayAndClose(Vec::new()), || Act::SayAndClose(b"HTTP/1.1 200 OK\r\n".to_vec())]
    {
        let world = expired().await;
        world.provider.tokens(move |_| act());
        assert!(world.result().await.text.contains("Nothing is lost"));
        world.provider.says(tokens(SECOND));
        assert!(!world.result().await.is_error);
    }
}

#[tokio::test]
async fn trouble_at_the_token_endpoint_does_not_stop_a_token_that_still_lives() {
    let world = World::new().await;
    world.provider.accepts(&["first"]);
    world.provider.says(tokens(FIRST));
    world.consent().await;
    world.pass(Duration::from_secs(595));
    world.provider.says(answer("503 Service Unavailable", "", ""));
    assert!(!world.result().await.is_error);
}

#[tokio::test]
async fn only_a_clear_word_ends_the_grant() {
    for code in ["invalid_grant", "token_revoked", "interaction_required"] {
        let world = expired().await;
        world.provider.says(answer("400 Bad Request", "", format!(r#"{{"error":"{code}"}}"#)));
        assert_eq!(world.prompt().await.reason, PromptReason::Ended, "{code}");
        // Ended is ended: the refresh token is not tried again.
        let sent = world.provider.refreshes();
        assert_eq!(world.prompt().await.reason, PromptReason::Ended, "{code}");
        assert_eq!(world.provider.refreshes(), sent, "{code}");
        world.provider.says(tokens(SECOND));
        world.consent().await;
        assert!(!world.result().await.is_error, "{code}: connected again");
    }
}

#[tokio::test]
async fn a_refused_client_is_the_operator_s_to_mend() {
    for bytes in [
        answer("401 Unauthorized", "", r#"{"error":"invalid_client"}"#),
        answer("400 Bad Request", "", r#"{"error":"unauthorized_client"}"#),
        answer("401 Unauthorized", "", ""),
    ] {
        let world = expired().await;
        world.provider.says(bytes);
        let result = world.result().await;
        let hint = result.for_operator.unwrap_or_default();
        assert!(hint.contains("client_id and client_secret"), "{hint}");
        world.provider.says(tokens(SECOND));
        let sent = world.provider.refreshes();
        assert!(world.result().await.is_error, "the provider is left alone for a minute");
        assert_eq!(world.provider.refreshes(), sent);
        world.pass(Duration::from_secs(61));
        assert!(!world.result().await.is_error, "the grant was kept");
    }
}

#[tokio::test]
async fn no_token_for_a_code_leaves_the_link_open_and_nothing_kept() {
    let world = World::new().await;
    for bytes in [
        answer("503 Service Unavailable", "", ""),
        answer("400 Bad Request", "", r#"{"error":"invalid_grant"}"#),
        answer("401 Unauthorized", "", r#"{"error":"invalid_client"}"#),
        answer("200 OK", "", r#"{"error":"bad_verification_code"}"#),
    ] {
        world.provider.says(bytes);
        let page = world.consent().await;
        assert_eq!(page.status, StatusCode::BAD_GATEWAY);
        assert!(page.text.contains("Nothing was connected"), "{}", page.text);
        assert!(!page.text.contains("c0de"));
    }
    world.provider.accepts(&["first"]);
    world.provider.says(tokens(FIRST));
    assert_eq!(world.consent().await.status, StatusCode::SEE_OTHER);
    assert!(!world.result().await.is_error);
}

#[tokio::test]
async fn a_scope_that_was_not_granted_is_named() {
    let world = World::new().await;
    world.provider.says(tokens(r#"{"access_token":"first","scope":"profile"}"#));
    world.consent().await;
    let prompt = world.prompt().await;
    assert_eq!(prompt.reason, PromptReason::NotGranted);
    assert!(prompt.scopes.contains("notes:read"));
    let earlier = world.get(&prompt.url).await;
    assert_eq!(earlier.status, StatusCode::OK, "and may be asked for again");
}

#[tokio::test]
async fn the_code_is_sent_with_the_verifier_of_its_own_trip() {
    use base64::Engine as _;
    use sha2::Digest as _;
    let world = World::new().await;
    let link = world.prompt().await.url;
    let departure = world.click(&link).await;
    assert_eq!(departure.parameter("code_challenge_method"), "S256");
    let challenge = departure.parameter("code_challenge");
    world.provider.says(tokens(FIRST));
    world.come_back(&departure, "code=c0de").await;
    let sent = world.provider.requests().pop().unwrap();
    let field = |name: &str| {
        let pairs = url::form_urlencoded::parse(sent.as_bytes());
        pairs.into_iter().find(|(found, _)| found == name).unwrap().1.into_owned()
    };
    let digest = sha2::Sha256::digest(field("code_verifier"));
    let reckoned = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
    assert_eq!(reckoned, challenge);
    assert_eq!(field("redirect_uri"), departure.parameter("redirect_uri"));
    assert_eq!(field("code"), "c0de");
}

#[tokio::test]
async fn trouble_is_met_once_for_all_who_wait() {
    let world = expired().await;
    world.provider.says(answer("503 Service Unavailable", "", ""));
    let calls = futures_util::future::join_all((0..50).map(|_| world.result())).await;
    assert!(calls.iter().all(|result| result.text.contains("Nothing is lost")));
    assert_eq!(world.provider.refreshes(), 3, "it is asked three times, not three times fifty");
}

#[tokio::test]
async fn a_token_endpoint_in_trouble_is_left_alone_while_the_token_lives() {
    let world = World::new().await;
    world.provider.accepts(&["first"]);
    world.provider.says(tokens(FIRST));
    world.consent().await;
    world.pass(Duration::from_secs(575));
    world.provider.says(answer("503 Service Unavailable", "", ""));
    for _ in 0..5 {
        assert!(!world.result().await.is_error);
    }
    assert_eq!(world.provider.refreshes(), 1);
    world.pass(Duration::from_secs(15));
    assert!(!world.result().await.is_error);
    assert_eq!(world.provider.refreshes(), 2);
}
