//! A provider: who grants access, how it is asked, and where its credentials may go.
//!
//! Every quirk of a provider is data here, never a branch on its name.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::credential::{AssertionSettings, Credential, GrantType, Retention};
use super::guide::Guide;
use super::lifetime::{RefreshLife, TokenFacts};
use super::scope::Implied;
use super::tool::{Action, Body, Effect, HttpAction, Method, Node, Piece, Template};
use super::{AccountName, ProviderId, Scopes, Tool, ToolName};

/// Reference to a secret. Configuration holds references, never values; a value is read when
/// needed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SecretRef {
    /// `env:NAME`
    Env(String),
    /// `file:/path`: the file's content without a final newline.
    File(PathBuf),
    /// `cmd:program args`: the command's standard output, run without a shell.
    Command(Vec<String>),
    /// `keyring:NAME`: an entry of the operating system's keychain.
    Keyring(String),
}

/// Configuration text that may, but need not, be a reference to a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setting {
    Literal(String),
    Secret(SecretRef),
}

impl Setting {
    /// Returns the reference, if it is one.
    pub fn reference(&self) -> Option<SecretRef> {
        match self {
            Self::Secret(reference) => Some(reference.clone()),
            Self::Literal(_) => None,
        }
    }
}

/// A configured provider, built-in values and `tools.toml` already merged.
#[derive(Clone, Debug)]
pub struct Provider {
    pub id: ProviderId,
    /// For people, e.g. `GitHub`.
    pub title: String,
    /// Page for registering the OAuth app, e.g. in the provider's developer console.
    pub console_url: Option<Url>,
    /// Base of a tool's relative `request`.
    pub base_url: Option<Url>,
    /// The only hosts, besides the provider's own OAuth endpoints, that receive its credential.
    pub hosts: Hosts,
    /// Fixed headers of every request, e.g. `Notion-Version`.
    pub headers: Vec<(String, String)>,
    pub credential: Credential,
    pub failure: FailureConvention,
    /// Scopes in words, for connect pages and prompts.
    pub scope_words: std::collections::BTreeMap<String, String>,
    /// Every scope that the catalogue or `tools.toml` mentions, for any tool. An API can make us
    /// ask the user only for these.
    pub known_scopes: Scopes,
    /// Whether a person may connect several accounts; its tools then take the name of one.
    pub accounts: bool,
    pub retention: Retention,
    pub guide: Guide,
}

/// Properties of a provider that a request to its API needs.
#[derive(Clone, Copy, Debug)]
pub struct Api<'a> {
    pub id: &'a ProviderId,
    /// For people.
    pub title: &'a str,
    /// Hosts that may receive its credential.
    pub hosts: &'a Hosts,
    /// Fixed headers of every request.
    pub headers: &'a [(String, String)],
    /// See [`OAuthSettings::token_header`].
    pub token_header: Option<&'a str>,
    pub failure: &'a FailureConvention,
    pub implied: &'a Implied,
    /// The only scopes that the API can make us ask the user for.
    pub known_scopes: &'a Scopes,
}

impl Provider {
    /// Returns what a request to its API needs.
    pub fn api(&self) -> Api<'_> {
        Api {
            id: &self.id,
            title: &self.title,
            hosts: &self.hosts,
            headers: &self.headers,
            token_header: match &self.credential {
                Credential::OAuth(settings) => settings.token_header.as_deref(),
                Credential::Shared(_) | Credential::Asked(_) => None,
            },
            failure: &self.failure,
            implied: self.implied(),
            known_scopes: &self.known_scopes,
        }
    }

    /// Whether people connect accounts of their own here.
    pub fn is_by_consent(&self) -> bool {
        match &self.credential {
            Credential::OAuth(settings) => settings.grant.is_by_consent(),
            Credential::Asked(_) => true,
            Credential::Shared(_) => false,
        }
    }

    /// Whether a person's account there may have this name.
    pub fn takes(&self, account: &AccountName) -> bool {
        self.accounts || account.is_default()
    }

    /// Known facts about its tokens before it issues any.
    pub fn token_facts(&self) -> TokenFacts {
        let words = Some(self.guide.tokens.clone()).filter(|words| !words.is_empty());
        match &self.credential {
            Credential::OAuth(settings) => {
                TokenFacts { refresh_life: settings.refresh_life.clone(), words }
            }
            Credential::Shared(_) | Credential::Asked(_) => TokenFacts::default(),
        }
    }

    /// Whether its scopes have their OpenID Connect meaning: it has an issuer, or `scopes` ask for
    /// it.
    pub fn is_openid(&self, scopes: &Scopes) -> bool {
        let has_issuer = match &self.credential {
            Credential::OAuth(settings) => settings.endpoints.issuer.is_some(),
            Credential::Shared(_) | Credential::Asked(_) => false,
        };
        has_issuer || scopes.is_openid()
    }

    /// Which scopes contain which; empty for a credential without scopes.
    pub fn implied(&self) -> &Implied {
        static NOTHING: Implied = Implied::new();
        match &self.credential {
            Credential::OAuth(settings) => &settings.implied,
            Credential::Shared(_) | Credential::Asked(_) => &NOTHING,
        }
    }
}

