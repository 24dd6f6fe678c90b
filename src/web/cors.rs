//! CORS answers (Fetch §3.2) of `/mcp`, `/sse` and `/messages` for the origins in `allowed_origins`.
//!
//! Credentials of the browser are not allowed: a caller sends its token in a header of its own.

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};

/// Headers of an answer that a script may read.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("Mcp-Session-Id, WWW-Authenticate, MCP-Protocol-Version, Retry-After");
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
/// Headers that clients send, for a preflight that names none.
const DEFAULT_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Accept, Mcp-Session-Id, MCP-Protocol-Version, Last-Event-ID",
);
/// How long a browser remembers a preflight, in seconds.
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");

/// Whether a browser asks what it may send. Such a request carries no credentials.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers a preflight of this origin. Allows every header that it names: 2026-07-28 lets each tool
/// name some, and the origin has already decided who may send them.
pub(super) fn preflight(asked: &HeaderMap, origin: HeaderValue) -> Response {
    let headers = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(DEFAULT_HEADERS);
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().extend([
        (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (ACCESS_CONTROL_ALLOW_HEADERS, headers),
        (ACCESS_CONTROL_MAX_AGE, REMEMBERED),
    ]);
    allow(&mut response, origin);
    response
}

/// Lets scripts of this origin read an answer, including a refusal: a 401 says where to get a
/// token.
pub(super) fn allow(response: &mut Response, origin: HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(VARY, HeaderValue::from_static("Origin"));
}
