//! The backend for processes that share a data folder. This process is the owner or a peer, and
//! switches between these roles on its own.
//!
//! When an owner ends or is killed, its peers' connections close. Each peer then takes part in an
//! election at once, even without a pending request, because the owner also listens for browsers.
//! Peers repeat pending requests to the new owner.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::DataFolder;
use super::ask_owner::{Answering, AskError};
use super::election::{Elected, Owner, elect};
use super::peer::client::{Peer, RequestError};
use super::peer::error::PeerError;
use crate::store::StoreError;
use crate::store::backend::walk::is_empty;
use crate::store::backend::{Backend, BackendError, Key, Page, Sealed, Unreachable};
use crate::store::notice::Notice;

/// Owners that one operation tries, as each may be killed during it; then [`PeerError::NoOwner`].
const MAX_OWNERS: u32 = 64;

/// Time an operation waits for an owner, longer than an election takes; then
/// [`PeerError::NoOwner`].
const MAX_WAIT_FOR_OWNER: Duration = Duration::from_secs(12);

/// Time a process that has stepped down stays out of the election, so that another one wins it.
const STEP_DOWN_PAUSE: Duration = Duration::from_millis(100);

/// Function that returns the guarded record, as this process last read it.
pub(crate) type GuardedRecord = dyn Fn() -> Sealed + Send + Sync;

/// Role of a process for its data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Holds the store and all other resources that may exist only once.
    Owner,
    /// Uses the owner's store, or is not the owner yet.
    Peer,
}

pub(super) struct SharedFolder {
    inner: Arc<Inner>,
    /// Task that takes part in an election whenever the owner ends.
    elections: JoinHandle<()>,
}

struct Inner {
    folder: DataFolder,
    /// Key of the record without which no other record opens.
    guarded: Key,
    answering: Answering,
    membership: watch::Sender<Membership>,
    role: watch::Sender<Role>,
    /// Notified when an operation finds no owner after a failed election.
    wanted: Notify,
    /// Notified when this process has stepped down.
    vacated: Notify,
    /// See [`SharedFolder::guard`].
    guarded_record: OnceLock<Box<GuardedRecord>>,
    notice: OnceLock<Notice>,
}

/// Part of this process in the folder, which decides who answers its operations.
#[derive(Clone)]
enum Membership {
    Owner(Arc<Owner>),
    Peer(Arc<Peer>),
    /// None: an election runs, or the last one failed with this error.
    Vacant(Option<Unreachable>),
    Closed,
}

impl SharedFolder {
    /// Takes the folder, or connects to the owner that holds it. The record under `guarded` is the
    /// one that [`Self::guard`] supplies.
    ///
    /// # Errors
    /// As [`elect`].
    pub(super) async fn open(
        folder: DataFolder,
        guarded: Key,
        answering: Answering,
        role: watch::Sender<Role>,
    ) -> Result<Self, StoreError> {
        let inner = Arc::new(Inner {
            folder,
            guarded,
            answering,
            membership: watch::Sender::new(Membership::Vacant(None)),
            role,
            wanted: Notify::new(),
            vacated: Notify::new(),
            guarded_record: OnceLock::new(),
            notice: OnceLock::new(),
        });
        inner.run_election().await?;
        let elections = tokio::spawn(run_elections(Arc::clone(&inner)));
        Ok(Self { inner, elections })
    }

    pub(super) fn notice(&self) -> Option<&Notice> {
        self.inner.notice.get()
    }

    /// Sets the guarded record, which every store of this process must hold. A new owner whose
    /// store is empty, because the old one was damaged and set aside, restores it. Otherwise
    /// running processes and later ones would each use a ring of their own.
    ///
    /// Key rotation changes the record, so it is read when it is needed. This process's copy may be
    /// outdated; in a store without records no key is missing for that.
    pub(super) fn guard(&self, record: Box<GuardedRecord>) {
        let _ = self.inner.guarded_record.set(record);
    }

    /// Sends a question to the owner process; sends it again if the owner ends before it answers.
    ///
    /// # Errors
    /// [`AskError`] if the owner answers no questions or cannot be asked.
    pub(super) async fn ask(&self, question: &[u8]) -> Result<Vec<u8>, AskError> {
        let mut owners = self.owners();
        loop {
            match owners.next().await?.ask(&self.inner.answering, question).await {
                Ok(answer) => return Ok(answer),
                Err(RequestError::Lost) => {}
                Err(RequestError::Unanswered) => return Err(AskError::Unanswered),
                Err(RequestError::Failed(error)) => return Err(error.into()),
            }
        }
    }

