//! `POST /api/v0/tool-calls/`: a client reports a tool call of a run.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::document::Document;
use super::{not_stored, user};
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::web::rest::answer::json;
use crate::web::rest::{RestState, body};

/// Path of all reported calls.
pub(in crate::web) const PATH: &str = "/api/v0/tool-calls/";

/// A tool call, as its client reports it.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the fields say which documents are calls; only the user is used")]
pub(in crate::web::rest) struct ToolCall {
    plan_run_id: String,
    tool_name: String,
    step: Option<i64>,
    /// The client's user; absent: its default user.
    end_user_id: Option<String>,
    #[serde(default)]
    input: Value,
    #[serde(default)]
    output: Value,
    status: ToolCallStatus,
    latency_seconds: Option<f64>,
}

/// How a call ended.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::web::rest) enum ToolCallStatus {
    InProgress,
    Success,
    Failed,
    NeedClarification,
}

pub(in crate::web) async fn add(
    State(state): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    request: Request,
) -> Response {
    let call: Document<ToolCall> = match body::json(request).await {
        Ok(body) => body,
        Err(problem) => return problem.answer(Face::Portia),
    };
    let Document { whole, fields } = call;
    let principal = match user(&caller, fields.end_user_id.as_deref()) {
        Ok(principal) => principal,
        Err(response) => return *response,
    };
    match state.broker.runs().add_call(&caller.space(), &principal.caller, whole).await {
        Ok(()) => json(StatusCode::CREATED, &Map::new()),
        Err(error) => not_stored(&error),
    }
}
