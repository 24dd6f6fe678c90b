//! Election of the data folder's owner, by the folder's lock.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::ask_owner::Answering;
use super::peer::client::Peer;
use super::peer::error::PeerError;
use super::peer::serve::Serving;
use super::{DataFolder, FolderError, Lock};
use crate::store::StoreError;
use crate::store::backend::sled::SledBackend;
use crate::store::backend::{Backend, BackendError, Key};
use crate::store::notice::Notice;

/// Time an owner may take to open the store and then its socket; then [`FolderError::Busy`].
const MAX_START_TIME: Duration = Duration::from_secs(5);

/// Time that several successive owners may take together; less than operations wait for an owner.
const MAX_SUCCESSIVE_STARTS_TIME: Duration = Duration::from_secs(11);

/// First pause before checking again for the owner's socket; doubles up to [`MAX_POLL_INTERVAL`].
/// Also the pause between attempts to open sled.
const FIRST_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Longest pause: fifty waiting processes must leave the owner time to start.
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(40);

/// Attempts to open sled, [`FIRST_POLL_INTERVAL`] apart, before its error is returned. Sled's own
/// lock may still be held while the folder's is free: the system closes a killed process's files
/// one by one.
const MAX_SLED_TRIES: u32 = 50;

/// This process as the owner: sled, and the server for peers. Dropping it releases the folder.
pub(super) struct Owner {
    /// Dropped first, so that no peer is served from a store that is closing.
    _serving: Option<Serving>,
    pub(super) backend: Arc<SledBackend>,
}

/// Result of an election.
pub(super) enum Elected {
    Owner(Owner, Option<Notice>),
    Peer(Peer),
}

/// Takes the folder, or connects to the owner that holds it.
///
/// # Errors
/// [`FolderError::Busy`] if the owner does not share the folder; [`PeerError`] if it cannot be
/// asked; [`StoreError`] if the folder or sled cannot be opened.
pub(super) async fn elect(
    folder: &DataFolder,
    guarded: &Key,
    answering: &Answering,
) -> Result<Elected, StoreError> {
    let (mut end, last_end) =
        (Instant::now() + MAX_START_TIME, Instant::now() + MAX_SUCCESSIVE_STARTS_TIME);
    let (mut last, mut pause) = (None, FIRST_POLL_INTERVAL);
    loop {
        let (ours, key, answers) = (folder.clone(), guarded.clone(), answering.clone());
        let taken = tokio::task::spawn_blocking(move || take(&ours, &key, answers));
        if let Some((owner, damage)) = taken.await.map_err(|_| BackendError::Closed)?? {
            return Ok(Elected::Owner(owner, damage));
        }
        let note = folder.owner();
        if let Some(address) = &note.listens {
            let silent = || PeerError::Silent { owner: note.words(), pid: note.pid() };
            if let Some(peer) = Peer::connect(address, folder.purpose, silent, answering.sockets())
                .await
                .map_err(BackendError::from)?
            {
                return Ok(Elected::Peer(peer));
            }
        }
        if note.name.is_some() && note.name != last {
            // Owners may succeed one another: give each its own time.
            end = last_end.min(Instant::now() + MAX_START_TIME);
            last.clone_from(&note.name);
            pause = FIRST_POLL_INTERVAL;
        }
        // The owner is opening its socket or about to release the lock; it announces neither.
        if Instant::now() >= end {
            let owner = note.words();
            return Err(FolderError::Busy { path: folder.path.clone(), owner }.into());
        }
        tokio::time::sleep(pause).await;
        pause = MAX_POLL_INTERVAL.min(pause * 2);
    }
}

fn take(
    folder: &DataFolder,
    guarded: &Key,
    answering: Answering,
) -> Result<Option<(Owner, Option<Notice>)>, StoreError> {
    folder.check()?;
    let Some(mut lock) = folder.try_lock()? else { return Ok(None) };
    let (backend, damage) = open_sled(folder, guarded)?;
    let backend = Arc::new(backend);
    let serving = match serve(folder, &backend, &mut lock, answering) {
        Ok(serving) => Some(serving),
        Err(error) => {
            // Other processes learn that the folder is in use; this process works without them.
            tracing::warn!(%error, "the store cannot be shared with other processes");
            None
        }
    };
    backend.hold(lock);
    Ok(Some((Owner { _serving: serving, backend }, damage)))
}

fn open_sled(
    folder: &DataFolder,
    guarded: &Key,
) -> Result<(SledBackend, Option<Notice>), BackendError> {
    let mut tries = 0;
    loop {
        match SledBackend::open(&folder.db(), guarded, folder.clock.now()) {
            // A taken lock is an I/O error like any other: sled has no separate error for it.
            Err(BackendError::Failed { .. }) if tries < MAX_SLED_TRIES => tries += 1,
            other => return other,
        }
        std::thread::sleep(FIRST_POLL_INTERVAL);
    }
}

fn serve(
    folder: &DataFolder,
    backend: &Arc<SledBackend>,
    lock: &mut Lock,
    answering: Answering,
) -> io::Result<Serving> {
    let shared: Arc<dyn Backend> = Arc::<SledBackend>::clone(backend);
    let serving = Serving::start(&folder.path, &folder.runtime, folder.purpose, shared, answering)?;
    let written = serving.address().written(&folder.path);
    lock.announce(written.ok_or(io::ErrorKind::InvalidFilename)?)?;
    Ok(serving)
}
