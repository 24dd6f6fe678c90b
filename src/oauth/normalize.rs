//! Turns any token endpoint's answer into the form that RFC 6749 §5 describes.
//!
//! Form-encoded bodies, errors with status 200, tokens inside another object, scopes as arrays,
//! lifetimes as text or as a date: each was seen at a real provider. After this step there is one
//! form.

use http::StatusCode;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::error::TokenError;
use crate::model::oauth::{RefreshEnded, TokenResponseShape};
use crate::model::{Scopes, Time};

/// Longest token accepted, in bytes: it must fit into a header.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Longest lifetime in seconds (ten years); a longer one is a mistake and is cut to it.
const MAX_LIFETIME_SECONDS: f64 = 10.0 * 365.0 * 24.0 * 3600.0;

/// Returns a success body that satisfies RFC 6749 §5.1, as a JSON object. `now` is the time of
/// receipt.
pub(super) fn normalize(
    status: StatusCode,
    body: &[u8],
    shape: &TokenResponseShape,
    now: Time,
) -> Result<Map<String, Value>, TokenError> {
    if shape.refresh_ended.iter().any(|said| is_said(said, status, body)) {
        return Err(TokenError::RefreshTokenEnded);
    }
    tidy(person_s(success(status, body)?, shape)?, now)
}

/// Whether the answer to a refresh says, in this provider's known words, that the refresh token has
/// ended. Never true for a status that says nothing about the grant.
fn is_said(said: &RefreshEnded, status: StatusCode, body: &[u8]) -> bool {
    let is_about_the_grant =
        status.is_success() || (status.is_client_error() && !matches!(status.as_u16(), 408 | 429));
    if !is_about_the_grant || said.status.is_some_and(|wanted| wanted != status.as_u16()) {
        return false;
    }
    let Some(answer) = object(body) else { return false };
    if answer.contains_key("access_token") {
        return false;
    }
    let is_error = |wanted: &str| match answer.get("error") {
        Some(Value::String(code)) => code == wanted,
        Some(Value::Number(code)) => code.to_string() == wanted,
        _ => false,
    };
    said.error.as_deref().is_none_or(is_error)
        && said.says.as_deref().is_none_or(|words| {
            let words = words.to_lowercase();
            answer.values().any(|value| says(value, &words))
        })
}

