//! `POST /v1/tools/execute`: runs a tool.
//!
//! A tool that fails answers 200 with `status: "failed"`, and a missing consent 403. The statuses
//! 408, 409, 429 and those from 500 up are for faults before the call: Arcade's clients repeat the
//! whole request after each of them, and after a lost answer ([`repeat`]).

pub(in crate::web) mod answer;
pub mod error_kind;
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
use self::repeat::RepeatKey;
use super::authorization::AuthorizationAnswer;
use super::{client_name, consent_required, malformed, not_offered, problem, unavailable};
use crate::broker::once::{OnceAnswer, OnceError, OwnedCall};
use crate::broker::{Broker, CallError};
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::model::tool::Effect;
use crate::model::{Caller, Outcome, Tool};
use crate::registry::NotOffered;
use crate::web::rest::answer::{ErrorName, bad_user, json};
use crate::web::rest::{RestState, body};
use crate::words;

pub(in crate::web) const PATH: &str = "/v1/tools/execute";

/// Header of an answer that a repeated request got.
const REPLAYED: &str = "idempotent-replayed";

const STILL_RUNNING: &str = "This call is still running. Look at its effect before you call again.";
const LOST: &str = "This server ended during the call, so it is not known whether it ran. Look at its effect before you call again.";
const NOT_KEPT: &str = "This call has run before, and its answer was too long to be kept. Look at its effect before you call again.";

/// A call of a tool. `tool_version` and `include_error_stacktrace` are accepted and have no effect.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web) struct ExecuteTool {
    tool_name: String,
    user_id: Option<String>,
    input: Option<Map<String, Value>>,
    /// When to run it, instead of now.
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
    if run_at.is_some() {
        return malformed("`run_at`: this server runs tools at once only");
    }
    let principal = match caller.principal(user_id.as_deref()) {
        Ok(principal) => principal,
        Err(fault) => return bad_user(Face::Arcade, "user_id", fault),
    };
    let catalogue = broker.catalogue();
    let tool = match catalogue.registry().offer(Face::Arcade, &tool_name, &principal) {
        Ok(offer) => offer.entry.tool(),
        Err(error) => return not_offered(&error),
    };
    let call = OwnedCall {
        principal,
        tool: tool.name.clone(),
        arguments: tool.faces.arcade.to_ours(input.unwrap_or_default()),
        client: client_name(&caller).to_owned(),
    };
    let key = match RepeatKey::of(&headers, &call) {
        // A read may be repeated.
        Ok(key) => key.filter(|_| tool.effect != Effect::Read),
        Err(error) => return malformed(error.to_string()),
    };
    let run = Run { broker, tool: tool.clone(), began_at: Instant::now() };
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
                let mut response = json(StatusCode::OK, &answer);
                if is_replayed {
                    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                }
                response
            }
            Ok(OnceAnswer::Ended { answer: None, .. }) => {
                self.without_answer(ErrorKind::Unknown, NOT_KEPT)
            }
            Ok(OnceAnswer::StillRunning) => self.without_answer(ErrorKind::Unknown, STILL_RUNNING),
            Ok(OnceAnswer::Lost) => self.without_answer(ErrorKind::ToolRuntimeFatal, LOST),
            Ok(OnceAnswer::OtherRequest) => {
                let message =
                    "this `Idempotency-Key` belongs to another call; make a new one for each call";
                let name = ErrorName::IdempotencyKeyReused;
                problem(StatusCode::UNPROCESSABLE_ENTITY, name, message)
            }
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
        let output = match outcome {
            Outcome::Complete(result) => ExecuteOutput::of_result(result),
            Outcome::Failed(failure) => ExecuteOutput::of_failure(&self.tool, failure.clone()),
            Outcome::InputRequired(required) => {
                ExecuteOutput::of_question(&self.tool, required.clone())
            }
            Outcome::AuthorizationRequired(_) | Outcome::Refused(_) => return Value::Null,
        };
        self.ended(output)
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

/// Answers for a tool that has gone since it was found.
fn unknown(CallError::UnknownTool(error): CallError) -> Response {
    not_offered(&NotOffered::Unknown(error))
}
