//! A store that is opened when it is first needed, and again if that failed.
//!
//! The key may be missing, or the folder's owner may not answer: that must keep nobody from listing
//! tools or calling those that need no grant, and must mend itself when its cause is gone.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;

use super::peer::{Answering, ListeningSockets};
use super::ring::Opening;
use super::{Answer, AskError, DataFolder, KeySource, Role, Store, StoreError};
use crate::model::chain;

/// Where the store is, and the store once it is open.
pub struct Slot {
    folder: DataFolder,
    keys: KeySource,
    answering: Answering,
    role: watch::Sender<Role>,
    store: OnceCell<Store>,
    only_looks: AtomicBool,
    /// Why the last try to open it failed.
    unopened: Mutex<Unopened>,
}

/// How opening the store has gone so far.
#[derive(Default)]
struct Unopened {
    is_failing: bool,
    tried_at: Option<Instant>,
}

/// Whether a server can serve its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// The store is open, and cannot be read or written.
    StoreFailing,
    /// The store cannot be opened: a wrong key, a folder that is not accessible, no answer from its
    /// owner.
    StoreNotOpened,
}

/// How often a store that does not open is tried on behalf of health checks, which anyone may send.
const OPEN_INTERVAL: Duration = Duration::from_secs(1);

impl Slot {
    pub fn new(folder: DataFolder, keys: KeySource) -> Self {
        Self {
            folder,
            keys,
            answering: Answering::default(),
            role: watch::Sender::new(Role::Peer),
            store: OnceCell::new(),
            only_looks: AtomicBool::new(false),
            unopened: Mutex::default(),
        }
    }

    /// Opens the store, once it is needed, without writing: none is made, and no ring is wrapped anew.
    pub fn only_look(&self) {
        self.only_looks.store(true, Ordering::Relaxed);
    }

    /// The store, opened now if it is not open yet.
    ///
    /// # Errors
    /// As [`Store::open`]; the next call tries again.
    pub async fn get(&self) -> Result<&Store, StoreError> {
        let open = async || {
            let opening =
                if self.only_looks.load(Ordering::Relaxed) { Opening::Look } else { Opening::Use };
            if opening == Opening::Look && is_empty(&self.folder.path) {
                return Err(StoreError::Empty);
            }
            let (answering, role) = (self.answering.clone(), self.role.clone());
            let keys = self.keys.clone();
            let store = Store::join(self.folder.clone(), keys, answering, role, opening).await?;
            if opening == Opening::Use {
                store.make_reserve();
            }
            Ok(store)
        };
        self.store.get_or_try_init(open).await
    }

    /// Whether the store works. One that is not open yet is opened for this: a load balancer asks
    /// before the first user comes, and that user must not be the one who finds out.
    pub async fn readiness(&self) -> Readiness {
        if let Some(store) = self.store.get() {
            let is_ready = store.is_ready().await;
            return if is_ready { Readiness::Ready } else { Readiness::StoreFailing };
        }
        if !self.may_try() {
            return Readiness::StoreNotOpened;
        }
        let opened = self.get().await;
        let was_failing = std::mem::replace(&mut self.unopened.lock().is_failing, opened.is_err());
        match opened {
            Ok(_) => {
                if was_failing {
                    tracing::info!("the store is open now");
                }
                Readiness::Ready
            }
            Err(error) => {
                if !was_failing {
                    let (hint, error) = (error.hint(), chain(&error));
                    tracing::error!(error, hint, "the store cannot be opened");
                }
                Readiness::StoreNotOpened
            }
        }
    }

    /// Whether it is time to try once more to open the store, if the last try failed.
    fn may_try(&self) -> bool {
        let now = Instant::now();
        let mut unopened = self.unopened.lock();
        let is_due = !unopened.is_failing
            || unopened.tried_at.is_none_or(|at| now.duration_since(at) >= OPEN_INTERVAL);
        if is_due {
            unopened.tried_at = Some(now);
        }
        is_due
    }

    /// What this process is to the data folder, now and whenever that changes.
    /// [`Role::Peer`] until the store is open.
    pub fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// Has the questions of all processes answered here, on the runtime of the caller, while this
    /// process owns the folder. To be called once, before the store is open: nobody is served
    /// without.
    pub fn answer(&self, answer: Box<Answer>) {
        self.answering.install(answer);
    }

    /// What the owner of the folder listens on for browsers, for [`Role::Owner`] to publish and for the
    /// next one to take.
    pub fn sockets(&self) -> ListeningSockets {
        self.answering.sockets().clone()
    }

    /// As [`Store::ask`], opening the store if need be.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn ask(&self, question: &[u8]) -> Result<Vec<u8>, AskError> {
        self.get().await?.ask(question).await
    }

    /// The data folder.
    pub fn path(&self) -> &Path {
        &self.folder.path
    }

    /// Returns while a server is there that could own the folder in place of this keeper.
    pub async fn wanted(&self) {
        self.answering.wanted().await;
    }

    /// Returns when a process of another version has called, which cannot be a peer of this keeper and
    /// waits for the folder.
    pub async fn needed(&self) {
        self.answering.needed().await;
    }

    /// Leaves the folder to that process, and goes on as its peer.
    pub async fn step_down(&self) {
        if let Some(store) = self.store.get() {
            store.step_down().await;
        }
    }

    /// Hands the folder over, if the store is open.
    pub async fn close(&self) {
        if let Some(store) = self.store.get() {
            store.close().await;
        }
    }
}

/// Whether nothing lies in a folder. One that cannot be read is not empty, and opening it says why.
fn is_empty(folder: &Path) -> bool {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}
