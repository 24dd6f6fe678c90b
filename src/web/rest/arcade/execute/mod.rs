//! `POST /v1/tools/execute`: runs a tool, now or [later].
//!
//! A tool that fails answers 200 with `status: "failed"`, and a missing consent 403. The statuses
//! 408, 409, 429 and those from 500 up are for faults before the call: Arcade's clients repeat the
//! whole request after each of them, and after a lost answer ([`repeat`]).

pub(in crate::web) mod answer;
pub mod error_kind;
mod later;
mod repeat;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use self::answer::{ExecuteAnswer, ExecuteOutput};
use self::error_kind::ErrorKind;
use self::later::Later;
use self::repeat::RepeatKey;
use super::authorization::AuthorizationAnswer;
use super::{client_name, consent_required, malformed, not_offered, problem, unavailable};
use crate::broker::once::{OnceAnswer, OnceError, OwnedCall};
use crate::broker::{Broker, CallError};
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::model::tool::Effect;
use crate::model::{Caller, Outcome, Tool, time};
use crate::registry::NotOffered;
use crate::web::rest::answer::{ErrorName, bad_user, json};
use crate::web::rest::{RestState, body};
use crate::words;

pub(in crate::web) const PATH: &str = "/v1/tools/execute";

/// Header of an answer that a repeated request got.
const REPLAYED: &str = "idempotent-replayed";

const NO_TIME: &str =
    "`run_at` must be a time such as 2026-11-21T09:30:00; without an offset, it is in UTC";
const STILL_RUNNING: &str = "This call is still running. Look at its effect before you call again.";
const LOST: &str = "This server ended during the call, so it is not known whether it ran. Look at its effect before you call again.";
const NOT_KEPT: &str = "This call has run before, and its answer was too long to be kept. Look at its effect before you call again.";

/// A call of a tool. `tool_version` and `include_error_stacktrace` are accepted and have no effect.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web) struct ExecuteTool {
    tool_name: String,
    user_id: Option<String>,
    input: Option<Map<String, Value>>,
    /// When to run it, instead of now: `2026-11-21T09:30:00`, in UTC unless it has an offset.
    run_at: Option<String>,
}

pub(in crate::web) async fn execute(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    let ExecuteTool { tool_name, user_id, input, run_at } = match body::json(request).await {
        Ok(body) => body,
        Err(problem) => return problem.answer(Face::Arcade),
    };
    let run_at = match run_at.as_deref().map(|at| time::parse(at).ok_or(NO_TIME)).transpose() {
        Ok(run_at) => run_at,
        Err(message) => return malformed(message),
    };
    let principal = match caller.principal(user_id.as_deref()) {
        Ok(principal) => principal,
        Err(fault) => return bad_user(Face::Arcade, "user_id", fault),
    };
    let catalogue = broker.catalogue();
    let offer = match catalogue.registry().offer(Face::Arcade, &tool_name, &principal) {
        Ok(offer) => offer,
        Err(error) => return not_offered(&error),
    };
    let (tool, input) = (offer.entry.tool(), input.unwrap_or_default());
    let call = OwnedCall {
        principal,
        tool: tool.name.clone(),
        arguments: tool.faces.arcade.to_ours(input.clone()),
        client: client_name(&caller).to_owned(),
    };
    let began_at = Instant::now();
    if let Some(run_at) = run_at {
        let run = Run { broker, tool: tool.clone(), began_at };
        let later = Later { call, input, tool_id: offer.id, run_at };
        // Boxed: most calls run at once.
        return Box::pin(run.later(&caller, &headers, later)).await;
    }
    let key = match RepeatKey::of(&headers, &call.principal.caller, &call.digest()) {
        // A read may be repeated.
        Ok(key) => key.filter(|_| tool.effect != Effect::Read),
        Err(error) => return malformed(error.to_string()),
    };
    let run = Run { broker, tool: tool.clone(), began_at };
    match key {
        None => run.plain(&call).await,
        Some(key) => run.once(call, &key, &caller.space()).await,
    }
}

/// A call of this tool.
#[derive(Clone)]
struct Run {
    broker: Broker,
    tool: Tool,
    began_at: Instant,
}

