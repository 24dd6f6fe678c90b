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
    pub bearer_methods_supported: Vec<&'static str>,
}

impl ResourceMetadata {
    pub(super) fn new(resource: Url, issuer: String) -> Self {
        Self {
            resource,
            authorization_servers: vec![issuer],
            bearer_methods_supported: vec!["header"],
        }
    }
}
