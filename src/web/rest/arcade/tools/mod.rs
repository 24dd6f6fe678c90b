//! `/v1/tools` and `/v1/formatted_tools`: the tools that a user may call.

pub(in crate::web) mod answer;
pub(in crate::web) mod format;
mod query;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde_json::Value;

use self::answer::{Behavior, ToolAnswer, split};
use self::format::Format;
use self::query::ToolsQuery;
use super::{malformed, not_offered};
use crate::broker::Catalogue;
use crate::identity::RestCaller;
use crate::model::Principal;
use crate::model::face::Face;
use crate::registry::Offer;
use crate::web::rest::RestState;
use crate::web::rest::answer::{bad_user, json};

pub(in crate::web) const COLLECTION_PATH: &str = "/v1/tools";
pub(in crate::web) const ITEM_PATH: &str = "/v1/tools/{name}";
pub(in crate::web) const FORMATTED_COLLECTION_PATH: &str = "/v1/formatted_tools";
pub(in crate::web) const FORMATTED_ITEM_PATH: &str = "/v1/formatted_tools/{name}";

pub(in crate::web) async fn list(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    uri: Uri,
) -> Response {
    let (query, principal) = match asked(&caller, &uri) {
        Ok(asked) => asked,
        Err(response) => return *response,
    };
    let catalogue = broker.catalogue();
    let offers = offers(&catalogue, &principal, &query);
    let page = query.paging.of(offers, |offer| tool(&catalogue, offer, &query.include));
    json(StatusCode::OK, &page)
}

pub(in crate::web) async fn get(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    Path(name): Path<String>,
    uri: Uri,
) -> Response {
    let (query, principal) = match asked(&caller, &uri) {
        Ok(asked) => asked,
        Err(response) => return *response,
    };
    let catalogue = broker.catalogue();
    match catalogue.registry().offer(Face::Arcade, &name, &principal) {
        Ok(offer) => json(StatusCode::OK, &tool(&catalogue, offer, &query.include)),
        Err(error) => not_offered(&error),
    }
}

pub(in crate::web) async fn list_formatted(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    uri: Uri,
) -> Response {
    let (query, principal) = match asked(&caller, &uri) {
        Ok(asked) => asked,
        Err(response) => return *response,
    };
    let catalogue = broker.catalogue();
    let offers = offers(&catalogue, &principal, &query);
    let page = query.paging.of(offers, |offer| formatted(&catalogue, offer, query.format));
    json(StatusCode::OK, &page)
}

pub(in crate::web) async fn get_formatted(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    Path(name): Path<String>,
    uri: Uri,
) -> Response {
    let (query, principal) = match asked(&caller, &uri) {
        Ok(asked) => asked,
        Err(response) => return *response,
    };
    let catalogue = broker.catalogue();
    match catalogue.registry().offer(Face::Arcade, &name, &principal) {
        Ok(offer) => json(StatusCode::OK, &formatted(&catalogue, offer, query.format)),
        Err(error) => not_offered(&error),
    }
}

/// Reads the query and its user, or returns the response that says what is wrong with it.
fn asked(caller: &RestCaller, uri: &Uri) -> Result<(ToolsQuery, Principal), Box<Response>> {
    let query = ToolsQuery::parse(uri).map_err(|error| Box::new(malformed(error.to_string())))?;
    match caller.reader(query.user_id.as_deref()) {
        Ok(principal) => Ok((query, principal)),
        Err(fault) => Err(Box::new(bad_user(Face::Arcade, "user_id", fault))),
    }
}

/// The tools that the query means.
fn offers<'a>(
    catalogue: &'a Catalogue,
    principal: &'a Principal,
    query: &'a ToolsQuery,
) -> impl Iterator<Item = Offer<'a>> {
    let offers = catalogue.registry().offers(Face::Arcade, principal);
    offers.filter(|offer| query.has(split(offer.id).0, &Behavior::of(*offer)))
}

fn tool(catalogue: &Catalogue, offer: Offer<'_>, include: &[Format]) -> ToolAnswer {
    let forms = include.iter().map(|format| (*format, formatted(catalogue, offer, Some(*format))));
    let mut answer = ToolAnswer::of(catalogue, offer);
    answer.formatted_schema = Some(forms.collect()).filter(|_| !include.is_empty());
    answer
}

/// OpenAI's form unless another one is asked for: most clients of this route take it.
fn formatted(catalogue: &Catalogue, offer: Offer<'_>, format: Option<Format>) -> Value {
    match format.unwrap_or(Format::Openai) {
        Format::Openai => format::openai(offer),
        Format::Anthropic => format::anthropic(offer),
        Format::Arcade => {
            serde_json::to_value(ToolAnswer::of(catalogue, offer)).unwrap_or_default()
        }
    }
}
