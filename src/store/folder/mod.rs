//! The data folder: accessible to one user only, marked with its format, owned by one process at a
//! time.
//!
//! ```text
//! <data>/            0700
//!   FORMAT           format of this folder; another format is refused and left untouched
//!   store.lock       held by the owner; names its process and the address of its socket
//!   store.sock       the owner's socket, see `peer`
//!   socket.folder    name of the folder with that socket, if it cannot be here
//!   keeper.lock      held by the keeper, see `keeper`
//!   keeper.start     held by a process that starts a keeper
//!   alive/           a file for each process that others may ask about, see `alive`
//!   reserve          reserves disk space, see `reserve`
//!   db/              sled; the only part that is set aside if it is damaged
//! ```

mod alive;
mod ask_owner;
mod election;
mod home;
pub mod keeper;
mod listening_sockets;
mod peer;
mod reserve;
mod shared;

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::private_file::{create_folder, is_exposed, is_ours, sync_folder};
use crate::model::Clock;
pub(super) use ask_owner::Answering;
pub use ask_owner::{Answer, AskError};
pub(super) use home::FolderHome;
use keeper::KEEPER_PURPOSE;
pub use listening_sockets::ListeningSockets;
use peer::socket::Address;
pub(super) use shared::GuardedRecord;
pub use shared::Role;

/// Advice for a failure of the disk, in this process or in the owner's.
pub(super) const DISK_HINT: &str = "check the disk and the permissions of the data folder";

const FORMAT: &str = "countersign 1, sled 0.34\n";
const MARKER: &str = "FORMAT";
const MARKER_DRAFT: &str = "FORMAT.new";
const LOCK: &str = "store.lock";

/// Prefix of the lock file's second line.
const LISTENS: &str = "listens at ";

/// Location of the store, and the process that opens it.
#[derive(Clone)]
pub struct DataFolder {
    pub path: PathBuf,
    /// Directory of the system for short-lived files. Its private subfolder holds the owner's
    /// socket if the data folder cannot.
    pub runtime: PathBuf,
    /// Short name of this process's task for other processes, e.g. `serve --stdio`.
    pub purpose: &'static str,
    pub clock: Clock,
}

/// Exclusive lock on the folder. The operating system releases it when the process ends, however it
/// ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    name: String,
}

/// The owner's description of itself in the lock file. Each part may be missing while the owner
/// starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnerNote {
    pub(super) name: Option<String>,
    pub(super) listens: Option<Address>,
}

/// Failure to open or lock the data folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The owner is of an earlier version, or could not create a socket.
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
    /// Returns what the user can do about this error.
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
    /// Creates the folder if it is missing, and checks that it is private, belongs to this user,
    /// and is a store or empty. Every process runs this check, owner or peer.
    pub(super) fn check(&self) -> Result<(), FolderError> {
        let path = &self.path;
        let io = |source| FolderError::Io { path: path.into(), source };
        let is_keeper = self.purpose == KEEPER_PURPOSE;
        // A keeper must not recreate a folder that is being removed.
        if is_keeper && !self.is_marked()? {
            return Err(io(io::ErrorKind::NotFound.into()));
        }
        if !is_keeper && fs::symlink_metadata(path).is_err() {
            create_folder(path).map_err(io)?;
        }
        let metadata = fs::symlink_metadata(path).map_err(io)?;
        if !metadata.is_dir() {
            // A link could be redirected between our checks and our writes.
            return Err(FolderError::NotAFolder(path.into()));
        }
        if !is_ours(&metadata) {
            return Err(FolderError::NotOurs(path.into()));
        }
        if is_exposed(&metadata) {
            return Err(FolderError::Exposed(path.into()));
        }
        // Check before taking the lock, so that we create no file in another program's folder. The
        // second `is_marked` covers a first start of another process at the same time.
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

    /// Takes the lock; `None` if another process holds it.
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

    /// Reads what the owner wrote about itself.
    pub(super) fn owner(&self) -> OwnerNote {
        let mut text = String::new();
        let read = File::open(self.path.join(LOCK))
            .and_then(|file| file.take(16 << 10).read_to_string(&mut text));
        // If a lock prevents reading, as on Windows, the owner stays unknown.
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
    /// Writes the owner's address into the lock file. Without it, other processes treat the folder
    /// as not shared.
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

/// Writes the marker atomically: a marker half-written in a crash would make the folder unusable.
fn mark(path: &Path) -> io::Result<()> {
    let draft = path.join(MARKER_DRAFT);
    fs::write(&draft, FORMAT)?;
    File::open(&draft)?.sync_all()?;
    fs::rename(&draft, path.join(MARKER))?;
    sync_folder(path)
}

fn holds_anything_else(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        // Another first start may be running, or was interrupted. Its files are ours too, and it
        // writes under the lock.
        let name = entry?.file_name();
        if ![LOCK, MARKER, MARKER_DRAFT].iter().any(|own| name == *own) {
            return Ok(true);
        }
    }
    Ok(false)
}
