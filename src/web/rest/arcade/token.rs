//! `POST /v1/token`: an access token, for code of an application that cannot call through this server.
//!
//! Not a route of Arcade's, but for the same programs and in the same form. The user must have agreed
//! on our page that the application gets the token; a refresh token is never answered.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::authorization::{AuthorizationAnswer, HandedOutToken, token_for};
use super::authorize::{MAX_SCOPE_BYTES, MAX_SCOPES, REFUSED_OFTEN, no_provider, read_scopes};
use super::{client_name, consent_required, malformed, problem, unready};
use crate::broker::Broker;
use crate::broker::ready::authorize::ViewState;
use crate::broker::ready::{Asking, HandedOut};
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::model::{AccountName, Principal, Provider, Scopes};
use crate::web::rest::answer::{ErrorName, bad_user, json};
use crate::web::rest::{RestState, body};

pub(in crate::web) const PATH: &str = "/v1/token";

/// Asks for an access token.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web) struct TokenQuestion {
    user_id: Option<String>,
    /// The provider's name in `tools.toml` or in `/v1/admin/auth_providers`.
    provider: String,
    /// Scopes that the token must have. Without them, those that the provider's table always asks for.
    #[schemars(length(max = MAX_SCOPES), inner(length(max = MAX_SCOPE_BYTES)))]
    scopes: Option<Vec<String>>,
    /// Name of the connection, where users connect several accounts of the provider.
    connection_id: Option<String>,
}

/// An access token, in the form of RFC 6749 §5.1, without a refresh token.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct TokenAnswer {
    access_token: HandedOutToken,
    token_type: &'static str,
    /// Seconds until it expires; absent if the provider did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
    /// The scopes that were agreed to, separated by spaces. The token of a connection that was moved in
    /// may have more.
    scope: String,
}

pub(in crate::web) async fn token(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    request: Request,
) -> Response {
    let asked: TokenQuestion = match body::json(request).await {
        Ok(body) => body,
        Err(problem) => return problem.answer(Face::Arcade),
    };
    let principal = match caller.principal(asked.user_id.as_deref()) {
        Ok(principal) => principal,
        Err(fault) => return bad_user(Face::Arcade, "user_id", fault),
    };
    if !principal.gets_tokens {
        return forbidden(
            "the key gets no tokens; the operator writes `tokens = true` beside it in [[server.auth.api_keys]]",
        );
    }
    let provider = match broker.provider_named(&caller.space(), &[&asked.provider], None).await {
        Ok(provider) => provider,
        Err(error) => return no_provider(&error),
    };
    if !provider.hands_out_tokens() {
        return forbidden(
            "no token of this provider is handed out: its users give no lasting OAuth consent",
        );
    }
    match asked.read() {
        Ok((account, scopes)) => {
            let wanted = Wanted { principal, provider, account, scopes };
            wanted.answer(&broker, client_name(&caller)).await
        }
        Err(message) => malformed(message),
    }
}

impl TokenQuestion {
    /// Reads the account's name and the scopes; the error is for the client.
    fn read(self) -> Result<(AccountName, Scopes), String> {
        let scopes = read_scopes("scopes", self.scopes.unwrap_or_default())?;
        let account = match self.connection_id.filter(|name| !name.is_empty()) {
            None => AccountName::default(),
            Some(name) => {
                AccountName::parse(&name).map_err(|fault| format!("`connection_id`: {fault}"))?
            }
        };
        Ok((account, scopes))
    }
}

/// A token that may be handed out, if the user has agreed.
struct Wanted {
    principal: Principal,
    provider: Arc<Provider>,
    account: AccountName,
    scopes: Scopes,
}

impl Wanted {
    async fn answer(&self, broker: &Broker, client: &str) -> Response {
        let Self { principal, provider, account, scopes } = self;
        let asking = Asking::LinkForToken { client: Some(client), next: None };
        let mut is_again = false;
        loop {
            let view = broker.authorize_account(principal, provider, account, scopes, asking).await;
            match view.state {
                ViewState::RefusedOften => return forbidden(REFUSED_OFTEN),
                ViewState::Unavailable(failure) => return unready(&failure),
                ViewState::Completed { .. } => {}
                ViewState::Pending { .. } | ViewState::NotStarted | ViewState::Failed(_) => {
                    let title = &provider.title;
                    let message =
                        format!("the user has to let your application have tokens of {title}.");
                    return consent_required(&message, Some(AuthorizationAnswer::of(view, None)));
                }
            }
            match token_for(broker, principal, &view).await {
                Ok(Some(token)) => return json(StatusCode::OK, &TokenAnswer::of(broker, token)),
                // Renewing it for this answer may have shown that the grant has ended.
                Ok(None) if !is_again => is_again = true,
                Ok(None) => return forbidden("there is no token of this connection to hand out"),
                Err(failure) => return unready(&failure),
            }
        }
    }
}

fn forbidden(message: &str) -> Response {
    problem(StatusCode::FORBIDDEN, ErrorName::Forbidden, message)
}

impl TokenAnswer {
    fn of(broker: &Broker, HandedOut { token, scopes, expires_at }: HandedOut) -> Self {
        Self {
            access_token: HandedOutToken(token),
            token_type: "Bearer",
            expires_in: expires_at.map(|end| end.since(broker.now()).as_secs()),
            scope: scopes.iter().collect::<Vec<_>>().join(" "),
        }
    }
}
