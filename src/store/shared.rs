//! The backend of a process among others: owner of the data folder, or peer of the one who is, and
//! by itself the one after the other.
//!
//! An owner that ends or is killed hangs up on its peers. Each of them then stands for election at
//! once, whether it has anything to ask or not, because the owner does more than to serve: it
//! listens for browsers. What was asked of the old owner is asked again of the new one.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::backend::{Backend, BackendError, Key, Page, Sealed};
use super::folder::DataFolder;
use super::owner::{Elected, Owner, elect};
use super::peer::{Answering, Peer, PeerError, Trouble};
use super::walk::is_empty;
use super::{Notice, StoreError};

/// How often an operation is asked of yet another owner. Each may be killed as it is asked.
const MOST_OWNERS: u32 = 64;

/// How long an operation waits for an owner. An election is shorter.
const ELECTION: Duration = Duration::from_secs(12);

/// How long a process that has stepped down stays out of the election, so that the other one wins it.
const WAY: Duration = Duration::from_millis(100);

/// What a store rests on, as this process has seen it last.
pub(super) type Foundation = dyn Fn() -> (Key, Sealed) + Send + Sync;

/// What a process is to its data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It holds the store, and whatever else there may be only once.
    Owner,
    /// It does not, or not yet.
    Peer,
}

pub(super) struct Shared {
    inner: Arc<Inner>,
    /// Stands for election whenever the owner is gone.
    standing: JoinHandle<()>,
}

struct Inner {
    folder: DataFolder,
    answering: Answering,
    seat: watch::Sender<Seat>,
    role: watch::Sender<Role>,
    /// An operation found the seat empty after an election that failed.
    wanted: Notify,
    /// This process has stepped down.
    vacated: Notify,
    /// See [`Shared::found`].
    foundation: OnceLock<Box<Foundation>>,
    notice: OnceLock<Notice>,
}

/// Who answers.
#[derive(Clone)]
enum Seat {
    Owner(Arc<Owner>),
    Peer(Arc<Peer>),
    /// Nobody, while an election goes on or after one that failed.
    Vacant(Option<Arc<StoreError>>),
    Closed,
}

impl Shared {
    /// Takes the folder or joins its owner.
    ///
    /// # Errors
    /// As [`elect`].
    pub(super) async fn open(
        folder: DataFolder,
        answering: Answering,
        role: watch::Sender<Role>,
    ) -> Result<Self, StoreError> {
        let inner = Arc::new(Inner {
            folder,
            answering,
            seat: watch::Sender::new(Seat::Vacant(None)),
            role,
            wanted: Notify::new(),
            vacated: Notify::new(),
            foundation: OnceLock::new(),
            notice: OnceLock::new(),
        });
        inner.stand().await?;
        let standing = tokio::spawn(keep_standing(Arc::clone(&inner)));
        Ok(Self { inner, standing })
    }

    pub(super) fn notice(&self) -> Option<&Notice> {
        self.inner.notice.get()
    }

    /// Names the record that every store of this process must hold: a new owner that finds its
    /// store empty, because the old one was damaged and set aside, puts it back. Without it,
    /// processes that live and those that come would each use a ring of their own.
    ///
    /// It changes when keys are rotated, so it is asked for when it is needed. What this process
    /// knows of it may be behind; in a store without records no key is missing for that.
    pub(super) fn found(&self, foundation: Box<Foundation>) {
        let _ = self.inner.foundation.set(foundation);
    }

