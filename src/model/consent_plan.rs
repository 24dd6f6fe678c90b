//! How a consent is obtained: everything that the process which finishes it needs.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::credential::Asked;
use super::hosts::Hosts;
use super::identity::Identity;
use super::lifetime::TokenFacts;
use super::oauth::{Revocation, TokenAuth, TokenBody, TokenResponseShape};
use super::provider::{Api, FailureConvention};
use super::retention::Retention;
use super::scope::{Implied, OFFLINE_ACCESS};
use super::{ProviderId, Scopes};

/// Everything needed to show and finish an authorization, as known to the process that made the
/// link: the process that owns the listener may have another `tools.toml` and none of its secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConsentPlan {
    /// The provider's name, for people.
    pub title: String,
    /// Scopes in words.
    pub scope_words: BTreeMap<String, String>,
    /// Final page for the browser, instead of our own.
    pub after_connect: Option<Url>,
    /// How long the consent is kept.
    pub retention: Retention,
    /// Fixed headers of every request to the API.
    pub headers: Vec<(String, String)>,
    pub failure: FailureConvention,
    #[serde(rename = "way")]
    pub method: ConsentMethod,
}

/// How the user gives the consent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ConsentMethod {
    /// At the provider, by an authorization code (RFC 6749 §4.1).
    Code(Box<CodeFlow>),
    /// On our own page, by pasting a key or a password.
    Paste(Box<Asked>),
}

/// Everything needed for the authorization code flow at the provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CodeFlow {
    pub client: ClientRegistration,
    /// The authorization endpoint.
    pub authorize: Url,
    /// RFC 9207: the expected `iss` of the authorization response, if it has one.
    pub issuer: Option<String>,
    /// RFC 9207 §2.3: whether an authorization response without `iss` is refused.
    pub issuer_required: bool,
    /// Whether to use PKCE (RFC 7636, S256).
    pub pkce: bool,
    /// The authorization request's parameter that carries the scopes.
    pub scope_parameter: String,
    pub scope_separator: String,
    /// Extra parameters of the authorization request.
    pub params: Vec<(String, String)>,
    pub implied: Implied,
    /// The header that carries the bare access token, where it is not `Authorization: Bearer …`.
    pub token_header: Option<String>,
    /// Request that identifies the connected account.
    pub identity: Option<Identity>,
    /// Private address blocks that endpoints learnt from a discovery document may resolve to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_private: Vec<String>,
    /// Known facts about the tokens that the provider will issue.
    #[serde(default)]
    pub token_facts: TokenFacts,
    /// Whether to send `prompt=consent` with the scope `offline_access`.
    #[serde(default)]
    pub offline_prompt: bool,
}

impl CodeFlow {
    /// Returns the extra parameters of an authorization request for these scopes.
    ///
    /// Adds `prompt=consent` for `offline_access`: without a consent prompt the provider ignores
    /// the scope and issues no refresh token (OpenID Connect Core §11). The operator's own `prompt`
    /// wins.
    pub fn params_for(&self, scopes: &Scopes) -> Vec<(String, String)> {
        let mut params = self.params.clone();
        let is_set = params.iter().any(|(name, _)| name == "prompt")
            || self.authorize.query_pairs().any(|(name, _)| name == "prompt");
        if self.offline_prompt && scopes.contains(OFFLINE_ACCESS) && !is_set {
            params.push(("prompt".into(), "consent".into()));
        }
        params
    }
}

impl ConsentPlan {
    /// Returns a digest of all fields, secrets included, without revealing them.
    pub fn fingerprint(&self) -> String {
        let written = serde_json::to_string(self).map(Zeroizing::new);
        written.map_or_else(|_| String::new(), |written| super::secret::fingerprint(&written))
    }

    /// Returns the properties that a request to the API needs, without a `tools.toml`.
    pub fn api<'a>(&'a self, id: &'a ProviderId, hosts: &'a Hosts) -> Api<'a> {
        static NO_SCOPES: Scopes = Scopes::none();
        Api {
            id,
            title: &self.title,
            hosts,
            headers: &self.headers,
            failure: &self.failure,
            implied: self.implied(),
            known_scopes: &NO_SCOPES,
            token_header: match &self.method {
                ConsentMethod::Code(code) => code.token_header.as_deref(),
                ConsentMethod::Paste(_) => None,
            },
        }
    }

    /// Whether the scopes have their OpenID Connect meaning; see [`super::Provider::is_openid`].
    pub fn is_openid(&self, scopes: &Scopes) -> bool {
        let has_issuer = match &self.method {
            ConsentMethod::Code(code) => code.issuer.is_some(),
            ConsentMethod::Paste(_) => false,
        };
        has_issuer || scopes.is_openid()
    }

    /// How to revoke the resulting grant at the provider; `None` for a pasted secret.
    pub fn revocation(&self) -> Option<&Revocation> {
        match &self.method {
            ConsentMethod::Code(code) => code.client.revocation.as_ref(),
            ConsentMethod::Paste(_) => None,
        }
    }

    /// Known facts about the tokens that the provider will issue.
    pub fn token_facts(&self) -> TokenFacts {
        match &self.method {
            ConsentMethod::Code(code) => code.token_facts.clone(),
            ConsentMethod::Paste(_) => TokenFacts::default(),
        }
    }

    /// Which scopes contain which; empty for a pasted secret.
    pub fn implied(&self) -> &Implied {
        static NOTHING: Implied = Implied::new();
        match &self.method {
            ConsentMethod::Code(code) => &code.implied,
            ConsentMethod::Paste(_) => &NOTHING,
        }
    }
}

/// Our client registration at the provider, with resolved secrets: everything a token request
/// needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientRegistration {
    /// Empty where an assertion identifies us instead (RFC 7523 §3.1).
    pub client_id: String,
    #[serde(with = "super::secret::exposed_option")]
    pub client_secret: Option<SecretString>,
    pub token_endpoint: Url,
    /// Endpoint for refreshes, if not `token_endpoint`.
    #[serde(default)]
    pub refresh_endpoint: Option<Url>,
    /// Extra parameters of every token request.
    #[serde(default)]
    pub token_params: Vec<(String, String)>,
    pub token_auth: TokenAuth,
    pub token_body: TokenBody,
    pub response: TokenResponseShape,
    pub revocation: Option<Revocation>,
    /// Whether the endpoints come from a discovery document on another origin, or from an application
    /// over REST, instead of from the operator. Decides which addresses they may resolve to.
    pub learnt: bool,
}
