//! `/v1/scheduled_tools`: the calls of a key that wait for their time, run, or have ended.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::execute::answer::{ExecuteOutput, ExecutionType, attempt_id, scheduled_id};
use super::execute::error_kind::ErrorKind;
use super::tools::answer::{VERSION, split};
use super::{malformed, problem, unavailable};
use crate::identity::RestCaller;
use crate::model::scheduled::{NotRun, ScheduledCall, ScheduledEnd, ScheduledState};
use crate::model::time::utc;
use crate::web::rest::RestState;
use crate::web::rest::answer::{ErrorName, json};
use crate::web::rest::page::Paging;

pub(in crate::web) const COLLECTION_PATH: &str = "/v1/scheduled_tools";
pub(in crate::web) const ITEM_PATH: &str = "/v1/scheduled_tools/{id}";

const NOT_KEPT: &str =
    "This call has run, and its output was too long to be kept. Look at its effect.";
const LOST: &str = "This server ended during the call, so it is not known whether it ran. Look at its effect before you call again.";

/// A scheduled call.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct ToolExecution {
    id: String,
    created_at: String,
    updated_at: String,
    run_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    tool_name: String,
    toolkit_name: String,
    toolkit_version: &'static str,
    user_id: String,
    execution_type: ExecutionType,
    execution_status: ScheduledStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::web) enum ScheduledStatus {
    /// It waits for its time.
    Pending,
    Running,
    Completed,
    Failed,
}

/// A scheduled call, and what has come of it.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct ScheduledAnswer {
    #[serde(flatten)]
    execution: ToolExecution,
    input: Map<String, Value>,
    /// Empty while it waits; then the one attempt to run it.
    attempts: Vec<ExecutionAttempt>,
}

/// The attempt to run a scheduled call.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct ExecutionAttempt {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<ExecuteOutput>")]
    output: Option<Value>,
    /// Why the tool was not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    system_error_message: Option<&'static str>,
}

pub(in crate::web) async fn list(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    uri: Uri,
) -> Response {
    let paging = match Paging::default().asked_by(&uri) {
        Ok(paging) => paging,
        Err(error) => return malformed(error.to_string()),
    };
    match broker.scheduled(&caller.space()).await {
        Ok(calls) => json(StatusCode::OK, &paging.of(calls).map(|call| ToolExecution::of(&call))),
        Err(error) => unavailable(&error),
    }
}

pub(in crate::web) async fn get(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    Path(id): Path<String>,
) -> Response {
    let unknown = || {
        let message = "your key has no scheduled call with this id; list them anew";
        problem(StatusCode::NOT_FOUND, ErrorName::NotFound, message)
    };
    let Some(id) = id.strip_prefix("te_") else { return unknown() };
    match broker.scheduled_one(&caller.space(), id).await {
        Ok(Some(call)) => json(StatusCode::OK, &ScheduledAnswer::of(call)),
        Ok(None) => unknown(),
        Err(error) => unavailable(&error),
    }
}

impl ToolExecution {
    fn of(call: &ScheduledCall) -> Self {
        let (toolkit, tool) = split(&call.tool_id);
        let (started_at, finished_at) = match call.state {
            ScheduledState::Waiting => (None, None),
            ScheduledState::Running { since, .. } => (Some(since), None),
            ScheduledState::Ended { since, at, .. } => (since, Some(at)),
        };
        Self {
            id: scheduled_id(call),
            created_at: utc(call.created_at),
            updated_at: utc(call.changed_at()),
            run_at: utc(call.run_at),
            started_at: started_at.map(utc),
            finished_at: finished_at.map(utc),
            tool_name: tool.to_owned(),
            toolkit_name: toolkit.to_owned(),
            toolkit_version: VERSION,
            user_id: call.caller.user.to_string(),
            execution_type: ExecutionType::Scheduled,
            execution_status: ScheduledStatus::of(&call.state),
        }
    }
}

impl ScheduledStatus {
    fn of(state: &ScheduledState) -> Self {
        match state {
            ScheduledState::Waiting => Self::Pending,
            ScheduledState::Running { .. } => Self::Running,
            ScheduledState::Ended { end: ScheduledEnd::Ran { succeeded: true, .. }, .. } => {
                Self::Completed
            }
            ScheduledState::Ended { .. } => Self::Failed,
        }
    }
}

impl ScheduledAnswer {
    fn of(call: ScheduledCall) -> Self {
        let execution = ToolExecution::of(&call);
        let (started_at, finished_at) =
            (execution.started_at.clone(), execution.finished_at.clone());
        let attempt = ExecutionAttempt::of(&call, started_at, finished_at);
        Self {
            execution,
            input: call.written.unwrap_or(call.arguments),
            attempts: attempt.into_iter().collect(),
        }
    }
}

impl ExecutionAttempt {
    fn of(
        call: &ScheduledCall,
        started_at: Option<String>,
        finished_at: Option<String>,
    ) -> Option<Self> {
        let (success, output, system_error_message) = match &call.state {
            ScheduledState::Waiting => return None,
            ScheduledState::Running { .. } => (false, None, None),
            ScheduledState::Ended { end, .. } => match end {
                ScheduledEnd::Ran { succeeded, output: Some(output) } => {
                    (*succeeded, Some(output.clone()), None)
                }
                ScheduledEnd::Ran { succeeded, output: None } => {
                    (*succeeded, failure(ErrorKind::Unknown, NOT_KEPT), None)
                }
                ScheduledEnd::NotRun(why) => {
                    let (kind, message) = not_run(*why);
                    (false, failure(kind, message), Some(message))
                }
                ScheduledEnd::Lost => {
                    (false, failure(ErrorKind::ToolRuntimeFatal, LOST), Some(LOST))
                }
            },
        };
        let id = attempt_id(call);
        Some(Self { id, started_at, finished_at, success, output, system_error_message })
    }
}

fn failure(kind: ErrorKind, message: &str) -> Option<Value> {
    serde_json::to_value(ExecuteOutput::of_unknown_end(kind, message)).ok()
}

fn not_run(why: NotRun) -> (ErrorKind, &'static str) {
    match why {
        NotRun::Missed => (
            ErrorKind::ToolRuntimeFatal,
            "The call was not run: this server did not run within an hour of its time.",
        ),
        NotRun::KeyGone => (
            ErrorKind::ContextDenied,
            "The call was not run: the key that scheduled it is not accepted any more.",
        ),
        NotRun::ToolGone => {
            (ErrorKind::ContextDenied, "The call was not run: the user has no such tool any more.")
        }
        NotRun::ToolChanged => (
            ErrorKind::ContextDenied,
            "The call was not run: the operator has changed the tool since, so it would do something else. Look at the tool and schedule the call anew.",
        ),
        NotRun::Disconnected => (
            ErrorKind::ToolRequirementsNotMet,
            "The call was not run: the account that it was scheduled for has been disconnected since. Schedule a call anew to ask for a consent.",
        ),
        NotRun::OtherAccount => (
            ErrorKind::ToolRequirementsNotMet,
            "The call was not run: the user has connected another account since, in place of the one that it was scheduled for. Schedule a call anew to use that one.",
        ),
        NotRun::NoConsent => (
            ErrorKind::ToolRequirementsNotMet,
            "The call was not run: the user's consent is missing, or does not cover calls while the user is away. Schedule a call anew to ask for it.",
        ),
    }
}
