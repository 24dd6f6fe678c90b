//! A consent in the shape of Arcade's contract.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Caller, ConnectPrompt};

/// A consent, given or not.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::web) struct AuthorizationAnswer {
    id: String,
    status: AuthorizationStatus,
    /// Page that the user opens; present exactly while it is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    user_id: String,
    provider_id: String,
    scopes: Vec<String>,
    context: AuthorizationContext,
}

/// How far a consent has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::web) enum AuthorizationStatus {
    Pending,
}

/// Data that a given consent makes available.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(in crate::web) struct AuthorizationContext {}

impl AuthorizationAnswer {
    /// The consent that a link asks for.
    pub(super) fn pending(caller: &Caller, prompt: &ConnectPrompt) -> Self {
        Self {
            id: authorization_id(caller, &prompt.authorization.id),
            status: AuthorizationStatus::Pending,
            url: Some(prompt.url.clone()),
            user_id: caller.user.to_string(),
            provider_id: prompt.provider.to_string(),
            scopes: prompt.scopes.iter().map(str::to_owned).collect(),
            context: AuthorizationContext {},
        }
    }

    /// Page that the user must open.
    pub(super) fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }
}

/// Id of an authorization: `ar_<user id in base64url>.<id of the link>`. It names the user, because
/// a client that asks for the status names none. The namespace is never part of it: it comes from
/// the key of each request.
pub(super) fn authorization_id(caller: &Caller, link: &str) -> String {
    format!("ar_{}.{link}", URL_SAFE_NO_PAD.encode(caller.user.as_str()))
}
