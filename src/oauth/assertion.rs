//! Assertions that we sign: RFC 7523 §3, as JWS compact serialization (RFC 7515 §3.1).
//!
//! `ring` makes the signatures; the process uses it for TLS already. JWT libraries bring a second
//! implementation of the same algorithms, and would only save us [`Assertion::sign`].

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RsaEncoding, RsaKeyPair,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use crate::model::assertion::Algorithm;
use crate::model::{Scopes, Time, secret};

/// Claims of an assertion, and the key that signs them.
#[derive(Debug)]
pub struct Assertion {
    pub signer: Signer,
    /// `iss`
    pub issuer: String,
    /// `sub`
    pub subject: Option<String>,
    /// `aud`: always a text from the operator, never one from a discovery document.
    pub audience: String,
    pub lifetime: Duration,
    /// Further claims.
    pub claims: Vec<(String, String)>,
    /// Whether the scopes are a claim (Google) instead of a request parameter (RFC 7521 §4.1).
    pub claims_scope: bool,
}

/// A private key and the algorithm that it signs with.
pub struct Signer {
    key: Key,
    algorithm: Algorithm,
    key_id: Option<String>,
}

enum Key {
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// Contents of a Google service account's JSON file.
#[derive(Debug)]
pub struct ServiceAccount {
    pub signer: Signer,
    /// `client_email`, which is `iss`.
    pub email: String,
}

/// Unusable key material. Names the fault and quotes nothing of the key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the private key is not in PEM")]
    NoKey,
    #[error("the private key is protected by a password")]
    Protected,
    #[error("the private key cannot sign with {algorithm}: {reason}")]
    Unfit { algorithm: &'static str, reason: String },
    #[error("this is no service account's JSON file")]
    NoServiceAccount,
    #[error("the service account's `token_uri` is not the provider's token endpoint")]
    OtherTokenEndpoint,
}

impl KeyError {
    /// Returns what the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoKey | Self::Unfit { .. } => {
                "check `algorithm`; `openssl pkcs8 -topk8 -nocrypt -in key.pem` writes a key as PKCS#8"
            }
            Self::Protected => "`openssl pkcs8 -topk8 -nocrypt` writes it without",
            Self::NoServiceAccount => "download the account's key as JSON in the Google console",
            Self::OtherTokenEndpoint => {
                "an assertion is sent to `token_url` of tools.toml only; check both, and where the file is from"
            }
        }
    }
}

/// An assertion that could not be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the assertion could not be signed")]
pub struct SignError;

impl Assertion {
    /// Returns the signed assertion, valid from `now` on.
    ///
    /// # Errors
    /// [`SignError`] if the key fails to sign.
    pub(super) fn sign(&self, scopes: &Scopes, now: Time) -> Result<SecretString, SignError> {
        let issued_at = now.millis() / 1000;
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        let mut claims: Map<String, Value> =
            self.claims.iter().map(|(name, text)| (name.clone(), text.clone().into())).collect();
        claims.insert("iss".into(), self.issuer.clone().into());
        if let Some(subject) = &self.subject {
            claims.insert("sub".into(), subject.clone().into());
        }
        claims.insert("aud".into(), self.audience.clone().into());
        claims.insert("iat".into(), issued_at.into());
        claims.insert("exp".into(), issued_at.saturating_add(lifetime).into());
        // RFC 7523 §3: lets the server see a replay.
        claims.insert("jti".into(), secret::random().expose_secret().into());
        if self.claims_scope && !scopes.is_empty() {
            claims.insert("scope".into(), scopes.join(" ").into());
        }
        self.signer.sign(&Value::Object(claims))
    }
}

