//! The master key: where it comes from, and how the automatic one comes to be.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::model::secret::random_bytes;

/// Two keys and some white space.
const LARGEST: u64 = 4096;

/// 256 bits that wrap the key ring.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; 32]);

/// Where the master key is, decided by the configuration.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// `COUNTERSIGN_KEY`: base64 of 32 bytes, or `new,old` while rotating.
    Given(SecretString),
    /// `COUNTERSIGN_KEY_FILE`: a file with the same content, readable by its owner only.
    File(PathBuf),
    /// A file that is made at the first start. It lies outside the data folder, so that a copy of
    /// the folder alone opens nothing.
    Automatic(PathBuf),
}

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
}

impl KeyError {
    pub fn hint(&self) -> String {
        match self {
            Self::Malformed { .. } => {
                "a key is 32 random bytes in base64, e.g. from `openssl rand -base64 32`".into()
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
        }
    }
}

impl MasterKey {
    pub fn generate() -> Self {
        Self(random_bytes())
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Tells a wrong key from a damaged ring without revealing anything of the key.
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

    /// As `COUNTERSIGN_KEY` and key files hold it.
    pub fn to_base64(&self) -> SecretString {
        SecretString::from(STANDARD.encode(self.0))
    }
}

impl KeySource {
    /// The keys to try, the one to wrap with first.
    ///
    /// `store_is_empty` decides whether an automatic key may be made: next to a store that was
    /// sealed with a key that is gone, a new one would only hide the loss.
    pub(super) fn load(&self, store_is_empty: bool) -> Result<Vec<MasterKey>, KeyError> {
        match self {
            Self::Given(text) => parse_list(text.expose_secret(), "COUNTERSIGN_KEY"),
            Self::File(path) => read(path),
            Self::Automatic(path) => match read(path) {
                Err(KeyError::Unreadable { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    if !store_is_empty {
                        return Err(KeyError::Missing(path.clone()));
                    }
                    make(path)
                        .map_err(|source| KeyError::NotMade { path: path.clone(), source })?;
                    read(path)
                }
                other => other,
            },
        }
    }
}

fn parse_list(text: &str, place: &str) -> Result<Vec<MasterKey>, KeyError> {
    text.split(',')
        .map(|part| {
            MasterKey::parse(part)
                .map_err(|problem| KeyError::Malformed { place: place.into(), problem })
        })
        .collect()
}

fn read(path: &Path) -> Result<Vec<MasterKey>, KeyError> {
    let unreadable = |source| KeyError::Unreadable { path: path.into(), source };
    // Asked before opening, which would hang on a pipe, and again of what was opened, which is
    // what will be read.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(KeyError::NotAFile(path.into()));
    }
    let file = fs::File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if super::folder::is_exposed(&metadata) || !super::folder::is_ours(&metadata) {
        return Err(KeyError::Exposed(path.into()));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(LARGEST).read_to_string(&mut text).map_err(unreadable)?;
    parse_list(&text, &format!("`{}`", path.display()))
}

/// Makes a key file that appears whole or not at all: of several first starts at once the first to
/// link wins, and the others read its key.
fn make(path: &Path) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    super::folder::create_private(folder)?;
    let draft = folder.join(format!(".{}.key", URL_SAFE_NO_PAD.encode(random_bytes::<9>())));
    let written =
        write_private(&draft, MasterKey::generate().to_base64().expose_secret().as_bytes())
            .and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match written {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => super::folder::sync(folder),
    }
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
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
