//! The master key, and why there is none.

use std::fmt;
use std::io;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::model::secret::random_bytes;

/// The 256-bit key that wraps the key ring.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; 32]);

/// A [`KeySource`](super::source::KeySource) without the key, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    Variable,
    File(PathBuf),
    Automatic(PathBuf),
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable => f.write_str("COUNTERSIGN_KEY"),
            Self::File(path) => {
                write!(f, "`{}`, which COUNTERSIGN_KEY_FILE names", path.display())
            }
            Self::Automatic(path) => write!(f, "the key file `{}`", path.display()),
        }
    }
}

impl KeyPlace {
    /// Returns what the user can do if the key from this source does not open the store.
    pub fn hint_when_wrong(&self) -> String {
        let other = "to use another store, give its folder with `--data DIR`";
        match self {
            Self::Variable => format!(
                "set COUNTERSIGN_KEY to the key that this store was sealed with, or to `new,old` while it is rotated; {other}"
            ),
            Self::File(path) => format!(
                "put the key that this store was sealed with into `{}`, or `new,old` while it is rotated; {other}",
                path.display()
            ),
            Self::Automatic(path) => format!(
                "if this store was sealed with a key of yours, set COUNTERSIGN_KEY or COUNTERSIGN_KEY_FILE to it; if it comes from another machine, bring that machine's `{}` along; {other}",
                path.file_name().unwrap_or_default().display()
            ),
        }
    }
}

/// Failure to read, create or replace the master key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{place} does not hold a key: {problem}")]
    Malformed { place: String, problem: &'static str },
    #[error("the key file `{}` can be read by others, or is not this user's", .0.display())]
    Exposed(PathBuf),
    #[error("the key file `{}` is not a file", .0.display())]
    NotAFile(PathBuf),
    #[error("the key file `{}` could not be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the key file `{}` could not be made: {source}", path.display())]
    NotMade { path: PathBuf, source: io::Error },
    #[error("the key file `{}` is missing, but the store was sealed with a key", .0.display())]
    Missing(PathBuf),
    #[error("the key file `{}` is being replaced by another process", .0.display())]
    Locked(PathBuf),
    #[error("the master key comes from {place}, so it is not this program's to replace")]
    NotOurs { place: KeyPlace },
}

impl KeyError {
    /// Returns what the user can do about this error.
    pub fn hint(&self) -> String {
        match self {
            Self::Malformed { .. } => {
                "a key is 32 random bytes in base64, as `countersign key generate` prints them".into()
            }
            Self::Exposed(path) => {
                format!("make it this user's own and run `chmod 600 {}`", path.display())
            }
            Self::NotAFile(_) => "give the path of a file with the key in it".into(),
            Self::Unreadable { path, .. } => {
                format!("make `{}` readable for this user", path.display())
            }
            Self::NotMade { path, .. } => format!(
                "make `{}` writable, or set COUNTERSIGN_KEY",
                path.parent().unwrap_or(path).display()
            ),
            Self::Missing(_) => "restore it from a backup or set COUNTERSIGN_KEY to the same key; to start over, move the data folder away".into(),
            Self::Locked(_) => "run the command again when the other one is done".into(),
            Self::NotOurs { place: KeyPlace::Variable } => "make a key with `countersign key generate`; set COUNTERSIGN_KEY to `new,old` for every process and start each once; then set it to `new` alone".into(),
            Self::NotOurs { place: KeyPlace::File(path) | KeyPlace::Automatic(path) } => format!(
                "make a key with `countersign key generate`; let `{}` hold `new,old` and run `countersign key status` or start a process once; then let it hold `new` alone",
                path.display()
            ),
        }
    }
}

impl MasterKey {
    /// Generates a random key.
    pub fn generate() -> Self {
        Self(random_bytes())
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns 8 bytes of a SHA-256 over the key. They tell a wrong key from a damaged ring without
    /// revealing the key.
    pub(super) fn id(&self) -> [u8; 8] {
        let mut digest = Sha256::new();
        digest.update(b"countersign master key id");
        digest.update(self.0);
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(digest.finalize()) {
            *to = from;
        }
        id
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let bytes = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
            .iter()
            .find_map(|alphabet| alphabet.decode(text).ok())
            .map(Zeroizing::new)
            .ok_or("it is not base64")?;
        <[u8; 32]>::try_from(bytes.as_slice()).map(Self).map_err(|_| "it is not 32 bytes long")
    }

    /// Returns the key in standard base64, as `COUNTERSIGN_KEY` and key files hold it.
    pub fn to_base64(&self) -> SecretString {
        SecretString::from(STANDARD.encode(self.0))
    }
}

/// Parses keys separated by commas. `place` names the source in an error.
pub(super) fn parse_list(text: &str, place: &str) -> Result<Vec<MasterKey>, KeyError> {
    text.split(',')
        .map(|part| {
            MasterKey::parse(part)
                .map_err(|problem| KeyError::Malformed { place: place.into(), problem })
        })
        .collect()
}
