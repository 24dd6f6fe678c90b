//! Assertions that the server signs to get a grant or to authenticate (RFC 7523), and signature
//! algorithms.

use std::time::Duration;

use super::secret_ref::{SecretRef, Setting};

/// Content and signing key of an assertion (RFC 7523 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionSettings {
    pub key: AssertionKey,
    /// `sub`. `None`: equal to `iss`; a Google service account omits it and acts as itself.
    pub subject: Option<Setting>,
    /// `aud`. `None`: see
    /// [`OAuthSettings::assertion_audience`](super::oauth::OAuthSettings::assertion_audience).
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