    /// Puts a question to the owner's process. It may be put twice, if an owner is lost over it.
    ///
    /// # Errors
    /// [`AskError`]
    pub(super) async fn ask(&self, question: &[u8]) -> Result<Vec<u8>, AskError> {
        let mut owners = self.owners();
        loop {
            match owners.next().await?.ask(&self.inner.answering, question).await {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Lost) => {}
                Err(Trouble::Unanswered) => return Err(AskError::Unanswered),
                Err(Trouble::Failed(error)) => return Err(error.into()),
            }
        }
    }

    /// Leaves the folder to another process if this one owns it, and goes on as its peer. Operations
    /// meanwhile wait for the next owner.
    pub(super) async fn step_down(&self) {
        let mut left = None;
        self.inner.seat.send_if_modified(|seat| {
            let is_owner = matches!(seat, Seat::Owner(_));
            if is_owner {
                left = Some(std::mem::replace(seat, Seat::Vacant(None)));
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

    /// Hands the folder over, or leaves its owner.
    pub(super) async fn close(&self) {
        self.standing.abort();
        let left = self.inner.leave();
        // Closing waits for the last writes.
        let _ = tokio::task::spawn_blocking(move || drop(left)).await;
    }

    fn owners(&self) -> Owners<'_> {
        Owners { inner: &self.inner, tries: 0, last: None }
    }
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("the process that owns the data folder answers no questions")]
    Unanswered,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<BackendError> for AskError {
    fn from(error: BackendError) -> Self {
        Self::Store(error.into())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.standing.abort();
        drop(self.inner.leave());
    }
}

/// Stands for election until it is won.
async fn keep_standing(inner: Arc<Inner>) {
    loop {
        let seat = inner.seat.borrow().clone();
        match seat {
            Seat::Closed => return,
            Seat::Owner(owner) => {
                // Held here, the store would stay open.
                drop(owner);
                inner.vacated.notified().await;
                tokio::time::sleep(WAY).await;
            }
            Seat::Peer(owner) => {
                owner.hung_up().await;
                tracing::debug!("the owner of the data folder is gone");
            }
            Seat::Vacant(_) => inner.wanted.notified().await,
        }
        inner.take(Seat::Vacant(None));
        if let Err(error) = inner.stand().await {
            tracing::warn!(%error, "the data folder has no owner that this process can use");
            // The present owner binds its ports itself.
            inner.answering.sockets().close_rest();
            inner.take(Seat::Vacant(Some(Arc::new(error))));
        }
    }
}

impl Inner {
    /// Stands for election once, and takes the seat that comes of it.
    async fn stand(&self) -> Result<(), StoreError> {
        match elect(&self.folder, &self.answering).await? {
            Elected::Peer(peer) => {
                self.take(Seat::Peer(Arc::new(peer)));
            }
            Elected::Owner(owner, damage) => {
                if let Some(damage) = damage {
                    let notice = self.notice.get_or_init(|| Notice(damage));
                    tracing::error!("{notice}");
                }
                self.put_back(&owner).await?;
                // Sockets that still arrive over a peer connection are closed.
                self.answering.sockets().begin();
                if self.take(Seat::Owner(Arc::new(owner))) {
                    self.role.send_replace(Role::Owner);
                }
            }
        }
        Ok(())
    }

    /// Puts the foundation into a store that is empty. Beside records a missing ring means that an
    /// import is under way or was cut off: they would not open with ours.
    async fn put_back(&self, owner: &Owner) -> Result<(), StoreError> {
        let Some((key, sealed)) = self.foundation.get().map(|foundation| foundation()) else {
            return Ok(());
        };
        let stands = owner.backend.get(&key).await?;
        if stands.is_none() && is_empty(&*owner.backend).await? {
            owner.backend.swap(&key, None, Some(&sealed)).await?;
        }
        Ok(())
    }

    /// False if the store has been closed meanwhile; then the seat is given up again.
    fn take(&self, new: Seat) -> bool {
        self.seat.send_if_modified(|seat| {
            let is_open = !matches!(seat, Seat::Closed);
            if is_open {
                *seat = new;
            }
            is_open
        })
    }

    fn leave(&self) -> Seat {
        self.role.send_replace(Role::Peer);
        self.seat.send_replace(Seat::Closed)
    }
}

/// The owners that one operation is asked of, one after the other.
struct Owners<'a> {
    inner: &'a Inner,
    tries: u32,
    last: Option<Arc<Peer>>,
}

impl Owners<'_> {
    /// Who answers now; from the second time on, the next one after that.
    async fn next(&mut self) -> Result<Answerer, BackendError> {
        self.tries += 1;
        if self.tries > MOST_OWNERS {
            return Err(PeerError::NoOwner.into());
        }
        let now = self.inner.seat.borrow().clone();
        let seat = if self.is_settled(&now) {
            now
        } else {
            let waited = timeout(ELECTION, self.wait(now)).await;
            waited.unwrap_or(Err(BackendError::Closed)).map_err(|error| match error {
                BackendError::Closed if self.is_open() => PeerError::NoOwner.into(),
                other => other,
            })?
        };
        match seat {
            Seat::Owner(owner) => Ok(Answerer::Owner(owner)),
            Seat::Peer(peer) => {
                self.last = Some(Arc::clone(&peer));
                Ok(Answerer::Peer(peer))
            }
            Seat::Vacant(Some(error)) => Err(BackendError::Unowned(error)),
            Seat::Vacant(None) | Seat::Closed => Err(BackendError::Closed),
        }
    }

    async fn wait(&self, now: Seat) -> Result<Seat, BackendError> {
        let mut seats = self.inner.seat.subscribe();
        // Why the last election failed may be gone by now; this one is for us.
        if matches!(now, Seat::Vacant(Some(_))) {
            self.inner.wanted.notify_one();
            seats.changed().await.map_err(|_| BackendError::Closed)?;
        }
        let settled =
            seats.wait_for(|seat| self.is_settled(seat) || matches!(seat, Seat::Vacant(Some(_))));
        Ok(settled.await.map_err(|_| BackendError::Closed)?.clone())
    }

    /// Whether there is somebody to ask, or there never will be.
    fn is_settled(&self, seat: &Seat) -> bool {
        match seat {
            Seat::Owner(_) | Seat::Closed => true,
            Seat::Peer(peer) => self.last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, peer)),
            Seat::Vacant(_) => false,
        }
    }

    fn is_open(&self) -> bool {
        !matches!(*self.inner.seat.borrow(), Seat::Closed)
    }
}

