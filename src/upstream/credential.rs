//! What a call carries to prove on whose behalf it is made.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

/// A live credential, in the place where the provider expects it. `Debug` shows the place only.
#[derive(Clone)]
pub enum Credential {
    /// `Authorization: Bearer …` (RFC 6750 §2.1).
    Bearer(SecretString),
    /// A header of its own; `value` is the whole value, prefix included.
    Header { name: String, value: SecretString },
    /// A query parameter.
    Query { name: String, value: SecretString },
}

impl Credential {
    /// The secret as it must never come back. For a header that is the whole value; what follows
    /// its first space is a secret by itself (`Bearer …`, `token …`).
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let (whole, prefixed) = match self {
            Self::Bearer(value) | Self::Query { value, .. } => (value.expose_secret(), None),
            Self::Header { value, .. } => {
                let value = value.expose_secret();
                (value, value.split_once(' ').map(|(_, secret)| secret.trim_start()))
            }
        };
        std::iter::once(whole).chain(prefixed)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bearer(_) => f.write_str("Bearer([REDACTED])"),
            Self::Header { name, .. } => write!(f, "Header({name}: [REDACTED])"),
            Self::Query { name, .. } => write!(f, "Query({name}=[REDACTED])"),
        }
    }
}
