//! The data folder: private to one person, marked with its format, owned by one process at a time.
//!
//! ```text
//! <data>/            0700
//!   FORMAT           what wrote this folder; another format is refused untouched
//!   store.lock       held by the owner; names it for the others' error message
//!   db/              sled; the only part that is ever set aside
//! ```

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::model::Time;

const FORMAT: &str = "countersign 1, sled 0.34\n";
const MARKER: &str = "FORMAT";
const MARKER_DRAFT: &str = "FORMAT.new";
const LOCK: &str = "store.lock";

/// An open data folder. The lock is the operating system's and ends with the process, however it
/// ends.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("the data folder `{}` is in use by another Countersign ({owner})", path.display())]
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
                "end the other one, or give this one a folder of its own with `--data DIR`".into()
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

impl Folder {
    /// Makes the folder if need be, checks that it is private and ours, and takes its lock.
    ///
    /// `purpose` says in a word what this process is, e.g. `serve --stdio`.
    pub(super) fn open(path: &Path, purpose: &str, now: Time) -> Result<Self, FolderError> {
        let io = |source| FolderError::Io { path: path.into(), source };
        if fs::symlink_metadata(path).is_err() {
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
        let is_marked = match fs::read_to_string(path.join(MARKER)) {
            Ok(format) if format == FORMAT => true,
            Ok(_) => return Err(FolderError::OtherFormat(path.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(io(error)),
        };
        // Before the lock, which would be the first thing of ours in a stranger's folder.
        if !is_marked && holds_anything_else(path).map_err(io)? {
            return Err(FolderError::OtherFormat(path.into()));
        }
        let lock = take_lock(path, purpose, now)?;
        if !is_marked {
            mark(path).map_err(io)?;
        }
        Ok(Self { path: path.into(), _lock: lock })
    }

    pub(super) fn db(&self) -> PathBuf {
        self.path.join("db")
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

fn take_lock(path: &Path, purpose: &str, now: Time) -> Result<File, FolderError> {
    let io = |source| FolderError::Io { path: path.into(), source };
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path.join(LOCK)).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut owner = String::new();
            // The owner may be just about to write its name.
            (&file).take(200).read_to_string(&mut owner).map_err(io)?;
            let owner = match owner.trim() {
                "" => "starting".to_owned(),
                owner => owner.to_owned(),
            };
            return Err(FolderError::Busy { path: path.into(), owner });
        }
        Err(fs::TryLockError::Error(source)) => return Err(io(source)),
    }
    let name = format!(
        "process {}, `{purpose}`, version {}, started {}\n",
        std::process::id(),
        env!("CARGO_PKG_VERSION"),
        crate::model::time::utc(now),
    );
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(name.as_bytes()))
        .map_err(io)?;
    Ok(file)
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
