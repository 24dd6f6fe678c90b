//! A store that is opened when it is first needed, and again if that failed.
//!
//! The key may be missing, or the folder's owner may not answer: that must keep nobody from listing
//! tools or calling those that need no grant, and must mend itself when its cause is gone.

use std::path::Path;

use tokio::sync::{OnceCell, watch};

use super::peer::Answering;
use super::{Answer, AskError, DataFolder, KeySource, Role, Store, StoreError};

/// Where the store is, and the store once it is open.
pub struct Slot {
    folder: DataFolder,
    keys: KeySource,
    answering: Answering,
    role: watch::Sender<Role>,
    store: OnceCell<Store>,
}

impl Slot {
    pub fn new(folder: DataFolder, keys: KeySource) -> Self {
        Self {
            folder,
            keys,
            answering: Answering::default(),
            role: watch::Sender::new(Role::Peer),
            store: OnceCell::new(),
        }
    }

    /// The store, opened now if it is not open yet.
    ///
    /// # Errors
    /// As [`Store::open`]; the next call tries again.
    pub async fn get(&self) -> Result<&Store, StoreError> {
        let open = || {
            let (answering, role) = (self.answering.clone(), self.role.clone());
            Store::join(self.folder.clone(), self.keys.clone(), answering, role)
        };
        self.store.get_or_try_init(open).await
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
