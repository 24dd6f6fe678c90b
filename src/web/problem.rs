//! Refusals for programs. A browser gets a page; a program gets JSON of the shape that OAuth
//! clients parse (RFC 6749 §5.2): a client that looks for an authorization server here reads why
//! there is none, and not "Unexpected token '<'".

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::pages::layout::{Page, PageKind, see_other};
use crate::identity::{Authenticator, Credentials};

/// `{"error", "error_description"}` and its status.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    description: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, description: impl Into<String>) -> Self {
        Self { status, description: description.into() }
    }

    /// `error`: a code of RFC 6750 §3.1 or RFC 6749 §5.2 where one fits.
    fn code(&self) -> &'static str {
        match self.status {
            StatusCode::BAD_REQUEST => "invalid_request",
            StatusCode::UNAUTHORIZED => "invalid_token",
            StatusCode::FORBIDDEN => "access_denied",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
            StatusCode::MISDIRECTED_REQUEST => "misdirected_request",
            // Neither RFC has a code for 429; this one of RFC 6749 §4.1.2.1 says what to do.
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                "temporarily_unavailable"
            }
            _ => "server_error",
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.code(), "error_description": self.description });
        let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
        (self.status, headers, body.to_string()).into_response()
    }
}

/// Whether a person reads the refusal: `Accept` asks for HTML, and the request sent no JSON.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    let texts = |name| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let sends_json = texts(CONTENT_TYPE).any(|kind| essence(kind).ends_with("json"));
    let is_html = |range: &str| {
        let is_refused = range.split(';').skip(1).any(|parameter| {
            let quality = parameter.trim().strip_prefix("q=").map(str::parse::<f32>);
            matches!(quality, Some(Ok(quality)) if quality <= 0.0)
        });
        matches!(&*essence(range), "text/html" | "application/xhtml+xml") && !is_refused
    };
    !sends_json && texts(ACCEPT).flat_map(|ranges| ranges.split(',')).any(is_html)
}

/// A media type or range without its parameters, in lower case.
fn essence(range: &str) -> String {
    range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Instructions for calling this server, part of each 404 and 405 for a program. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Usage {
    words: Arc<str>,
    /// Path to which `GET /` redirects a browser.
    home: Option<&'static str>,
}

impl Usage {
    /// Instructions for the served port.
    pub fn of(authenticator: &Authenticator) -> Self {
        let how = match authenticator.credentials() {
            Credentials::None => "without credentials; there is no OAuth at this server".to_owned(),
            Credentials::Token => {
                "with `Authorization: Bearer TOKEN`, where TOKEN is in the file that \
                 this server named when it started; there is no OAuth at this server"
                    .to_owned()
            }
            Credentials::Key => {
                "with `Authorization: Bearer KEY`, where KEY is an API key from this \
                 server's operator; there is no OAuth at this server"
                    .to_owned()
            }
            Credentials::AccessToken { issuer } => format!(
                "with `Authorization: Bearer TOKEN`, where TOKEN is an access token from {issuer}, \
                 which is the authorization server; this server is not \
                 (see /.well-known/oauth-protected-resource)"
            ),
        };
        let words = format!("call MCP at /mcp (older clients: /sse), {how}");
        Self { words: words.into(), home: Some("/connections") }
    }

    /// Instructions for a port that serves only the pages of connect links.
    pub(super) fn of_links() -> Self {
        let words = "this port serves the pages of connect links; MCP is not served here";
        Self { words: words.into(), home: None }
    }

    /// 404: no route has this path.
    pub(super) fn not_found(&self, request: &Request) -> Response {
        if !wants_page(request.headers()) {
            let said = format!("nothing is served at this address; {}", self.words);
            return Problem::new(StatusCode::NOT_FOUND, said).into_response();
        }
        match self.home {
            Some(home) if request.uri().path() == "/" && request.method() == Method::GET => {
                see_other(home)
            }
            _ => {
                let lines = vec!["There is nothing at this address.".into()];
                Page::new(StatusCode::NOT_FOUND, PageKind::Bad, "Page not found", lines)
                    .into_response()
            }
        }
    }

    /// 405: the route of this path does not take this method.
    pub fn not_allowed(&self, request: &Request) -> Response {
        if !wants_page(request.headers()) {
            let said = format!("this address does not take this method; {}", self.words);
            return Problem::new(StatusCode::METHOD_NOT_ALLOWED, said).into_response();
        }
        let lines = vec!["This address does not support this method.".into()];
        Page::new(StatusCode::METHOD_NOT_ALLOWED, PageKind::Bad, "Method not supported", lines)
            .into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_refusal_for_the_moment_says_so() {
        for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE] {
            assert_eq!(Problem::new(status, "").code(), "temporarily_unavailable", "{status}");
        }
    }

    #[test]
    fn a_page_is_for_who_asks_for_html_and_sends_no_json() {
        let wants = |accept: &'static str, kind: &'static str| {
            let mut headers = HeaderMap::new();
            for (name, value) in [(ACCEPT, accept), (CONTENT_TYPE, kind)] {
                if !value.is_empty() {
                    headers.append(name, HeaderValue::from_static(value));
                }
            }
            wants_page(&headers)
        };
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert!(wants(browser, ""));
        assert!(wants(browser, "application/x-www-form-urlencoded"));
        assert!(wants("Text/HTML;q=0.1", ""));
        for (accept, kind) in [
            ("", ""),
            ("*/*", ""),
            ("application/json", ""),
            ("application/json, text/event-stream", ""),
            ("text/*", ""),
            ("text/html;q=0, */*", ""),
            ("text/html; q=0.0", ""),
            (browser, "application/json"),
            (browser, "application/json; charset=utf-8"),
            (browser, "application/problem+json"),
        ] {
            assert!(!wants(accept, kind), "{accept} {kind}");
        }
    }
}
