//! The data folder as the place of an open store: what its processes share besides the records.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{OnceCell, watch};

use super::alive::{self, Alive};
use super::ask_owner::{Answering, AskError};
use super::shared::{GuardedRecord, Role, SharedFolder};
use super::{DISK_HINT, DataFolder, reserve};
use crate::model::InstanceId;
use crate::store::backend::{Backend, BackendError, Key};
use crate::store::error::Result;
use crate::store::notice::Notice;

/// A data folder that this process has opened, as its owner or as a peer of its owner.
pub(crate) struct FolderHome {
    shared: Arc<SharedFolder>,
    path: PathBuf,
    alive: OnceCell<Alive>,
}

impl FolderHome {
    /// Takes the folder, or connects to the owner that holds it. The loss of the record under
    /// `guarded` is the loss of the store. Keeps `role` up to date, and answers questions of other
    /// processes with `answering` while this process is the owner.
    ///
    /// # Errors
    /// As [`SharedFolder::open`].
    pub(crate) async fn open(
        folder: DataFolder,
        guarded: Key,
        answering: Answering,
        role: watch::Sender<Role>,
    ) -> Result<Self> {
        let path = folder.path.clone();
        let shared = SharedFolder::open(folder, guarded, answering, role).await?;
        Ok(Self { shared: Arc::new(shared), path, alive: OnceCell::new() })
    }

    /// Returns the backend through which this process reaches the folder's records.
    pub(crate) fn backend(&self) -> Arc<dyn Backend> {
        Arc::<SharedFolder>::clone(&self.shared)
    }

    /// See [`SharedFolder::guard`].
    pub(crate) fn guard(&self, record: Box<GuardedRecord>) {
        self.shared.guard(record);
    }

    /// Returns the damage that was found when this process became the owner, if any.
    pub(crate) fn notice(&self) -> Option<&Notice> {
        self.shared.notice()
    }

    /// Releases the folder, or disconnects from its owner.
    pub(crate) async fn close(&self) {
        self.shared.close().await;
    }

    /// Hands the folder to another process if this one owns it, and continues as its peer.
    pub(crate) async fn step_down(&self) {
        self.shared.step_down().await;
    }

    /// Sends a question to the owner process, which may be this one.
    ///
    /// # Errors
    /// [`AskError`] if the owner answers no questions or cannot be asked.
    pub(crate) async fn ask(&self, question: &[u8]) -> std::result::Result<Vec<u8>, AskError> {
        self.shared.ask(question).await
    }

    /// Returns this process's id, under which others can ask whether it lives.
    ///
    /// # Errors
    /// [`BackendError`] if the folder cannot be written.
    pub(crate) async fn instance(&self) -> Result<InstanceId> {
        let begin = async || self.blocking(|path| Alive::begin(&path)).await;
        Ok(self.alive.get_or_try_init(begin).await?.id().clone())
    }

    /// Returns whether that process exists, suspended or not.
    ///
    /// # Errors
    /// [`BackendError`] if the folder cannot be read or written.
    pub(crate) async fn is_alive(&self, instance: &InstanceId) -> Result<bool> {
        let instance = instance.clone();
        self.blocking(move |path| alive::is_alive(&path, &instance)).await
    }

    /// Reserves the disk space that [`Self::release_reserve`] frees, without waiting for it.
    pub(crate) fn make_reserve(&self) {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || reserve::make(&path));
    }

    /// Frees the reserve.
    ///
    /// # Errors
    /// [`BackendError`] if it cannot be removed.
    pub(crate) async fn release_reserve(&self) -> Result<()> {
        self.blocking(|path| reserve::release(&path)).await
    }

    /// Returns whether there is disk space to write to.
    pub(crate) async fn has_room(&self) -> bool {
        self.blocking(|path| reserve::probe(&path)).await.is_ok()
    }

    /// Runs blocking work on the folder off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let path = self.path.clone();
        let done = tokio::task::spawn_blocking(move || work(path));
        let done = done.await.map_err(|_| BackendError::Closed)?;
        let failed =
            |cause: io::Error| BackendError::Failed { cause: cause.into(), hint: DISK_HINT };
        Ok(done.map_err(failed)?)
    }
}
