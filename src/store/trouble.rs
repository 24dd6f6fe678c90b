//! A store that cannot be written or read: said once in the log, with its causes, and told to whoever asks
//! whether the server is ready. And the reserve, which makes room for what is held in memory when the
//! process ends on a full disk.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::backend::{Backend as _, BackendError, Key};
use super::{Result, Store, ring};
use crate::model::chain;

/// A file in the data folder that only takes up room.
const RESERVE: &str = "reserve";
/// Two segments of sled's log: some hundred grants.
const RESERVE_BYTES: usize = 1 << 20;
/// A file that is written to find out whether there is room again.
const PROBE: &str = "probe";
const PROBE_BYTES: usize = 64 << 10;
/// How often a failing store is tried on behalf of health checks, which anybody may send.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Whether the store works, as far as this process has seen.
#[derive(Default)]
pub(super) struct Trouble {
    is_failing: AtomicBool,
    probed_at: Mutex<Option<Instant>>,
}

impl Trouble {
    /// Notes how an operation went. The first failure is logged, and so is the end of the failing.
    fn note(&self, failure: Option<&BackendError>) {
        let is_failure = failure.is_some();
        if self.is_failing.swap(is_failure, Ordering::SeqCst) == is_failure {
            return;
        }
        if let Some(error) = failure {
            let (error, hint) = (chain(error), error.hint());
            tracing::error!(error, hint, "the store cannot be used");
        } else {
            tracing::info!("the store can be used again");
        }
    }

    fn may_probe(&self) -> bool {
        let now = Instant::now();
        let mut probed_at = self.probed_at.lock();
        let is_due = probed_at.is_none_or(|at| now.duration_since(at) >= PROBE_INTERVAL);
        if is_due {
            *probed_at = Some(now);
        }
        is_due
    }
}

impl Store {
    /// Notes a read. One that succeeds says nothing of the next write.
    pub(super) fn noted_read<T>(&self, read: std::result::Result<T, BackendError>) -> Result<T> {
        if let Err(error) = &read
            && is_trouble(error)
        {
            self.trouble.note(Some(error));
        }
        Ok(read?)
    }

    /// Notes a swap.
    pub(super) fn noted_swap(
        &self,
        swapped: std::result::Result<bool, BackendError>,
    ) -> Result<bool> {
        match &swapped {
            Ok(true) => self.trouble.note(None),
            Err(error) if is_trouble(error) => self.trouble.note(Some(error)),
            Ok(false) | Err(_) => {}
        }
        Ok(swapped?)
    }

    /// Whether the store works. While it fails it is tried again, once a second at most.
    pub async fn is_ready(&self) -> bool {
        if !self.trouble.is_failing.load(Ordering::SeqCst) {
            return true;
        }
        if !self.trouble.may_probe() {
            return false;
        }
        let path = self.folder.path.join(PROBE);
        let has_room = super::blocking(move || probe(&path)).await;
        let is_back =
            has_room.is_ok() && self.backend.get(&Key::new(ring::PLACE.into())).await.is_ok();
        if is_back {
            self.trouble.note(None);
        }
        is_back
    }

    /// Takes up the room that [`Self::release_reserve`] gives back. Where there is none, that is no
    /// failure: the reserve is made at a later start.
    pub(super) fn make_reserve(&self) {
        let path = self.folder.path.join(RESERVE);
        tokio::task::spawn_blocking(move || {
            if !path.exists()
                && let Err(error) = take_up(&path, RESERVE_BYTES)
            {
                let _ = fs::remove_file(&path);
                tracing::debug!(%error, "no room for a reserve");
            }
        });
    }

    /// Gives up the reserve, so that what must be kept before the process ends finds room.
    pub async fn release_reserve(&self) {
        let path = self.folder.path.join(RESERVE);
        let released = super::blocking(move || remove(path)).await;
        if let Err(error) = released {
            tracing::warn!(%error, "the reserve could not be released");
        }
    }
}

/// Whether an error is of the store as a whole, and not of one record.
fn is_trouble(error: &BackendError) -> bool {
    matches!(
        error,
        BackendError::Full | BackendError::Io(_) | BackendError::Peer(_) | BackendError::Unowned(_)
    )
}

/// Written and not merely set to a length, which would take up nothing.
fn take_up(path: &Path, bytes: usize) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&vec![0; bytes])?;
    file.sync_all()
}

fn probe(path: &Path) -> io::Result<()> {
    let written = take_up(path, PROBE_BYTES);
    remove(path.to_owned())?;
    written
}

fn remove(path: PathBuf) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_begins_with_a_failure_of_the_whole_store_and_ends_with_a_success() {
        let trouble = Trouble::default();
        let is_failing = || trouble.is_failing.load(Ordering::SeqCst);
        trouble.note(None);
        assert!(!is_failing());
        trouble.note(Some(&BackendError::Full));
        trouble.note(Some(&BackendError::Full));
        assert!(is_failing());
        trouble.note(None);
        assert!(!is_failing());
        assert!(!is_trouble(&BackendError::Corrupt), "one record");
        let error = BackendError::Io(io::Error::from_raw_os_error(5));
        assert!(is_trouble(&error));
        assert!(!error.to_string().contains("os error"), "{error}");
        assert!(chain(&error).contains("os error 5"), "{}", chain(&error));
    }

    #[test]
    fn the_reserve_takes_up_room_and_gives_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(RESERVE);
        take_up(&path, RESERVE_BYTES).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), RESERVE_BYTES as u64);
        remove(path.clone()).unwrap();
        remove(path).unwrap();
    }
}
