//! The gate before the REST routes: identifies the program that calls.
//!
//! It checks in this order, each before it reads any of the body: for which host the request is
//! meant, whether a web page sent it, and whose key it carries. No page may call these routes: a
//! server of one's own machine accepts any key, so a page that any site shows could otherwise act
//! with the accounts of the person in front of it.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::{ORIGIN, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::RestState;
use super::answer::{ErrorName, face_of, problem, refused};
use crate::broker::Broker;
use crate::identity::RestCaller;
use crate::model::event::RefusalReason;
use crate::model::face::Face;
use crate::web::gate::{Gate, record};

/// Header by which browsers say which site sent a request (Fetch Metadata).
const FETCH_SITE: &str = "sec-fetch-site";

/// Middleware that puts the [`RestCaller`] into the request's extensions, or refuses the request.
pub(in crate::web) async fn identify(
    State(RestState { broker, gate, limits, .. }): State<RestState>,
    mut request: Request,
    next: Next,
) -> Response {
    let face = face_of(request.uri());
    if let Some(refusal) = refused_sender(&broker, &gate, &request) {
        return refusal;
    }
    match gate.identify_program(request.extensions(), request.headers()).await {
        Ok(caller) => {
            let Some(_running) = limits.begin(&caller) else { return too_many(face) };
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(denied) => {
            record(broker.events(), denied.reason(), denied.status());
            refused(face, &denied)
        }
    }
}

/// Middleware that makes the checks of [`identify`] on host and sender, and asks for no key: for
/// paths that hold a ticket.
pub(in crate::web) async fn check_sender(
    State(RestState { broker, gate, .. }): State<RestState>,
    request: Request,
    next: Next,
) -> Response {
    match refused_sender(&broker, &gate, &request) {
        Some(refusal) => refusal,
        None => next.run(request).await,
    }
}

/// Returns the refusal of a request that is for another host, or that no program sent.
fn refused_sender(broker: &Broker, gate: &Gate, request: &Request) -> Option<Response> {
    let face = face_of(request.uri());
    // HEAD would run the GET handler.
    if request.method() == Method::HEAD {
        let (status, name) = (StatusCode::METHOD_NOT_ALLOWED, ErrorName::MethodNotAllowed);
        return Some(problem(face, status, name, "this path does not take HEAD"));
    }
    if !gate.is_for_this_server(request.uri(), request.headers()) {
        let status = StatusCode::MISDIRECTED_REQUEST;
        record(broker.events(), RefusalReason::OtherHost, status);
        return Some(problem(face, status, ErrorName::MisdirectedRequest, gate.other_host()));
    }
    if is_of_a_page(request.headers()) {
        let message = "a web page sent the request, and only programs may call this API";
        record(broker.events(), RefusalReason::ForeignOrigin, StatusCode::FORBIDDEN);
        return Some(problem(face, StatusCode::FORBIDDEN, ErrorName::Forbidden, message));
    }
    None
}

/// Writes the refusal of a key that has too many requests running.
fn too_many(face: Face) -> Response {
    let message = "too many requests are running; send it again in a second";
    let status = StatusCode::TOO_MANY_REQUESTS;
    let mut response = problem(face, status, ErrorName::RateLimited, message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Middleware that refuses callers without the right to administer.
pub(in crate::web) async fn require_admin(
    Extension(caller): Extension<RestCaller>,
    request: Request,
    next: Next,
) -> Response {
    if caller.is_admin() {
        return next.run(request).await;
    }
    let message = "the key may not administer; the operator writes `admin = true` beside it in [[server.auth.api_keys]], or serves with `--token`";
    let face = face_of(request.uri());
    problem(face, StatusCode::FORBIDDEN, ErrorName::AdminRequired, message)
}

/// Middleware that refuses callers without the right to deposit tokens.
pub(in crate::web) async fn require_deposit(
    Extension(caller): Extension<RestCaller>,
    request: Request,
    next: Next,
) -> Response {
    if caller.may_deposit() {
        return next.run(request).await;
    }
    let message = "the key may not deposit tokens; the operator writes `deposit = true` beside it in [[server.auth.api_keys]], or serves with `--token`";
    let face = face_of(request.uri());
    problem(face, StatusCode::FORBIDDEN, ErrorName::Forbidden, message)
}

/// Whether a browser sent the request for a page. Every browser of today sends one of the headers
/// with each request of a page, and no page can leave them out. `none` means that the person typed
/// the address.
fn is_of_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.get_all(FETCH_SITE).iter().any(|site| site != "none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_of_a_page_is_recognized() {
        let of_page = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            is_of_a_page(&headers)
        };
        assert!(!is_of_a_page(&HeaderMap::new()));
        assert!(!of_page(FETCH_SITE, "none"));
        for site in ["cross-site", "same-site", "same-origin", "", "None"] {
            assert!(of_page(FETCH_SITE, site), "{site}");
        }
        for origin in ["null", "", "http://127.0.0.1:8080", "https://evil.example"] {
            assert!(of_page("origin", origin), "{origin}");
        }
    }
}
