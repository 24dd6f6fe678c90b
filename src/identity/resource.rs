//! Metadata that this server publishes for clients without a token.

use serde::Serialize;
use url::Url;

/// Protected resource metadata (RFC 9728 §2), served as JSON below
/// `/.well-known/oauth-protected-resource`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResourceMetadata {
    pub resource: Url,
    /// Issuer, in its own spelling.
    pub authorization_servers: Vec<String>,
    /// Scopes to request from the issuer. Never `offline_access`: the client decides about that,
    /// and it grants no right at this server.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes_supported: Vec<String>,
    pub bearer_methods_supported: Vec<&'static str>,
}

impl ResourceMetadata {
    pub(super) fn new(resource: Url, issuer: String, scopes: Vec<String>) -> Self {
        Self {
            resource,
            authorization_servers: vec![issuer],
            scopes_supported: scopes,
            bearer_methods_supported: vec!["header"],
        }
    }
}
