//! `/v1/admin/secrets`: secrets of one application's key. Their values are never answered.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::{malformed, problem, unavailable};
use crate::broker::rest_secrets::{MAX_SECRETS, PutSecretError};
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::model::rest_secret::RestSecret;
use crate::model::time::utc;
use crate::web::rest::answer::{ErrorName, json};
use crate::web::rest::in_path::InPath;
use crate::web::rest::page::Paging;
use crate::web::rest::{RestState, body};

pub(in crate::web) const COLLECTION_PATH: &str = "/v1/admin/secrets";
/// Path of one secret: by its name to store it, by its id to delete it.
pub(in crate::web) const ITEM_PATH: &str = "/v1/admin/secrets/{key}";

/// Longest value and description, in characters.
const MAX_VALUE_CHARS: usize = 5000;
const MAX_KEY_CHARS: usize = 255;
/// Names of secrets, as a regular expression of the OpenAPI document.
pub(in crate::web::rest) const KEY: &str = r"^[^\u0000-\u001f\u007f-\u009f]{1,255}$";

/// A secret to store.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web) struct SecretToPut {
    #[serde(with = "crate::model::secret::exposed")]
    #[schemars(with = "String", length(min = 1, max = MAX_VALUE_CHARS))]
    value: SecretString,
    #[schemars(length(max = MAX_VALUE_CHARS))]
    description: Option<String>,
}

/// A stored secret, without its value.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct SecretAnswer {
    id: String,
    key: String,
    description: Option<String>,
    /// Always null: a part of a value is no hint to give.
    hint: Option<String>,
    binding: Binding,
    created_at: String,
    updated_at: String,
    /// Always null: no tool uses these secrets yet.
    last_accessed_at: Option<String>,
}

/// Owner of a record in Arcade's contract.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct Binding {
    /// The namespace of the key, or `tools.toml`.
    pub(super) id: String,
    pub(super) r#type: BindingKind,
}

#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::web) enum BindingKind {
    /// The file `tools.toml`.
    Static,
    /// One key.
    Project,
}

pub(in crate::web) async fn list(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    uri: Uri,
) -> Response {
    // Arcade's clients read the first page only, so it has all secrets unless the query says otherwise.
    let paging = match Paging::up_to(MAX_SECRETS).asked_by(&uri) {
        Ok(paging) => paging,
        Err(error) => return malformed(error.to_string()),
    };
    match broker.rest_secrets(&caller.space()).await {
        Ok(secrets) => {
            let page = paging.of(secrets).map(|secret| SecretAnswer::of(&caller, secret));
            json(StatusCode::OK, &page)
        }
        Err(error) => unavailable(&error),
    }
}

pub(in crate::web) async fn put(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    InPath(key): InPath<String>,
    request: Request,
) -> Response {
    let SecretToPut { value, description } = match body::json(request).await {
        Ok(body) => body,
        Err(problem) => return problem.answer(Face::Arcade),
    };
    let is_fit = |text: &str, most| text.chars().nth(most).is_none();
    if !is_fit(&key, MAX_KEY_CHARS) || key.chars().any(char::is_control) {
        return malformed(format!(
            "the secret's name must have at most {MAX_KEY_CHARS} characters and no control characters"
        ));
    }
    let value_is_fit = !value.expose_secret().is_empty();
    if !value_is_fit || !is_fit(value.expose_secret(), MAX_VALUE_CHARS) {
        return malformed(format!("`value` must have 1 to {MAX_VALUE_CHARS} characters"));
    }
    if description.as_ref().is_some_and(|text| !is_fit(text, MAX_VALUE_CHARS)) {
        return malformed(format!("`description` must have at most {MAX_VALUE_CHARS} characters"));
    }
    match broker.put_rest_secret(&caller.space(), &key, value, description).await {
        Ok(secret) => json(StatusCode::OK, &SecretAnswer::of(&caller, secret)),
        Err(error @ PutSecretError::TooMany) => malformed(error.to_string()),
        Err(PutSecretError::Store(error)) => unavailable(&error),
    }
}

pub(in crate::web) async fn delete(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    InPath(id): InPath<String>,
) -> Response {
    match broker.delete_rest_secret(&caller.space(), &id).await {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => {
            let message = "your key has no secret with this id; list them anew";
            problem(StatusCode::NOT_FOUND, ErrorName::NotFound, message)
        }
        Err(error) => unavailable(&error),
    }
}

impl SecretAnswer {
    fn of(caller: &RestCaller, secret: RestSecret) -> Self {
        let RestSecret { id, key, description, created_at, updated_at, .. } = secret;
        Self {
            id,
            key,
            description,
            hint: None,
            binding: Binding { id: caller.space().into_owned(), r#type: BindingKind::Project },
            created_at: utc(created_at),
            updated_at: utc(updated_at),
            last_accessed_at: None,
        }
    }
}
