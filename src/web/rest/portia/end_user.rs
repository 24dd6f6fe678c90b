//! `/api/v0/end-user/{id}/`: facts about end users that a client stores.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{not_stored, unavailable, user};
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::model::run::EndUserFacts;
use crate::web::rest::answer::json;
use crate::web::rest::in_path::InPath;
use crate::web::rest::{RestState, body};

/// Path of an end user, by the client's id of them.
pub(in crate::web) const PATH: &str = "/api/v0/end-user/{id}/";

/// An end user. The clients read all five keys.
#[derive(Serialize, JsonSchema)]
pub(in crate::web::rest) struct EndUser {
    external_id: String,
    name: Option<String>,
    email: Option<String>,
    phone_number: Option<String>,
    additional_data: BTreeMap<String, String>,
}

/// An end user to store. The id in the path counts.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web::rest) struct WrittenEndUser {
    name: Option<String>,
    email: Option<String>,
    phone_number: Option<String>,
    /// Changes what is stored key by key; a key that is `null` is removed.
    additional_data: Option<BTreeMap<String, Option<String>>>,
}

impl EndUser {
    fn of(external_id: String, facts: EndUserFacts) -> Self {
        let EndUserFacts { name, email, phone_number, additional_data, .. } = facts;
        Self { external_id, name, email, phone_number, additional_data }
    }
}

/// Returns an end user. One of whom nothing is stored is made up: the clients take 404 for a failure.
pub(in crate::web) async fn show(
    State(state): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    InPath(id): InPath<String>,
) -> Response {
    let principal = match user(&caller, Some(&id)) {
        Ok(principal) => principal,
        Err(response) => return *response,
    };
    match state.broker.runs().end_user(&principal.caller).await {
        Ok(Some(facts)) => json(StatusCode::OK, &EndUser::of(id, facts)),
        Ok(None) => {
            let (name, email, phone_number) = (None, None, None);
            let additional_data = BTreeMap::new();
            let made_up = EndUser { external_id: id, name, email, phone_number, additional_data };
            json(StatusCode::OK, &made_up)
        }
        Err(error) => unavailable(&error),
    }
}

pub(in crate::web) async fn put(
    State(state): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    InPath(id): InPath<String>,
    request: Request,
) -> Response {
    let written: WrittenEndUser = match body::json(request).await {
        Ok(body) => body,
        Err(problem) => return problem.answer(Face::Portia),
    };
    let principal = match user(&caller, Some(&id)) {
        Ok(principal) => principal,
        Err(response) => return *response,
    };
    let WrittenEndUser { name, email, phone_number, additional_data } = written;
    let facts = EndUserFacts {
        caller: principal.caller,
        name,
        email,
        phone_number,
        additional_data: BTreeMap::new(),
        stored_at: state.broker.now(),
    };
    let changes = additional_data.unwrap_or_default();
    match state.broker.runs().put_end_user(&caller.space(), facts, &changes).await {
        Ok(stored) => json(StatusCode::OK, &EndUser::of(id, stored)),
        Err(error) => not_stored(&error),
    }
}
