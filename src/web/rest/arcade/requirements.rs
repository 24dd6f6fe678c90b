//! `POST /v1/tools/requirements`: what several tools need together, with one link for each
//! provider.

use std::collections::{BTreeMap, HashMap};

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::authorization::{AuthorizationId, AuthorizationStatus};
use super::authorize::REFUSED_OFTEN;
use super::{client_name, malformed, not_offered_as};
use crate::broker::ready::{Asking, ConsentState, ProviderConsent};
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::model::{Caller, ToolName};
use crate::web::rest::answer::{bad_user, json};
use crate::web::rest::body::Object;
use crate::web::rest::{RestState, body};
use crate::words;

pub(in crate::web) const PATH: &str = "/v1/tools/requirements";

/// Most tools of one question.
const MAX_TOOLS: usize = 100;

/// A question about tools.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web) struct RequirementsQuestion {
    #[schemars(length(max = MAX_TOOLS))]
    tool_names: Option<Vec<String>>,
    /// Further tools. Their `tool_version` is accepted and has no effect.
    #[schemars(length(max = MAX_TOOLS))]
    tools: Option<Vec<Object<ToolReference>>>,
    user_id: Option<String>,
    /// Whether each provider that lacks a consent gets a link.
    authorize: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
pub(in crate::web) struct ToolReference {
    tool_name: String,
}

/// Everything that the tools need.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct RequirementsAnswer {
    /// Whether all of the tools may run now.
    met: bool,
    authorization: AuthorizationRequirements,
    secrets: SecretRequirements,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct AuthorizationRequirements {
    met: bool,
    /// By the provider's name in `tools.toml`.
    items: BTreeMap<String, ProviderRequirement>,
}

/// One consent, for all tools that need it.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct ProviderRequirement {
    met: bool,
    provider_id: String,
    provider_type: &'static str,
    /// Scopes that the tools need together.
    scopes: Vec<String>,
    status: Activity,
    /// Sentence that says why it is inactive.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    token_status: AuthorizationStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_id: Option<String>,
    /// Page that the user opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    tool_names: Vec<String>,
}

/// Whether a user can consent at a provider now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::web) enum Activity {
    Active,
    Inactive,
}

/// Secrets that the tools need: always met, because the operator's secrets are no concern of a
/// caller.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct SecretRequirements {
    met: bool,
    items: BTreeMap<String, serde_json::Value>,
}

pub(in crate::web) async fn requirements(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    request: Request,
) -> Response {
    let question: RequirementsQuestion = match body::json(request).await {
        Ok(body) => body,
        Err(problem) => return problem.answer(Face::Arcade),
    };
    let principal = match caller.principal(question.user_id.as_deref()) {
        Ok(principal) => principal,
        Err(fault) => return bad_user(Face::Arcade, "user_id", fault),
    };
    let more = question.tools.into_iter().flatten().map(|tool| tool.0.tool_name);
    let written: Vec<String> = question.tool_names.into_iter().flatten().chain(more).collect();
    if written.is_empty() || written.len() > MAX_TOOLS {
        return malformed(format!("name 1 to {MAX_TOOLS} tools, in `tool_names` or `tools`"));
    }
    let catalogue = broker.catalogue();
    let mut ids: HashMap<ToolName, &str> = HashMap::new();
    let mut tools = Vec::new();
    for name in &written {
        match catalogue.registry().offer(Face::Arcade, name, &principal) {
            Ok(offer) => {
                let tool = &offer.entry.tool().name;
                if ids.insert(tool.clone(), offer.id).is_none() {
                    tools.push(tool.clone());
                }
            }
            Err(error) => return not_offered_as(name, &error),
        }
    }
    let asking = if question.authorize == Some(true) {
        Asking::Link { client: Some(client_name(&caller)), next: None, later: None }
    } else {
        Asking::Look
    };
    let needs = broker.needs(&principal, &tools);
    let consents = broker.readiness_of(&principal, needs, asking).await;
    let items: BTreeMap<_, _> = consents
        .into_iter()
        .map(|consent| ProviderRequirement::of(&principal.caller, consent, &ids))
        .map(|requirement| (requirement.provider_id.clone(), requirement))
        .collect();
    let met = items.values().all(|item| item.met);
    let answer = RequirementsAnswer {
        met,
        authorization: AuthorizationRequirements { met, items },
        secrets: SecretRequirements { met: true, items: BTreeMap::new() },
    };
    json(StatusCode::OK, &answer)
}

impl ProviderRequirement {
    /// `ids` are the tools' ids in the contract.
    fn of(
        caller: &Caller,
        ProviderConsent { need, state }: ProviderConsent,
        ids: &HashMap<ToolName, &str>,
    ) -> Self {
        let standing = ConsentStanding::of(&state);
        let id = |tool: &ToolName| ids.get(tool).map(|id| (*id).to_owned());
        let (authorization_id, url) = match state {
            ConsentState::Ready { account, .. } => {
                let provider = Some(&need.provider.id);
                (Some(AuthorizationId::of_connection(&caller.user, provider, &account)), None)
            }
            ConsentState::Needed { prompt: Some(prompt), .. } => (
                Some(AuthorizationId::of_link(&caller.user, &prompt.authorization.id)),
                Some(prompt.url),
            ),
            ConsentState::Needed { prompt: None, .. }
            | ConsentState::RefusedOften
            | ConsentState::Failed(_) => (None, None),
        };
        Self {
            met: standing.token_status == AuthorizationStatus::Completed,
            provider_id: need.provider.id.to_string(),
            provider_type: "oauth2",
            scopes: need.scopes.iter().map(str::to_owned).collect(),
            status: standing.status,
            status_reason: standing.status_reason,
            token_status: standing.token_status,
            authorization_id,
            url,
            tool_names: need.tools.iter().filter_map(id).collect(),
        }
    }
}

/// How far a needed consent is given, in the words of the contract.
pub(super) struct ConsentStanding {
    pub(super) status: Activity,
    pub(super) status_reason: Option<String>,
    pub(super) token_status: AuthorizationStatus,
}

impl ConsentStanding {
    pub(super) fn of(state: &ConsentState) -> Self {
        let active =
            |token_status| Self { status: Activity::Active, status_reason: None, token_status };
        let inactive = |reason| Self {
            status: Activity::Inactive,
            status_reason: Some(reason),
            token_status: AuthorizationStatus::Failed,
        };
        match state {
            ConsentState::Ready { .. } => active(AuthorizationStatus::Completed),
            ConsentState::Needed { prompt: Some(_), .. } => active(AuthorizationStatus::Pending),
            ConsentState::Needed { prompt: None, .. } => active(AuthorizationStatus::NotStarted),
            ConsentState::RefusedOften => inactive(REFUSED_OFTEN.into()),
            ConsentState::Failed(failure) => inactive(words::failure_text(failure)),
        }
    }
}