/// How to get a grant from this provider.
#[derive(Clone, Debug)]
pub struct OAuthSettings {
    pub grant: GrantType,
    pub endpoints: Endpoints,
    /// `None` only where an assertion identifies us instead (RFC 7523 §3.1).
    pub client_id: Option<Setting>,
    pub client_secret: Option<SecretRef>,
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

/// Timeout of the identity request: the user waits for the page, and the account can also stay
/// unidentified.
const IDENTITY_TIME: Duration = Duration::from_secs(8);
/// Maximum characters of the identity response. Enough for any profile; a cut one would not be JSON
/// any more.
const IDENTITY_CHARS: usize = 1_000_000;

/// Request that asks the provider whose token this is. It carries the provider's fixed headers and
/// the access token, like any call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(String, String)>,
    /// A JSON body, e.g. a GraphQL query.
    pub body: Option<Value>,
    /// JSON pointer (RFC 6901) to the account's stable id.
    pub id: String,
    /// JSON pointers to the account's label; the first that finds a value wins.
    pub label: Vec<String>,
}

impl Identity {
    /// A userinfo endpoint (OpenID Connect Core §5.3).
    pub fn openid(userinfo: Url) -> Self {
        Self {
            method: Method::Get,
            url: userinfo,
            headers: Vec::new(),
            body: None,
            id: "/sub".into(),
            label: ["/email", "/preferred_username", "/name"].map(str::to_owned).to_vec(),
        }
    }

    /// Returns the request as a tool, which no client ever sees.
    pub fn tool(&self, provider: &ProviderId) -> Tool {
        let text = |text: &str| Template(vec![Piece::Text(text.to_owned())]);
        let segments = self.url.path_segments().into_iter().flatten();
        let decoded = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
        let mut origin = self.url.clone();
        origin.set_path("");
        origin.set_query(None);
        Tool {
            name: ToolName::new(format!("{provider}_identity")),
            title: String::new(),
            description: String::new(),
            params: Vec::new(),
            accounts: false,
            effect: Effect::Read,
            idempotent: true,
            provider: Some(provider.clone()),
            scopes: Scopes::default(),
            action: Action::Http(HttpAction {
                method: self.method,
                origin,
                path: segments.map(|segment| text(&decoded(segment))).collect(),
                query: self
                    .url
                    .query_pairs()
                    .map(|(name, value)| (name.into_owned(), text(&value)))
                    .collect(),
                headers: self
                    .headers
                    .iter()
                    .map(|(name, value)| (name.clone(), text(value)))
                    .collect(),
                body: self.body.clone().map_or(Body::None, |body| Body::Json(Node::Fixed(body))),
                select: None,
                error: None,
                reply: None,
                timeout: IDENTITY_TIME,
                max_chars: IDENTITY_CHARS,
                is_untrusted: false,
            }),
            allow: None,
            output: None,
        }
    }

    /// Returns the account's stable id from the provider's answer; `None` if the answer has none,
    /// and then the account is unidentified.
    pub fn id_in(&self, answer: &Value) -> Option<String> {
        text_at(answer, &self.id)
    }

    /// Returns the account's label, for people: a text from outside.
    pub fn label_in(&self, answer: &Value) -> Option<String> {
        self.label.iter().find_map(|pointer| text_at(answer, pointer))
    }
}

