//! Sources of the master key.

use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

use super::key_file;
use super::master_key::{KeyError, KeyPlace, MasterKey, parse_list};

/// Source of the master key, chosen by the configuration.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// `COUNTERSIGN_KEY`: base64 of 32 bytes, or `new,old` while rotating.
    Given(SecretString),
    /// `COUNTERSIGN_KEY_FILE`: a file with the same content, readable by its owner only.
    File(PathBuf),
    /// A file that the first start creates outside the data folder, so that a copy of the folder
    /// alone opens nothing.
    Automatic(PathBuf),
}

impl KeySource {
    /// Returns the keys to try, starting with the one that wraps the ring.
    ///
    /// Creates an automatic key only if `store_is_empty`: beside a store whose key is lost, a new
    /// key would only hide the loss.
    pub(super) fn load(&self, store_is_empty: bool) -> Result<Vec<MasterKey>, KeyError> {
        match self {
            Self::Given(text) => parse_list(text.expose_secret(), "COUNTERSIGN_KEY"),
            Self::File(path) => key_file::read(path),
            Self::Automatic(path) => key_file::read_or_make(path, store_is_empty),
        }
    }

    /// Returns the file with the keys that the automatic key has replaced, if it exists.
    pub fn replaced(&self) -> Option<PathBuf> {
        match self {
            Self::Automatic(path) => Some(key_file::old_keys(path)).filter(|old| old.exists()),
            Self::Given(_) | Self::File(_) => None,
        }
    }

    /// Returns the source without the key.
    pub fn place(&self) -> KeyPlace {
        match self {
            Self::Given(_) => KeyPlace::Variable,
            Self::File(path) => KeyPlace::File(path.clone()),
            Self::Automatic(path) => KeyPlace::Automatic(path.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn passphrases_and_short_keys_are_refused_without_being_repeated() {
        for text in ["correct horse battery staple", "c2hvcnQ=", "", "AAAA,"] {
            let Err(error) = KeySource::Given(text.to_owned().into()).load(true) else {
                panic!("`{text}` was taken for a key");
            };
            assert!(text.is_empty() || !error.to_string().contains(text));
        }
        let rotating = format!("{},{}", STANDARD.encode([1; 32]), URL_SAFE_NO_PAD.encode([2; 32]));
        assert_eq!(KeySource::Given(rotating.into()).load(true).unwrap().len(), 2);
    }
}
