//! The part of Arcade's REST API that is served here, in the shapes that Arcade's clients know.

pub mod auth_providers;
pub(super) mod authorization;
pub mod authorize;
pub mod confirm_user;
pub mod deposits;
pub mod execute;
pub mod health;
pub mod requirements;
pub mod scheduled;
pub mod secrets;
pub mod settings;
pub mod status;
pub mod token;
pub mod tools;
pub mod user_connections;

use std::error::Error;

use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use self::authorization::AuthorizationAnswer;
use super::answer::{self, ErrorName, json};
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::model::failure::{LinkProblem, Retry};
use crate::model::text::{incident, label};
use crate::model::{Failure, FailureKind, chain};
use crate::registry::NotOffered;
use crate::words;

/// Header by which Arcade's clients are told whether to send a request again; it has precedence over
/// the status.
const SHOULD_RETRY: &str = "x-should-retry";

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
    let (status, name) = status_of(error);
    problem(status, name, error.to_string())
}

/// Like [`not_offered`], where the request names several tools.
fn not_offered_as(written: &str, error: &NotOffered) -> Response {
    let (status, name) = status_of(error);
    problem(status, name, format!("{}: {error}", label(written)))
}

fn status_of(error: &NotOffered) -> (StatusCode, ErrorName) {
    match error {
        NotOffered::Unknown(_) => (StatusCode::NOT_FOUND, ErrorName::NotFound),
        NotOffered::Ambiguous { .. } => (StatusCode::BAD_REQUEST, ErrorName::AmbiguousTool),
    }
}

/// Writes the error for a consent that cannot be asked for now, or a token that cannot be had.
fn unready(failure: &Failure) -> Response {
    let is_passing =
        matches!(failure.kind.retry(), Retry::Soon | Retry::InMinutes | Retry::After(_));
    let (status, name) = match &failure.kind {
        FailureKind::Account(_) => (StatusCode::BAD_REQUEST, ErrorName::MalformedRequest),
        FailureKind::NoLink { problem: LinkProblem::NoVerifier { .. }, .. } => {
            (StatusCode::FORBIDDEN, ErrorName::Forbidden)
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, ErrorName::Unavailable),
    };
    let mut response = problem(status, name, words::failure_text(failure));
    let is_repeated = if is_passing { "true" } else { "false" };
    response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static(is_repeated));
    response
}

/// Writes the error for a store that cannot be read or written.
fn unavailable(error: &(dyn Error + 'static)) -> Response {
    let incident = incident();
    tracing::warn!(incident, error = %chain(error), "an application was not answered");
    let message = format!("this server cannot read or write its store now (incident {incident})");
    problem(StatusCode::SERVICE_UNAVAILABLE, ErrorName::Unavailable, message)
}

/// An error that names the consent which is missing.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct ConsentRequired {
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
