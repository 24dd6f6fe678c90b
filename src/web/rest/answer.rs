//! Responses of the REST faces: JSON, and errors in the form of each contract.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::identity::{Denied, UserProblem};
use crate::model::face::Face;
use crate::web::gate::add_refusal_headers;

/// Prefix of the paths of Arcade's contract.
const ARCADE_PREFIX: &str = "/v1/";
/// Prefix of the paths of Portia's contract.
const PORTIA_PREFIX: &str = "/api/v0/";

/// Name of an error, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::web) enum ErrorName {
    AccessEnded,
    AdminRequired,
    AlreadyConnected,
    AmbiguousTool,
    AuthorizationFailed,
    DeadToken,
    Forbidden,
    IdempotencyKeyReused,
    InvalidAuthorization,
    MalformedRequest,
    MethodNotAllowed,
    MisdirectedRequest,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    ReadOnly,
    RequestTimeout,
    ToolAuthorizationRequired,
    ToolFailed,
    Unavailable,
    UnknownFlow,
    UnsupportedMediaType,
    UserMismatch,
    WrongAccount,
    WrongClient,
}

/// `{"name", "message"}`: an error for Arcade's clients.
#[derive(Serialize, JsonSchema)]
pub(super) struct ArcadeError {
    name: ErrorName,
    message: String,
}

/// `{"error", "detail"}`: an error for Portia's clients.
#[derive(Serialize, JsonSchema)]
pub(super) struct PortiaError {
    error: ErrorName,
    detail: String,
}

/// Returns the contract to which a path belongs.
pub(in crate::web) fn face_of(uri: &Uri) -> Face {
    if uri.path().starts_with(PORTIA_PREFIX) { Face::Portia } else { Face::Arcade }
}

/// Writes the error for a path of a contract that has no route; `None` if the path belongs to no
/// contract.
pub(in crate::web) fn not_found(uri: &Uri) -> Option<Response> {
    let message = "no route has this path";
    let face = is_rest(uri).then(|| face_of(uri))?;
    Some(problem(face, StatusCode::NOT_FOUND, ErrorName::NotFound, message))
}

/// Writes the error for a method that a path of a contract does not take; `None` if the path
/// belongs to no contract.
pub(in crate::web) fn not_allowed(uri: &Uri) -> Option<Response> {
    let message = "the route of this path does not take this method";
    let face = is_rest(uri).then(|| face_of(uri))?;
    Some(problem(face, StatusCode::METHOD_NOT_ALLOWED, ErrorName::MethodNotAllowed, message))
}

fn is_rest(uri: &Uri) -> bool {
    [ARCADE_PREFIX, PORTIA_PREFIX].iter().any(|prefix| uri.path().starts_with(prefix))
}

/// Writes JSON that no cache keeps.
pub(in crate::web) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => {
            let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
            (status, headers, body).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Writes an error.
pub(in crate::web) fn problem(
    face: Face,
    status: StatusCode,
    name: ErrorName,
    message: impl Into<String>,
) -> Response {
    let message = message.into();
    match face {
        Face::Arcade => json(status, &ArcadeError { name, message }),
        Face::Portia => json(status, &PortiaError { error: name, detail: message }),
    }
}

/// Writes the refusal of a key.
pub(in crate::web) fn refused(face: Face, denied: &Denied) -> Response {
    let status = denied.status();
    let name = match status {
        StatusCode::BAD_REQUEST => ErrorName::MalformedRequest,
        StatusCode::TOO_MANY_REQUESTS => ErrorName::RateLimited,
        StatusCode::SERVICE_UNAVAILABLE => ErrorName::Unavailable,
        _ => ErrorName::InvalidAuthorization,
    };
    let mut response = problem(face, status, name, format!("{denied}; {}", denied.hint()));
    add_refusal_headers(denied, None, &mut response);
    // Arcade's JavaScript client waits for as long as `Retry-After` says, and then repeats.
    if matches!(denied, Denied::TooManyFailures) {
        response.headers_mut().insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response
}

/// Writes the refusal of a user whom a request names. `field` is the name of the field or parameter.
pub(in crate::web) fn bad_user(face: Face, field: &str, fault: UserProblem) -> Response {
    let (status, name) = match fault {
        UserProblem::Missing | UserProblem::Bad(_) => {
            (StatusCode::BAD_REQUEST, ErrorName::MalformedRequest)
        }
        UserProblem::OtherUser => (StatusCode::FORBIDDEN, ErrorName::Forbidden),
    };
    problem(face, status, name, format!("`{field}`: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_contract() {
        for (path, face) in [
            ("/api/v0/tools/descriptions-v2/", Face::Portia),
            ("/v1/tools", Face::Arcade),
            ("/v1/api/v0/", Face::Arcade),
        ] {
            assert_eq!(face_of(&path.parse().unwrap()), face, "{path}");
        }
    }
}
