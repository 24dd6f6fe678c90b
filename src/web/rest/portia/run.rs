//! `POST /api/v0/tools/{tool_id}/run/`: runs a tool.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::clarification::{RunClarification, needed};
use super::failure::is_soft;
use super::{Context, client_name, not_found, problem, unavailable, user};
use crate::broker::confirm::NoteError;
use crate::broker::{Broker, Call, CallError};
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::model::{
    Failure, FailureKind, InvalidArguments, Outcome, Principal, Question, Tool, ToolResult,
};
use crate::registry::face_problems;
use crate::web::rest::answer::{ErrorName, json as answer};
use crate::web::rest::body::Object;
use crate::web::rest::in_path::InPath;
use crate::web::rest::value::{remarks_of, value_of};
use crate::web::rest::{RestState, body};
use crate::words;

/// Path of a tool's run, by the tool's id.
pub(in crate::web) const PATH: &str = "/api/v0/tools/{id}/run/";

/// A call of a tool.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web::rest) struct Run {
    #[serde(default)]
    arguments: Map<String, Value>,
    execution_context: Object<Context>,
}

/// Answer to a call that succeeded, that failed softly, or that asks the user.
#[derive(Serialize, JsonSchema)]
pub(in crate::web::rest) struct RunAnswer {
    output: RunOutput,
    /// `true` if `output` is an error after which the model may call again.
    #[serde(skip_serializing_if = "Option::is_none")]
    soft_error: Option<bool>,
}

/// The clients raise at any other key.
#[derive(Serialize, JsonSchema)]
pub(in crate::web::rest) struct RunOutput {
    value: Value,
    /// `null` beside an output; absent beside an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Value>,
}

pub(in crate::web) async fn run(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    InPath(id): InPath<String>,
    request: Request,
) -> Response {
    let run: Run = match body::json(request).await {
        Ok(body) => body,
        Err(problem) => return problem.answer(Face::Portia),
    };
    match run.answer(&broker, &caller, &id).await {
        Ok(response) => response,
        Err(response) => *response,
    }
}

impl Run {
    async fn answer(
        self,
        broker: &Broker,
        caller: &RestCaller,
        id: &str,
    ) -> Result<Response, Box<Response>> {
        let Self { arguments, execution_context: Object(context) } = self;
        let principal = user(caller, context.end_user_id.as_deref())?;
        let run = context.plan_run()?;
        let catalogue = broker.catalogue();
        let offer = catalogue.registry().offer(Face::Portia, id, &principal);
        let tool = match &offer {
            Ok(offer) => offer.entry.tool(),
            Err(unknown) => return Err(Box::new(not_found(unknown.to_string()))),
        };
        let call = Call {
            arguments: Some(tool.faces.portia.to_ours(arguments)),
            client: Some(client_name(caller).to_owned()),
            run,
            ..Call::new(&principal, tool.name.as_str())
        };
        Ok(match Box::pin(broker.call(call)).await {
            Ok(Outcome::Complete(result)) => complete(&result),
            Ok(Outcome::Failed(failure)) => failed(failure, tool),
            Ok(Outcome::Refused(refused)) => hard(words::consent_refused(&refused)),
            Ok(Outcome::AuthorizationRequired(prompt)) => {
                match broker.note_need(&principal, run.unwrap_or_default(), &prompt).await {
                    Ok(()) => {}
                    Err(NoteError::Store(error)) => return Ok(unavailable(&error)),
                    Err(error @ NoteError::TooMany) => return Ok(hard(error.to_string())),
                }
                let id = &prompt.authorization.id;
                let known = known(broker, caller, &principal, run, tool, id).await?;
                known.map_or_else(|| hard(words::consent_needed(&prompt)), |it| asked(&it))
            }
            Ok(Outcome::InputRequired(required)) => match &required.question {
                Question::Arguments(problem) => missing_arguments(problem.clone(), tool, run),
                Question::Clarification(clarification) => {
                    asked(&RunClarification::of_code(tool, run, clarification))
                }
                Question::Confirmation(prompt) => {
                    let known = known(broker, caller, &principal, run, tool, &prompt.id).await?;
                    known.map_or_else(|| hard(words::input_needed(&required)), |it| asked(&it))
                }
            },
            Err(CallError::UnknownTool(unknown)) => not_found(unknown.to_string()),
        })
    }
}

