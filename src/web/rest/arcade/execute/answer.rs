//! The end of a call in the shape of Arcade's contract.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::error_kind::{ErrorKind, can_retry, retry_after, status_code};
use crate::model::face::Face;
use crate::model::scheduled::ScheduledCall;
use crate::model::secret::{ExposeSecret as _, random_ticket};
use crate::model::time::utc;
use crate::model::{
    ConfirmationPrompt, Failure, FailureKind, InputRequired, Question, Time, Tool, ToolResult,
};
use crate::registry::face_problems;
use crate::web::rest::arcade::authorization::AuthorizationAnswer;
use crate::web::rest::value::{remarks_of, value_of};
use crate::words;

/// A call that has ended, or that waits for its time. Clients expect every `null`.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct ExecuteAnswer {
    id: String,
    execution_id: String,
    execution_type: ExecutionType,
    status: ExecutionStatus,
    /// Whether the call has succeeded; of a call for later, whether it is scheduled.
    success: bool,
    /// In milliseconds.
    duration: f64,
    finished_at: Option<String>,
    run_at: Option<String>,
    output: Option<ExecuteOutput>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::web) enum ExecutionType {
    Immediate,
    Scheduled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::web) enum ExecutionStatus {
    Completed,
    Failed,
    Scheduled,
}

/// The data of a call, or why there is none.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct ExecuteOutput {
    value: Value,
    error: Option<ExecuteError>,
    logs: Vec<ExecuteLog>,
    /// Always null: a missing consent is an error of its own (403).
    authorization: Option<AuthorizationAnswer>,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct ExecuteError {
    message: String,
    kind: ErrorKind,
    /// Whether the same call may be repeated, perhaps with other arguments.
    can_retry: bool,
    /// Advice for the operator of the server, on a server of one's own machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    developer_message: Option<String>,
    /// For the model: what the user has to supply.
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_prompt_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    /// HTTP status of the tool's API.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    /// The confirmation that the call waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<Confirmation>,
}

/// Page on which the user confirms or declines the call.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct Confirmation {
    confirmation_id: String,
    confirmation_url: String,
}

impl Confirmation {
    fn of(ConfirmationPrompt { id, url, .. }: &ConfirmationPrompt) -> Self {
        Self { confirmation_id: id.clone(), confirmation_url: url.clone() }
    }
}

#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct ExecuteLog {
    level: &'static str,
    message: String,
}

impl ExecuteAnswer {
    /// A call that has run at once, and took this long.
    pub(super) fn now(output: ExecuteOutput, finished_at: Time, took: Duration) -> Self {
        let success = output.error.is_none();
        Self {
            id: random_id("te_"),
            execution_id: random_id("tc_"),
            execution_type: ExecutionType::Immediate,
            status: if success { ExecutionStatus::Completed } else { ExecutionStatus::Failed },
            success,
            duration: took.as_secs_f64() * 1000.0,
            finished_at: Some(utc(finished_at)),
            run_at: None,
            output: Some(output),
        }
    }
}

impl ExecuteAnswer {
    /// A call that waits for its time.
    pub(super) fn scheduled(call: &ScheduledCall) -> Self {
        Self {
            id: scheduled_id(call),
            execution_id: attempt_id(call),
            execution_type: ExecutionType::Scheduled,
            status: ExecutionStatus::Scheduled,
            success: true,
            duration: 0.0,
            finished_at: None,
            run_at: Some(utc(call.run_at)),
            output: None,
        }
    }
}

/// Id of a scheduled call.
pub(in crate::web) fn scheduled_id(call: &ScheduledCall) -> String {
    format!("te_{}", call.id)
}

/// Id of the one attempt to run it.
pub(in crate::web) fn attempt_id(call: &ScheduledCall) -> String {
    format!("tc_{}", call.id)
}

fn random_id(prefix: &str) -> String {
    format!("{prefix}{}", random_ticket().expose_secret())
}

impl ExecuteOutput {
    pub(super) fn of_result(result: &ToolResult) -> Self {
        let logs = remarks_of(result).into_iter();
        let logs = logs.map(|message| ExecuteLog { level: "info", message }).collect();
        Self { value: value_of(result), error: None, logs, authorization: None }
    }

    pub(super) fn of_failure(tool: &Tool, failure: Failure) -> Self {
        ExecuteError::of(tool, failure).into()
    }

    /// A call that has no outcome, or none that is known.
    pub(in crate::web) fn of_unknown_end(kind: ErrorKind, message: &str) -> Self {
        let error = ExecuteError {
            message: message.to_owned(),
            kind,
            can_retry: false,
            developer_message: None,
            additional_prompt_content: None,
            retry_after_ms: None,
            status_code: None,
            extra: None,
        };
        error.into()
    }

    /// A call that waits for an answer of the user.
    pub(super) fn of_question(tool: &Tool, required: InputRequired) -> Self {
        ExecuteError::of_question(tool, required).into()
    }
}

impl From<ExecuteError> for ExecuteOutput {
    fn from(error: ExecuteError) -> Self {
        Self { value: Value::Null, error: Some(error), logs: Vec::new(), authorization: None }
    }
}

impl ExecuteError {
    fn of_question(tool: &Tool, required: InputRequired) -> Self {
        match required.question {
            Question::Arguments(problem) => {
                let failure = FailureKind::InvalidArguments(problem).into();
                let error = Self::of(tool, failure);
                Self { additional_prompt_content: Some(error.message.clone()), ..error }
            }
            Question::Clarification(_) => {
                let message = words::input_needed(&required);
                Self {
                    additional_prompt_content: Some(message.clone()),
                    ..Self::context_required(message)
                }
            }
            Question::Confirmation(ref prompt) => Self {
                extra: Some(Confirmation::of(prompt)),
                ..Self::context_required(words::input_needed(&required))
            },
        }
    }

    /// A call that runs once the user has answered.
    fn context_required(message: String) -> Self {
        Self {
            extra: None,
            message,
            kind: ErrorKind::ToolRuntimeContextRequired,
            can_retry: false,
            developer_message: None,
            additional_prompt_content: None,
            retry_after_ms: None,
            status_code: None,
        }
    }

    fn of(tool: &Tool, mut failure: Failure) -> Self {
        if let FailureKind::InvalidArguments(problem) = failure.kind {
            let problem = face_problems(tool, Face::Arcade, problem);
            failure.kind = FailureKind::InvalidArguments(problem);
        }
        let retry = failure.kind.retry();
        let wait = retry_after(retry).map(|wait| wait.as_millis().try_into().unwrap_or(u64::MAX));
        Self {
            message: words::failure_text(&failure),
            kind: ErrorKind::of(&failure.kind),
            can_retry: can_retry(retry),
            retry_after_ms: wait,
            status_code: status_code(&failure),
            developer_message: failure.for_operator,
            additional_prompt_content: None,
            extra: None,
        }
    }
}
