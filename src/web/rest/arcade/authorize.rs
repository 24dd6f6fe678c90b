//! `POST /v1/tools/authorize` and `POST /v1/auth/authorize`: ask a user for a consent.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::authorization::{AuthorizationAnswer, token_for};
use super::{client_name, malformed, not_offered, problem, unavailable, unready};
use crate::broker::Broker;
use crate::broker::ready::Asking;
use crate::broker::ready::authorize::{AuthorizationView, ViewState};
use crate::broker::rest_providers::NoSuchProvider;
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::model::{Principal, Provider, Scopes, ToolName};
use crate::web::rest::answer::{ErrorName, bad_user, json};
use crate::web::rest::body::Object;
use crate::web::rest::{RestState, body};

pub(in crate::web) const TOOL_PATH: &str = "/v1/tools/authorize";
pub(in crate::web) const PROVIDER_PATH: &str = "/v1/auth/authorize";
/// Scopes of one request, and bytes of each; a provider has fewer, and refuses a longer address.
pub(super) const MAX_SCOPES: usize = 100;
pub(super) const MAX_SCOPE_BYTES: usize = 200;

/// Message about a consent that the user is not asked for any more.
pub(super) const REFUSED_OFTEN: &str = "the user has refused this access too often within the last hour to be asked again; a user who changes their mind connects it on this server's page /connections";

/// A consent that a tool needs. `tool_version` is accepted and has no effect.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web) struct AuthorizeTool {
    tool_name: String,
    user_id: Option<String>,
    /// Page that the browser goes to at the end.
    next_uri: Option<String>,
}

/// A consent at a provider.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web) struct Authorize {
    auth_requirement: Object<AuthRequirement>,
    user_id: Option<String>,
    /// Page that the browser goes to at the end.
    next_uri: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(in crate::web) struct AuthRequirement {
    /// The provider's name in `tools.toml` or in `/v1/admin/auth_providers`; has precedence over
    /// `provider_id`.
    id: Option<String>,
    provider_id: Option<String>,
    /// `oauth2`, or absent.
    provider_type: Option<String>,
    oauth2: Option<Object<OAuth2Requirement>>,
}

#[derive(Deserialize, JsonSchema)]
pub(in crate::web) struct OAuth2Requirement {
    /// Empty: the scopes that the provider's table always asks for.
    #[schemars(length(max = MAX_SCOPES), inner(length(max = MAX_SCOPE_BYTES)))]
    scopes: Option<Vec<String>>,
}

pub(in crate::web) async fn authorize_tool(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    request: Request,
) -> Response {
    let AuthorizeTool { tool_name, user_id, next_uri } = match body::json(request).await {
        Ok(body) => body,
        Err(problem) => return problem.answer(Face::Arcade),
    };
    let asked = Asked { broker: &broker, caller: &caller };
    let (principal, next) = match asked.for_user(user_id.as_deref(), next_uri.as_deref()) {
        Ok(asked) => asked,
        Err(response) => return *response,
    };
    let catalogue = broker.catalogue();
    let tool = match catalogue.registry().offer(Face::Arcade, &tool_name, &principal) {
        Ok(offer) => offer.entry.tool(),
        Err(error) => return not_offered(&error),
    };
    asked.answer(&principal, &For::Tool(&tool.name), next.as_ref()).await
}

pub(in crate::web) async fn authorize(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    request: Request,
) -> Response {
    let Authorize { auth_requirement, user_id, next_uri } = match body::json(request).await {
        Ok(body) => body,
        Err(problem) => return problem.answer(Face::Arcade),
    };
    let asked = Asked { broker: &broker, caller: &caller };
    let (principal, next) = match asked.for_user(user_id.as_deref(), next_uri.as_deref()) {
        Ok(asked) => asked,
        Err(response) => return *response,
    };
    let (provider, scopes) = match asked.required(auth_requirement.0).await {
        Ok(required) => required,
        Err(response) => return *response,
    };
    asked.answer(&principal, &For::Provider(&provider, &scopes), next.as_ref()).await
}

/// Subject of a consent.
enum For<'a> {
    Tool(&'a ToolName),
    Provider(&'a Arc<Provider>, &'a Scopes),
}

/// A request for a consent.
struct Asked<'a> {
    broker: &'a Broker,
    caller: &'a RestCaller,
}

