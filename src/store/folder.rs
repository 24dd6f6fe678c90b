//! The data folder: private to one person, marked with its format, owned by one process at a time.
//!
//! ```text
//! <data>/            0700
//!   FORMAT           what wrote this folder; another format is refused untouched
//!   store.lock       held by the owner; says who that is and where it listens
//!   store.sock       where the owner listens, see `peer`
//!   socket.folder    the name of the folder for that socket, where it cannot lie here
//!   keeper.lock      held by the keeper, see `keeper`
//!   keeper.start     held by a process that starts one
//!   alive/           a file for each process that others may ask about, see `alive`
//!   reserve          takes up room, see `trouble`
//!   db/              sled; the only part that is ever set aside
//! ```

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::keeper::KEEPER_PURPOSE;
use super::peer::Address;
use crate::model::Clock;

const FORMAT: &str = "countersign 1, sled 0.34\n";
const MARKER: &str = "FORMAT";
const MARKER_DRAFT: &str = "FORMAT.new";
const LOCK: &str = "store.lock";

/// Opens the second line of the lock file.
const LISTENS: &str = "listens at ";

/// Where the store is, and who wants it.
#[derive(Clone)]
pub struct DataFolder {
    pub path: PathBuf,
    /// A private folder of the system for what lives no longer than we do: takes the owner's socket
    /// where the data folder cannot.
    pub runtime: PathBuf,
    /// Names this process to others in a word, e.g. `serve --stdio`.
    pub purpose: &'static str,
    pub clock: Clock,
}

/// The sole right to the folder. It is the operating system's and ends with the process, however
/// that ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    name: String,
}

/// Who holds the lock, by its own words; all of it may be missing while that process starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnerNote {
    pub(super) name: Option<String>,
    pub(super) listens: Option<Address>,
}

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// An owner of an earlier version, or one that found no place for a socket.
    #[error("the data folder `{}` is in use by another Countersign ({owner}), which shares it with no other process", path.display())]
    Busy { path: PathBuf, owner: String },
    #[error("the data folder `{}` can be read by other users", .0.display())]
    Exposed(PathBuf),
    #[error("the data folder `{}` belongs to another user", .0.display())]
    NotOurs(PathBuf),
    #[error("the data folder `{}` is a link or not a folder", .0.display())]
    NotAFolder(PathBuf),
    #[error("the folder `{}` holds something else than a store of this version", .0.display())]
    OtherFormat(PathBuf),
    #[error("the data folder `{}` could not be used: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl FolderError {
    pub fn hint(&self) -> String {
        match self {
            Self::Busy { .. } => {
                "end the other one and start it in this version, or give this one a folder of its own with `--data DIR`".into()
            }
            Self::Exposed(path) => format!("run `chmod 700 {}`", path.display()),
            Self::NotOurs(_) | Self::NotAFolder(_) | Self::OtherFormat(_) => {
                "give another folder with `--data DIR`; this one was left untouched".into()
            }
            Self::Io { path, .. } => {
                format!(
                    "make `{}` writable, or give another folder with `--data DIR`",
                    path.display()
                )
            }
        }
    }
}

impl DataFolder {
    /// Makes the folder if need be, and checks that it is private, ours, and a store or empty. Holds
    /// for whoever uses it, owner or peer.
    pub(super) fn check(&self) -> Result<(), FolderError> {
        let path = &self.path;
        let io = |source| FolderError::Io { path: path.into(), source };
        let is_keeper = self.purpose == KEEPER_PURPOSE;
        // A keeper must not bring a folder back that is being removed.
        if is_keeper && !self.is_marked()? {
            return Err(io(io::ErrorKind::NotFound.into()));
        }
        if !is_keeper && fs::symlink_metadata(path).is_err() {
            create_private(path).map_err(io)?;
        }
        let metadata = fs::symlink_metadata(path).map_err(io)?;
        if !metadata.is_dir() {
            // A link could be turned elsewhere between our checks and our writes.
            return Err(FolderError::NotAFolder(path.into()));
        }
        if !is_ours(&metadata) {
            return Err(FolderError::NotOurs(path.into()));
        }
        if is_exposed(&metadata) {
            return Err(FolderError::Exposed(path.into()));
        }
        // Before the lock, which would be the first thing of ours in a stranger's folder. The second
        // look is for another first start that was just ahead of us.
        if self.is_marked()? || !holds_anything_else(path).map_err(io)? || self.is_marked()? {
            Ok(())
        } else {
            Err(FolderError::OtherFormat(path.into()))
        }
    }