/// Whether a string in `value` contains `words`, which are in lower case.
fn says(value: &Value, words: &str) -> bool {
    match value {
        Value::String(text) => text.to_lowercase().contains(words),
        Value::Array(items) => items.iter().any(|item| says(item, words)),
        Value::Object(fields) => fields.values().any(|field| says(field, words)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Returns the body's object unless the status or the object is an error.
pub(super) fn success(status: StatusCode, body: &[u8]) -> Result<Map<String, Value>, TokenError> {
    // A server in trouble may send half a token response along; its status decides.
    if status.is_server_error() || matches!(status.as_u16(), 408 | 429) || status.is_redirection() {
        return Err(refused(status));
    }
    let Some(answer) = object(body) else {
        return Err(if status.is_success() {
            TokenError::Malformed(describe(body))
        } else {
            refused(status)
        });
    };
    if let Some(code) = error_code(&answer) {
        return Err(TokenError::Refused { code });
    }
    if !status.is_success() {
        return Err(refused(status));
    }
    Ok(answer)
}

fn refused(status: StatusCode) -> TokenError {
    TokenError::Status { status: status.as_u16(), retry_after: None }
}

/// Returns the part of an answer that is about the user. Slack puts the bot's tokens around it;
/// they must not be taken for the user's if that part has none.
fn person_s(
    mut answer: Map<String, Value>,
    shape: &TokenResponseShape,
) -> Result<Map<String, Value>, TokenError> {
    let inner = match shape.nested.as_ref().and_then(|name| answer.remove(name)) {
        // Slack's answer to a refresh is flat.
        None | Some(Value::Null) => return Ok(answer),
        // Instagram: {"data": [{…}]}
        Some(Value::Array(items)) => items.into_iter().next(),
        inner => inner,
    };
    match inner {
        Some(Value::Object(inner)) => Ok(inner),
        _ => Err(TokenError::Malformed("the part about the person is no object")),
    }
}

fn object(body: &[u8]) -> Option<Map<String, Value>> {
    let text = std::str::from_utf8(body).ok()?.trim_start_matches('\u{feff}').trim();
    if text.starts_with('{') {
        return serde_json::from_str(text).ok();
    }
    // RFC 6749 requires JSON; GitHub without `Accept` and a few others send a form, with any
    // Content-Type.
    let is_form = text.contains('=') && !text.contains(['<', ' ', '\n']);
    is_form.then(|| {
        form_urlencoded::parse(text.as_bytes())
            .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
            .collect()
    })
}

fn describe(body: &[u8]) -> &'static str {
    match body.trim_ascii_start().first() {
        None => "it is empty",
        Some(b'<') => "it is HTML",
        Some(_) => "it is not JSON",
    }
}

/// Returns the error code of an answer, reduced to characters that RFC 6749 §5.2 allows, so that no
/// other text gets from here into a log or a page.
fn error_code(answer: &Map<String, Value>) -> Option<String> {
    let failed = answer.get("ok") == Some(&Value::Bool(false));
    let code = match answer.get("error") {
        Some(Value::String(code)) if !code.is_empty() => Some(code.as_str()),
        // Facebook: {"error": {"message", "type", "code"}}
        Some(Value::Object(error)) => {
            Some(error.get("type").and_then(Value::as_str).unwrap_or("error"))
        }
        _ if failed => Some("error"),
        // HubSpot's older shape: {"status": "BAD_REFRESH_TOKEN", "message"}
        _ if !answer.contains_key("access_token") => answer.get("status").and_then(Value::as_str),
        _ => None,
    }?;
    let code: String =
        code.chars().filter(|c| c.is_ascii_alphanumeric() || "_-.".contains(*c)).take(64).collect();
    Some(code)
}

fn tidy(mut answer: Map<String, Value>, now: Time) -> Result<Map<String, Value>, TokenError> {
    check_token(answer.get("access_token").ok_or(TokenError::Tokenless)?)?;
    // RFC 6749 §6: without a new refresh token the old one stays in use. One that cannot be sent is
    // dropped: the access token beside it is good, and the old refresh token may be spent by now.
    if answer.get("refresh_token").is_none_or(|token| check_token(token).is_err()) {
        answer.remove("refresh_token");
    }
    let kind = answer.get("token_type").and_then(Value::as_str).unwrap_or_default();
    // Slack says `user` and `bot`, others nothing; all of them are used as bearer tokens.
    if !kind.eq_ignore_ascii_case("bearer") {
        answer.insert("token_type".into(), Value::from("bearer"));
    }
    let life = match (answer.remove("expires_in"), answer.remove("expires_at")) {
        (Some(life), _) => seconds(&life),
        (None, Some(end)) => until(&end, now),
        (None, None) => None,
    };
    if let Some(life) = life {
        answer.insert("expires_in".into(), Value::from(life));
    }
    if let Some(life) = refresh_life(&mut answer, now) {
        answer.insert(REFRESH_LIFE.into(), Value::from(life));
    }
    let said = ["scope", "scopes"].map(|name| answer.remove(name).as_ref().and_then(scope_text));
    if let Some(scope) = said.into_iter().flatten().next() {
        answer.insert("scope".into(), Value::String(scope));
    }
    Ok(answer)
}

/// Checks that a token fits into a header: visible ASCII only (RFC 6750 §2.1), so that no line
/// break can add a header of its own.
fn check_token(token: &Value) -> Result<(), TokenError> {
    let token = token.as_str().ok_or(TokenError::Malformed("its token is not a string"))?;
    if token.is_empty() {
        return Err(TokenError::Malformed("its token is empty"));
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::Malformed("its token is longer than 16 KiB"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::Malformed("its token has characters that no token may have"));
    }
    Ok(())
}

/// Returns whole seconds; `None` for null, zero, negative or unreadable values. A token without a
/// lifetime is used until it is refused.
pub(super) fn seconds(value: &Value) -> Option<u64> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    if !seconds.is_finite() || seconds < 1.0 {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and ten years"
    )]
    Some(seconds.min(MAX_LIFETIME_SECONDS) as u64)
}

