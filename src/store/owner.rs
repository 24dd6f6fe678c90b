//! Who owns the data folder: an election by the folder's lock.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::StoreError;
use super::backend::{Backend, BackendError};
use super::folder::{DataFolder, FolderError, Lock};
use super::peer::{Answering, Peer, PeerError, Serving};
use super::sled::{Damage, SledBackend};

/// How long an owner may be on its way: opening the store, then its socket.
const START: Duration = Duration::from_secs(5);

/// How long several owners, one after the other, may be on their way; less than operations wait.
const MANY_STARTS: Duration = Duration::from_secs(11);

/// How long to wait before looking again for a socket that is not there yet.
const AGAIN: Duration = Duration::from_millis(5);

/// The longest such wait: fifty processes that wait must leave the owner time to start.
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(40);

/// How often sled is tried while the folder is ours and sled's own lock is not: the system takes a
/// killed process's files away one by one.
const SLED_TRIES: u32 = 50;

/// The owner's seat: sled, and the serving of it. Dropping it hands the folder over.
pub(super) struct Owner {
    /// First, so that nobody is served from a store that is being closed.
    _serving: Option<Serving>,
    pub(super) backend: Arc<SledBackend>,
}

/// What came of an election.
pub(super) enum Elected {
    Owner(Owner, Option<Damage>),
    Peer(Peer),
}

/// Takes the folder, or finds who has it.
///
/// # Errors
/// [`FolderError::Busy`] if whoever has it does not share it; [`PeerError`]
pub(super) async fn elect(
    folder: &DataFolder,
    answering: &Answering,
) -> Result<Elected, StoreError> {
    let (mut end, last_end) = (Instant::now() + START, Instant::now() + MANY_STARTS);
    let (mut last, mut pause) = (None, AGAIN);
    loop {
        let (ours, answers) = (folder.clone(), answering.clone());
        let taken = tokio::task::spawn_blocking(move || take(&ours, answers));
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
            // Owners may come and go: each gets its time.
            end = last_end.min(Instant::now() + START);
            last.clone_from(&note.name);
            pause = AGAIN;
        }
        // Either it is opening its socket, or it is about to let go of the lock: neither tells us.
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
    answering: Answering,
) -> Result<Option<(Owner, Option<Damage>)>, StoreError> {
    folder.check()?;
    let Some(mut lock) = folder.try_lock()? else { return Ok(None) };
    let (backend, damage) = open_sled(folder)?;
    let backend = Arc::new(backend);
    let serving = match serve(folder, &backend, &mut lock, answering) {
        Ok(serving) => Some(serving),
        Err(error) => {
            // Others are told that the folder is in use; this process needs none of them.
            tracing::warn!(%error, "the store cannot be shared with other processes");
            None
        }
    };
    backend.hold(lock);
    Ok(Some((Owner { _serving: serving, backend }, damage)))
}

fn open_sled(folder: &DataFolder) -> Result<(SledBackend, Option<Damage>), BackendError> {
    let mut tries = 0;
    loop {
        match SledBackend::open(&folder.db(), folder.clock.now()) {
            // Its lock fails like anything else: sled has no kind of error for it.
            Err(BackendError::Io(_)) if tries < SLED_TRIES => tries += 1,
            other => return other,
        }
        std::thread::sleep(AGAIN);
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
