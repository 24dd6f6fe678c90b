//! OAuth 2 settings of a provider: endpoints, our client there, and where the provider differs from
//! the RFCs.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Scopes;
use super::assertion::AssertionSettings;
use super::identity::Identity;
use super::refresh_life::RefreshLife;
use super::scope::Implied;
use super::secret_ref::{SecretRef, Setting};

/// How the server obtains a grant from a token endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GrantType {
    /// By a user's consent: an authorization code (RFC 6749 §4.1), or a device code (RFC 8628).
    #[default]
    Code,
    /// By our own client credentials (RFC 6749 §4.4): one grant for the whole server.
    ClientCredentials,
    /// By an assertion that we sign (RFC 7523 §2.1): one grant for the whole server.
    JwtBearer { assertion: Box<AssertionSettings> },
}

impl GrantType {
    /// Whether each end user has a grant of their own, by consent.
    pub fn is_by_consent(&self) -> bool {
        matches!(self, Self::Code)
    }
}

/// How to get a grant from this provider.
#[derive(Clone, Debug)]
pub struct OAuthSettings {
    pub grant: GrantType,
    pub endpoints: Endpoints,
    /// `None` only where an assertion identifies us instead (RFC 7523 §3.1).
    pub client_id: Option<Setting>,
    pub client_secret: Option<ClientSecret>,
    /// `None`: as discovered, else `client_secret_basic` (RFC 6749 §2.3.1).
    pub token_auth: Option<TokenAuth>,
    pub token_body: TokenBody,
    /// Scopes requested for every connection, besides the tool's.
    pub scopes: Scopes,
    pub scope_separator: String,
    /// The authorization request's parameter that carries the scopes; Slack says `user_scope`.
    pub scope_parameter: String,
    pub implied: Implied,
    /// Whether to use PKCE (RFC 7636, S256). On unless the provider breaks on it.
    pub pkce: bool,
    /// Extra parameters of the authorization request.
    pub params: Vec<(String, String)>,
    /// Extra parameters of every token request, e.g. `audience`, `resource` (RFC 8707), or
    /// Shopify's `expiring`.
    pub token_params: Vec<(String, String)>,
    pub response: TokenResponseShape,
    /// The header that carries the bare access token, where it is not `Authorization: Bearer …`.
    pub token_header: Option<String>,
    pub identity: Option<Identity>,
    /// Rule for the end of refresh tokens, if known.
    pub refresh_life: Option<RefreshLife>,
    /// Whether to send `prompt=consent` with `offline_access` (OpenID Connect Core §11), unless
    /// [`Self::params`] has a `prompt`.
    pub offline_prompt: bool,
    pub loopback: LoopbackRule,
    /// Whether an application named the endpoints over REST. They count as learnt: they must have
    /// public addresses and be reached by https.
    pub is_learnt: bool,
}

/// The OAuth app's secret.
#[derive(Clone, Debug)]
pub enum ClientSecret {
    /// The secret of an app in `tools.toml`, which holds references only.
    Reference(SecretRef),
    /// The secret of an app that an administrator has stored over REST.
    Stored(SecretString),
}

impl ClientSecret {
    /// Returns the reference, if it is one.
    pub fn reference(&self) -> Option<SecretRef> {
        match self {
            Self::Reference(reference) => Some(reference.clone()),
            Self::Stored(_) => None,
        }
    }
}

impl OAuthSettings {
    /// Returns the `aud` of an assertion (RFC 7523 §3): as configured, else the configured token
    /// endpoint, else the issuer. It always comes from the operator: with an audience from a
    /// discovery document, one authorization server could have an assertion made out to another.
    pub fn assertion_audience(&self, assertion: &AssertionSettings) -> Option<String> {
        let Endpoints { token, issuer, .. } = &self.endpoints;
        let written = || token.as_ref().map(Url::to_string);
        assertion
            .audience
            .clone()
            .or_else(written)
            .or_else(|| issuer.as_ref().map(|issuer| spelled(issuer).to_owned()))
    }
}