impl Run {
    async fn plain(&self, call: &OwnedCall) -> Response {
        match call.run(&self.broker).await {
            Ok(outcome) => self.answered(&call.principal.caller, &outcome),
            Err(error) => unknown(error),
        }
    }

    async fn once(&self, call: OwnedCall, key: &RepeatKey, space: &str) -> Response {
        let (caller, run) = (call.principal.caller.clone(), self.clone());
        let render = move |outcome: &Outcome| run.rendered(outcome);
        match self.broker.call_once(call, key.in_space(space), render).await {
            Ok(OnceAnswer::NotKept(outcome)) => self.answered(&caller, &outcome),
            Ok(OnceAnswer::Ended { answer: Some(answer), is_replayed }) => {
                again(&answer, is_replayed)
            }
            Ok(OnceAnswer::Ended { answer: None, .. }) => {
                self.without_answer(ErrorKind::Unknown, NOT_KEPT)
            }
            Ok(OnceAnswer::StillRunning) => self.without_answer(ErrorKind::Unknown, STILL_RUNNING),
            Ok(OnceAnswer::Lost) => self.without_answer(ErrorKind::ToolRuntimeFatal, LOST),
            Ok(OnceAnswer::OtherRequest) => reused(),
            Err(OnceError::Call(error)) => unknown(error),
            Err(OnceError::Store(error)) => unavailable(&error),
        }
    }

    /// Answers with the outcome of a call that has ended now.
    fn answered(&self, caller: &Caller, outcome: &Outcome) -> Response {
        match outcome {
            Outcome::AuthorizationRequired(prompt) => {
                let authorization = AuthorizationAnswer::pending(caller, prompt);
                consent_required(&words::consent_needed(prompt), Some(authorization))
            }
            Outcome::Refused(refused) => consent_required(&words::consent_refused(refused), None),
            Outcome::Complete(_) | Outcome::Failed(_) | Outcome::InputRequired(_) => {
                json(StatusCode::OK, &self.rendered(outcome))
            }
        }
    }

    /// Writes the answer to a call whose user has consented.
    fn rendered(&self, outcome: &Outcome) -> Value {
        output(&self.tool, outcome).map(|output| self.ended(output)).unwrap_or_default()
    }

    /// Answers without the outcome of a call that must not be repeated.
    fn without_answer(&self, kind: ErrorKind, message: &str) -> Response {
        json(StatusCode::OK, &self.ended(ExecuteOutput::of_unknown_end(kind, message)))
    }

    fn ended(&self, output: ExecuteOutput) -> Value {
        let answer = ExecuteAnswer::now(output, self.broker.now(), self.began_at.elapsed());
        serde_json::to_value(answer).unwrap_or_default()
    }
}

/// Returns the output of a call whose user has consented.
fn output(tool: &Tool, outcome: &Outcome) -> Option<ExecuteOutput> {
    match outcome {
        Outcome::Complete(result) => Some(ExecuteOutput::of_result(result)),
        Outcome::Failed(failure) => Some(ExecuteOutput::of_failure(tool, failure.clone())),
        Outcome::InputRequired(required) => {
            Some(ExecuteOutput::of_question(tool, required.clone()))
        }
        Outcome::AuthorizationRequired(_) | Outcome::Refused(_) => None,
    }
}

/// Writes the output of a scheduled call.
pub fn scheduled_output(tool: &Tool, outcome: &Outcome) -> Value {
    output(tool, outcome).and_then(|output| serde_json::to_value(output).ok()).unwrap_or_default()
}

/// Answers with the kept answer of a request with a key.
fn again(answer: &Value, is_replayed: bool) -> Response {
    let mut response = json(StatusCode::OK, answer);
    if is_replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// Answers to a request whose key stands for another one.
fn reused() -> Response {
    let message = "this `Idempotency-Key` belongs to another call; make a new one for each call";
    problem(StatusCode::UNPROCESSABLE_ENTITY, ErrorName::IdempotencyKeyReused, message)
}

/// Answers for a tool that has gone since it was found.
fn unknown(CallError::UnknownTool(error): CallError) -> Response {
    not_offered(&NotOffered::Unknown(error))
}