enum Answerer {
    Owner(Arc<Owner>),
    Peer(Arc<Peer>),
}

impl Answerer {
    async fn get(&self, key: &Key) -> Result<Option<Sealed>, Trouble> {
        match self {
            Self::Owner(owner) => Ok(owner.backend.get(key).await?),
            Self::Peer(peer) => peer.get(key).await,
        }
    }

    async fn page(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Trouble> {
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
    ) -> Result<bool, Trouble> {
        match self {
            Self::Owner(owner) => Ok(owner.backend.swap(key, old, new).await?),
            Self::Peer(peer) => peer.swap(key, old, new).await,
        }
    }

    async fn ask(&self, answering: &Answering, question: &[u8]) -> Result<Vec<u8>, Trouble> {
        match self {
            Self::Owner(_) => answering.answer(question.to_vec()).await.ok_or(Trouble::Unanswered),
            Self::Peer(peer) => peer.ask(question).await,
        }
    }

    /// A swap whose answer was lost (contract, 5).
    async fn settle(
        &self,
        key: &Key,
        old: Option<&Sealed>,
        new: Option<&Sealed>,
    ) -> Result<bool, Trouble> {
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
        // The one that was lost may have been under way all the time and come in between.
        Ok(is_ours(self.get(key).await?.as_ref()))
    }
}

impl Backend for Shared {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Sealed>, BackendError>> {
        async move {
            let mut owners = self.owners();
            loop {
                match owners.next().await?.get(key).await {
                    Err(Trouble::Lost) => {}
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
                    Err(Trouble::Lost) => {}
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
            while let Err(Trouble::Lost) = done {
                done = owners.next().await?.settle(key, old, new).await;
            }
            done.map_err(failed)
        }
        .boxed()
    }
}

fn failed(trouble: Trouble) -> BackendError {
    match trouble {
        Trouble::Failed(error) => error,
        Trouble::Lost | Trouble::Unanswered => BackendError::Closed,
    }
}
