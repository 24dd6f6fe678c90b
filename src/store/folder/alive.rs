//! Process liveness: each process that others may ask about holds the lock of a file of its own.
//!
//! ```text
//! <data>/alive/<instance>    locked for as long as that process lives
//! ```
//!
//! The operating system releases the lock when the process ends, however it ends. The file name is
//! random, so a new process with a reused process id is not taken for the old one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;

use crate::model::InstanceId;
use crate::model::secret;
use crate::store::private_file;

/// Prefix of a file's name before it is locked. The file is then renamed, so a name that others can
/// ask about stays locked while its process lives.
const DRAFT: &str = "new-";

/// Attempts to create the file before [`Alive::begin`] fails. Another process's cleanup may delete
/// a draft that is not locked yet.
const MAX_DRAFT_TRIES: u32 = 8;

/// The locked file of this process.
#[derive(Debug)]
pub(super) struct Alive {
    id: InstanceId,
    path: PathBuf,
    _lock: File,
}

impl Alive {
    /// Creates the file, and deletes the files of processes that have ended.
    pub(super) fn begin(data: &Path) -> io::Result<Self> {
        let folder = data.join("alive");
        private_file::create_folder(&folder)?;
        for entry in fs::read_dir(&folder)?.flatten() {
            // A later start can delete what cannot be deleted now.
            let _ = clear(&entry.path());
        }
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for _ in 0..MAX_DRAFT_TRIES {
            match Self::attempt(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => failed = error,
                done => return done,
            }
        }
        Err(failed)
    }

    fn attempt(folder: &Path) -> io::Result<Self> {
        let id = InstanceId::new(secret::random_ticket().expose_secret());
        let draft = folder.join(format!("{DRAFT}{}", id.as_str()));
        let path = folder.join(id.as_str());
        let lock = File::options().write(true).create_new(true).open(&draft)?;
        lock.lock()?;
        fs::rename(&draft, &path)?;
        Ok(Self { id, path, _lock: lock })
    }

    pub(super) fn id(&self) -> &InstanceId {
        &self.id
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether that process exists, suspended or not. Deletes the file of a process that has ended.
pub(super) fn is_alive(data: &Path, id: &InstanceId) -> io::Result<bool> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if id.as_str().is_empty() || !id.as_str().chars().all(is_name) {
        return Ok(false);
    }
    clear(&data.join("alive").join(id.as_str())).map(|is_gone| !is_gone)
}

/// Deletes the file of a process that has ended, and returns whether it has ended.
fn clear(path: &Path) -> io::Result<bool> {
    let file = match File::options().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    // Shared, so that two processes that ask at once do not take each other for the file's owner.
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Ok(false),
        Err(fs::TryLockError::Error(error)) => return Err(error),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_lives_until_its_file_is_free() {
        let data = tempfile::tempdir().unwrap();
        let [one, other] = [(), ()].map(|()| Alive::begin(data.path()).unwrap());
        assert_ne!(one.id(), other.id());
        for alive in [&one, &other] {
            assert!(is_alive(data.path(), alive.id()).unwrap());
        }
        let gone = one.id().clone();
        drop(one);
        assert!(!is_alive(data.path(), &gone).unwrap());
        assert!(is_alive(data.path(), other.id()).unwrap());
        for never in ["", "0", "../store", "new-0"] {
            assert!(!is_alive(data.path(), &InstanceId::new(never)).unwrap());
        }
    }

    #[test]
    fn what_killed_processes_left_is_cleared_away() {
        let data = tempfile::tempdir().unwrap();
        let one = Alive::begin(data.path()).unwrap();
        let folder = data.path().join("alive");
        for left in ["abc", "new-def"] {
            fs::write(folder.join(left), "").unwrap();
        }
        assert!(!is_alive(data.path(), &InstanceId::new("abc")).unwrap());
        let other = Alive::begin(data.path()).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        drop((one, other));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }

    /// Every name that can be asked about is locked, at every moment.
    #[test]
    fn a_new_process_is_never_taken_for_a_dead_one() {
        let data = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let alive = Alive::begin(data.path()).unwrap();
                        assert!(is_alive(data.path(), alive.id()).unwrap());
                    }
                });
            }
        });
    }
}
