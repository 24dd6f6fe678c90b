//! `POST /v1/tools/execute`: runs a tool.
//!
//! A tool that fails answers 200 with `status: "failed"`, and a missing consent 403. The statuses
//! 408, 409, 429 and those from 500 up are for faults before the call: Arcade's clients repeat the
//! whole request after each of them.

mod answer;
pub mod error_kind;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use self::answer::{ExecuteAnswer, ExecuteOutput};
use super::authorization::AuthorizationAnswer;
use super::{client_name, consent_required, malformed, not_offered};
use crate::broker::{Broker, Call, CallError};
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::model::{Caller, Outcome, Tool};
use crate::registry::NotOffered;
use crate::web::rest::answer::{bad_user, json};
use crate::web::rest::{RestState, body};
use crate::words;

pub(in crate::web) const PATH: &str = "/v1/tools/execute";

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
    let call = Call {
        principal: &principal,
        tool: tool.name.as_str(),
        arguments: Some(tool.faces.arcade.to_ours(input.unwrap_or_default())),
        client: Some(client_name(&caller).to_owned()),
        run: None,
    };
    let began_at = Instant::now();
    match broker.call(call).await {
        Ok(outcome) => answered(&broker, tool, &principal.caller, outcome, began_at),
        Err(CallError::UnknownTool(error)) => not_offered(&NotOffered::Unknown(error)),
    }
}

fn answered(
    broker: &Broker,
    tool: &Tool,
    caller: &Caller,
    outcome: Outcome,
    began_at: Instant,
) -> Response {
    let output = match outcome {
        Outcome::Complete(result) => ExecuteOutput::of_result(&result),
        Outcome::Failed(failure) => ExecuteOutput::of_failure(tool, failure),
        Outcome::InputRequired(required) => ExecuteOutput::of_question(tool, required),
        Outcome::AuthorizationRequired(prompt) => {
            let message = words::consent_needed(&prompt);
            let authorization = AuthorizationAnswer::pending(caller, &prompt);
            return consent_required(&message, Some(authorization));
        }
        Outcome::Refused(refused) => {
            return consent_required(&words::consent_refused(&refused), None);
        }
    };
    json(StatusCode::OK, &ExecuteAnswer::now(output, broker.now(), began_at.elapsed()))
}