    /// Hands the folder to another process if this one owns it, and continues as its peer.
    /// Operations wait for the next owner.
    pub(super) async fn step_down(&self) {
        let mut left = None;
        self.inner.membership.send_if_modified(|membership| {
            let is_owner = matches!(membership, Membership::Owner(_));
            if is_owner {
                left = Some(std::mem::replace(membership, Membership::Vacant(None)));
            }
            is_owner
        });
        if left.is_some() {
            self.inner.role.send_replace(Role::Peer);
            // Closing waits for the last writes.
            let _ = tokio::task::spawn_blocking(move || drop(left)).await;
            self.inner.vacated.notify_one();
        }
    }

    /// Releases the folder, or disconnects from its owner.
    pub(super) async fn close(&self) {
        self.elections.abort();
        let left = self.inner.leave();
        // Closing waits for the last writes.
        let _ = tokio::task::spawn_blocking(move || drop(left)).await;
    }

    fn owners(&self) -> Owners<'_> {
        Owners { inner: &self.inner, tries: 0, last: None }
    }
}

impl Drop for SharedFolder {
    fn drop(&mut self) {
        self.elections.abort();
        drop(self.inner.leave());
    }
}

/// Takes part in elections until the store is closed.
async fn run_elections(inner: Arc<Inner>) {
    loop {
        let membership = inner.membership.borrow().clone();
        match membership {
            Membership::Closed => return,
            Membership::Owner(owner) => {
                // A reference held here would keep the store open.
                drop(owner);
                inner.vacated.notified().await;
                tokio::time::sleep(STEP_DOWN_PAUSE).await;
            }
            Membership::Peer(owner) => {
                owner.hung_up().await;
                tracing::debug!("the owner of the data folder is gone");
            }
            Membership::Vacant(_) => inner.wanted.notified().await,
        }
        inner.take(Membership::Vacant(None));
        if let Err(error) = inner.run_election().await {
            tracing::warn!(%error, "the data folder has no owner that this process can use");
            // The current owner binds its ports itself.
            inner.answering.sockets().close_rest();
            let hint = error.hint();
            inner.take(Membership::Vacant(Some(Unreachable::new(error, hint))));
        }
    }
}

impl Inner {
    /// Takes part in one election and stores its result.
    async fn run_election(&self) -> Result<(), StoreError> {
        match elect(&self.folder, &self.guarded, &self.answering).await? {
            Elected::Peer(peer) => {
                self.take(Membership::Peer(Arc::new(peer)));
            }
            Elected::Owner(owner, damage) => {
                if let Some(damage) = damage {
                    let notice = self.notice.get_or_init(|| damage);
                    tracing::error!("{notice}");
                }
                self.put_back(&owner).await?;
                // Close sockets that still arrive over a peer connection.
                self.answering.sockets().begin();
                if self.take(Membership::Owner(Arc::new(owner))) {
                    self.role.send_replace(Role::Owner);
                }
            }
        }
        Ok(())
    }

    /// Writes the guarded record into an empty store. If there are records but no ring, an import
    /// is under way or was interrupted: our ring would not open those records.
    async fn put_back(&self, owner: &Owner) -> Result<(), StoreError> {
        let Some(record) = self.guarded_record.get() else { return Ok(()) };
        let sealed = record();
        let found = owner.backend.get(&self.guarded).await?;
        if found.is_none() && is_empty(&*owner.backend).await? {
            owner.backend.swap(&self.guarded, None, Some(&sealed)).await?;
        }
        Ok(())
    }

    /// Stores the new state; false if the store has been closed, and then drops `new`.
    fn take(&self, new: Membership) -> bool {
        self.membership.send_if_modified(|membership| {
            let is_open = !matches!(membership, Membership::Closed);
            if is_open {
                *membership = new;
            }
            is_open
        })
    }

    fn leave(&self) -> Membership {
        self.role.send_replace(Role::Peer);
        self.membership.send_replace(Membership::Closed)
    }
}

/// The successive owners that one operation tries.
struct Owners<'a> {
    inner: &'a Inner,
    tries: u32,
    last: Option<Arc<Peer>>,
}

