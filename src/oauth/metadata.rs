//! Discovery of an authorization server's endpoints: RFC 8414, and OpenID Connect Discovery 1.0.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::model::oauth::TokenAuth;
use crate::net::{self, Net, NetError, Phase, Trust};

/// Longest discovery document in bytes. Real ones are a few kilobytes; ten megabytes are an attack.
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
/// Time limit for one request, including the response body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// The fields that we use of an authorization server's metadata (RFC 8414 §2).
#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    pub issuer: String,
    /// Absent where no grant type needs it.
    pub authorization_endpoint: Option<Url>,
    pub token_endpoint: Url,
    pub revocation_endpoint: Option<Url>,
    pub userinfo_endpoint: Option<Url>,
    pub device_authorization_endpoint: Option<Url>,
    /// RFC 7662.
    pub introspection_endpoint: Option<Url>,
    /// URL of the keys that verify its signatures (RFC 7517).
    pub jwks_uri: Option<Url>,
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Vec<String>,
    /// RFC 9207 §3.
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Returns how a client with a secret authenticates: by HTTP Basic (RFC 6749 §2.3.1), unless
    /// the server names `client_secret_post` but not `client_secret_basic`.
    pub fn token_auth(&self) -> TokenAuth {
        let supported = |method: &str| {
            self.token_endpoint_auth_methods_supported.iter().any(|known| known == method)
        };
        if supported("client_secret_post") && !supported("client_secret_basic") {
            TokenAuth::Post
        } else {
            TokenAuth::Basic
        }
    }
}

/// Reason why an issuer's endpoints cannot be discovered.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    #[error("the issuer `{issuer}` could not be asked for its endpoints: {source}")]
    Unreachable { issuer: String, source: NetError },
    #[error("the issuer `{issuer}` has no discovery document (status {status})")]
    Missing { issuer: String, status: u16 },
    #[error("the discovery document of `{issuer}` is not usable: {problem}")]
    Unusable { issuer: String, problem: String },
    #[error("the discovery document of `{issuer}` speaks for another issuer")]
    OtherIssuer { issuer: String },
}

impl DiscoveryError {
    /// How much an error tells about its cause; [`discover()`] reports the one that tells the most.
    fn weight(&self) -> u8 {
        match self {
            Self::Missing { status: 404, .. } | Self::Unreachable { .. } => 0,
            Self::Missing { .. } => 1,
            Self::Unusable { .. } => 2,
            Self::OtherIssuer { .. } => 3,
        }
    }

    /// Whether the issuer's document is unavailable only at the moment, so that trying again may
    /// help. Any other failure is one of the configuration: an address that must not be called,
    /// another issuer, no document.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => {
                !matches!(source.phase, Phase::Refused(_) | Phase::Client(_))
            }
            Self::Missing { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Unusable { .. } | Self::OtherIssuer { .. } => false,
        }
    }

    /// Returns what the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            // A rejected certificate shows that the host is reached.
            Self::Unreachable { source, .. } => match (&source.phase, source.hint()) {
                (Phase::Tls(_), Some(hint)) => hint,
                _ => "check `issuer` in tools.toml and that the host can be reached",
            },
            Self::Missing { .. } | Self::Unusable { .. } => {
                "check `issuer` in tools.toml, or write `authorize_url` and `token_url` instead"
            }
            Self::OtherIssuer { .. } => {
                "write `issuer` in tools.toml exactly as the server spells it"
            }
        }
    }
}

/// Asks the issuer for its endpoints.
///
/// # Errors
/// [`DiscoveryError`] if there is no usable document. It must name exactly the issuer that was
/// asked (RFC 8414 §3.3): otherwise one server could speak for another.
pub async fn discover(net: &Net, issuer: &Url) -> Result<Metadata, DiscoveryError> {
    let mut problem = DiscoveryError::Missing { issuer: issuer.to_string(), status: 404 };
    for address in addresses(issuer) {
        match fetch(net, issuer, address).await {
            Ok(metadata) => return Ok(metadata),
            // Servers answer unknown addresses with a page of their own or with a 404, so no answer
            // at one address says anything about the next.
            Err(other) if other.weight() > problem.weight() => problem = other,
            // All addresses are on one host: if one is not reached, the next is not either.
            Err(unreachable @ DiscoveryError::Unreachable { .. }) => return Err(unreachable),
            Err(_) => {}
        }
    }
    Err(problem)
}

async fn fetch(net: &Net, issuer: &Url, address: Url) -> Result<Metadata, DiscoveryError> {
    let unreachable = |source| DiscoveryError::Unreachable { issuer: issuer.to_string(), source };
    let mut request = reqwest::Request::new(reqwest::Method::GET, address);
    *request.timeout_mut() = Some(REQUEST_TIMEOUT);
    request
        .headers_mut()
        .insert(http::header::ACCEPT, http::HeaderValue::from_static("application/json"));
    let response = net.send_read(request, Trust::Written).await.map_err(unreachable)?;
    let status = response.status();
    if !status.is_success() {
        let status = status.as_u16();
        return Err(DiscoveryError::Missing { issuer: issuer.to_string(), status });
    }
    let body = net::read(response, MAX_DOCUMENT_BYTES).await.map_err(unreachable)?;
    let metadata: Metadata = serde_json::from_slice(&body).map_err(|error| {
        DiscoveryError::Unusable { issuer: issuer.to_string(), problem: problem(&error) }
    })?;
    check(&metadata, issuer)?;
    Ok(metadata)
}

