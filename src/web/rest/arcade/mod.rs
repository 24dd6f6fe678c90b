//! The part of Arcade's REST API that is served here, in the shapes that Arcade's clients know.

pub mod confirm_user;
pub mod user_connections;

use axum::http::StatusCode;
use axum::response::Response;

use super::answer::{self, ErrorName};
use crate::model::face::Face;

/// Writes an error.
fn problem(status: StatusCode, name: ErrorName, message: impl Into<String>) -> Response {
    answer::problem(Face::Arcade, status, name, message)
}

/// Writes the error for a request that cannot be read.
fn malformed(message: impl Into<String>) -> Response {
    problem(StatusCode::BAD_REQUEST, ErrorName::MalformedRequest, message)
}