impl Owners<'_> {
    /// Returns the process that answers now; later calls return the next one.
    async fn next(&mut self) -> Result<Answerer, BackendError> {
        self.tries += 1;
        if self.tries > MAX_OWNERS {
            return Err(PeerError::NoOwner.into());
        }
        let now = self.inner.membership.borrow().clone();
        let membership = if self.is_settled(&now) {
            now
        } else {
            let waited = timeout(MAX_WAIT_FOR_OWNER, self.wait(now)).await;
            waited.unwrap_or(Err(BackendError::Closed)).map_err(|error| match error {
                BackendError::Closed if self.is_open() => PeerError::NoOwner.into(),
                other => other,
            })?
        };
        match membership {
            Membership::Owner(owner) => Ok(Answerer::Owner(owner)),
            Membership::Peer(peer) => {
                self.last = Some(Arc::clone(&peer));
                Ok(Answerer::Peer(peer))
            }
            Membership::Vacant(Some(error)) => Err(error.into()),
            Membership::Vacant(None) | Membership::Closed => Err(BackendError::Closed),
        }
    }

    async fn wait(&self, now: Membership) -> Result<Membership, BackendError> {
        let mut changes = self.inner.membership.subscribe();
        // The cause of the failed election may be gone by now: request another one.
        if matches!(now, Membership::Vacant(Some(_))) {
            self.inner.wanted.notify_one();
            changes.changed().await.map_err(|_| BackendError::Closed)?;
        }
        let settled = changes.wait_for(|membership| {
            self.is_settled(membership) || matches!(membership, Membership::Vacant(Some(_)))
        });
        Ok(settled.await.map_err(|_| BackendError::Closed)?.clone())
    }

    /// Whether there is an owner to ask, or there never will be.
    fn is_settled(&self, membership: &Membership) -> bool {
        match membership {
            Membership::Owner(_) | Membership::Closed => true,
            Membership::Peer(peer) => {
                self.last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, peer))
            }
            Membership::Vacant(_) => false,
        }
    }

    fn is_open(&self) -> bool {
        !matches!(*self.inner.membership.borrow(), Membership::Closed)
    }
}

enum Answerer {
    Owner(Arc<Owner>),
    Peer(Arc<Peer>),
}

impl Answerer {
    async fn get(&self, key: &Key) -> Result<Option<Sealed>, RequestError> {
        match self {
            Self::Owner(owner) => Ok(owner.backend.get(key).await?),
            Self::Peer(peer) => peer.get(key).await,
        }
    }

    async fn page(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, RequestError> {
        match self {
            Self::Owner(owner) => Ok(owner.backend.page(prefix, after).await?),
            Self::Peer(peer) => peer.page(prefix, after).await,
        }
    }

    async fn swap(
        &self,
        key: &Key,
        old: Option<&Sealed>,
        new: Option<&Sealed>,
    ) -> Result<bool, RequestError> {
        match self {
            Self::Owner(owner) => Ok(owner.backend.swap(key, old, new).await?),
            Self::Peer(peer) => peer.swap(key, old, new).await,
        }
    }

    async fn ask(&self, answering: &Answering, question: &[u8]) -> Result<Vec<u8>, RequestError> {
        match self {
            Self::Owner(_) => {
                answering.answer(question.to_vec()).await.ok_or(RequestError::Unanswered)
            }
            Self::Peer(peer) => peer.ask(question).await,
        }
    }

    /// Settles a swap whose answer was lost (contract, 5).
    async fn settle(
        &self,
        key: &Key,
        old: Option<&Sealed>,
        new: Option<&Sealed>,
    ) -> Result<bool, RequestError> {
        let is_ours = |found: Option<&Sealed>| new.is_some() && found == new;
        let found = self.get(key).await?;
        if is_ours(found.as_ref()) {
            return Ok(true);
        }
        if found.as_ref() != old {
            return Ok(false);
        }
        if self.swap(key, old, new).await? {
            return Ok(true);
        }
        // The lost swap may have been under way, and have happened in between.
        Ok(is_ours(self.get(key).await?.as_ref()))
    }
}

impl Backend for SharedFolder {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Sealed>, BackendError>> {
        async move {
            let mut owners = self.owners();
            loop {
                match owners.next().await?.get(key).await {
                    Err(RequestError::Lost) => {}
                    done => return done.map_err(failed),
                }
            }
        }
        .boxed()
    }

    fn page<'a>(
        &'a self,
        prefix: &'a Key,
        after: Option<&'a Key>,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        async move {
            let mut owners = self.owners();
            loop {
                match owners.next().await?.page(prefix, after).await {
                    Err(RequestError::Lost) => {}
                    done => return done.map_err(failed),
                }
            }
        }
        .boxed()
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        old: Option<&'a Sealed>,
        new: Option<&'a Sealed>,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        async move {
            let mut owners = self.owners();
            let mut done = owners.next().await?.swap(key, old, new).await;
            while let Err(RequestError::Lost) = done {
                done = owners.next().await?.settle(key, old, new).await;
            }
            done.map_err(failed)
        }
        .boxed()
    }
}

fn failed(error: RequestError) -> BackendError {
    match error {
        RequestError::Failed(error) => error,
        RequestError::Lost | RequestError::Unanswered => BackendError::Closed,
    }
}