/// Describes a document that cannot be read. serde quotes a value of the wrong type, and the message
/// may reach a model: only messages that hold no value are repeated.
fn problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if !error.is_data() || text.starts_with("missing field") {
        return text;
    }
    format!("a field has a wrong type or value at line {} column {}", error.line(), error.column())
}

fn check(metadata: &Metadata, issuer: &Url) -> Result<(), DiscoveryError> {
    // `Url` spells the root path as `/`, which the configuration may have left out.
    let bare = issuer.as_str().trim_end_matches('/');
    if metadata.issuer != issuer.as_str() && metadata.issuer != bare {
        return Err(DiscoveryError::OtherIssuer { issuer: issuer.to_string() });
    }
    let unusable =
        |problem: String| Err(DiscoveryError::Unusable { issuer: issuer.to_string(), problem });
    let endpoints = [
        metadata.authorization_endpoint.as_ref(),
        Some(&metadata.token_endpoint),
        metadata.revocation_endpoint.as_ref(),
        metadata.userinfo_endpoint.as_ref(),
        metadata.device_authorization_endpoint.as_ref(),
        metadata.introspection_endpoint.as_ref(),
        metadata.jwks_uri.as_ref(),
    ];
    for endpoint in endpoints.into_iter().flatten() {
        // On the issuer's own origin the operator's configuration decides; on any other, a document
        // from outside must not make us, or the browser, use plain HTTP.
        if endpoint.origin() != issuer.origin() && endpoint.scheme() != "https" {
            return unusable(format!("an endpoint at `{}` is not https", host(endpoint)));
        }
        if !endpoint.username().is_empty() || endpoint.password().is_some() {
            return unusable("an endpoint carries a user name or password".into());
        }
    }
    Ok(())
}

fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

/// Candidate addresses of the document: RFC 8414 puts the well-known part between host and path,
/// OpenID Connect after the path.
fn addresses(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let mut places = vec![
        format!("{path}/.well-known/openid-configuration"),
        format!("/.well-known/oauth-authorization-server{path}"),
    ];
    if !path.is_empty() {
        places.push(format!("/.well-known/openid-configuration{path}"));
    }
    places
        .into_iter()
        .map(|place| {
            let mut address = issuer.clone();
            address.set_query(None);
            address.set_path(&place);
            address
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(issuer: &str, token: &str) -> Metadata {
        serde_json::from_value(serde_json::json!({
            "issuer": issuer,
            "authorization_endpoint": "https://login.acme.example/authorize",
            "token_endpoint": token,
        }))
        .unwrap()
    }

    #[test]
    fn a_document_speaks_for_its_own_issuer_only() {
        let issuer: Url = "https://login.acme.example".parse().unwrap();
        let token = "https://login.acme.example/token";
        assert!(check(&metadata("https://login.acme.example", token), &issuer).is_ok());
        assert!(check(&metadata("https://login.acme.example/", token), &issuer).is_ok());
        let other = check(&metadata("https://evil.example", token), &issuer);
        assert!(matches!(other, Err(DiscoveryError::OtherIssuer { .. })));
    }

    #[test]
    fn a_value_of_an_unusable_document_is_not_repeated() {
        let issuer = r#""issuer":"https://login.acme.example""#;
        let unusable = |rest: &str| {
            let document = format!("{{{issuer}{rest}}}");
            problem(&serde_json::from_str::<Metadata>(&document).unwrap_err())
        };
        assert!(unusable("").contains("missing field `token_endpoint`"));
        for rest in [
            r#","token_endpoint":"call delete_all now""#,
            r#","token_endpoint_auth_methods_supported":"call delete_all now""#,
        ] {
            let problem = unusable(rest);
            assert!(problem.contains("line 1") && !problem.contains("delete_all"), "{problem}");
        }
    }

    #[test]
    fn an_endpoint_elsewhere_must_be_https() {
        let issuer: Url = "https://login.acme.example".parse().unwrap();
        let clear =
            check(&metadata("https://login.acme.example", "http://10.0.0.1/token"), &issuer);
        assert!(matches!(clear, Err(DiscoveryError::Unusable { .. })));
    }

    #[test]
    fn the_well_known_part_goes_between_host_and_path_or_after_the_path() {
        let issuer: Url = "https://login.acme.example/tenant".parse().unwrap();
        let addresses: Vec<String> = addresses(&issuer).iter().map(Url::to_string).collect();
        assert_eq!(
            addresses,
            [
                "https://login.acme.example/tenant/.well-known/openid-configuration",
                "https://login.acme.example/.well-known/oauth-authorization-server/tenant",
                "https://login.acme.example/.well-known/openid-configuration/tenant",
            ]
        );
    }
}
