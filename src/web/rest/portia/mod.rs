//! The part of Portia's REST API that is served here, in the shapes that Portia's clients know.
//!
//! Their plan engine imposes rules on a server, and some answers make it loop or take all tools with
//! them. Each rule stands where it is kept:
//!
//! | rule | kept in |
//! |---|---|
//! | one tool that the clients cannot read ends the whole list | [`listing`], [`schema`] |
//! | a client that [`run`] asks for a consent asks [`ready`] and runs again at once, if that knows of none | [`run`] |
//! | a question has one id as long as it is the same | [`clarification`] |
//! | a list as output may be taken for a clarification | [`run`] |
//! | an error without a body of JSON is repeated | [`super::answer`] |

mod clarification;
mod document;
pub mod end_user;
mod failure;
pub mod listing;
pub mod memory;
pub mod plan_runs;
pub mod plans;
pub mod ready;
pub mod run;
mod schema;
#[cfg(test)]
mod testing;
pub mod tool_calls;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::{self, ErrorName, bad_user};
use crate::broker::runs::RunError;
use crate::identity::{PORTIA_DEFAULT_USER, RestCaller};
use crate::model::face::Face;
use crate::model::text::incident;
use crate::model::{Principal, chain, uuid};
use crate::store::StoreError;

/// Name under which a program of this machine, or a person's own, asks for consents.
const CLIENT_NAME: &str = "Portia client";

/// Ids of plans, as a regular expression of the OpenAPI document.
pub(in crate::web::rest) const PLAN_ID: &str =
    "^plan-[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$";
/// Like [`PLAN_ID`], of runs.
pub(in crate::web::rest) const RUN_ID: &str =
    "^prun-[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$";

/// For whom a request is made, and in which run of a plan.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web::rest) struct Context {
    /// The client's user; absent: its default user.
    end_user_id: Option<String>,
    /// `prun-<uuid>`
    #[schemars(regex(pattern = RUN_ID))]
    plan_run_id: Option<String>,
}

impl Context {
    /// Returns the id of the plan's run.
    ///
    /// # Errors
    /// The response (400) to an id of another form.
    fn plan_run(&self) -> Result<Option<&str>, Box<Response>> {
        match self.plan_run_id.as_deref() {
            Some(id) if !is_id(id, "prun-") => {
                Err(Box::new(malformed("`plan_run_id` is `prun-` and a UUID")))
            }
            id => Ok(id),
        }
    }
}

/// Returns the user whom a request names, or without a name the client's default user.
///
/// # Errors
/// The response to a name that this caller cannot use.
fn user(caller: &RestCaller, named: Option<&str>) -> Result<Principal, Box<Response>> {
    let named = named.filter(|name| !name.is_empty()).unwrap_or(PORTIA_DEFAULT_USER);
    let found = caller.principal(Some(named));
    found.map_err(|fault| Box::new(bad_user(Face::Portia, "end_user_id", fault)))
}

/// Returns the name under which a caller asks for consents.
fn client_name(caller: &RestCaller) -> &str {
    match caller {
        RestCaller::Application(application) => &application.name,
        RestCaller::Machine { .. } | RestCaller::Person(_) => CLIENT_NAME,
    }
}

/// Whether a text is an id of the contract: a prefix and a UUID.
fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(uuid::is_uuid)
}

/// Writes an error.
fn problem(status: StatusCode, name: ErrorName, detail: impl Into<String>) -> Response {
    answer::problem(Face::Portia, status, name, detail)
}

/// Writes the error for a request that cannot be read.
fn malformed(detail: impl Into<String>) -> Response {
    problem(StatusCode::BAD_REQUEST, ErrorName::MalformedRequest, detail)
}

/// Writes the error for an id that names nothing.
fn not_found(detail: impl Into<String>) -> Response {
    problem(StatusCode::NOT_FOUND, ErrorName::NotFound, detail)
}

/// Writes the error for something that was not stored.
fn not_stored(error: &RunError) -> Response {
    match error {
        RunError::Store(error) => unavailable(error),
        RunError::TooLarge(_) | RunError::Full { .. } => {
            problem(StatusCode::PAYLOAD_TOO_LARGE, ErrorName::PayloadTooLarge, error.to_string())
        }
        RunError::TooMany => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            let mut response = problem(status, ErrorName::RateLimited, error.to_string());
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("60"));
            response
        }
        RunError::NotTheirs => not_found(error.to_string()),
    }
}

/// Writes the error for a store that fails. The log has the cause.
fn unavailable(error: &StoreError) -> Response {
    let incident = incident();
    tracing::warn!(incident, error = %chain(error), "a client was not answered");
    let detail = format!("this server cannot read or write its store now (incident {incident})");
    problem(StatusCode::SERVICE_UNAVAILABLE, ErrorName::Unavailable, detail)
}
