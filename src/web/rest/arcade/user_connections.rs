//! `/v1/admin/user_connections`: an administrator sees and ends what the users of a key have
//! connected.
//!
//! The shapes are those that Arcade's clients know. A request finds no users of another key or of
//! the issuer. No token or key of a user is ever shown.

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Serialize;
use url::form_urlencoded;

use super::{malformed, problem, unavailable};
use crate::broker::accounts::list::{Account, AccountState};
use crate::broker::consent::end::Ended;
use crate::broker::{Broker, ConnectError};
use crate::identity::RestCaller;
use crate::model::connection_id::{connection_id, read_connection_id};
use crate::model::event::{EndOutcome, EndedBy};
use crate::model::face::Face;
use crate::model::id::BadUserId;
use crate::model::{Caller, ProviderId, UserId};
use crate::store::StoreError;
use crate::web::rest::RestState;
use crate::web::rest::answer::{ErrorName, bad_user, json as answer};
use crate::web::rest::in_path::InPath;
use crate::web::rest::page::{NotANumber, Page, Paging};

/// Path of all connections of an application's users.
pub(in crate::web) const COLLECTION_PATH: &str = "/v1/admin/user_connections";
/// Path of one connection, by its id.
pub(in crate::web) const ITEM_PATH: &str = "/v1/admin/user_connections/{id}";

/// Parameters of the query; others are ignored. Arcade's Python client writes `user[id]`, its other
/// clients `user_id`.
#[derive(Default)]
struct Filter {
    user: Option<UserId>,
    /// Name of a provider of `tools.toml`, or of one that the key has made.
    provider: Option<String>,
    paging: Paging,
}

/// Reason why a query is refused, for the client.
#[derive(Debug, thiserror::Error)]
enum FilterError {
    #[error(transparent)]
    NotANumber(#[from] NotANumber),
    #[error("`{parameter}`: {fault}")]
    UserId { parameter: String, fault: BadUserId },
}

/// An account that a user has connected.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct UserConnection {
    id: String,
    connection_id: String,
    connection_status: ConnectionStatus,
    provider_id: String,
    provider_type: &'static str,
    provider_description: String,
    provider_user_info: ProviderUserInfo,
    scopes: Vec<String>,
    user_id: String,
}

/// Whether calls can use a connection.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::web) enum ConnectionStatus {
    Active,
    Inactive,
}

/// The user's account at the provider.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct ProviderUserInfo {
    /// Its name for people, if the provider gives one.
    label: Option<String>,
}

/// The connections that were ended.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct EndedConnections {
    items: Vec<EndedConnection>,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct EndedConnection {
    connection_id: String,
    provider_id: String,
    /// The provider's reaction, as a word.
    provider_outcome: &'static str,
    user_id: String,
}

impl ProviderUserInfo {
    pub(super) fn labelled(label: Option<String>) -> Self {
        Self { label }
    }
}

impl Filter {
    /// Reads the query.
    ///
    /// # Errors
    /// [`FilterError`] for the first value that cannot be read.
    fn parse(uri: &Uri) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            match &*name {
                "user_id" | "user[id]" => {
                    let parameter = name.to_string();
                    let user = UserId::parse(&value);
                    filter.user =
                        Some(user.map_err(|fault| FilterError::UserId { parameter, fault })?);
                }
                "provider_id" | "provider[id]" => filter.provider = Some(value.into_owned()),
                _ => filter.paging.read(&name, &value)?,
            }
        }
        Ok(filter)
    }
}

impl Filter {
    fn admits(&self, account: &Account) -> bool {
        let id = ProviderId::new(account.provider.as_str());
        self.provider.as_deref().is_none_or(|name| name == id.public_name())
    }
}

/// Reads the query, or returns the response that says what is wrong with it.
fn asked(uri: &Uri) -> Result<Filter, Box<Response>> {
    Filter::parse(uri).map_err(|error| Box::new(malformed(error.to_string())))
}

impl RestState {
    /// Returns all users of this caller who have connected an account.
    async fn users(&self, caller: &RestCaller) -> Result<Vec<Caller>, StoreError> {
        let users = self.broker.users().all(&[]).await?;
        let users = users.into_iter().filter_map(|user| user.caller);
        Ok(users.filter(|user| caller.owns(user)).collect())
    }

    async fn page(
        &self,
        users: Vec<Caller>,
        filter: &Filter,
    ) -> Result<Page<UserConnection>, StoreError> {
        let mut connections = Vec::new();
        for caller in users {
            for account in self.broker.accounts().list_own(&caller).await? {
                if filter.admits(&account) {
                    connections.push((caller.clone(), account));
                }
            }
        }
        Ok(filter.paging.of(connections).map(|(caller, account)| connection(&caller, account)))
    }
}

