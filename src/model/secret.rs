//! Secrets: how they are made, compared and written into sealed records.
//!
//! The type is [`secrecy::SecretString`]: its `Debug` is redacted and its memory is wiped. It is
//! not serialized by accident: a record that must keep one says
//! `#[serde(with = "secret::exposed")]`, and records are only ever serialized into
//! [`crate::store`]'s seal.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
pub use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// 256 bits from the operating system, base64url without padding (43 characters): enough for an
/// OAuth `state`, a PKCE verifier (RFC 7636 §4.1) or a cookie.
pub fn random() -> SecretString {
    SecretString::from(URL_SAFE_NO_PAD.encode(random_bytes::<32>()))
}

/// 128 bits as 26 characters of lower-case Crockford base32, for links that models and people
/// retype: no `i`, `l`, `o` or `u`, nothing that depends on case.
pub fn random_ticket() -> SecretString {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut bits = u128::from_be_bytes(random_bytes::<16>());
    let ticket: String = (0..26)
        .map(|_| {
            let digit = usize::try_from(bits & 31).unwrap_or(0);
            bits >>= 5;
            ALPHABET.get(digit).copied().map_or('0', char::from)
        })
        .collect();
    SecretString::from(ticket)
}

/// Bytes from the operating system's generator.
///
/// # Panics
/// If the operating system has no randomness to give. There is no safe way to go on without it.
#[expect(clippy::expect_used, reason = "a process without randomness must not issue secrets")]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system's random generator failed");
    bytes
}

/// SHA-256 of a high-entropy value, base64url. Stored in place of states and cookies, so that a
/// reader of the store cannot finish an authorization.
pub fn fingerprint(value: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(value.as_bytes()))
}

/// Compares in constant time, so that a listener on loopback does not become an oracle.
pub fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// Writes a secret as plain text: for records that are about to be sealed, and nothing else.
pub mod exposed {
    use secrecy::{ExposeSecret as _, SecretString};
    use serde::{Deserialize as _, Deserializer, Serializer};

    /// Writes the secret as plain text.
    ///
    /// # Errors
    /// If the serializer fails.
    pub fn serialize<S: Serializer>(secret: &SecretString, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(secret.expose_secret())
    }

    /// Reads a secret from a string.
    ///
    /// # Errors
    /// If the input is not a string.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
        String::deserialize(from).map(SecretString::from)
    }
}

/// [`exposed`] for a secret that may be absent.
pub mod exposed_option {
    use secrecy::SecretString;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    /// Writes the secret as plain text, if there is one.
    ///
    /// # Errors
    /// If the serializer fails.
    pub fn serialize<S: Serializer>(
        secret: &Option<SecretString>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(secrecy::ExposeSecret::expose_secret).serialize(to)
    }

    /// Reads a secret from a string, if there is one.
    ///
    /// # Errors
    /// If the input is neither a string nor absent.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<SecretString>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(SecretString::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_short_lower_case_and_never_alike() {
        let (a, b) = (random_ticket(), random_ticket());
        assert_eq!(a.expose_secret().len(), 26);
        assert!(a.expose_secret().chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
        assert_ne!(a.expose_secret(), b.expose_secret());
    }

    #[test]
    fn debug_output_hides_the_value() {
        let secret = random();
        assert!(!format!("{secret:?}").contains(secret.expose_secret()));
    }
}