/// Returns an issuer as servers spell it: `Url` adds a slash where there is no path.
pub fn spelled(issuer: &Url) -> &str {
    let text = issuer.as_str();
    let bare = if issuer.path() == "/" { text.strip_suffix('/') } else { None };
    bare.unwrap_or(text)
}

/// A provider's OAuth endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Source of the endpoints that are `None` below, by RFC 8414 or OpenID Connect discovery.
    pub issuer: Option<Url>,
    pub authorize: Option<Url>,
    pub token: Option<Url>,
    /// Endpoint for refreshes, if not `token`, e.g. Figma.
    pub refresh: Option<Url>,
    pub revoke: Option<Revocation>,
    pub device: Option<Url>,
}

/// How a grant is ended at the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Revocation {
    /// RFC 7009.
    Rfc7009(Url),
    /// RFC 7009, but for the access token only, e.g. Twitch.
    AccessToken(Url),
    /// The access token authorizes its own end, e.g. Slack's `auth.revoke` or Dropbox.
    Bearer(Url),
    /// As `Bearer`, with the method DELETE, e.g. Zendesk.
    Delete(Url),
    /// GitHub: `DELETE /applications/{client_id}/token`, Basic, JSON body.
    GitHub(Url),
    /// Any other POST.
    Request(RevocationRequest),
}

impl Revocation {
    /// URL of the request.
    pub fn url(&self) -> &Url {
        match self {
            Self::Rfc7009(url)
            | Self::AccessToken(url)
            | Self::Bearer(url)
            | Self::Delete(url)
            | Self::GitHub(url) => url,
            Self::Request(request) => &request.url,
        }
    }
}

/// A POST that ends a grant. In its texts `{client_id}`, `{client_secret}` and `{access_token}` are
/// replaced by their values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationRequest {
    pub url: Url,
    /// Value of the `Authorization` header, e.g. Square's `Client {client_secret}`.
    pub authorization: Option<String>,
    pub fields: Vec<(String, String)>,
    pub body: TokenBody,
}

/// How the client authenticates at a token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenAuth {
    /// `client_secret_basic`
    Basic,
    /// `client_secret_post`
    Post,
    /// `Authorization: Bearer {secret}`: Stripe, whose secret is an API key.
    Bearer,
    /// A public client: `client_id` in the body, no secret.
    None,
}

/// Format of a request's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenBody {
    /// RFC 6749 §4.1.3.
    #[default]
    Form,
    /// Notion.
    Json,
}

/// Differences between a token endpoint's response and RFC 6749 §5.1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenResponseShape {
    /// The object, or the array of one object, that holds the user's token where it is present,
    /// e.g. Slack's `authed_user`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nested: Option<String>,
    /// Answers to a refresh by which the provider says, in its own words, that the refresh token
    /// has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refresh_ended: Vec<RefreshEnded>,
}

/// An answer to a refresh that means what `invalid_grant` means in RFC 6749 §5.2. All fields that
/// are set must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshEnded {
    /// The HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The answer's `error`; a number counts as its digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Contained in a string of the answer, in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
}

/// Which loopback redirect URIs the provider accepts (RFC 8252 §7.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoopbackRule {
    /// `http://127.0.0.1` with any port.
    AnyPort,
    /// `http://127.0.0.1:8971`, registered to the letter.
    #[default]
    Exact,
    /// `http://localhost` with any port.
    LocalhostAnyPort,
    /// `http://localhost:8971`, registered to the letter.
    LocalhostExact,
    /// Only `https`: needs a server with a `public_url`.
    Refused,
}

impl LoopbackRule {
    /// The host that the connect link and the redirect URI share, so that the browser sends the
    /// cookie.
    pub fn host(self) -> &'static str {
        match self {
            Self::AnyPort | Self::Exact | Self::Refused => "127.0.0.1",
            Self::LocalhostAnyPort | Self::LocalhostExact => "localhost",
        }
    }

    /// Whether the provider accepts any port.
    pub fn any_port(self) -> bool {
        matches!(self, Self::AnyPort | Self::LocalhostAnyPort)
    }
}