    fn is_marked(&self) -> Result<bool, FolderError> {
        match fs::read_to_string(self.path.join(MARKER)) {
            Ok(format) if format == FORMAT => Ok(true),
            Ok(_) => Err(FolderError::OtherFormat(self.path.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(FolderError::Io { path: self.path.clone(), source }),
        }
    }

    /// Takes the lock if nobody holds it.
    pub(super) fn try_lock(&self) -> Result<Option<Lock>, FolderError> {
        let io = |source| FolderError::Io { path: self.path.clone(), source };
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.path.join(LOCK)).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(source)) => return Err(io(source)),
        }
        let name = format!(
            "process {}, `{}`, version {}, started {}",
            std::process::id(),
            self.purpose,
            env!("CARGO_PKG_VERSION"),
            crate::model::time::utc(self.clock.now()),
        );
        let mut lock = Lock { file, name };
        lock.write("").map_err(io)?;
        if !self.is_marked()? {
            mark(&self.path).map_err(io)?;
        }
        Ok(Some(lock))
    }

    /// What the owner wrote about itself.
    pub(super) fn owner(&self) -> OwnerNote {
        let mut text = String::new();
        let read = File::open(self.path.join(LOCK))
            .and_then(|file| file.take(16 << 10).read_to_string(&mut text));
        // Where locks keep others from reading, as on Windows, it stays unknown.
        if read.is_err() || !text.ends_with('\n') {
            return OwnerNote { name: None, listens: Address::fixed(&self.path) };
        }
        let mut lines = text.lines();
        let name = lines.next().filter(|name| !name.is_empty()).map(ToOwned::to_owned);
        let listens = lines.next().and_then(|line| line.strip_prefix(LISTENS));
        OwnerNote { name, listens: listens.map(|written| Address::read(written, &self.path)) }
    }

    pub(super) fn db(&self) -> PathBuf {
        self.path.join("db")
    }
}

impl Lock {
    /// Writes down where the owner listens. Without it others take the folder for one that is not
    /// shared.
    pub(super) fn announce(&mut self, written: &str) -> io::Result<()> {
        self.write(&format!("{LISTENS}{written}\n"))
    }

    fn write(&mut self, more: &str) -> io::Result<()> {
        let text = format!("{}\n{more}", self.name);
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }
}

impl OwnerNote {
    pub(super) fn words(&self) -> String {
        self.name.clone().unwrap_or_else(|| "starting".into())
    }

    pub(super) fn pid(&self) -> Option<u32> {
        let number = self.name.as_deref()?.strip_prefix("process ")?.split(',').next()?;
        number.parse().ok()
    }
}

/// Whole or not at all: a marker that a crash left half-written would lock its own folder out.
fn mark(path: &Path) -> io::Result<()> {
    let draft = path.join(MARKER_DRAFT);
    fs::write(&draft, FORMAT)?;
    File::open(&draft)?.sync_all()?;
    fs::rename(&draft, path.join(MARKER))?;
    sync(path)
}

fn holds_anything_else(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        // Another first start may be just ahead of us, or have been cut off: its files are no
        // strangers, and what it writes it writes under the lock.
        let name = entry?.file_name();
        if ![LOCK, MARKER, MARKER_DRAFT].iter().any(|own| name == *own) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes a folder that only its owner can open.
///
/// # Errors
/// Also [`io::ErrorKind::AlreadyExists`], whatever is there.
pub(super) fn create_new_private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes a folder and its parents; those that are new are open to their owner only.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Whether anybody but the owner can read or write it. Windows keeps profile folders private itself.
#[cfg_attr(not(unix), expect(unused_variables))]
pub(super) fn is_exposed(metadata: &fs::Metadata) -> bool {
    #[cfg(unix)]
    return std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0;
    #[cfg(not(unix))]
    false
}

/// Whether it belongs to the user that this process runs as.
#[cfg_attr(not(unix), expect(unused_variables))]
pub(super) fn is_ours(metadata: &fs::Metadata) -> bool {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::uid(metadata) == rustix::process::geteuid().as_raw();
    #[cfg(not(unix))]
    true
}

/// Makes a new name in the folder durable.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}
