//! The key file: how the automatic one is created and replaced.
//!
//! ```text
//! master.key       the master key
//! master.key.old   the keys before it, newest first
//! master.key.lock  held while the key is replaced
//! ```
//!
//! Several data folders may be sealed with the same automatic key, but a replacement rewraps only
//! the ring of the current folder. So the replaced key is kept in the file beside the new one: the
//! other folders still open with it, and are then rewrapped.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::master_key::{KeyError, MasterKey, parse_list};
use crate::store::private_file::{self, Unfit, overwrite};

/// Number of replaced keys that are kept; the oldest ones are dropped.
const MAX_OLD_KEYS: usize = 200;

/// Reads the keys in a key file.
pub(super) fn read(path: &Path) -> Result<Vec<MasterKey>, KeyError> {
    let text = private_file::read(path).map_err(|unfit| match unfit {
        Unfit::Exposed => KeyError::Exposed(path.into()),
        Unfit::NotAFile => KeyError::NotAFile(path.into()),
        Unfit::Unreadable(source) => KeyError::Unreadable { path: path.into(), source },
    })?;
    parse_list(&text, &format!("`{}`", path.display()))
}

/// Reads the automatic key file, and creates it if it is missing and the store is empty. Returns
/// its keys, then those that they replaced.
pub(super) fn read_or_make(path: &Path, store_is_empty: bool) -> Result<Vec<MasterKey>, KeyError> {
    let mut keys = match read(path) {
        Err(error) if error.is_missing_file() => {
            if !store_is_empty {
                return Err(KeyError::Missing(path.into()));
            }
            make(path).map_err(|source| KeyError::NotMade { path: path.into(), source })?;
            read(path)?
        }
        other => other?,
    };
    keys.append(&mut read_old(path)?);
    Ok(keys)
}

/// Exclusive right to replace a key file; released on drop.
pub(super) struct Replacing {
    path: PathBuf,
    _lock: File,
}

impl Replacing {
    /// Takes the lock of the key file.
    ///
    /// # Errors
    /// [`KeyError::Locked`] while another process replaces the key: two replacements at once would
    /// discard each other's key.
    pub(super) fn begin(path: &Path) -> Result<Self, KeyError> {
        let not_made = |source| KeyError::NotMade { path: path.into(), source };
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let lock = options.open(beside(path, "lock")).map_err(not_made)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.into(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(KeyError::Locked(path.into())),
            Err(fs::TryLockError::Error(source)) => Err(not_made(source)),
        }
    }

    /// Replaces the key by a new one. If this is interrupted, each earlier key is in one file or
    /// the other.
    pub(super) fn put_new_key(&self) -> Result<(), KeyError> {
        let mut old = read(&self.path)?;
        old.append(&mut read_old(&self.path)?);
        let mut seen = std::collections::BTreeSet::new();
        old.retain(|key| seen.insert(key.id()));
        old.truncate(MAX_OLD_KEYS);
        let list: Vec<_> = old.iter().map(MasterKey::to_base64).collect();
        let list: Vec<_> = list.iter().map(ExposeSecret::expose_secret).collect();
        let list = Zeroizing::new(list.join(","));
        let old = beside(&self.path, "old");
        // Write the old keys first: no ring is wrapped with the new key yet.
        overwrite(&old, list.as_bytes())
            .and_then(|()| {
                let new = MasterKey::generate().to_base64();
                overwrite(&self.path, new.expose_secret().as_bytes())
            })
            .map_err(|source| KeyError::NotMade { path: self.path.clone(), source })
    }
}

impl KeyError {
    fn is_missing_file(&self) -> bool {
        matches!(self, Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Returns the path of the file with the keys that the key file held before.
pub(super) fn old_keys(path: &Path) -> PathBuf {
    beside(path, "old")
}

fn read_old(path: &Path) -> Result<Vec<MasterKey>, KeyError> {
    match read(&old_keys(path)) {
        Err(error) if error.is_missing_file() => Ok(Vec::new()),
        other => other,
    }
}

fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    name.into()
}

fn make(path: &Path) -> io::Result<()> {
    private_file::make(path, MasterKey::generate().to_base64().expose_secret().as_bytes())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::super::source::KeySource;
    use super::*;

    #[test]
    fn first_starts_at_once_agree_on_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config").join("master.key");
        let ids: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| {
                    let source = KeySource::Automatic(path.clone());
                    scope.spawn(move || source.load(true).unwrap()[0].id())
                })
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "drafts are gone");
    }

    #[test]
    fn beside_a_used_store_no_new_key_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let missing = KeySource::Automatic(path.clone()).load(false);
        assert!(matches!(missing, Err(KeyError::Missing(_))));
        assert!(!path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, STANDARD.encode([7; 32])).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let source = KeySource::File(path.clone());
        assert!(matches!(source.load(true), Err(KeyError::Exposed(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(source.load(true).is_ok());
    }

    #[test]
    fn a_replaced_key_stays_at_hand_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let source = KeySource::Automatic(path.clone());
        let ids = || source.load(false).unwrap().iter().map(MasterKey::id).collect::<Vec<_>>();
        source.load(true).unwrap();
        let mut before = ids();
        for _ in 0..3 {
            Replacing::begin(&path).unwrap().put_new_key().unwrap();
            assert_eq!(read(&path).unwrap().len(), 1);
            let after = ids();
            assert_eq!(after[1..], before);
            before = after;
        }
        let names = ["master.key", "master.key.lock", "master.key.old"];
        let mut found: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        found.sort();
        assert_eq!(found, names);
    }

    #[test]
    fn a_key_is_replaced_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        KeySource::Automatic(path.clone()).load(true).unwrap();
        let first = Replacing::begin(&path).unwrap();
        assert!(matches!(Replacing::begin(&path).map(|_| ()), Err(KeyError::Locked(_))));
        drop(first);
        assert!(Replacing::begin(&path).is_ok());
    }
}
