//! `/v1/admin/auth_providers`: providers that one key makes for its users.
//!
//! Those of `tools.toml` are listed too, and cannot be changed here. A client secret is never
//! answered.

mod answer;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;

pub(in crate::web) use self::answer::AuthProviderAnswer;
use super::requirements::Activity;
use super::{malformed, problem, unavailable};
use crate::broker::Broker;
use crate::broker::rest_providers::{ProviderSettings, PutProviderError};
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::model::rest_provider::{OAuthApp, RestProvider};
use crate::store::StoreError;
use crate::web::rest::answer::{ErrorName, json};
use crate::web::rest::body::Object;
use crate::web::rest::in_path::InPath;
use crate::web::rest::page::{MAX_LIMIT, Paging};
use crate::web::rest::{RestState, body};

pub(in crate::web) const COLLECTION_PATH: &str = "/v1/admin/auth_providers";
pub(in crate::web) const ITEM_PATH: &str = "/v1/admin/auth_providers/{id}";

/// Longest texts, in characters.
const MAX_NAME_CHARS: usize = 100;
const MAX_DESCRIPTION_CHARS: usize = 1000;
const MAX_EXTERNAL_ID_CHARS: usize = 50;

/// A provider to make.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web) struct AuthProviderToMake {
    /// Lower-case letters, digits, `_` and `-`.
    #[schemars(regex(pattern = r"^[a-z0-9_-]{1,100}$"))]
    id: String,
    /// `oauth2`, or absent.
    r#type: Option<String>,
    /// A built-in provider whose settings it has where `oauth2` names none.
    provider_id: Option<String>,
    #[schemars(length(max = MAX_DESCRIPTION_CHARS))]
    description: Option<String>,
    #[schemars(length(max = MAX_EXTERNAL_ID_CHARS))]
    external_id: Option<String>,
    status: Option<Activity>,
    oauth2: Option<Object<OAuthApp>>,
}

/// A change of a provider. A setting that is absent stays as it is.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web) struct AuthProviderChange {
    /// The present one, or absent.
    id: Option<String>,
    /// `oauth2`, or absent.
    r#type: Option<String>,
    provider_id: Option<String>,
    #[schemars(length(max = MAX_DESCRIPTION_CHARS))]
    description: Option<String>,
    #[schemars(length(max = MAX_EXTERNAL_ID_CHARS))]
    external_id: Option<String>,
    status: Option<Activity>,
    oauth2: Option<Object<OAuthApp>>,
}

pub(in crate::web) async fn list(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    uri: Uri,
) -> Response {
    // Arcade's clients read the first page only, so it is as long as a page may be unless the query
    // says otherwise.
    let paging = match Paging::up_to(MAX_LIMIT).asked_by(&uri) {
        Ok(paging) => paging,
        Err(error) => return malformed(error.to_string()),
    };
    let own = match broker.rest_providers(&caller.space()).await {
        Ok(own) => own,
        Err(error) => return unavailable(&error),
    };
    let mut items = Vec::with_capacity(own.len());
    for record in own {
        items.push(AuthProviderAnswer::of(&broker, record).await);
    }
    let catalogue = broker.catalogue();
    items.extend(catalogue.providers().filter_map(|it| AuthProviderAnswer::of_file(it)));
    json(StatusCode::OK, &paging.of(items))
}

