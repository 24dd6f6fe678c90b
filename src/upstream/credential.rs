//! Credentials that prove to an API on whose behalf a call is made.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use crate::model::credential::KeyPlace;

/// A live credential and the place in the request where the provider expects it. `Debug` shows only
/// the place.
#[derive(Clone)]
pub enum Credential {
    /// `Authorization: Bearer …` (RFC 6750 §2.1).
    Bearer(SecretString),
    /// `Authorization: Basic …`
    Basic(Basic),
    /// A custom header; `value` is the whole value, including any prefix.
    Header { name: String, value: SecretString },
    /// A query parameter.
    Query { name: String, value: SecretString },
}

/// A user and a password (RFC 7617).
#[derive(Clone)]
pub struct Basic {
    password: SecretString,
    /// Base64 of `user:password`.
    encoded: SecretString,
}

/// A user or password that RFC 7617 §2 forbids. The error contains neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BasicError {
    #[error("the user contains a `:`, after which the password would begin")]
    Colon,
    #[error("the user or password holds a line break or another control character")]
    Control,
}

impl Basic {
    /// Joins and encodes a user and a password.
    ///
    /// # Errors
    /// [`BasicError`] if the user contains a `:` or either contains a control character.
    pub fn new(user: &str, password: SecretString) -> Result<Self, BasicError> {
        if user.contains(':') {
            return Err(BasicError::Colon);
        }
        if [user, password.expose_secret()].iter().any(|part| part.chars().any(char::is_control)) {
            return Err(BasicError::Control);
        }
        let pair = SecretString::from(format!("{user}:{}", password.expose_secret()));
        // UTF-8, the only encoding besides ASCII that RFC 7617 §2.1 names.
        let encoded = SecretString::from(STANDARD.encode(pair.expose_secret()));
        Ok(Self { password, encoded })
    }

    /// The value of the `Authorization` header.
    pub(super) fn header(&self) -> String {
        format!("Basic {}", self.encoded.expose_secret())
    }
}

impl Credential {
    /// Returns the credential for a key, in the place where the provider expects it.
    pub fn key(place: &KeyPlace, key: SecretString) -> Self {
        match place {
            KeyPlace::Query(name) => Self::Query { name: name.clone(), value: key },
            KeyPlace::Header { name, prefix } => {
                let value = SecretString::from(format!("{prefix}{}", key.expose_secret()));
                Self::Header { name: name.clone(), value }
            }
        }
    }

    /// The secret itself, as it is sent.
    pub fn exposed(&self) -> &str {
        self.secrets().next().unwrap_or_default()
    }

    /// Returns the secrets that must never appear in a result. A header yields its whole value and
    /// the part after its first space (`Bearer …`, `token …`). A user and password yield the
    /// encoded pair, the end of which also encodes the password alone, and the password itself.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let (whole, part) = match self {
            Self::Bearer(value) | Self::Query { value, .. } => (value.expose_secret(), None),
            Self::Basic(basic) => {
                (basic.encoded.expose_secret(), Some(basic.password.expose_secret()))
            }
            Self::Header { value, .. } => {
                let value = value.expose_secret();
                (value, value.split_once(' ').map(|(_, secret)| secret.trim_start()))
            }
        };
        std::iter::once(whole).chain(part)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bearer(_) => f.write_str("Bearer([REDACTED])"),
            Self::Basic(_) => f.write_str("Basic([REDACTED])"),
            Self::Header { name, .. } => write!(f, "Header({name}: [REDACTED])"),
            Self::Query { name, .. } => write!(f, "Query({name}=[REDACTED])"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_joined_and_encoded() {
        // The examples of RFC 7617 §2 and §2.1.
        let header = |user, password: &str| Basic::new(user, password.into()).unwrap().header();
        assert_eq!(header("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(header("test", "123£"), "Basic dGVzdDoxMjPCow==");
        assert_eq!(header("", ""), "Basic Og==");
    }

    #[test]
    fn a_user_that_would_shift_the_password_is_refused() {
        let error = |user, password: &str| Basic::new(user, password.into()).err();
        assert_eq!(error("a:b", "c"), Some(BasicError::Colon));
        assert_eq!(error("a", "b\nc"), Some(BasicError::Control));
        assert_eq!(error("a\r", "b"), Some(BasicError::Control));
        assert_eq!(error("a", "b:c"), None);
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let basic = Credential::Basic(Basic::new("ana", "hunter2".into()).unwrap());
        assert_eq!(format!("{basic:?}"), "Basic([REDACTED])");
        assert_eq!(basic.secrets().collect::<Vec<_>>(), ["YW5hOmh1bnRlcjI=", "hunter2"]);
    }
}
