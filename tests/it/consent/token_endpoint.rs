//! Every answer that a token endpoint may give, and its effect on a grant.
//!
//! | fault | shown by |
//! |---|---|
//! | an error with status 200, `ok: false`, an error that is an object, an unknown one | [`errors_are_read_wherever_they_stand`] |
//! | 201, plain text, a form, a byte order mark, a nested or missing part | [`what_is_odd_and_still_a_token_is_taken`] |
//! | 302, 4xx with HTML, 5xx, 429, an empty body, no token, a token that no header can carry | [`answers_that_say_nothing_about_the_grant_keep_it`] |
//! | lifetimes as text, zero, negative, endless, null, with a fraction | [`what_is_odd_and_still_a_token_is_taken`] |
//! | a `scope` that names none | [`an_empty_scope_is_no_statement`] |
//! | a refresh token that cannot be sent | [`a_refresh_token_that_cannot_be_sent_costs_no_access_token`] |
//! | a refresh token that is null, empty, missing or the same | [`a_refresh_token_goes_on_until_another_comes`] |
//! | `invalid_grant` and similar codes; access removed by the user | [`only_a_clear_word_ends_the_grant`] |
//! | `invalid_client` and similar codes; an app removed by its owner | [`a_refused_client_is_the_operator_s_to_mend`] |
//! | `invalid_scope` | [`a_renewal_asks_for_no_scope`], so it cannot ask for too much |
//! | the connection breaks off, in the head and in the body | [`a_connection_that_breaks_off_keeps_the_grant`] |
//! | an idle connection that the server closes as the request arrives | [`a_token_request_has_a_connection_of_its_own`], `net::tests` |
//! | no answer, or one that never ends | [`an_answer_that_does_not_come_is_waited_for_once`] |
//! | connection refused | `net::tests`: the error says so, and that nothing was sent; then as above |
//! | an answer lost by a gateway | [`a_lost_answer_is_asked_for_once_more_and_not_twice`] |
//! | a kill between sending and storing | `tests/real/kills.rs` |
//! | many calls at once, many processes at once | [`trouble_is_met_once_for_all_who_wait`], `super::expiry`, `tests/real/{refresh,peers_under_fire}.rs` |
//! | a disk that is full when the answer comes | `tests/real/disk.rs` |
//! | a clock that jumps | [`a_clock_that_is_set_back_keeps_nobody_waiting`], [`a_clock_that_jumps_costs_a_renewal_and_no_consent`] |
//! | 401 again after a renewal | `tests/real/refresh.rs`; 403 `insufficient_scope` likewise |
//! | a discovery document of another issuer, in the clear, too long, at another address | `oauth::metadata`, `net::tests`, `crate::discovery` |
//! | an `id_token` with no or a wrong signature | [`what_is_odd_and_still_a_token_is_taken`]: it is not read |
//! | revocation fails or hangs | `super::accounts` |
//! | device codes | `crate::oauth::device` |

use std::time::Duration;

use countersign::broker::accounts::list::AccountState;
use countersign::model::{Caller, PromptReason, UserId};
use futures_util::future::join_all;
use reqwest::StatusCode;

