//! `POST /api/v0/tools/batch/ready/` and `/{tool_id}/ready/`: the needs of tools before a call.
//!
//! The clients ask before a plan's run begins or goes on, and every two seconds while it waits.
//! They look at the clarifications only: an answer without one means that the tools may run.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clarification::{ActionClarification, needed};
use super::{Context, malformed, not_found, unavailable, user};
use crate::broker::Broker;
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::model::{Principal, ToolName};
use crate::web::rest::answer::json;
use crate::web::rest::body::Object;
use crate::web::rest::in_path::InPath;
use crate::web::rest::{RestState, body};

/// Path for several tools.
pub(in crate::web) const BATCH_PATH: &str = "/api/v0/tools/batch/ready/";
/// Path for one tool, by its id.
pub(in crate::web) const PATH: &str = "/api/v0/tools/{id}/ready/";

/// Tools of one request; more are refused.
const MAX_TOOLS: usize = 200;

/// A question about several tools.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web::rest) struct BatchReady {
    #[schemars(length(max = MAX_TOOLS))]
    tool_ids: Vec<String>,
    execution_context: Object<Context>,
}

/// A question about one tool.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web::rest) struct OneReady {
    execution_context: Object<Context>,
}

/// Consents that the tools still need, and whether there are none.
#[derive(Serialize, JsonSchema)]
pub(in crate::web::rest) struct Ready {
    ready: bool,
    clarifications: Vec<ActionClarification>,
}

/// Answers for those of the tools that exist. A call of another one says that it does not.
pub(in crate::web) async fn batch(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    request: Request,
) -> Response {
    let BatchReady { tool_ids, execution_context: Object(execution_context) } =
        match body::json(request).await {
            Ok(body) => body,
            Err(problem) => return problem.answer(Face::Portia),
        };
    if tool_ids.len() > MAX_TOOLS {
        return malformed(format!("`tool_ids` has more than {MAX_TOOLS} ids"));
    }
    let principal = match user(&caller, execution_context.end_user_id.as_deref()) {
        Ok(principal) => principal,
        Err(response) => return *response,
    };
    let catalogue = broker.catalogue();
    let find = |id: &String| catalogue.registry().find_offer(Face::Portia, id, &principal);
    let tools: Vec<ToolName> =
        tool_ids.iter().filter_map(find).map(|offer| offer.entry.tool().name.clone()).collect();
    answer(&broker, &caller, &principal, &execution_context, &tools).await
}

pub(in crate::web) async fn one(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    InPath(id): InPath<String>,
    request: Request,
) -> Response {
    let OneReady { execution_context: Object(execution_context) } = match body::json(request).await
    {
        Ok(body) => body,
        Err(problem) => return problem.answer(Face::Portia),
    };
    let principal = match user(&caller, execution_context.end_user_id.as_deref()) {
        Ok(principal) => principal,
        Err(response) => return *response,
    };
    match tool(&broker, &principal, &id) {
        Ok(tool) => answer(&broker, &caller, &principal, &execution_context, &[tool]).await,
        Err(response) => *response,
    }
}

async fn answer(
    broker: &Broker,
    caller: &RestCaller,
    principal: &Principal,
    context: &Context,
    tools: &[ToolName],
) -> Response {
    let run = match context.plan_run() {
        Ok(run) => run,
        Err(response) => return *response,
    };
    match needed(broker, caller, principal, run, tools).await {
        Ok(clarifications) => {
            json(StatusCode::OK, &Ready { ready: clarifications.is_empty(), clarifications })
        }
        Err(error) => unavailable(&error),
    }
}

/// Returns the name of the tool with this id, or the response (404) to an id of no tool.
fn tool(broker: &Broker, principal: &Principal, id: &str) -> Result<ToolName, Box<Response>> {
    let catalogue = broker.catalogue();
    let offer = catalogue.registry().offer(Face::Portia, id, principal);
    offer
        .map(|offer| offer.entry.tool().name.clone())
        .map_err(|unknown| Box::new(not_found(unknown.to_string())))
}