fn complete(result: &ToolResult) -> Response {
    let value = safe(with_remarks(value_of(result), &remarks_of(result)));
    let output = RunOutput { value, summary: Some(Value::Null) };
    answer(StatusCode::OK, &RunAnswer { output, soft_error: None })
}

/// Adds remarks to a value, so that a model does not take a part for the whole: this contract has no
/// place for them.
fn with_remarks(value: Value, remarks: &[String]) -> Value {
    match value {
        value if remarks.is_empty() => value,
        Value::String(text) => format!("{text}\n\n{}", remarks.join("\n")).into(),
        value => json!({ "value": value, "remarks": remarks }),
    }
}

/// Wraps a list that the clients would take for clarifications, or at which they raise: they look
/// for the key `category` in the first item of every list.
fn safe(value: Value) -> Value {
    let Value::Array(items) = &value else { return value };
    let is_safe = match items.first() {
        None => true,
        Some(Value::Object(first)) => !first.contains_key("category"),
        Some(Value::String(first)) => !first.contains("category"),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) => false,
    };
    if is_safe { value } else { json!({ "items": value }) }
}

/// Returns the question with this id, if readiness reports it. A client throws the question of a call
/// away and asks for readiness: if that knew of none, it would call again at once, without end.
async fn known(
    broker: &Broker,
    caller: &RestCaller,
    principal: &Principal,
    run: Option<&str>,
    tool: &Tool,
    id: &str,
) -> Result<Option<RunClarification>, Box<Response>> {
    let needed = needed(broker, caller, principal, run, std::slice::from_ref(&tool.name)).await;
    let needed = needed.map_err(|error| Box::new(unavailable(&error)))?;
    Ok(needed.into_iter().find(|action| action.asks_for(id, run)).map(Into::into))
}

/// Asks the user for an argument.
fn missing_arguments(problem: InvalidArguments, tool: &Tool, run: Option<&str>) -> Response {
    let problem = face_problems(tool, Face::Portia, problem);
    match RunClarification::of(tool, run, &problem) {
        Some(clarification) => asked(&clarification),
        None => failed(FailureKind::InvalidArguments(problem).into(), tool),
    }
}

fn asked(clarification: &RunClarification) -> Response {
    let output = RunOutput { value: json!([clarification]), summary: None };
    answer(StatusCode::OK, &RunAnswer { output, soft_error: None })
}

fn failed(mut failure: Failure, tool: &Tool) -> Response {
    if let FailureKind::InvalidArguments(problem) = failure.kind {
        let problem = face_problems(tool, Face::Portia, problem);
        failure.kind = FailureKind::InvalidArguments(problem);
    }
    let words = words::failure_text(&failure);
    if !is_soft(&failure.kind, tool.effect) {
        return hard(words);
    }
    let output = RunOutput { value: format!("ToolSoftError: {words}").into(), summary: None };
    answer(StatusCode::OK, &RunAnswer { output, soft_error: Some(true) })
}

/// Writes an error that ends the plan's run.
fn hard(words: impl Into<String>) -> Response {
    problem(StatusCode::UNPROCESSABLE_ENTITY, ErrorName::ToolFailed, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_output_is_taken_for_a_clarification() {
        for bare in [
            json!("text with category"),
            json!({"category": "Action"}),
            json!([]),
            json!([{"id": 1}, {"category": "x"}]),
            json!(["a", "category"]),
            json!(5),
            json!(null),
        ] {
            assert_eq!(safe(bare.clone()), bare);
        }
        for odd in [
            json!([1]),
            json!([null]),
            json!([true]),
            json!([[]]),
            json!([{"category": "Action"}]),
            json!(["a category"]),
        ] {
            assert_eq!(safe(odd.clone()), json!({"items": odd}));
        }
    }

    #[test]
    fn a_remark_stays_with_its_data() {
        let cut = ["1 of 2 shown".to_owned()];
        assert_eq!(with_remarks(json!([1]), &[]), json!([1]));
        assert_eq!(with_remarks(json!("text"), &cut), json!("text\n\n1 of 2 shown"));
        let whole = json!({"value": [1], "remarks": ["1 of 2 shown"]});
        assert_eq!(with_remarks(json!([1]), &cut), whole);
    }
}
