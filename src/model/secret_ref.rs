//! References to secrets. Configuration holds references, never secrets.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Reference to a secret. Configuration holds references, never values; a value is read when
/// needed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SecretRef {
    /// `env:NAME`
    Env(String),
    /// `file:/path`: the file's content without a final newline.
    File(PathBuf),
    /// `cmd:program args`: the command's standard output, run without a shell.
    Command(Vec<String>),
    /// `keyring:NAME`: an entry of the operating system's keychain.
    Keyring(String),
}

/// Configuration text that may, but need not, be a reference to a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setting {
    Literal(String),
    Secret(SecretRef),
}

impl Setting {
    /// Returns the reference, if it is one.
    pub fn reference(&self) -> Option<SecretRef> {
        match self {
            Self::Secret(reference) => Some(reference.clone()),
            Self::Literal(_) => None,
        }
    }
}
