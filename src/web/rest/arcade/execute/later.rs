//! Calls with `run_at`, which run when their time has come.

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value};

use super::answer::ExecuteAnswer;
use super::repeat::RepeatKey;
use super::{Run, again, reused, unknown};
use crate::broker::once::{OnceAnswer, OnceError, OwnedCall};
use crate::broker::schedule::{CallForLater, Scheduling};
use crate::identity::RestCaller;
use crate::model::Time;
use crate::model::scheduled::ScheduledCall;
use crate::web::rest::answer::{ErrorName, json};
use crate::web::rest::arcade::{malformed, problem, unavailable};

const BY_TOKEN: &str = "a call can be scheduled with a key only: nothing could vouch for the user of an access token when its time has come";
const UNCLEAR: &str = "it is not known whether this call was scheduled; look for it at /v1/scheduled_tools before you schedule it again";

/// A call for later.
pub(super) struct Later<'a> {
    pub(super) call: OwnedCall,
    /// The arguments as the client wrote them.
    pub(super) input: Map<String, Value>,
    pub(super) tool_id: &'a str,
    pub(super) run_at: Time,
}

impl Run {
    /// Schedules a call.
    pub(super) async fn later(
        &self,
        caller: &RestCaller,
        headers: &HeaderMap,
        Later { call, input, tool_id, run_at }: Later<'_>,
    ) -> Response {
        let Some(voucher) = caller.voucher() else { return malformed(BY_TOKEN) };
        let (space, user) = (caller.space().into_owned(), call.principal.caller.clone());
        let tool_id = tool_id.to_owned();
        let later =
            CallForLater { call, space: space.clone(), voucher, tool_id, written: input, run_at };
        let key = match RepeatKey::of(headers, &user, &later.digest()) {
            Ok(key) => key,
            Err(error) => return malformed(error.to_string()),
        };
        let scheduling = match key {
            None => self.broker.schedule(later).await,
            Some(key) => {
                match self.broker.schedule_once(later, key.in_space(&space), written).await {
                    Ok(OnceAnswer::NotKept(scheduling)) => Ok(*scheduling),
                    Ok(OnceAnswer::Ended { answer: Some(answer), is_replayed }) => {
                        return again(&answer, is_replayed);
                    }
                    Ok(OnceAnswer::OtherRequest) => return reused(),
                    Ok(
                        OnceAnswer::Ended { answer: None, .. }
                        | OnceAnswer::StillRunning
                        | OnceAnswer::Lost,
                    ) => {
                        let status = StatusCode::UNPROCESSABLE_ENTITY;
                        return problem(status, ErrorName::IdempotencyKeyReused, UNCLEAR);
                    }
                    Err(error) => Err(error),
                }
            }
        };
        match scheduling {
            Ok(Scheduling::Scheduled(call)) => json(StatusCode::OK, &written(&call)),
            Ok(Scheduling::NotYet(outcome)) => self.answered(&user, &outcome),
            Ok(Scheduling::Unfit(problem)) => malformed(problem.to_string()),
            Err(OnceError::Call(error)) => unknown(error),
            Err(OnceError::Store(error)) => unavailable(&error),
        }
    }
}

fn written(call: &ScheduledCall) -> Value {
    serde_json::to_value(ExecuteAnswer::scheduled(call)).unwrap_or_default()
}
