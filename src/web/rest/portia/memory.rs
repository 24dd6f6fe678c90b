//! `/api/v0/agent-memory/`: outputs of runs that are too large for the run itself.
//!
//! A client asks for an output with its key and gets a link to the value, which it fetches without
//! one.

use std::time::Duration;

use axum::Extension;
use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest as _, Multipart, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Map;

use super::{is_id, malformed, not_found, not_stored, problem, unavailable};
use crate::broker::runs::memory::NewMemory;
use crate::identity::RestCaller;
use crate::web::rest::RestState;
use crate::web::rest::answer::{ErrorName, json};
use crate::web::rest::in_path::InPath;

/// Path of an output of a run, by the run's id and the output's name.
pub(in crate::web) const PATH: &str = "/api/v0/agent-memory/plan-runs/{run}/outputs/{name}/";
/// Path of a value, by a ticket that opens it for some minutes.
pub(in crate::web) const VALUE_PATH: &str = "/api/v0/agent-memory/values/{ticket}/";

/// Time limit for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// An output, without its value.
#[derive(Serialize, JsonSchema)]
pub(in crate::web::rest) struct Output {
    summary: String,
    /// Leads to the value for five minutes.
    url: String,
}

/// The fields of a form.
#[derive(Default)]
struct Form {
    value: Option<Vec<u8>>,
    summary: Option<String>,
}

pub(in crate::web) async fn put(
    State(state): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    InPath((run, name)): InPath<(String, String)>,
    request: Request,
) -> Response {
    if !is_id(&run, "prun-") {
        return malformed("the id of a run is `prun-` and a UUID");
    }
    let form = match tokio::time::timeout(BODY_TIMEOUT, Form::read(request)).await {
        Ok(Ok(form)) => form,
        Ok(Err(response)) => return *response,
        Err(_) => {
            let detail = "the body did not arrive within 30 seconds";
            return problem(StatusCode::REQUEST_TIMEOUT, ErrorName::RequestTimeout, detail);
        }
    };
    let Form { value: Some(value), summary } = form else {
        return malformed("the form has no file `value`");
    };
    let (run, summary) = (run.as_str(), summary.unwrap_or_default());
    let memory = NewMemory { run, name: &name, summary, value: &value };
    match state.broker.runs().put_memory(&caller.space(), memory).await {
        Ok(()) => json(StatusCode::OK, &Map::new()),
        Err(error) => not_stored(&error),
    }
}

pub(in crate::web) async fn show(
    State(state): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    InPath((run, name)): InPath<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some(origin) = state.gate.origin_of(&uri, &headers) else {
        return not_found("this server has no address under which it could be asked again");
    };
    match state.broker.runs().found_memory(&caller.space(), &run, &name).await {
        Ok(Some(found)) => {
            let url = format!("{origin}{}", VALUE_PATH.replace("{ticket}", &found.ticket));
            json(StatusCode::OK, &Output { summary: found.summary, url })
        }
        Ok(None) => not_found("there is no such output"),
        Err(error) => unavailable(&error),
    }
}

/// Returns the value that a ticket opens, to every program that has the ticket.
pub(in crate::web) async fn value(
    State(state): State<RestState>,
    InPath(ticket): InPath<String>,
) -> Response {
    match state.broker.runs().value_of_ticket(&ticket).await {
        Ok(Some(value)) => {
            let headers = [
                (CONTENT_TYPE, "application/octet-stream"),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (CACHE_CONTROL, "no-store"),
            ];
            (headers, value).into_response()
        }
        Ok(None) => not_found("the link has expired, or leads to nothing"),
        Err(error) => unavailable(&error),
    }
}

impl Form {
    async fn read(request: Request) -> Result<Self, Box<Response>> {
        let Ok(mut fields) = Multipart::from_request(request, &()).await else {
            let detail = "send the body with `Content-Type: multipart/form-data`";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Box::new(problem(status, ErrorName::UnsupportedMediaType, detail)));
        };
        let mut form = Self::default();
        while let Some(field) =
            fields.next_field().await.map_err(|error| Box::new(unread(&error)))?
        {
            match field.name() {
                Some("value") => {
                    let value = field.bytes().await.map_err(|error| Box::new(unread(&error)))?;
                    form.value = Some(value.into());
                }
                Some("summary") => {
                    form.summary =
                        Some(field.text().await.map_err(|error| Box::new(unread(&error)))?);
                }
                _ => {}
            }
        }
        Ok(form)
    }
}

/// Writes the error for a form that cannot be read.
fn unread(error: &MultipartError) -> Response {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = "the body is longer than this path takes";
        problem(StatusCode::PAYLOAD_TOO_LARGE, ErrorName::PayloadTooLarge, detail)
    } else {
        malformed("the form cannot be read")
    }
}