/// Field that holds the lifetime of a refresh token after this step.
const REFRESH_LIFE: &str = "refresh_token_expires_in";

/// Returns whole seconds until the refresh token ends, from any known field: Google, Salesforce and
/// Zendesk say `refresh_token_expires_in`, `QuickBooks` puts `x_` before it, Keycloak says
/// `refresh_expires_in` (0: never), Square `refresh_token_expires_at`.
fn refresh_life(answer: &mut Map<String, Value>, now: Time) -> Option<u64> {
    let lives = [REFRESH_LIFE, "x_refresh_token_expires_in", "refresh_expires_in"]
        .map(|name| answer.remove(name).as_ref().and_then(seconds));
    let end = answer.remove("refresh_token_expires_at");
    lives.into_iter().flatten().next().or_else(|| until(&end?, now))
}

/// Returns whole seconds from `now` to `end`: an RFC 3339 date (Square), or seconds since the Unix
/// epoch (Strava).
fn until(end: &Value, now: Time) -> Option<u64> {
    let end = match end {
        Value::Number(seconds) => seconds.as_i64()?.checked_mul(1000)?,
        Value::String(date) => date.parse::<jiff::Timestamp>().ok()?.as_millisecond(),
        _ => return None,
    };
    seconds(&Value::from(end.saturating_sub(now.millis()) / 1000))
}

