//! A store that cannot be written or read: logged once, with its causes, and reported to readiness
//! checks. Also the reserve: disk space that is freed to save what is held in memory when the
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

/// A file in the data folder that only reserves disk space.
const RESERVE: &str = "reserve";
/// Bytes of the reserve: two segments of sled's log, some hundred grants.
const RESERVE_BYTES: usize = 1 << 20;
/// A file that is written to check whether there is disk space again.
const PROBE: &str = "probe";
const PROBE_BYTES: usize = 64 << 10;
/// Minimum time between tries of a failing store for health checks, which any client may send;
/// earlier checks report a failing store.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Whether the store works, as far as this process has seen.
#[derive(Default)]
pub(super) struct Trouble {
    is_failing: AtomicBool,
    probed_at: Mutex<Option<Instant>>,
}

impl Trouble {
    /// Records the result of an operation. Logs the first failure, and the first success after it.
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
    /// Records the result of a read. A successful read says nothing about the next write.
    pub(super) fn noted_read<T>(&self, read: std::result::Result<T, BackendError>) -> Result<T> {
        if let Err(error) = &read
            && is_trouble(error)
        {
            self.trouble.note(Some(error));
        }
        Ok(read?)
    }

    /// Records the result of a swap.
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

    /// Returns whether the store works. Tries a failing store again, at most once a second.
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

    /// Reserves the disk space that [`Self::release_reserve`] frees. If there is no space, a later
    /// start makes the reserve.
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

    /// Frees the reserve for data that must be saved before the process ends.
    pub async fn release_reserve(&self) {
        let path = self.folder.path.join(RESERVE);
        let released = super::blocking(move || remove(path)).await;
        if let Err(error) = released {
            tracing::warn!(%error, "the reserve could not be released");
        }
    }
}

/// Whether an error concerns the whole store and not one record.
fn is_trouble(error: &BackendError) -> bool {
    matches!(
        error,
        BackendError::Full | BackendError::Io(_) | BackendError::Peer(_) | BackendError::Unowned(_)
    )
}

/// Writes zeros, because setting a length alone would take up no disk space.
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