impl Asked<'_> {
    /// Returns the user, and the page that the browser goes to at the end; or the response that
    /// says what is wrong.
    fn for_user(
        &self,
        user: Option<&str>,
        next: Option<&str>,
    ) -> Result<(Principal, Option<Url>), Box<Response>> {
        let principal = self.caller.principal(user);
        let principal =
            principal.map_err(|fault| Box::new(bad_user(Face::Arcade, "user_id", fault)))?;
        let Some(next) = next.filter(|next| !next.is_empty()) else { return Ok((principal, None)) };
        match Url::parse(next) {
            Ok(next) if self.caller.may_send_to(&next) => Ok((principal, Some(next))),
            Ok(_) => Err(Box::new(malformed(
                "`next_uri` must have the origin of the key's `verifier_url`, or one of its `next_uris` in tools.toml; on your own machine, a loopback address",
            ))),
            Err(error) => Err(Box::new(malformed(format!("`next_uri` is no URL: {error}")))),
        }
    }

    /// Returns the provider and the scopes that are asked for.
    async fn required(
        &self,
        required: AuthRequirement,
    ) -> Result<(Arc<Provider>, Scopes), Box<Response>> {
        let AuthRequirement { id, provider_id, provider_type, oauth2 } = required;
        if !matches!(provider_type.as_deref(), None | Some("" | "oauth2")) {
            return Err(Box::new(malformed("`auth_requirement.provider_type` must be `oauth2`")));
        }
        let scopes = oauth2.and_then(|oauth2| oauth2.0.scopes).unwrap_or_default();
        let scopes = read_scopes("auth_requirement.oauth2.scopes", scopes)
            .map_err(|message| Box::new(malformed(message)))?;
        let written = |id: &Option<String>| id.clone().filter(|id| !id.is_empty());
        let (id, provider_id) = (written(&id), written(&provider_id));
        let named: Vec<&str> =
            [&id, &provider_id].into_iter().flatten().map(String::as_str).collect();
        if named.is_empty() {
            let message = "`auth_requirement` must name the provider, in `id` or `provider_id`";
            return Err(Box::new(malformed(message)));
        }
        let space = self.caller.space();
        let provider = self.broker.provider_named(&space, &named, provider_id.as_deref()).await;
        let provider = provider.map_err(|error| Box::new(no_provider(&error)))?;
        Ok((provider, scopes))
    }

    /// Answers with the state of the consent and, to a key that may have it, the token.
    async fn answer(
        &self,
        principal: &Principal,
        needed_for: &For<'_>,
        next: Option<&Url>,
    ) -> Response {
        let mut is_again = false;
        loop {
            let Some(view) = self.view(principal, needed_for, next).await else {
                return json(StatusCode::OK, &AuthorizationAnswer::unneeded(&principal.caller));
            };
            match view.state {
                ViewState::RefusedOften => {
                    return problem(StatusCode::FORBIDDEN, ErrorName::Forbidden, REFUSED_OFTEN);
                }
                ViewState::Unavailable(failure) => return unready(&failure),
                _ => {}
            }
            match token_for(self.broker, principal, &view).await {
                // Renewing it for this answer may have shown that the grant has ended.
                Ok(None) if principal.gets_tokens && !is_again => is_again = true,
                Ok(token) => return json(StatusCode::OK, &AuthorizationAnswer::of(view, token)),
                Err(failure) => return unready(&failure),
            }
        }
    }

    /// Returns the state of the consent; `None` if none is needed.
    async fn view(
        &self,
        principal: &Principal,
        needed_for: &For<'_>,
        next: Option<&Url>,
    ) -> Option<AuthorizationView> {
        let client = Some(client_name(self.caller));
        let asking = Asking::LinkForToken { client, next };
        match needed_for {
            For::Tool(name) => {
                let tools = std::slice::from_ref(*name);
                self.broker.authorize_tools(principal, tools, asking).await.into_iter().next()
            }
            For::Provider(provider, scopes) => {
                Some(self.broker.authorize(principal, provider, scopes, asking).await)
            }
        }
    }
}

pub(super) fn no_provider(error: &NoSuchProvider) -> Response {
    let (status, name) = match error {
        NoSuchProvider::Unknown => (StatusCode::NOT_FOUND, ErrorName::NotFound),
        NoSuchProvider::Inactive => (StatusCode::FORBIDDEN, ErrorName::Forbidden),
        NoSuchProvider::Ambiguous => (StatusCode::BAD_REQUEST, ErrorName::MalformedRequest),
        NoSuchProvider::Store(error) => return unavailable(error),
    };
    problem(status, name, error.to_string())
}

/// Reads the scopes of a field of a body; the error is for the client.
pub(super) fn read_scopes(field: &str, scopes: Vec<String>) -> Result<Scopes, String> {
    if scopes.len() > MAX_SCOPES || scopes.iter().any(|scope| scope.len() > MAX_SCOPE_BYTES) {
        return Err(format!("`{field}` takes {MAX_SCOPES} scopes of {MAX_SCOPE_BYTES} bytes"));
    }
    if !scopes.iter().all(|scope| is_scope(scope)) {
        return Err(format!(
            "a scope in `{field}` has characters that no scope has (RFC 6749 §3.3)"
        ));
    }
    Ok(Scopes::new(scopes))
}

/// Whether a text is one scope (RFC 6749 §3.3, scope-token).
fn is_scope(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    !text.is_empty() && text.bytes().all(is_fit)
}
