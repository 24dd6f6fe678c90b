//! `/api/v0/plans/`: plans that a client stores.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::document::Document;
use super::{PLAN_ID, is_id, malformed, not_found, not_stored, unavailable};
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::web::rest::answer::json;
use crate::web::rest::in_path::InPath;
use crate::web::rest::{RestState, body};

/// Path of all plans of a key.
pub(in crate::web) const COLLECTION_PATH: &str = "/api/v0/plans/";
/// Path of one plan, by its id.
pub(in crate::web) const ITEM_PATH: &str = "/api/v0/plans/{id}/";
/// Path of the search for plans that are similar to a question.
pub(in crate::web) const SEARCH_PATH: &str = "/api/v0/plans/embeddings/search/";

/// A plan. It is answered as it was stored, with further keys.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the fields say which documents are plans; only the id is used")]
#[expect(clippy::struct_field_names, reason = "the keys of the contract")]
pub(in crate::web::rest) struct Plan {
    /// `plan-<uuid>`
    #[schemars(regex(pattern = PLAN_ID))]
    id: String,
    query: String,
    tool_ids: Vec<String>,
    steps: Vec<Value>,
    #[serde(default)]
    plan_inputs: Vec<Value>,
}

pub(in crate::web) async fn put(
    State(state): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    request: Request,
) -> Response {
    let plan: Document<Plan> = match body::json(request).await {
        Ok(body) => body,
        Err(problem) => return problem.answer(Face::Portia),
    };
    let Document { whole, fields } = plan;
    if !is_id(&fields.id, "plan-") {
        return malformed("`id` is `plan-` and a UUID");
    }
    let answer = json(StatusCode::CREATED, &whole);
    match state.broker.runs().put_plan(&caller.space(), &fields.id, whole).await {
        Ok(()) => answer,
        Err(error) => not_stored(&error),
    }
}

pub(in crate::web) async fn show(
    State(state): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    InPath(id): InPath<String>,
) -> Response {
    match state.broker.runs().plan(&caller.space(), &id).await {
        Ok(Some(plan)) => json(StatusCode::OK, &plan.document),
        Ok(None) => not_found("there is no such plan"),
        Err(error) => unavailable(&error),
    }
}

/// Finds nothing: plans are not compared here. Clients then make a new plan.
pub(in crate::web) async fn search() -> Response {
    let none: [Value; 0] = [];
    json(StatusCode::OK, &none)
}
