//! What this server says of itself to clients that have no token yet.

use serde::Serialize;
use url::Url;

/// Protected resource metadata (RFC 9728 §2), to be served as JSON below
/// `/.well-known/oauth-protected-resource`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResourceMetadata {
    pub resource: Url,
    /// As the issuer spells itself.
    pub authorization_servers: Vec<String>,
    /// What clients ask the issuer for. Never `offline_access`: that is the client's own wish, and no
    /// right at this server.
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
