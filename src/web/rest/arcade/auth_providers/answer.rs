//! A provider in the shape of Arcade's contract.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::broker::Broker;
use crate::catalog;
use crate::model::Provider;
use crate::model::credential::Credential;
use crate::model::oauth::OAuthSettings;
use crate::model::rest_provider::{OAuthApp, OAuthRequest, Pkce, RestProvider};
use crate::model::time::utc;
use crate::web::rest::arcade::requirements::Activity;
use crate::web::rest::arcade::secrets::{Binding, BindingKind};

/// A provider, without its client secret.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct AuthProviderAnswer {
    id: String,
    r#type: &'static str,
    /// The built-in provider that it stands for, if any.
    provider_id: Option<String>,
    description: Option<String>,
    external_id: Option<String>,
    status: Activity,
    binding: Binding,
    oauth2: ShownOAuth2,
    /// Absent for a provider of `tools.toml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
}

/// The OAuth app.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct ShownOAuth2 {
    /// Null for a provider of `tools.toml`.
    client_id: Option<String>,
    client_secret: ShownSecret,
    /// The redirect URI to register at the provider. Null for a provider of `tools.toml`, whose
    /// operator reads it from `countersign providers show`.
    redirect_uri: Option<String>,
    scope_delimiter: String,
    pkce: Pkce,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorize_request: Option<OAuthRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_request: Option<OAuthRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_request: Option<OAuthRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_info_request: Option<OAuthRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_introspection_request: Option<Value>,
}

/// A client secret, without its value.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct ShownSecret {
    exists: bool,
    editable: bool,
    binding: BindingKind,
    /// Always null: a part of a secret is no hint to give.
    hint: Option<String>,
}

impl AuthProviderAnswer {
    /// A provider of the key.
    pub(super) async fn of(broker: &Broker, record: RestProvider) -> Self {
        let redirect_uri = broker.redirect_uri_of(&record).await;
        let kind = BindingKind::Project;
        let RestProvider { app, .. } = record;
        let OAuthApp {
            client_id,
            client_secret,
            scope_delimiter,
            pkce,
            authorize_request,
            token_request,
            refresh_request,
            user_info_request,
            token_introspection_request,
        } = app;
        Self {
            id: record.name,
            r#type: "oauth2",
            provider_id: record.built_in,
            description: record.description,
            external_id: record.external_id,
            status: if record.is_active { Activity::Active } else { Activity::Inactive },
            binding: Binding { id: record.space, r#type: kind },
            oauth2: ShownOAuth2 {
                client_id,
                client_secret: ShownSecret {
                    exists: client_secret.is_some(),
                    editable: true,
                    binding: kind,
                    hint: None,
                },
                redirect_uri,
                scope_delimiter: scope_delimiter.unwrap_or_else(|| " ".to_owned()),
                pkce: pkce.unwrap_or_else(|| shown_pkce(true)),
                authorize_request,
                token_request,
                refresh_request,
                user_info_request,
                token_introspection_request,
            },
            created_at: Some(utc(record.created_at)),
            updated_at: Some(utc(record.updated_at)),
        }
    }

    /// A provider of `tools.toml`; `None` if users are not asked for a consent there.
    pub(super) fn of_file(provider: &Provider) -> Option<Self> {
        let Credential::OAuth(settings) = &provider.credential else { return None };
        if !settings.grant.is_by_consent() {
            return None;
        }
        let OAuthSettings { client_secret, scope_separator, pkce, .. } = &**settings;
        let id = provider.id.to_string();
        let kind = BindingKind::Static;
        Some(Self {
            r#type: "oauth2",
            provider_id: catalog::is_built_in(&id).then(|| id.clone()),
            description: Some(provider.title.clone()),
            external_id: None,
            status: Activity::Active,
            binding: Binding { id: "tools.toml".to_owned(), r#type: kind },
            oauth2: ShownOAuth2 {
                client_id: None,
                client_secret: ShownSecret {
                    exists: client_secret.is_some(),
                    editable: false,
                    binding: kind,
                    hint: None,
                },
                redirect_uri: None,
                scope_delimiter: scope_separator.clone(),
                pkce: shown_pkce(*pkce),
                authorize_request: None,
                token_request: None,
                refresh_request: None,
                user_info_request: None,
                token_introspection_request: None,
            },
            created_at: None,
            updated_at: None,
            id,
        })
    }
}

fn shown_pkce(enabled: bool) -> Pkce {
    Pkce { enabled, code_challenge_method: Some("S256".to_owned()) }
}
