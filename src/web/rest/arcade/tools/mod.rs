//! `/v1/tools` and `/v1/formatted_tools`: the tools that a user may call.

pub(in crate::web) mod answer;
pub(in crate::web) mod format;
mod query;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde_json::Value;

use self::answer::{Behavior, ToolAnswer, split};
use self::format::Format;
use self::query::ToolsQuery;
use super::requirements::ConsentStanding;
use super::{malformed, not_offered};
use crate::broker::ready::{Asking, ProviderNeed};
use crate::broker::{Broker, Catalogue};
use crate::identity::RestCaller;
use crate::model::Principal;
use crate::model::face::Face;
use crate::registry::Offer;
use crate::web::rest::RestState;
use crate::web::rest::answer::{bad_user, json};
use crate::web::rest::in_path::InPath;

pub(in crate::web) const COLLECTION_PATH: &str = "/v1/tools";
pub(in crate::web) const ITEM_PATH: &str = "/v1/tools/{name}";
pub(in crate::web) const FORMATTED_COLLECTION_PATH: &str = "/v1/formatted_tools";
pub(in crate::web) const FORMATTED_ITEM_PATH: &str = "/v1/formatted_tools/{name}";

pub(in crate::web) async fn list(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&broker, &caller, &uri) {
        Ok(asked) => asked,
        Err(response) => return *response,
    };
    let catalogue = broker.catalogue();
    let page = asked.query.paging.of(asked.offers(&catalogue));
    let tools = asked.tools(&catalogue, page.items()).await;
    json(StatusCode::OK, &page.with(tools))
}

pub(in crate::web) async fn get(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    InPath(name): InPath<String>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&broker, &caller, &uri) {
        Ok(asked) => asked,
        Err(response) => return *response,
    };
    let catalogue = broker.catalogue();
    match catalogue.registry().offer(Face::Arcade, &name, &asked.principal) {
        Ok(offer) => {
            let tools = asked.tools(&catalogue, &[offer]).await;
            json(StatusCode::OK, &tools.into_iter().next())
        }
        Err(error) => not_offered(&error),
    }
}

pub(in crate::web) async fn list_formatted(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&broker, &caller, &uri) {
        Ok(asked) => asked,
        Err(response) => return *response,
    };
    let catalogue = broker.catalogue();
    let page = asked.query.paging.of(asked.offers(&catalogue));
    let tools = asked.formatted(&catalogue, page.items()).await;
    json(StatusCode::OK, &page.with(tools))
}

pub(in crate::web) async fn get_formatted(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    InPath(name): InPath<String>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&broker, &caller, &uri) {
        Ok(asked) => asked,
        Err(response) => return *response,
    };
    let catalogue = broker.catalogue();
    match catalogue.registry().offer(Face::Arcade, &name, &asked.principal) {
        Ok(offer) => {
            let tools = asked.formatted(&catalogue, &[offer]).await;
            json(StatusCode::OK, &tools.into_iter().next())
        }
        Err(error) => not_offered(&error),
    }
}

/// A query about tools, and the user for whom it asks.
struct Asked<'a> {
    broker: &'a Broker,
    query: ToolsQuery,
    principal: Principal,
}

impl<'a> Asked<'a> {
    /// Reads the query, or returns the response that says what is wrong with it.
    fn read(broker: &'a Broker, caller: &RestCaller, uri: &Uri) -> Result<Self, Box<Response>> {
        let query = ToolsQuery::parse(uri);
        let query = query.map_err(|error| Box::new(malformed(error.to_string())))?;
        match caller.reader(query.user_id.as_deref()) {
            Ok(principal) => Ok(Self { broker, query, principal }),
            Err(fault) => Err(Box::new(bad_user(Face::Arcade, "user_id", fault))),
        }
    }

    /// The tools that are meant.
    fn offers<'b>(&'b self, catalogue: &'b Catalogue) -> impl Iterator<Item = Offer<'b>> {
        let offers = catalogue.registry().offers(Face::Arcade, &self.principal);
        offers.filter(|offer| self.query.has(split(offer.id).0, &Behavior::of(*offer)))
    }

    /// Describes these tools, with the forms that are asked for.
    async fn tools(&self, catalogue: &Catalogue, offers: &[Offer<'_>]) -> Vec<ToolAnswer> {
        let mut tools = self.described(catalogue, offers).await;
        let include = &self.query.include;
        for (tool, offer) in tools.iter_mut().zip(offers) {
            let forms = include.iter().map(|format| (*format, format.of(*offer, tool)));
            let forms = forms.collect();
            tool.formatted_schema = Some(forms).filter(|_| !include.is_empty());
        }
        tools
    }

    /// Describes these tools in the one form that is asked for. It is OpenAI's if none is: most
    /// clients of this route take it.
    async fn formatted(&self, catalogue: &Catalogue, offers: &[Offer<'_>]) -> Vec<Value> {
        let format = self.query.format.unwrap_or(Format::Openai);
        let tools = self.described(catalogue, offers).await;
        tools.iter().zip(offers).map(|(tool, offer)| format.of(*offer, tool)).collect()
    }

    async fn described(&self, catalogue: &Catalogue, offers: &[Offer<'_>]) -> Vec<ToolAnswer> {
        let mut tools: Vec<ToolAnswer> =
            offers.iter().map(|offer| ToolAnswer::of(catalogue, *offer)).collect();
        // One need for each tool: of two tools at one provider, one may have all that it needs.
        let names = offers.iter().map(|offer| std::slice::from_ref(&offer.entry.tool().name));
        let (needing, needs): (Vec<usize>, Vec<ProviderNeed>) = names
            .enumerate()
            .flat_map(|(at, name)| {
                self.broker.needs(&self.principal, name).into_iter().map(move |need| (at, need))
            })
            .unzip();
        let consents = self.broker.readiness_of(&self.principal, needs, Asking::Look).await;
        for (at, consent) in needing.into_iter().zip(consents) {
            if let Some(tool) = tools.get_mut(at) {
                let standing = ConsentStanding::of(&consent.state);
                tool.requirements().set(standing, self.query.user_id.is_some());
            }
        }
        tools
    }
}