pub(in crate::web) async fn make(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    request: Request,
) -> Response {
    let written: AuthProviderToMake = match body::json(request).await {
        Ok(body) => body,
        Err(problem) => return problem.answer(Face::Arcade),
    };
    if written.id.chars().nth(MAX_NAME_CHARS).is_some() {
        return malformed(format!("`id` must have at most {MAX_NAME_CHARS} characters"));
    }
    let (name, of_type) = (written.id.clone(), written.r#type.clone());
    let settings = match checked(of_type.as_deref(), written.into()) {
        Ok(settings) => settings,
        Err(message) => return malformed(message),
    };
    match broker.make_rest_provider(&caller.space(), &name, settings).await {
        Ok(record) => json(StatusCode::CREATED, &AuthProviderAnswer::of(&broker, record).await),
        Err(error) => not_put(&error),
    }
}

pub(in crate::web) async fn get(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    InPath(id): InPath<String>,
) -> Response {
    match of_file(&broker, &id) {
        Some(answer) => json(StatusCode::OK, &answer),
        None => found(&broker, broker.rest_provider(&caller.space(), &id).await).await,
    }
}

pub(in crate::web) async fn change(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    InPath(id): InPath<String>,
    request: Request,
) -> Response {
    let written: AuthProviderChange = match body::json(request).await {
        Ok(body) => body,
        Err(problem) => return problem.answer(Face::Arcade),
    };
    if of_file(&broker, &id).is_some() {
        return read_only();
    }
    if written.id.as_ref().is_some_and(|other| *other != id) {
        return malformed("`id` cannot be changed; make another provider, and delete this one");
    }
    let of_type = written.r#type.clone();
    let settings = match checked(of_type.as_deref(), written.into()) {
        Ok(settings) => settings,
        Err(message) => return malformed(message),
    };
    match broker.change_rest_provider(&caller.space(), &id, &settings).await {
        Ok(record) => found(&broker, Ok(record)).await,
        Err(error) => not_put(&error),
    }
}

/// Deletes a provider, and answers it as it was.
pub(in crate::web) async fn delete(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    InPath(id): InPath<String>,
) -> Response {
    match broker.delete_rest_provider(&caller.space(), &id).await {
        Ok(None) if of_file(&broker, &id).is_some() => read_only(),
        Ok(record) => found(&broker, Ok(record)).await,
        Err(error) => unavailable(&error),
    }
}

/// Answers a provider of the key.
async fn found(broker: &Broker, record: Result<Option<RestProvider>, StoreError>) -> Response {
    match record {
        Ok(Some(record)) => json(StatusCode::OK, &AuthProviderAnswer::of(broker, record).await),
        Ok(None) => {
            let message = "there is no such provider, or it belongs to another key";
            problem(StatusCode::NOT_FOUND, ErrorName::NotFound, message)
        }
        Err(error) => unavailable(&error),
    }
}

/// Returns the answer for a provider of `tools.toml`, which is found first under its name.
fn of_file(broker: &Broker, id: &str) -> Option<AuthProviderAnswer> {
    broker.catalogue().provider(id).and_then(|it| AuthProviderAnswer::of_file(it))
}

fn read_only() -> Response {
    let message = "the provider stands in this server's tools.toml, where its operator changes it";
    problem(StatusCode::FORBIDDEN, ErrorName::ReadOnly, message)
}

fn not_put(error: &PutProviderError) -> Response {
    match error {
        PutProviderError::Store(error) => unavailable(error),
        error => malformed(error.to_string()),
    }
}

/// Checks what the rules of `tools.toml` do not know.
fn checked(of_type: Option<&str>, settings: ProviderSettings) -> Result<ProviderSettings, String> {
    if !matches!(of_type, None | Some("" | "oauth2")) {
        return Err("`type` must be `oauth2`".to_owned());
    }
    for (field, text, most) in [
        ("description", &settings.description, MAX_DESCRIPTION_CHARS),
        ("external_id", &settings.external_id, MAX_EXTERNAL_ID_CHARS),
    ] {
        if text.as_ref().is_some_and(|text| text.chars().nth(most).is_some()) {
            return Err(format!("`{field}` must have at most {most} characters"));
        }
    }
    Ok(settings)
}

impl From<AuthProviderToMake> for ProviderSettings {
    fn from(written: AuthProviderToMake) -> Self {
        let AuthProviderToMake { provider_id, description, external_id, status, oauth2, .. } =
            written;
        settings(provider_id, description, external_id, status, oauth2)
    }
}

impl From<AuthProviderChange> for ProviderSettings {
    fn from(written: AuthProviderChange) -> Self {
        let AuthProviderChange { provider_id, description, external_id, status, oauth2, .. } =
            written;
        settings(provider_id, description, external_id, status, oauth2)
    }
}

fn settings(
    built_in: Option<String>,
    description: Option<String>,
    external_id: Option<String>,
    status: Option<Activity>,
    app: Option<Object<OAuthApp>>,
) -> ProviderSettings {
    ProviderSettings {
        description,
        external_id,
        built_in: built_in.filter(|id| !id.is_empty()),
        is_active: status.map(|status| status == Activity::Active),
        app: app.map(|app| app.0).unwrap_or_default(),
    }
}