pub(in crate::web) async fn list(
    State(state): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    uri: Uri,
) -> Response {
    let filter = match asked(&uri) {
        Ok(filter) => filter,
        Err(response) => return *response,
    };
    let users = match &filter.user {
        None => state.users(&caller).await,
        Some(user) => match caller.principal(Some(user.as_str())) {
            Ok(principal) => Ok(vec![principal.caller]),
            Err(fault) => return bad_user(Face::Arcade, "user_id", fault),
        },
    };
    let page = async { state.page(users?, &filter).await };
    match page.await {
        Ok(page) => answer(StatusCode::OK, &page),
        Err(error) => unavailable(&error),
    }
}

/// Ends one connection. Answers 204 even if the provider did not confirm: here the connection is
/// gone, and the contract has no room for more. The record and a warning say how it went.
pub(in crate::web) async fn end(
    State(state): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    InPath(id): InPath<String>,
) -> Response {
    let unknown = || {
        let message = "there is no such connection of your users; list them anew";
        problem(StatusCode::NOT_FOUND, ErrorName::NotFound, message)
    };
    let Some((user, digest)) = read_connection_id(&id) else { return unknown() };
    let Ok(principal) = caller.principal(Some(user.as_str())) else { return unknown() };
    match state.broker.accounts().end(&principal.caller, &digest, EndedBy::Application).await {
        Ok(ended) => {
            log_unconfirmed(&principal.caller, &ended);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(ConnectError::Changed) => unknown(),
        Err(error) => unavailable(&error),
    }
}

/// Warns of an access that may still work at the provider.
fn log_unconfirmed(caller: &Caller, Ended { provider, title, how, .. }: &Ended) {
    let outcome = how.outcome();
    if outcome != EndOutcome::Ended {
        let (user, namespace, outcome) = (caller.user.as_str(), caller.of(), outcome.word());
        tracing::warn!(user, namespace, %provider, outcome, "a connection that an application ended is deleted here, and {title} has not confirmed the end of the access: have its user remove it in the account's settings there");
    }
}

/// Ends all connections of one user, or those at one provider, and reports for each what the
/// provider did.
pub(in crate::web) async fn end_user(
    State(state): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    uri: Uri,
) -> Response {
    let filter = match asked(&uri) {
        Ok(filter) => filter,
        Err(response) => return *response,
    };
    let Some(user) = filter.user else {
        return malformed("name the user with `user_id`");
    };
    let caller = match caller.principal(Some(user.as_str())) {
        Ok(principal) => principal.caller,
        Err(fault) => return bad_user(Face::Arcade, "user_id", fault),
    };
    let broker = &state.broker;
    let by = EndedBy::Application;
    let ended = match &filter.provider {
        Some(name) => end_at(broker, &caller, name).await,
        None => broker.users().end_access(&caller, by).await.map(|ended| ended.accounts),
    };
    match ended {
        Ok(ended) => {
            let items = ended.into_iter().map(|ended| outcome(&caller, ended)).collect();
            answer(StatusCode::OK, &EndedConnections { items })
        }
        Err(error) => unavailable(&error),
    }
}

/// Ends a user's connections at the providers of this name.
async fn end_at(broker: &Broker, caller: &Caller, name: &str) -> Result<Vec<Ended>, ConnectError> {
    let mut ended = Vec::new();
    for provider in [ProviderId::new(name), ProviderId::of_key(&caller.namespace, name)] {
        let by = EndedBy::Application;
        ended.extend(broker.accounts().end_at(caller, &provider, None, by).await?);
    }
    Ok(ended)
}

fn connection(caller: &Caller, account: Account) -> UserConnection {
    UserConnection {
        id: connection_id(caller, &account.digest),
        connection_id: account.account.to_string(),
        connection_status: match account.state {
            AccountState::Connected => ConnectionStatus::Active,
            _ => ConnectionStatus::Inactive,
        },
        provider_id: ProviderId::new(account.provider).public_name().to_owned(),
        provider_type: "oauth2",
        provider_description: account.title,
        provider_user_info: ProviderUserInfo { label: account.label },
        scopes: account.scopes.iter().map(str::to_owned).collect(),
        user_id: caller.user.to_string(),
    }
}

fn outcome(caller: &Caller, Ended { provider, account, how, .. }: Ended) -> EndedConnection {
    EndedConnection {
        connection_id: account.to_string(),
        provider_id: provider.public_name().to_owned(),
        provider_outcome: how.outcome().word(),
        user_id: caller.user.to_string(),
    }
}
