//! The part of Arcade's REST API that is served here, in the shapes that Arcade's clients know.

mod authorization;
pub mod confirm_user;
pub mod execute;
pub mod health;
pub mod tools;
pub mod user_connections;

use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use self::authorization::AuthorizationAnswer;
use super::answer::{self, ErrorName, json};
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::registry::NotOffered;

/// Writes an error.
fn problem(status: StatusCode, name: ErrorName, message: impl Into<String>) -> Response {
    answer::problem(Face::Arcade, status, name, message)
}

/// Writes the error for a request that cannot be read.
fn malformed(message: impl Into<String>) -> Response {
    problem(StatusCode::BAD_REQUEST, ErrorName::MalformedRequest, message)
}

/// Writes the error for a tool that the caller's user does not have.
fn not_offered(error: &NotOffered) -> Response {
    let (status, name) = match error {
        NotOffered::Unknown(_) => (StatusCode::NOT_FOUND, ErrorName::NotFound),
        NotOffered::Ambiguous { .. } => (StatusCode::BAD_REQUEST, ErrorName::AmbiguousTool),
    };
    problem(status, name, error.to_string())
}

/// An error that names the consent which is missing.
#[derive(Serialize, JsonSchema)]
struct ConsentRequired {
    name: ErrorName,
    message: String,
    /// `None` if the user has refused too often to be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: Option<AuthorizationAnswer>,
}

/// Writes the error for a call whose user has to consent first. Arcade's JavaScript client
/// recognizes it by the first words of the message, so no other message may hold them.
fn consent_required(message: &str, authorization: Option<AuthorizationAnswer>) -> Response {
    let name = ErrorName::ToolAuthorizationRequired;
    let url = authorization.as_ref().and_then(AuthorizationAnswer::url);
    let link = url.map(|url| format!(" The user opens {url}")).unwrap_or_default();
    let message = format!("authorization required: {message}{link}");
    json(StatusCode::FORBIDDEN, &ConsentRequired { name, message, authorization })
}

/// Name under which a consent's page shows the program that asks.
fn client_name(caller: &RestCaller) -> &str {
    match caller {
        RestCaller::Application(application) => &application.name,
        RestCaller::Machine { .. } | RestCaller::Person(_) => "Arcade client",
    }
}
