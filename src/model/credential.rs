//! Credentials: how a request proves to a provider on whose behalf it is made, and how the server
//! obtains that proof.
//!
//! | | of the server, for all users | of each end user |
//! |---|---|---|
//! | by OAuth 2 | [`GrantType::ClientCredentials`], [`GrantType::JwtBearer`] | [`GrantType::Code`] |
//! | a key, or user and password | [`Credential::Shared`] | [`Credential::Asked`] |

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Tool;
use super::provider::{OAuthSettings, SecretRef, Setting};

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
                found.extend(settings.client_secret.clone());
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

/// Content and signing key of an assertion (RFC 7523 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionSettings {
    pub key: AssertionKey,
    /// `sub`. `None`: equal to `iss`; a Google service account omits it and acts as itself.
    pub subject: Option<Setting>,
    /// `aud`. `None`: see [`OAuthSettings::assertion_audience`].
    pub audience: Option<String>,
    pub lifetime: Duration,
    /// Claims beyond those of RFC 7519, e.g. Box's `box_sub_type`.
    pub claims: Vec<(String, String)>,
}

/// Key that signs an assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssertionKey {
    PrivateKey {
        /// Reference to a PEM file: PKCS#8, or PKCS#1 for RSA.
        key: SecretRef,
        algorithm: Algorithm,
        /// `kid` of the header.
        key_id: Option<String>,
        /// `iss`. `None`: the client id.
        issuer: Option<Setting>,
    },
    /// Reference to a Google service account's JSON file, which holds key, key id and `iss`.
    ServiceAccount(SecretRef),
}

/// Signature algorithm of a JWT: our assertion or an issuer's token (RFC 7518 §3.1, RFC 8037 §3.1).
/// Public-key algorithms only: with a shared secret, each verifier could also sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    /// All supported algorithms.
    pub const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// `alg` in the header.
    pub fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }
}

/// How long a user's grant is kept, from the least to the most strict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Retention {
    /// Until it ends or is revoked, refreshed where possible.
    #[default]
    Refresh,
    /// The refresh token is not kept: the user consents again when the access token ends.
    NoRefresh,
    /// Deleted after the first call that used it.
    UseOnce,
}
