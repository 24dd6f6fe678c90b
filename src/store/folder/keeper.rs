//! Locks of a data folder's keeper: the process that answers open links after the process that made
//! them has ended.
//!
//! ```text
//! keeper.lock      held by the keeper until it exits; names the keeper while it is ready
//! keeper.start     held by a process that starts a keeper
//! ```
//!
//! Both are locks of the operating system, so neither outlives its process.
//!
//! A keeper that finds no open link removes its note *before* it checks a last time. A process that
//! makes a link writes it *before* it reads the note. So either the process sees that the keeper
//! may be ending and waits for its end, or the keeper sees the link and stays.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

/// Purpose by which other processes recognize the keeper, see
/// [`DataFolder::purpose`](super::DataFolder::purpose).
pub const KEEPER_PURPOSE: &str = "keeper";

const LOCK: &str = "keeper.lock";
const START: &str = "keeper.start";

/// Attempts to take the lock before a process concludes that there is another keeper. Each call of
/// [`state`] holds the lock for a moment.
const MAX_LOCK_TRIES: u32 = 20;
/// Pause between two attempts.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// Maximum bytes read of a note, which is one line.
const MAX_NOTE_BYTES: u64 = 1024;

/// The keeper's lock, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct KeeperLock(File);

/// Lock of the one process that may start a keeper.
#[derive(Debug)]
pub struct StartLock {
    _file: File,
}

/// State of a data folder's keeper, according to its lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeeperState {
    /// No process is the keeper.
    Absent,
    /// A process is the keeper, but is not ready yet or may be ending.
    Unsettled,
    /// Links can rely on this process.
    Ready { pid: u32 },
}

impl KeeperLock {
    /// Makes this process the keeper; `None` if another process is.
    ///
    /// # Errors
    /// If the folder does not exist or cannot be written.
    pub fn take(data: &Path) -> io::Result<Option<Self>> {
        let file = open(data, LOCK)?;
        for _ in 0..MAX_LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => {
                    let mut lock = Self(file);
                    lock.retract()?;
                    return Ok(Some(lock));
                }
                Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_RETRY_INTERVAL),
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Writes the note: from now on links rely on this process.
    ///
    /// # Errors
    /// If the note cannot be written.
    pub fn announce(&mut self) -> io::Result<()> {
        let note =
            format!("process {}, version {}\n", std::process::id(), env!("CARGO_PKG_VERSION"));
        self.retract()?;
        self.0.write_all(note.as_bytes())
    }

    /// Removes the note: from now on no link relies on this process.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn retract(&mut self) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.rewind()
    }
}

impl StartLock {
    /// Takes the lock; `None` if another process holds it.
    ///
    /// # Errors
    /// If the folder does not exist or cannot be written.
    pub fn take(data: &Path) -> io::Result<Option<Self>> {
        let file = open(data, START)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Returns the state of this data folder's keeper.
///
/// # Errors
/// If the lock file cannot be opened, locked or read.
pub fn state(data: &Path) -> io::Result<KeeperState> {
    let file = match File::open(data.join(LOCK)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KeeperState::Absent),
        Err(error) => return Err(error),
    };
    // Shared, so that two processes that check at once do not take each other for a keeper.
    match file.try_lock_shared() {
        Ok(()) => return Ok(KeeperState::Absent),
        Err(fs::TryLockError::WouldBlock) => {}
        Err(fs::TryLockError::Error(error)) => return Err(error),
    }
    let mut note = String::new();
    file.take(MAX_NOTE_BYTES).read_to_string(&mut note)?;
    let pid = note
        .strip_suffix('\n')
        .and_then(|note| note.strip_prefix("process ")?.split(',').next()?.parse().ok());
    Ok(pid.map_or(KeeperState::Unsettled, |pid| KeeperState::Ready { pid }))
}

fn open(data: &Path, name: &str) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(data.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_is_the_keeper_and_says_when_links_may_count_on_it() {
        let data = tempfile::tempdir().unwrap();
        let look = || state(data.path()).unwrap();
        assert_eq!(look(), KeeperState::Absent);
        let mut lock = KeeperLock::take(data.path()).unwrap().unwrap();
        assert_eq!(look(), KeeperState::Unsettled);
        assert!(KeeperLock::take(data.path()).unwrap().is_none(), "two keepers");
        lock.announce().unwrap();
        let ready = KeeperState::Ready { pid: std::process::id() };
        assert_eq!(look(), ready);
        lock.retract().unwrap();
        assert_eq!(look(), KeeperState::Unsettled);
        lock.announce().unwrap();
        assert_eq!(look(), ready);
        drop(lock);
        // The note of a keeper that was killed is still there.
        assert_eq!(look(), KeeperState::Absent);
    }

    #[test]
    fn one_process_at_a_time_starts_a_keeper() {
        let data = tempfile::tempdir().unwrap();
        let first = StartLock::take(data.path()).unwrap();
        assert!(first.is_some());
        assert!(StartLock::take(data.path()).unwrap().is_none());
        drop(first);
        assert!(StartLock::take(data.path()).unwrap().is_some());
    }

    /// A call of [`state`] holds the lock for a moment, and must not be taken for a keeper.
    #[test]
    fn a_look_keeps_no_process_from_being_the_keeper() {
        let data = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| (0..2000).all(|_| state(data.path()).is_ok()));
            while !looking.is_finished() {
                assert!(KeeperLock::take(data.path()).unwrap().is_some());
            }
        });
    }
}