impl Signer {
    /// Reads a private key in PEM: PKCS#8, or PKCS#1 for RSA.
    ///
    /// # Errors
    /// [`KeyError`] if the text is no PEM, the key is encrypted, or it does not fit `algorithm`.
    pub fn new(
        pem: &SecretString,
        algorithm: Algorithm,
        key_id: Option<String>,
    ) -> Result<Self, KeyError> {
        let text = pem.expose_secret();
        // Environment variables often hold line breaks as `\n`.
        let unfolded = text.contains("\\n").then(|| SecretString::from(text.replace("\\n", "\n")));
        let text = unfolded.as_ref().map_or(text, |unfolded| unfolded.expose_secret());
        let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| {
            if text.contains("ENCRYPTED") { KeyError::Protected } else { KeyError::NoKey }
        })?;
        Ok(Self { key: Key::new(&der, algorithm)?, algorithm, key_id })
    }

    /// Returns `header.claims.signature`.
    fn sign(&self, claims: &Value) -> Result<SecretString, SignError> {
        let mut header = json!({ "alg": self.algorithm.name(), "typ": "JWT" });
        if let (Some(header), Some(id)) = (header.as_object_mut(), &self.key_id) {
            header.insert("kid".into(), id.clone().into());
        }
        let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encoded(&header), encoded(claims));
        let signature = self.key.sign(message.as_bytes())?;
        Ok(SecretString::from(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

impl Key {
    fn new(der: &PrivateKeyDer<'_>, algorithm: Algorithm) -> Result<Self, KeyError> {
        let rsa = |encoding| {
            match der {
                PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
                other => RsaKeyPair::from_pkcs8(other.secret_der()),
            }
            .map(|key| Self::Rsa(Box::new(key), encoding))
        };
        let ecdsa = |curve: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::from_pkcs8(curve, der.secret_der(), &SystemRandom::new())
                .map(|key| Self::Ecdsa(Box::new(key)))
        };
        let key = match algorithm {
            Algorithm::RS256 => rsa(&signature::RSA_PKCS1_SHA256),
            Algorithm::RS384 => rsa(&signature::RSA_PKCS1_SHA384),
            Algorithm::RS512 => rsa(&signature::RSA_PKCS1_SHA512),
            Algorithm::PS256 => rsa(&signature::RSA_PSS_SHA256),
            Algorithm::PS384 => rsa(&signature::RSA_PSS_SHA384),
            Algorithm::PS512 => rsa(&signature::RSA_PSS_SHA512),
            // RFC 7518 §3.4 requires the two numbers at their full length, not ASN.1.
            Algorithm::ES256 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::ES384 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            // OpenSSL writes such keys without their public half.
            Algorithm::EdDSA => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_der())
                .map(|key| Self::Ed25519(Box::new(key))),
        };
        key.map_err(|reason| KeyError::Unfit {
            algorithm: algorithm.name(),
            reason: reason.to_string(),
        })
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(*encoding, &random, message, &mut signature).map_err(|_| SignError)?;
                Ok(signature)
            }
            Self::Ecdsa(key) => {
                let signature = key.sign(&random, message).map_err(|_| SignError)?;
                Ok(signature.as_ref().to_vec())
            }
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({}, [REDACTED])", self.algorithm.name())
    }
}

impl ServiceAccount {
    /// Reads the JSON file of a service account's key.
    ///
    /// # Errors
    /// [`KeyError`] if the file is not that of a service account, or its key is unusable. A file
    /// whose `token_uri` is not `token_endpoint` is refused rather than corrected: its author meant
    /// the assertion for another server.
    pub fn read(json: &SecretString, token_endpoint: &Url) -> Result<Self, KeyError> {
        let file = File::read(json)?;
        if file.token_uri != *token_endpoint {
            return Err(KeyError::OtherTokenEndpoint);
        }
        let signer = Signer::new(&file.private_key, Algorithm::RS256, file.private_key_id)?;
        Ok(Self { signer, email: file.client_email })
    }

    /// Returns the `client_email` of a service account's JSON file.
    ///
    /// # Errors
    /// [`KeyError::NoServiceAccount`] if it is no such file.
    pub fn email(json: &SecretString) -> Result<String, KeyError> {
        Ok(File::read(json)?.client_email)
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "type")]
    kind: String,
    client_email: String,
    #[serde(with = "secret::exposed")]
    private_key: SecretString,
    private_key_id: Option<String>,
    token_uri: Url,
}

impl File {
    fn read(json: &SecretString) -> Result<Self, KeyError> {
        // serde's error may quote the key.
        serde_json::from_str(json.expose_secret())
            .ok()
            .filter(|file: &Self| file.kind == "service_account")
            .ok_or(KeyError::NoServiceAccount)
    }
}

#[cfg(test)]
mod tests;