/// Returns a text or a number: ids are numbers at some providers.
fn text_at(answer: &Value, pointer: &str) -> Option<String> {
    match answer.pointer(pointer)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
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
    /// Contained in a text of the answer, in any case.
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

/// How a provider's API says that a call failed, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FailureConvention {
    /// JSON pointers (RFC 6901) into an error body; the first string found is the message.
    pub message: Vec<String>,
    /// A JSON pointer to a boolean that is `false` when a 200 is a failure (Slack's `/ok`).
    pub ok: Option<String>,
    /// A JSON pointer to a value that only failures have, even in a 200 (GraphQL's `/errors`).
    pub errors: Option<String>,
    /// A JSON pointer to the failure's code, a text or a number.
    pub code: Option<String>,
    /// Codes that mean: the access token is not accepted any more.
    pub expired: Vec<String>,
    /// Codes that mean: a scope is missing.
    pub missing_scope: Vec<String>,
    /// Codes that mean: too many requests, regardless of the status.
    pub rate_limited: Vec<String>,
    /// A JSON pointer to the scopes that would have been needed.
    pub needed: Option<String>,
}

/// A set of `host` or `host:port`, where a leading `*.` stands for any subdomain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Patterns as written, compared in lower case.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Self {
        let mut hosts: Vec<String> =
            patterns.into_iter().map(|host| host.as_ref().to_ascii_lowercase()).collect();
        hosts.sort();
        hosts.dedup();
        Self(hosts)
    }

    /// The patterns, in lower case and in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a credential may be sent to this URL.
    ///
    /// A pattern without a port means the scheme's default port: a token for `api.example.com` is
    /// not for other services on that machine.
    pub fn admit(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        self.iter().any(|pattern| {
            let (name, port) = split_port(pattern);
            let port_fits = match port {
                Some(port) => url.port_or_known_default() == Some(port),
                None => url.port().is_none(),
            };
            port_fits
                && match name.strip_prefix("*.") {
                    Some(suffix) => host
                        .strip_suffix(suffix)
                        .is_some_and(|front| front.len() > 1 && front.ends_with('.')),
                    None => host == name,
                }
        })
    }

    /// Whether `wider` has every pattern of this set.
    pub fn is_subset(&self, wider: &Hosts) -> bool {
        self.iter().all(|host| wider.0.iter().any(|known| known == host))
    }
}

fn split_port(pattern: &str) -> (&str, Option<u16>) {
    match pattern.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && !name.ends_with(':') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (pattern, None),
        },
        _ => (pattern, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(pattern: &str, url: &str) -> bool {
        Hosts::new([pattern]).admit(&Url::parse(url).expect("a URL"))
    }

    #[test]
    fn an_account_has_a_stable_id_and_the_first_label_found() {
        let identity = Identity {
            id: "/id".into(),
            label: vec!["/login".into(), "/email".into()],
            ..Identity::openid(Url::parse("https://api.example.com/me").expect("a URL"))
        };
        let answer = serde_json::json!({"id": 7, "login": " ", "email": "ana@example.com"});
        assert_eq!(identity.id_in(&answer).as_deref(), Some("7"));
        assert_eq!(identity.label_in(&answer).as_deref(), Some("ana@example.com"));
        assert_eq!(identity.id_in(&serde_json::json!({"id": null})), None);
    }

    #[test]
    fn a_host_admits_itself_on_its_default_port_only() {
        assert!(admit("api.example.com", "https://api.example.com/x"));
        assert!(!admit("api.example.com", "https://api.example.com:8443/x"));
        assert!(!admit("api.example.com", "https://api.example.com.evil.com/x"));
        assert!(!admit("api.example.com", "https://evil.com/api.example.com"));
        assert!(!admit("api.example.com", "https://api.example.com@evil.com/"));
    }

    #[test]
    fn a_port_is_part_of_the_pattern() {
        assert!(admit("127.0.0.1:9000", "http://127.0.0.1:9000/x"));
        assert!(!admit("127.0.0.1:9000", "http://127.0.0.1:9001/x"));
        assert!(admit("[::1]:9000", "http://[::1]:9000/x"));
    }

    #[test]
    fn a_star_stands_for_subdomains_and_not_for_the_domain() {
        assert!(admit("*.googleapis.com", "https://gmail.googleapis.com/x"));
        assert!(admit("*.googleapis.com", "https://a.b.googleapis.com/x"));
        assert!(!admit("*.googleapis.com", "https://googleapis.com/x"));
        assert!(!admit("*.googleapis.com", "https://evilgoogleapis.com/x"));
        assert!(!admit("*.googleapis.com", "https://.googleapis.com/x"));
    }
}
