//! A JWT as received: JWS compact serialization (RFC 7515 §3.1), not trusted yet.
//!
//! `ring` checks signatures: it is in the process for TLS anyway and makes our own assertions
//! ([`crate::oauth::Assertion`]). The usual library would need a crypto provider of the same length
//! as this file, installed for the whole process, and reads the time from a clock of its own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::token_fault::TokenFault;
use crate::model::assertion::Algorithm;

/// A token with a readable header.
pub(super) struct Jws<'a> {
    pub(super) algorithm: Algorithm,
    /// Only compared with the ids of published keys: no path, no query.
    pub(super) key_id: Option<String>,
    /// `typ`, a media type without `application/`.
    pub(super) kind: Option<String>,
    /// Signed bytes: header and payload as sent.
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
    /// Reads a token; `None` if it is not a JWT, but opaque to all but the issuer.
    ///
    /// # Errors
    /// [`TokenFault`] for a JWT that no key could make acceptable.
    pub(super) fn read(token: &'a str) -> Result<Option<Self>, TokenFault> {
        let Some((header, payload, signature)) = parts(token) else { return Ok(None) };
        let Some(header) =
            decode(header).and_then(|json| serde_json::from_slice::<Header>(&json).ok())
        else {
            return Ok(None);
        };
        // RFC 7515 §4.1.11: a critical extension that is not understood makes the token invalid.
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

    /// Returns the claims, which must not be used before the signature has been checked.
    pub(super) fn claims(&self) -> Result<Map<String, Value>, TokenFault> {
        let json = decode(self.payload).ok_or(TokenFault::NotSigned)?;
        serde_json::from_slice(&json).map_err(|_| TokenFault::NotSigned)
    }
}

/// Returns a public-key algorithm (RFC 7518 §3.1, RFC 8037 §3.1): not `none`, and not `HS256`, for
/// which a published key would be the shared secret. The key decides which of them it is for.
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

/// Decodes base64url without padding (RFC 7515 §2).
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
