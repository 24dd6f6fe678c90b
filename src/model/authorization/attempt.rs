//! Redirects to the provider, and consents that wait for an application.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{Authorization, UNCLAIMED_LIFETIME};
use crate::model::principal::Verifier;
use crate::model::{Grant, Time, TokenSet};

/// One redirect of a browser to the provider. Its key in the store is the fingerprint of `state`.
/// It holds, sealed, everything that the callback needs, so any process with any `tools.toml` can
/// finish it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuthorizationAttempt {
    pub authorization: Authorization,
    /// Fingerprint of the cookie of the browser that clicked "Continue".
    pub browser: String,
    /// PKCE verifier (RFC 7636 §4.1); absent where the provider breaks on PKCE.
    #[serde(with = "crate::model::secret::exposed_option")]
    pub verifier: Option<SecretString>,
    pub redirect_uri: String,
    pub started_at: Time,
}

/// A browser's result, not yet exchanged, as an earlier version kept it until the application
/// answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unconfirmed {
    pub verifier: Verifier,
    #[serde(rename = "brought")]
    pub consent: PendingConsent,
    pub arrived_at: Time,
}

/// Time limit for the browser to reach the application and for the application to answer; after it
/// an [`Unconfirmed`] record has expired.
pub const CONFIRMATION_LIFETIME: Duration = Duration::from_mins(5);

/// Result that a browser brought back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum PendingConsent {
    /// An authorization code and the record of its redirect.
    Code {
        started: Box<AuthorizationAttempt>,
        #[serde(with = "crate::model::secret::exposed")]
        code: SecretString,
    },
    /// A secret that was pasted on our page and has passed its test.
    Pasted { authorization: Box<Authorization>, tokens: TokenSet },
}

impl PendingConsent {
    /// Returns the authorization that it belongs to.
    pub fn authorization(&self) -> &Authorization {
        match self {
            Self::Code { started, .. } => &started.authorization,
            Self::Pasted { authorization, .. } => authorization,
        }
    }
}

impl Unconfirmed {
    /// Whether the application is too late to answer.
    pub fn is_expired(&self, now: Time) -> bool {
        now.is_past(self.arrived_at, CONFIRMATION_LIFETIME)
    }
}

/// A consent whose browser the application has not confirmed yet; no call can use it. Its key in
/// the store is a keyed hash of the link's ticket and the browser, so consents that different
/// browsers give by the same link are stored side by side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unclaimed {
    pub authorization: Authorization,
    pub grant: Grant,
    /// Fingerprint of the cookie of the browser that gave it.
    pub browser: String,
    pub given_at: Time,
}

impl Unclaimed {
    /// Whether the application is too late to confirm the browser.
    pub fn is_expired(&self, now: Time) -> bool {
        now.is_past(self.given_at, UNCLAIMED_LIFETIME)
    }
}
