//! The place of a store besides its records: which process is the owner and answers the others,
//! which processes live, what damage was found, whether there is room to write.
//!
//! Everything in [`Home`] is the data folder's, where processes of one machine find each other by
//! file locks. A store in a database is a variant beside it, and answers the same questions in its
//! own way: its processes have no owner, and know each other by leases.

use std::sync::Arc;

use super::backend::Backend;
use super::error::Result;
use super::folder::{AskError, FolderHome, GuardedRecord};
use super::memory::MemoryHome;
use super::notice::Notice;
use crate::model::InstanceId;

/// The place of an open store.
pub(super) enum Home {
    /// A data folder, which processes of one machine share.
    Folder(FolderHome),
    /// The memory of a test's process. It is never damaged or full.
    Memory(MemoryHome),
}

impl Home {
    /// Returns the backend that keeps the records.
    pub(super) fn backend(&self) -> Arc<dyn Backend> {
        match self {
            Self::Folder(folder) => folder.backend(),
            Self::Memory(memory) => memory.backend(),
        }
    }

    /// Sets the record without which no other record opens, as this process last read it, to
    /// restore it in a store that has become empty.
    pub(super) fn guard(&self, record: Box<GuardedRecord>) {
        match self {
            Self::Folder(folder) => folder.guard(record),
            Self::Memory(_) => drop(record),
        }
    }

    /// Returns the damage that was found when this process opened the store, if any.
    pub(super) fn notice(&self) -> Option<&Notice> {
        match self {
            Self::Folder(folder) => folder.notice(),
            Self::Memory(_) => None,
        }
    }

    /// Leaves the store. No operation works afterwards.
    pub(super) async fn close(&self) {
        match self {
            Self::Folder(folder) => folder.close().await,
            Self::Memory(memory) => memory.close(),
        }
    }

    /// Lets another process be the owner if this one is, and continues as its peer.
    pub(super) async fn step_down(&self) {
        match self {
            Self::Folder(folder) => folder.step_down().await,
            Self::Memory(_) => {}
        }
    }

    /// Sends a question to the owner process, which may be this one.
    ///
    /// # Errors
    /// [`AskError`] if the owner answers no questions or cannot be asked.
    pub(super) async fn ask(&self, question: &[u8]) -> std::result::Result<Vec<u8>, AskError> {
        match self {
            Self::Folder(folder) => folder.ask(question).await,
            Self::Memory(memory) => memory.ask(question).await,
        }
    }

    /// Returns this process's id, under which others can ask whether it lives.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) if the process cannot be registered.
    pub(super) async fn instance(&self) -> Result<InstanceId> {
        match self {
            Self::Folder(folder) => folder.instance().await,
            Self::Memory(memory) => Ok(memory.instance()),
        }
    }

    /// Returns whether that process exists, suspended or not.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) if it cannot be found out.
    pub(super) async fn is_alive(&self, instance: &InstanceId) -> Result<bool> {
        match self {
            Self::Folder(folder) => folder.is_alive(instance).await,
            Self::Memory(memory) => Ok(memory.is_alive(instance)),
        }
    }

    /// Reserves room that [`Self::release_reserve`] frees, without waiting for it.
    pub(super) fn make_reserve(&self) {
        match self {
            Self::Folder(folder) => folder.make_reserve(),
            Self::Memory(_) => {}
        }
    }

    /// Frees the reserve for data that must be saved before the process ends.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) if it cannot be freed.
    pub(super) async fn release_reserve(&self) -> Result<()> {
        match self {
            Self::Folder(folder) => folder.release_reserve().await,
            Self::Memory(_) => Ok(()),
        }
    }

    /// Returns whether there is room to write.
    pub(super) async fn has_room(&self) -> bool {
        match self {
            Self::Folder(folder) => folder.has_room().await,
            Self::Memory(_) => true,
        }
    }
}
