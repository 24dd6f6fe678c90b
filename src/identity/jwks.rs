//! The keys that an issuer publishes (RFC 7517 §5), and what each may be used for.

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::Value;

use super::jws::{Jws, algorithm, decode};
use crate::model::assertion::Algorithm;

/// Maximum keys of a set; a larger one is refused. An issuer has two or three, and each that a
/// token names is tried.
const MAX_KEYS: usize = 100;

/// The keys of a set that can verify signatures.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// The one algorithm that it is for, if the issuer says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

/// Big-endian bytes as in RFC 7518 §6.
#[derive(Debug)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point (SEC 1 §2.3.3).
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A key as published; other members are ignored.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    kid: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a key set. A key that is not understood, or has another purpose, is skipped:
    /// tomorrow's key must not take today's away.
    ///
    /// # Errors
    /// A text that says what is wrong with the document as a whole.
    pub(super) fn read(json: &[u8]) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let document: Document =
            serde_json::from_slice(json).map_err(|_| "it is no JSON object with `keys`")?;
        if document.keys.len() > MAX_KEYS {
            return Err("it has more than 100 keys");
        }
        let keys = document.keys.into_iter();
        Ok(Self(keys.filter_map(|key| Key::read(serde_json::from_value(key).ok()?)).collect()))
    }

    /// Whether one of the keys made the signature. Tries each key of the token's key id; a token
    /// without one is checked only if there is no choice.
    pub(super) fn verify(&self, jws: &Jws<'_>) -> bool {
        let mut fitting = self.0.iter().filter(|key| key.fits(jws.algorithm));
        match &jws.key_id {
            Some(id) => fitting.any(|key| key.id.as_ref() == Some(id) && key.verify(jws)),
            None => match (fitting.next(), fitting.next()) {
                (Some(only), None) => only.verify(jws),
                _ => false,
            },
        }
    }
}

impl Key {
    fn read(jwk: Jwk) -> Option<Self> {
        let is_for_signatures = jwk.purpose.is_none_or(|purpose| purpose == "sig")
            && jwk.key_ops.is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !is_for_signatures {
            return None;
        }
        let part = |text: &Option<String>| decode(text.as_deref()?);
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Material::Rsa { n: number(&part(&jwk.n)?), e: number(&part(&jwk.e)?) },
            ("EC", Some("P-256")) => Material::P256(point(&part(&jwk.x)?, &part(&jwk.y)?, 32)?),
            ("EC", Some("P-384")) => Material::P384(point(&part(&jwk.x)?, &part(&jwk.y)?, 48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(part(&jwk.x)?),
            _ => return None,
        };
        let algorithm = match jwk.alg {
            Some(name) => Some(algorithm(&name)?),
            None => None,
        };
        Some(Self { id: jwk.kid, algorithm, material })
    }

    /// Whether the key is for this algorithm. The key's type decides, never the token, or an RSA
    /// key could be used as the secret of `HS256`.
    fn fits(&self, algorithm: Algorithm) -> bool {
        let is_of_kind = match self.material {
            Material::Rsa { .. } => rsa(algorithm).is_some(),
            Material::P256(_) => algorithm == Algorithm::ES256,
            Material::P384(_) => algorithm == Algorithm::ES384,
            Material::Ed25519(_) => algorithm == Algorithm::EdDSA,
        };
        is_of_kind && self.algorithm.is_none_or(|own| own == algorithm)
    }

    fn verify(&self, jws: &Jws<'_>) -> bool {
        let (algorithm, key): (&dyn VerificationAlgorithm, _) = match &self.material {
            Material::Rsa { n, e } => {
                let key = RsaPublicKeyComponents { n, e };
                return rsa(jws.algorithm)
                    .is_some_and(|by| key.verify(by, jws.signed, &jws.signature).is_ok());
            }
            Material::P256(point) => (&ECDSA_P256_SHA256_FIXED, point),
            Material::P384(point) => (&ECDSA_P384_SHA384_FIXED, point),
            Material::Ed25519(bytes) => (&ED25519, bytes),
        };
        UnparsedPublicKey::new(algorithm, key).verify(jws.signed, &jws.signature).is_ok()
    }
}

/// Verification parameters; RSA keys need at least 2048 bits (RFC 7518 §3.3).
fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA => None,
    }
}

/// Drops a leading sign byte, which several issuers publish against RFC 7518 §2 and `ring` refuses.
fn number(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().skip_while(|byte| *byte == 0).collect()
}

/// Joins an uncompressed point; each coordinate has the curve's full length (RFC 7518 §6.2.1.2).
fn point(x: &[u8], y: &[u8], length: usize) -> Option<Vec<u8>> {
    (x.len() == length && y.len() == length).then(|| [&[4], x, y].concat())
}