use super::world::{World, tokens};
use crate::support::provider::{Act, answer};

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
        ("text", answer("200 OK", "Content-Type: text/plain\r\n", "try again later")),
        ("400 text", answer("400 Bad Request", "Content-Type: text/plain\r\n", "no")),
        ("unknown", answer("400 Bad Request", "", r#"{"error":"out_of_cheese"}"#)),
        ("object", answer("400 Bad Request", "", r#"{"error":{"type":"Odd","code":1}}"#)),
        ("null", answer("200 OK", "", r#"{"access_token":null}"#)),
        ("not ASCII", answer("200 OK", "", r#"{"access_token":"é"}"#)),
        (
            "too long",
            answer("200 OK", "", format!(r#"{{"access_token":"{}"}}"#, "a".repeat(20 << 10))),
        ),
        ("line break", answer("200 OK", "", r#"{"access_token":"a\r\nb"}"#)),
        ("huge", answer("200 OK", "", vec![b' '; 300 * 1024])),
    ];
    // Each case asks more than once, with pauses in between.
    join_all(answers.into_iter().map(|(name, bytes)| async move {
        let world = expired().await;
        world.provider.says(bytes);
        let result = world.result().await;
        assert!(result.is_error, "{name}");
        assert!(result.text.contains("Nothing is lost"), "{name}: {}", result.text);
        world.provider.says(tokens(SECOND));
        assert!(!world.result().await.is_error, "{name}: works again");
    }))
    .await;
}

#[tokio::test]
async fn a_connection_that_breaks_off_keeps_the_grant() {
    for cut in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"access_token\":\"s",
    ] {
        let world = expired().await;
        world.provider.tokens(move |_| Act::SayAndClose(cut.into()));
        assert!(world.result().await.text.contains("Nothing is lost"));
        assert_eq!(world.provider.refreshes(), 2, "once more, as an answer was lost");
        world.provider.says(tokens(SECOND));
        assert!(!world.result().await.is_error);
    }
}

/// A code or refresh token that meets a closing connection may be spent, and is of no more use.
#[tokio::test]
async fn a_token_request_has_a_connection_of_its_own() {
    let world = World::new().await;
    world.provider.accepts(&["first", "second"]);
    world.provider.says(tokens(FIRST));
    world.prompt().await;
    let idle = world.provider.connections();
    world.consent().await;
    assert_eq!(world.provider.connections(), idle + 1, "the code");
    for _ in 0..2 {
        assert!(!world.result().await.is_error);
        world.pass(Duration::from_secs(601));
        world.provider.says(tokens(SECOND));
        let idle = world.provider.connections();
        assert!(!world.result().await.is_error);
        assert_eq!(world.provider.connections(), idle + 1, "the refresh token");
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
        // Once the grant has ended, the refresh token is not tried again.
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
        let link = world.prompt().await.url;
        let back = world.consent_by(&link).await;
        // Redirects to an address without code and state.
        assert_eq!((back.status, back.location()), (StatusCode::SEE_OTHER, &*link));
        let page = world.get(&link).await;
        assert!(
            page.text.contains("handed out no token") || page.text.contains("was not connected"),
            "{}",
            page.text
        );
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

/// Unusual token responses. Each carries the same access token.
fn odd_tokens() -> Vec<(&'static str, Vec<u8>)> {
    let form = "access_token=second&token_type=bearer&scope=notes%3Aread";
    let plain = "Content-Type: text/plain\r\n";
    let mut answers = vec![
        ("201", answer("201 Created", "", r#"{"access_token":"second"}"#)),
        ("a form", answer("200 OK", "Content-Type: application/x-www-form-urlencoded\r\n", form)),
        ("a form as text", answer("200 OK", plain, form)),
        ("JSON as text", answer("200 OK", plain, r#"{"access_token":"second"}"#)),
        ("a byte order mark", answer("200 OK", "", "\u{feff}{\"access_token\":\"second\"}")),
    ];
    let bodies = [
        r#"{"ok":true,"access_token":"second","token_type":"user"}"#,
        r#"{"access_token":"second","expires_in":"3600"}"#,
        r#"{"access_token":"second","expires_in":0}"#,
        r#"{"access_token":"second","expires_in":-1}"#,
        r#"{"access_token":"second","expires_in":1e12}"#,
        r#"{"access_token":"second","expires_in":null}"#,
        r#"{"access_token":"second","expires_in":3600.5}"#,
        r#"{"access_token":"second","scope":["notes:read"]}"#,
        r#"{"access_token":"second","scope":"notes:read,profile"}"#,
        r#"{"access_token":"second","id_token":"eyJhbGciOiJub25lIn0.eyJzdWIiOiJtYWxsb3J5In0."}"#,
        r#"{"access_token":"second","id_token":{"iss":"https://evil.example"}}"#,
    ];
    answers.extend(bodies.map(|body| (body, tokens(body))));
    answers
}

#[tokio::test]
async fn what_is_odd_and_still_a_token_is_taken() {
    for (name, bytes) in odd_tokens() {
        let world = expired().await;
        world.provider.says(bytes.clone());
        assert!(!world.result().await.is_error, "{name}");
        assert_eq!(world.provider.refreshes(), 1, "{name}");

        let world = World::new().await;
        world.provider.accepts(&["second"]);
        world.provider.says(bytes);
        assert_eq!(world.consent().await.status, StatusCode::SEE_OTHER, "{name}");
        assert!(!world.result().await.is_error, "{name}: for a code");
    }
}

#[tokio::test]
async fn errors_are_read_wherever_they_stand() {
    for (body, is_the_end) in [
        (r#"{"error":"invalid_grant"}"#, true),
        (r#"{"ok":false,"error":"token_expired"}"#, true),
        (r#"{"ok":false}"#, false),
        (r#"{"error":{"type":"OAuthException","code":190}}"#, false),
        ("error=bad_verification_code&error_description=x", true),
    ] {
        let world = expired().await;
        world.provider.says(tokens(body));
        if is_the_end {
            assert_eq!(world.prompt().await.reason, PromptReason::Ended, "{body}");
        } else {
            assert!(world.result().await.text.contains("Nothing is lost"), "{body}");
        }
    }
}

#[tokio::test]
async fn a_refresh_token_goes_on_until_another_comes() {
    for (refresh, next) in [("null", "r1"), (r#""""#, "r1"), (r#""r1""#, "r1"), (r#""r2""#, "r2")] {
        let world = expired().await;
        let body =
            format!(r#"{{"access_token":"second","refresh_token":{refresh},"expires_in":600}}"#);
        world.provider.says(tokens(&body));
        assert!(!world.result().await.is_error, "{refresh}");
        world.pass(Duration::from_secs(601));
        assert!(!world.result().await.is_error, "{refresh}");
        let sent = world.provider.requests().pop().unwrap();
        assert!(sent.contains(&format!("refresh_token={next}")), "{refresh}: {sent}");
    }
}

/// GitHub Apps always answer like this. The granted scopes are then the requested ones (RFC 6749
/// §5.1).
#[tokio::test]
async fn an_empty_scope_is_no_statement() {
    for said in [
        r#""scope":"""#,
        r#""scope":" ""#,
        r#""scope":[]"#,
        r#""scope":null"#,
        r#""scope":["",""]"#,
        r#""scopes":[]"#,
    ] {
        let world = World::new().await;
        world.provider.accepts(&["first", "second"]);
        let body = |token: &str| {
            format!(r#"{{"access_token":"{token}","refresh_token":"r1","expires_in":600,{said}}}"#)
        };
        world.provider.says(tokens(&body("first")));
        let link = world.prompt().await.url;
        world.consent_by(&link).await;
        let page = world.get(&link).await;
        assert!(!page.text.contains("Not granted"), "{said}: {}", page.text);
        assert!(!world.result().await.is_error, "{said}");
        world.provider.says(tokens(&body("second")));
        world.pass(Duration::from_secs(601));
        assert!(!world.result().await.is_error, "{said}: renewed");
        assert_eq!(world.provider.refreshes(), 1, "{said}");
        assert!(world.accounts().await[0].scopes.contains("notes:read"), "{said}");
    }
}

/// The access token beside it is good, and the refresh token that it was exchanged for may be
/// spent.
#[tokio::test]
async fn a_refresh_token_that_cannot_be_sent_costs_no_access_token() {
    let long = "r".repeat(20 << 10);
    for unusable in ["r 2", r"r\n", "é", &long] {
        let body =
            format!(r#"{{"access_token":"second","refresh_token":"{unusable}","expires_in":600}}"#);
        let world = expired().await;
        world.provider.says(tokens(&body));
        assert!(!world.result().await.is_error, "{unusable:.9}");
        assert_eq!(world.provider.refreshes(), 1, "{unusable:.9}");
        world.pass(Duration::from_secs(601));
        assert!(!world.result().await.is_error, "{unusable:.9}");
        let sent = world.provider.requests().pop().unwrap();
        assert!(sent.contains("refresh_token=r1"), "as if none had come");

        let world = World::new().await;
        world.provider.accepts(&["second"]);
        world.provider.says(tokens(&body));
        world.consent().await;
        assert!(!world.result().await.is_error, "{unusable:.9}: for a code");
        assert!(!world.accounts().await[0].renews);
    }
}

#[tokio::test]
async fn a_renewal_asks_for_no_scope() {
    let world = expired().await;
    world.provider.says(tokens(SECOND));
    assert!(!world.result().await.is_error);
    let sent = world.provider.requests().pop().unwrap();
    assert!(sent.contains("grant_type=refresh_token") && !sent.contains("scope"), "{sent}");
}

/// Asks once more, in case the answer was lost and the provider tolerates a repeat (RFC 9700
/// §4.14.2 does not require that), and never a third time.
#[tokio::test]
async fn a_lost_answer_is_asked_for_once_more_and_not_twice() {
    for status in ["502 Bad Gateway", "504 Gateway Timeout"] {
        let world = expired().await;
        world.provider.says(answer(status, "", "<html>"));
        assert!(world.result().await.text.contains("Nothing is lost"), "{status}");
        assert_eq!(world.provider.refreshes(), 2, "{status}");
        world.provider.says(answer("400 Bad Request", "", r#"{"error":"invalid_grant"}"#));
        assert_eq!(world.prompt().await.reason, PromptReason::Ended);
        let ana = Caller::local(UserId::new("ana"));
        let state = world.app.broker.accounts().list(&ana).await.unwrap().pop().unwrap().state;
        let AccountState::Ended(why) = state else { panic!("{state:?}") };
        assert!(why.contains("an answer to a renewal was lost"), "{why}");
    }
}

/// The only test here that takes twenty seconds, the time limit for a provider's answer.
#[tokio::test]
async fn an_answer_that_does_not_come_is_waited_for_once() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{";
    join_all([&b""[..], head].map(|begun| async move {
        let world = expired().await;
        world.provider.tokens(move |_| Act::Stall(begun.into()));
        let calls = join_all((0..3).map(|_| world.result())).await;
        assert!(calls.iter().all(|result| result.text.contains("Nothing is lost")));
        assert_eq!(world.provider.refreshes(), 1, "a host does not wait for another");
        world.provider.says(tokens(SECOND));
        assert!(!world.result().await.is_error);
        assert_eq!(world.provider.refreshes(), 2);
    }))
    .await;
}

#[tokio::test]
async fn a_clock_that_jumps_costs_a_renewal_and_no_consent() {
    let hour = Duration::from_hours(1);
    let world = World::new().await;
    world.provider.accepts(&["first"]);
    world.provider.says(tokens(FIRST));
    world.consent().await;
    // Back: the token has expired, but seems to have an hour left.
    world.set_back(hour);
    assert!(!world.result().await.is_error);
    world.provider.accepts(&["second"]);
    world.provider.says(tokens(SECOND));
    assert!(!world.result().await.is_error, "the API says so, and it is renewed");
    // Forward: it has ten minutes left, but seems to have expired an hour ago.
    world.pass(hour);
    assert!(!world.result().await.is_error);
    assert_eq!(world.provider.refreshes(), 2);
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_nobody_waiting() {
    let world = expired().await;
    world.provider.says(answer("401 Unauthorized", "", r#"{"error":"invalid_client"}"#));
    assert!(world.result().await.is_error);
    world.set_back(Duration::from_mins(30));
    world.provider.says(tokens(SECOND));
    world.provider.accepts(&["second"]);
    assert!(
        !world.result().await.is_error,
        "the minute in which it is left alone is not half an hour"
    );
}
