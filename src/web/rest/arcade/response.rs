//! Responses in Arcade's shapes: JSON, and errors as `{"name", "message"}`.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use crate::identity::Denied;
use crate::web::gate;

/// `{"name", "message"}`
#[derive(Serialize)]
struct ErrorBody<'a> {
    name: &'a str,
    message: String,
}

pub(super) fn refused(denied: &Denied) -> Response {
    let status = denied.status();
    let name = match status {
        StatusCode::BAD_REQUEST => "malformed_request",
        _ => "invalid_authorization",
    };
    let mut response = problem(status, name, format!("{denied}; {}", denied.hint()));
    gate::add_refusal_headers(denied, None, &mut response);
    response
}

pub(super) fn problem(status: StatusCode, name: &str, message: impl Into<String>) -> Response {
    json(status, &ErrorBody { name, message: message.into() })
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => {
            let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
            (status, headers, body).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
