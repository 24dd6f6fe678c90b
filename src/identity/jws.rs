//! A JWT as it comes: JWS compact serialization (RFC 7515 §3.1), not trusted yet.
//!
//! Signatures are checked by `ring`, which is in the process for TLS already and makes our own
//! assertions ([`crate::oauth::Assertion`]). The usual library would want a provider of the same
//! length for that, installed for the whole process, and tells the time by a clock of its own; what
//! it would spare us is this file.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::denied::TokenFault;
use crate::model::credential::Algorithm;

/// A token whose header was read.
pub(super) struct Jws<'a> {
    pub(super) algorithm: Algorithm,
    /// Compared with the names of published keys, and nothing else: no path, no query.
    pub(super) key_id: Option<String>,
    /// `typ`, a media type without `application/`.
    pub(super) kind: Option<String>,
    /// What is signed: header and payload as they were sent.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
    payload: &'a str,
}

/// RFC 7515 §4.1. `jku`, `x5u` and `jwk` are not read: they would let a token bring its own key.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

impl<'a> Jws<'a> {
    /// `None`: it is no JWT, but a name that only the issuer knows.
    ///
    /// # Errors
    /// A JWT that is not accepted whoever signed it.
    pub(super) fn read(token: &'a str) -> Result<Option<Self>, TokenFault> {
        let Some((header, payload, signature)) = parts(token) else { return Ok(None) };
        let Some(header) =
            decode(header).and_then(|json| serde_json::from_slice::<Header>(&json).ok())
        else {
            return Ok(None);
        };
        // RFC 7515 §4.1.11: what is critical and not understood makes the token invalid.
        if header.crit.is_some() {
            return Err(TokenFault::Critical);
        }
        let signed = token.get(..token.len() - signature.len() - 1).unwrap_or_default();
        Ok(Some(Self {
            algorithm: algorithm(&header.alg).ok_or(TokenFault::Algorithm)?,
            key_id: header.kid,
            kind: header.typ.map(|kind| {
                let kind = kind.to_ascii_lowercase();
                kind.strip_prefix("application/").map_or(kind.clone(), str::to_owned)
            }),
            signed: signed.as_bytes(),
            signature: decode(signature).ok_or(TokenFault::NotSigned)?,
            payload,
        }))
    }

    /// The claims, which mean something once the signature has been checked.
    pub(super) fn claims(&self) -> Result<Map<String, Value>, TokenFault> {
        let json = decode(self.payload).ok_or(TokenFault::NotSigned)?;
        serde_json::from_slice(&json).map_err(|_| TokenFault::NotSigned)
    }
}

/// Public-key algorithms only (RFC 7518 §3.1, RFC 8037 §3.1): not `none`, and not `HS256`, for which
/// a published key would be the shared secret. Which of them a key is for, the key decides.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    // RFC 9864 §2.2 names the curve that RFC 8037 leaves open.
    let name = if name == "Ed25519" { "EdDSA" } else { name };
    Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
}

fn parts(token: &str) -> Option<(&str, &str, &str)> {
    let mut parts = token.split('.');
    let found = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(found)
}

pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
