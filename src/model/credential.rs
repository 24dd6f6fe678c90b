//! Credentials: how a request proves to a provider on whose behalf it is made, and how the server
//! obtains that proof.
//!
//! | | of the server, for all users | of each end user |
//! |---|---|---|
//! | by OAuth 2 | [`GrantType::ClientCredentials`], [`GrantType::JwtBearer`] | [`GrantType::Code`] |
//! | a key, or user and password | [`Credential::Shared`] | [`Credential::Asked`] |

use serde::{Deserialize, Serialize};

use super::Tool;
use super::assertion::AssertionKey;
use super::oauth::{ClientSecret, GrantType, OAuthSettings};
use super::secret_ref::{SecretRef, Setting};

/// A provider's credential.
#[derive(Clone, Debug)]
pub enum Credential {
    /// An OAuth 2 grant; [`OAuthSettings::grant`] says whose.
    OAuth(Box<OAuthSettings>),
    /// One secret of the operator's, for all users.
    Shared(Shared),
    /// A secret of each end user's own, pasted on our page and never in the chat.
    Asked(Asked),
}

impl Credential {
    /// Returns the references to its secrets.
    pub fn references(&self) -> Vec<SecretRef> {
        let mut found = Vec::new();
        match self {
            Self::Shared(Shared::Key { value, .. }) => found.push(value.clone()),
            Self::Shared(Shared::Basic { user, password }) => {
                found.extend(user.reference());
                found.push(password.clone());
            }
            Self::Asked(Asked { what: AskedFor::Basic { user }, .. }) => {
                found.extend(user.as_ref().and_then(Setting::reference));
            }
            Self::Asked(Asked { what: AskedFor::Key(_), .. }) => {}
            Self::OAuth(settings) => {
                found.extend(settings.client_id.as_ref().and_then(Setting::reference));
                found.extend(settings.client_secret.as_ref().and_then(ClientSecret::reference));
                if let GrantType::JwtBearer { assertion } = &settings.grant {
                    found.extend(assertion.subject.as_ref().and_then(Setting::reference));
                    match &assertion.key {
                        AssertionKey::ServiceAccount(file) => found.push(file.clone()),
                        AssertionKey::PrivateKey { key, issuer, .. } => {
                            found.push(key.clone());
                            found.extend(issuer.as_ref().and_then(Setting::reference));
                        }
                    }
                }
            }
        }
        found
    }
}

/// The operator's secret, and how a request carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shared {
    Key {
        place: KeyPlace,
        value: SecretRef,
    },
    /// HTTP Basic (RFC 7617).
    Basic {
        user: Setting,
        password: SecretRef,
    },
}

/// A secret that each end user pastes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    pub what: AskedFor,
    /// Instructions for the page, in the operator's words: what to paste and where to find it.
    pub words: String,
    /// A request without arguments that succeeds with a valid secret and changes nothing. It is
    /// made before the secret is kept; no client ever sees it as a tool.
    pub test: Box<Tool>,
}

/// Kind of secret that the end user pastes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AskedFor {
    Key(KeyPlace),
    /// HTTP Basic (RFC 7617). `Some`: all users share this user name, and the page asks only for
    /// the password.
    Basic {
        user: Option<Setting>,
    },
}

/// Place of a key in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyPlace {
    /// Name of the query parameter.
    Query(String),
    /// Header name, and the text before the key in its value, e.g. `Bearer `.
    Header { name: String, prefix: String },
}

impl KeyPlace {
    /// `Authorization: Bearer …` (RFC 6750 §2.1).
    pub fn bearer() -> Self {
        Self::Header { name: "Authorization".into(), prefix: "Bearer ".into() }
    }
}
