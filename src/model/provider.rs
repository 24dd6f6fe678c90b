//! A provider: who grants access, how it is asked, and where its credentials may go.
//!
//! Every quirk of a provider is data here, never a branch on its name.

use serde::{Deserialize, Serialize};
use url::Url;

use super::credential::Credential;
use super::guide::Guide;
use super::hosts::Hosts;
use super::lifetime::TokenFacts;
use super::retention::Retention;
use super::scope::Implied;
use super::{AccountName, ProviderId, Scopes};

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
    /// See [`OAuthSettings::token_header`](super::oauth::OAuthSettings::token_header).
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

    /// Whether an access token of an account there can be handed out: it comes from a consent, which
    /// is not for one call only. A pasted key never leaves.
    pub fn hands_out_tokens(&self) -> bool {
        let is_by_consent = match &self.credential {
            Credential::OAuth(settings) => settings.grant.is_by_consent(),
            Credential::Asked(_) | Credential::Shared(_) => false,
        };
        is_by_consent && self.retention != Retention::UseOnce
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
    /// A JSON pointer to the failure's code, a string or a number.
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
