//! Operations of Portia's contract.

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{Operation, Schemas};
use crate::model::face::Face;
use crate::web::rest::portia::{
    PLAN_ID, RUN_ID, end_user, listing, memory, plan_runs, plans, ready, run, tool_calls,
};

/// An object without a key that counts.
type Nothing = Map<String, Value>;

fn operation(
    method: Method,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
) -> Operation {
    Operation::new(Face::Portia, method, path, id, summary)
}

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let mut all = tools(schemas);
    all.extend(plans_and_runs(schemas));
    all.extend(users_and_outputs(schemas));
    all
}

fn tools(schemas: &mut Schemas) -> Vec<Operation> {
    let ok = StatusCode::OK;
    vec![
        operation(Method::GET, listing::PATH, "describeTools", "Lists the tools.")
            .answer::<listing::Descriptions>(ok, schemas),
        operation(
            Method::GET,
            listing::OLD_PATH,
            "describeToolsOld",
            "Lists the tools, without those that cannot be listed.",
        )
        .answer::<Vec<listing::Description>>(ok, schemas),
        operation(
            Method::POST,
            ready::BATCH_PATH,
            "askBatchReady",
            "Tells which consents several tools still need, with one link for each provider.",
        )
        .body::<ready::BatchReady>(schemas)
        .answer::<ready::Ready>(ok, schemas),
        operation(
            Method::POST,
            ready::PATH,
            "askReady",
            "Tells which consents a tool still needs.",
        )
        .body::<ready::OneReady>(schemas)
        .answer::<ready::Ready>(ok, schemas),
        operation(Method::POST, run::PATH, "runTool", "Runs a tool, or asks its user.")
            .body::<run::Run>(schemas)
            .answer::<run::RunAnswer>(ok, schemas)
            .errors(&[StatusCode::UNPROCESSABLE_ENTITY]),
    ]
}

fn plans_and_runs(schemas: &mut Schemas) -> Vec<Operation> {
    let ok = StatusCode::OK;
    let id = json!({ "type": "string", "pattern": PLAN_ID });
    let plan = json!({ "type": "object", "properties": { "id": id }, "required": ["id"] });
    vec![
        operation(Method::POST, plans::COLLECTION_PATH, "storePlan", "Stores a plan.")
            .body::<plans::Plan>(schemas)
            .answer_as(StatusCode::CREATED, "application/json", plan.clone()),
        operation(Method::GET, plans::ITEM_PATH, "readPlan", "Returns a plan as it was stored.")
            .answer_as(ok, "application/json", plan),
        operation(
            Method::POST,
            plans::SEARCH_PATH,
            "searchPlans",
            "Finds nothing: plans are not compared.",
        )
        .answer::<Vec<Nothing>>(ok, schemas),
        operation(
            Method::GET,
            plan_runs::COLLECTION_PATH,
            "listPlanRuns",
            "Lists runs of plans, those that were changed last first.",
        )
        .query(
            "page",
            json!({ "type": "integer", "minimum": 0 }),
            "From 1, which 0 means too; 20 runs a page.",
        )
        .query("run_state", json!({ "type": "string" }), "Only runs in this state.")
        .answer::<plan_runs::StoredRuns>(ok, schemas),
        operation(Method::GET, plan_runs::ITEM_PATH, "readPlanRun", "Returns a run of a plan.")
            .answer::<plan_runs::StoredRun>(ok, schemas),
        operation(Method::PUT, plan_runs::ITEM_PATH, "storePlanRun", "Stores a run of a plan.")
            .variable("id", RUN_ID)
            .body::<plan_runs::WrittenRun>(schemas)
            .answer::<plan_runs::StoredRun>(ok, schemas),
        operation(
            Method::POST,
            tool_calls::PATH,
            "reportToolCall",
            "Stores the client's report of a call.",
        )
        .body::<tool_calls::ToolCall>(schemas)
        .answer::<Nothing>(StatusCode::CREATED, schemas)
        .errors(&[StatusCode::NOT_FOUND]),
    ]
}

fn users_and_outputs(schemas: &mut Schemas) -> Vec<Operation> {
    let ok = StatusCode::OK;
    let form = json!({
        "type": "object",
        "properties": {
            "value": { "type": "string", "contentMediaType": "application/octet-stream" },
            "summary": { "type": "string" },
        },
        "required": ["value"],
    });
    vec![
        operation(
            Method::GET,
            end_user::PATH,
            "readEndUser",
            "Returns a user, made up if nothing is stored.",
        )
        .answer::<end_user::EndUser>(ok, schemas),
        operation(Method::PUT, end_user::PATH, "storeEndUser", "Stores facts about a user.")
            .body::<end_user::WrittenEndUser>(schemas)
            .answer::<end_user::EndUser>(ok, schemas),
        operation(
            Method::GET,
            memory::PATH,
            "readOutput",
            "Returns the summary of an output and a link to its value.",
        )
        .answer::<memory::Output>(ok, schemas),
        operation(Method::PUT, memory::PATH, "storeOutput", "Stores an output of a run.")
            .variable("run", RUN_ID)
            .body_as("multipart/form-data", form)
            .answer::<Nothing>(ok, schemas),
        operation(
            Method::GET,
            memory::VALUE_PATH,
            "readOutputValue",
            "Returns the value behind a link.",
        )
        .answer_as(ok, "application/octet-stream", json!({}))
        .without_key(),
    ]
}
