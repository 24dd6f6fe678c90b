//! `/api/v0/plan-runs/`: runs of plans that a client stores.

use std::collections::BTreeSet;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::{is_id, malformed, not_found, not_stored, unavailable, user};
use crate::broker::runs::{RUNS_PER_PAGE, RunPage};
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::model::run::PlanRun;
use crate::web::rest::answer::json;
use crate::web::rest::in_path::InPath;
use crate::web::rest::{RestState, body};

/// Path of all runs of a key.
pub(in crate::web) const COLLECTION_PATH: &str = "/api/v0/plan-runs/";
/// Path of one run, by its id.
pub(in crate::web) const ITEM_PATH: &str = "/api/v0/plan-runs/{id}/";

/// A run to store.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web::rest) struct WrittenRun {
    current_step_index: i64,
    state: RunState,
    /// The client's user; absent: its default user.
    end_user: Option<String>,
    outputs: Map<String, Value>,
    /// `plan-<uuid>`
    plan_id: String,
    #[serde(default)]
    plan_run_inputs: Map<String, Value>,
}

/// State of a run.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::web::rest) enum RunState {
    NotStarted,
    InProgress,
    NeedClarification,
    ReadyToResume,
    Complete,
    Failed,
}

/// The part of a run that is kept and answered as it is. The clients raise at keys of `outputs` that
/// they do not know.
#[derive(Serialize, Deserialize, JsonSchema)]
struct RunDocument {
    end_user: Option<String>,
    current_step_index: i64,
    outputs: Map<String, Value>,
    plan_run_inputs: Map<String, Value>,
}

/// A stored run.
#[derive(Serialize, JsonSchema)]
pub(in crate::web::rest) struct StoredRun {
    id: String,
    plan: PlanId,
    end_user: Option<String>,
    current_step_index: i64,
    state: String,
    outputs: Map<String, Value>,
    plan_run_inputs: Map<String, Value>,
}

/// The plan of a run.
#[derive(Serialize, JsonSchema)]
pub(in crate::web::rest) struct PlanId {
    id: String,
}

/// A page of runs.
#[derive(Serialize, JsonSchema)]
pub(in crate::web::rest) struct StoredRuns {
    /// The runs that were changed last come first.
    results: Vec<StoredRun>,
    count: usize,
    /// From 1.
    current_page: usize,
    total_pages: usize,
}

impl StoredRun {
    /// `None` if the record has another shape, which no version writes.
    fn of(run: PlanRun) -> Option<Self> {
        let PlanRun { id, plan, state, document, .. } = run;
        let document = RunDocument::deserialize(Value::Object(document)).ok()?;
        let RunDocument { end_user, current_step_index, outputs, plan_run_inputs } = document;
        let plan = PlanId { id: plan };
        Some(Self { id, plan, end_user, current_step_index, state, outputs, plan_run_inputs })
    }
}

pub(in crate::web) async fn put(
    State(state): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    InPath(id): InPath<String>,
    request: Request,
) -> Response {
    let written: WrittenRun = match body::json(request).await {
        Ok(body) => body,
        Err(problem) => return problem.answer(Face::Portia),
    };
    if !is_id(&id, "prun-") {
        return malformed("the id of a run is `prun-` and a UUID");
    }
    if !is_id(&written.plan_id, "plan-") {
        return malformed("the id of a plan is `plan-` and a UUID");
    }
    let principal = match user(&caller, written.end_user.as_deref()) {
        Ok(principal) => principal,
        Err(response) => return *response,
    };
    let WrittenRun { current_step_index, state: word, end_user, outputs, plan_id, plan_run_inputs } =
        written;
    let document = RunDocument { end_user, current_step_index, outputs, plan_run_inputs };
    let (Ok(Value::Object(document)), Ok(Value::String(word))) =
        (serde_json::to_value(document), serde_json::to_value(word))
    else {
        return malformed("the run cannot be written as JSON");
    };
    let run = PlanRun {
        id,
        caller: principal.caller,
        plan: plan_id,
        state: word,
        document,
        changed_at: state.broker.now(),
        resolved: BTreeSet::new(),
    };
    match state.broker.runs().put_run(&caller.space(), run).await {
        Ok(stored) => json(StatusCode::OK, &StoredRun::of(stored)),
        Err(error) => not_stored(&error),
    }
}

pub(in crate::web) async fn show(
    State(state): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    InPath(id): InPath<String>,
) -> Response {
    match state.broker.runs().run(&caller.space(), &id).await {
        Ok(run) => match run.and_then(StoredRun::of) {
            Some(run) => json(StatusCode::OK, &run),
            None => not_found("there is no such run"),
        },
        Err(error) => unavailable(&error),
    }
}

pub(in crate::web) async fn list(
    State(state): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    uri: Uri,
) -> Response {
    let (mut page, mut word) = (1, None);
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match (&*name, value.parse::<usize>()) {
            ("page", Ok(number)) => page = number.max(1),
            ("page", Err(_)) => return malformed("`page` must be a number"),
            ("run_state", _) if !value.is_empty() => word = Some(value.into_owned()),
            _ => {}
        }
    }
    match state.broker.runs().page(&caller.space(), word.as_deref(), page - 1).await {
        Ok(RunPage { runs, total }) => {
            let results = runs.into_iter().filter_map(StoredRun::of).collect();
            let total_pages = total.div_ceil(RUNS_PER_PAGE).max(1);
            let listed = StoredRuns { results, count: total, current_page: page, total_pages };
            json(StatusCode::OK, &listed)
        }
        Err(error) => unavailable(&error),
    }
}