/// Returns the scopes of an answer, joined by spaces; `None` if it names none. RFC 6749 §3.3 has no
/// empty `scope`, and GitHub Apps, whose tokens have no scopes, send one. It says nothing, so the
/// scopes are those that were asked for (§5.1).
fn scope_text(scope: &Value) -> Option<String> {
    let scopes = match scope {
        Value::String(text) => Scopes::parse(text),
        // Twitch sends an array.
        Value::Array(items) => {
            Scopes::new(items.iter().filter_map(Value::as_str).flat_map(Scopes::split))
        }
        _ => return None,
    };
    (!scopes.is_empty()).then(|| scopes.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// 2026-01-01T00:00:00Z
    const NOW: Time = Time::from_millis(1_767_225_600_000);

    fn read(status: u16, body: &str) -> Result<Value, TokenError> {
        let status = StatusCode::from_u16(status).unwrap();
        normalize(status, body.as_bytes(), &TokenResponseShape::default(), NOW).map(Value::Object)
    }

    fn code(status: u16, body: &str) -> String {
        match read(status, body) {
            Err(TokenError::Refused { code }) => code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn oddities_of_success_become_one_shape() {
        let plain = json!({"access_token": "a", "token_type": "bearer"});
        assert_eq!(read(201, r#"{"access_token":"a","refresh_token":null}"#).unwrap(), plain);
        assert_eq!(read(200, r#"{"access_token":"a","refresh_token":""}"#).unwrap(), plain);
        assert_eq!(read(200, "access_token=a&token_type=bearer").unwrap(), plain);
        assert_eq!(read(200, "\u{feff}{\"access_token\":\"a\"}").unwrap(), plain);
        let scopes = json!({"access_token": "a", "token_type": "bearer", "scope": "x y"});
        assert_eq!(read(200, r#"{"access_token":"a","scope":["x","y"]}"#).unwrap(), scopes);
        assert_eq!(read(200, r#"{"access_token":"a","scope":"x,y"}"#).unwrap(), scopes);
    }

    #[test]
    fn a_scope_that_names_none_is_no_statement() {
        let scope = |fields: &str| {
            let answer = read(200, &format!(r#"{{"access_token":"a",{fields}}}"#)).unwrap();
            assert!(answer.get("scopes").is_none());
            answer.get("scope").cloned()
        };
        for nothing in [
            r#""""#,
            r#"" ""#,
            r#""\t,\n""#,
            "[]",
            r#"[""," "]"#,
            "[null]",
            "[[]]",
            "null",
            "{}",
            "7",
        ] {
            assert_eq!(scope(&format!(r#""scope":{nothing}"#)), None, "{nothing}");
            assert_eq!(scope(&format!(r#""scopes":{nothing}"#)), None, "{nothing}");
            let beside = format!(r#""scope":{nothing},"scopes":["x"]"#);
            assert_eq!(scope(&beside), Some(json!("x")), "{nothing}");
        }
        assert_eq!(
            read(200, "access_token=a&scope=&token_type=bearer").unwrap().get("scope"),
            None
        );
    }

    #[test]
    fn a_refresh_token_that_cannot_be_sent_is_none() {
        let long = format!("\"{}\"", "r".repeat(20_000));
        for unusable in [r#""r 2""#, r#""r\n""#, r#""é""#, r#""""#, &long, "7", "{}", "null"] {
            let answer = format!(r#"{{"access_token":"a","refresh_token":{unusable}}}"#);
            assert_eq!(read(200, &answer).unwrap().get("refresh_token"), None, "{unusable:.9}");
        }
    }

    #[test]
    fn lifetimes_are_numbers_texts_or_unknown() {
        let life = |value: &str| {
            read(200, &format!(r#"{{"access_token":"a","expires_in":{value}}}"#))
                .unwrap()
                .get("expires_in")
                .and_then(Value::as_u64)
        };
        assert_eq!(life("3600"), Some(3600));
        assert_eq!(life("\"3600\""), Some(3600));
        assert_eq!(life("3600.5"), Some(3600));
        for nothing in ["0", "-1", "null", "\"soon\"", "true"] {
            assert_eq!(life(nothing), None, "{nothing}");
        }
        assert_eq!(life("1e12"), Some(315_360_000));
    }

    #[test]
    fn a_date_is_reckoned_from_now_and_counts_where_there_is_no_lifetime() {
        let life = |fields: &str| {
            let answer = read(200, &format!(r#"{{"access_token":"a",{fields}}}"#)).unwrap();
            assert!(answer.get("expires_at").is_none());
            answer.get("expires_in").and_then(Value::as_u64)
        };
        assert_eq!(life(r#""expires_at":"2026-01-31T00:00:00Z""#), Some(30 * 86_400));
        assert_eq!(life(r#""expires_at":1767229200"#), Some(3600));
        assert_eq!(life(r#""expires_at":1767229200,"expires_in":60"#), Some(60));
        for nothing in ["\"2025-01-01T00:00:00Z\"", "1", "\"soon\"", "null", "[]"] {
            assert_eq!(life(&format!(r#""expires_at":{nothing}"#)), None, "{nothing}");
        }
    }

    #[test]
    fn the_life_of_a_refresh_token_has_one_name() {
        let life = |fields: &str| {
            let answer = read(200, &format!(r#"{{"access_token":"a",{fields}}}"#)).unwrap();
            answer.get("refresh_token_expires_in").and_then(Value::as_u64)
        };
        for fields in [
            r#""refresh_token_expires_in":60"#,
            r#""refresh_token_expires_in":"60""#,
            r#""x_refresh_token_expires_in":60"#,
            r#""refresh_expires_in":60"#,
            r#""refresh_token_expires_at":"2026-01-01T00:01:00Z""#,
        ] {
            assert_eq!(life(fields), Some(60), "{fields}");
        }
        assert_eq!(life(r#""refresh_expires_in":0"#), None, "Keycloak: never");
    }

    #[test]
    fn errors_are_found_wherever_they_stand() {
        assert_eq!(code(200, r#"{"error":"bad_verification_code"}"#), "bad_verification_code");
        assert_eq!(code(200, r#"{"ok":false,"error":"token_expired"}"#), "token_expired");
        assert_eq!(code(200, "error=bad_verification_code"), "bad_verification_code");
        assert_eq!(code(400, r#"{"error":"invalid_grant"}"#), "invalid_grant");
        assert_eq!(
            code(400, r#"{"error":{"type":"OAuthException","code":190}}"#),
            "OAuthException"
        );
        assert_eq!(code(400, r#"{"status":"BAD_REFRESH_TOKEN"}"#), "BAD_REFRESH_TOKEN");
        assert_eq!(code(400, "{\"error\":\"a\\nb<script>\"}"), "abscript");
    }

    #[test]
    fn what_is_no_token_response_says_nothing_about_the_grant() {
        for (status, body) in [
            (500, "{\"error\":\"invalid_grant\"}"),
            (503, "<html>"),
            (429, ""),
            (302, ""),
            (400, "<html>"),
            (401, ""),
            (418, "{}"),
        ] {
            assert!(matches!(read(status, body), Err(TokenError::Status { .. })), "{status}");
        }
        for body in ["", "<html>", "hello", "[]", r#"{"access_token":7}"#] {
            assert!(matches!(read(200, body), Err(TokenError::Malformed(_))), "{body}");
        }
        assert!(matches!(read(200, "{}"), Err(TokenError::Tokenless)));
    }

    #[test]
    fn a_provider_s_own_words_for_the_end_of_a_refresh_token_are_known() {
        let said = RefreshEnded {
            status: Some(403),
            error: Some("unauthorized_client".into()),
            says: Some("refresh_token is invalid".into()),
        };
        let is_end = |said: &RefreshEnded, status: u16, body: &str| {
            let shape = TokenResponseShape {
                refresh_ended: vec![said.clone()],
                ..TokenResponseShape::default()
            };
            let answer =
                normalize(StatusCode::from_u16(status).unwrap(), body.as_bytes(), &shape, NOW);
            matches!(answer, Err(TokenError::RefreshTokenEnded))
        };
        let body =
            r#"{"error":"unauthorized_client","error_description":"Refresh_token is invalid"}"#;
        assert!(is_end(&said, 403, body));
        assert!(!is_end(&said, 400, body) && !is_end(&said, 503, body));
        assert!(!is_end(&said, 403, r#"{"error":"unauthorized_client"}"#));
        let number = RefreshEnded { error: Some("400".into()), ..RefreshEnded::default() };
        assert!(is_end(&number, 400, r#"{"message":"Bad Request","error":400}"#));
        let deep = RefreshEnded { says: Some("RefreshToken".into()), ..RefreshEnded::default() };
        assert!(is_end(&deep, 400, r#"{"errors":[{"resource":"RefreshToken","code":"invalid"}]}"#));
        assert!(!is_end(&deep, 429, r#"{"errors":[{"resource":"RefreshToken"}]}"#));
        assert!(!is_end(&deep, 200, r#"{"access_token":"RefreshToken"}"#), "a token is no refusal");
    }

    #[test]
    fn tokens_that_would_break_a_header_are_refused() {
        for token in ["a\nb", "a b", "é", "", &"x".repeat(20_000)] {
            let body = json!({"access_token": token}).to_string();
            assert!(matches!(read(200, &body), Err(TokenError::Malformed(_))), "{token:.9}");
        }
    }

    #[test]
    fn a_nested_token_is_lifted_and_nothing_around_it() {
        let nested = |name: &str, body: &str| {
            let shape =
                TokenResponseShape { nested: Some(name.into()), ..TokenResponseShape::default() };
            normalize(StatusCode::OK, body.as_bytes(), &shape, NOW).map(Value::Object)
        };
        let plain = json!({"access_token": "person", "token_type": "bearer"});
        let around = r#"{"ok":true,"access_token":"bot","refresh_token":"bot's","scope":"x","#;
        let body = format!(r#"{around}"authed_user":{{"access_token":"person"}}}}"#);
        assert_eq!(nested("authed_user", &body).unwrap(), plain);
        let flat = r#"{"ok":true,"access_token":"person"}"#;
        assert_eq!(nested("authed_user", flat).unwrap()["access_token"], "person");
        assert_eq!(nested("data", r#"{"data":[{"access_token":"person"}]}"#).unwrap(), plain);
        for none in [r#"{"id":"U1"}"#, "[]", "7"] {
            let body = format!(r#"{around}"authed_user":{none}}}"#);
            assert!(
                matches!(
                    nested("authed_user", &body),
                    Err(TokenError::Malformed(_) | TokenError::Tokenless)
                ),
                "{none}"
            );
        }
    }
}
