//! A store in the memory of one process: for tests that need a server and no data folder.

use std::sync::Arc;

use parking_lot::Mutex;

use super::backend::memory::MemoryBackend;
use super::folder::{Answering, AskError};
use crate::model::InstanceId;

/// Records in memory, and the processes of a test that have them open. Clones are the same store;
/// it ends with the last of them.
#[derive(Clone, Default)]
pub struct Memory {
    pub(super) backend: Arc<MemoryBackend>,
    /// Whether each process that opened it has not closed it, in the order of opening.
    open: Arc<Mutex<Vec<bool>>>,
}

/// The place of a store in memory, as one process sees it. No process owns it: each listens for its
/// own links.
pub(super) struct MemoryHome {
    memory: Memory,
    /// Index in [`Memory::open`].
    process: usize,
    answering: Answering,
}

impl MemoryHome {
    pub(super) fn new(memory: Memory, answering: Answering) -> Self {
        let process = {
            let mut open = memory.open.lock();
            open.push(true);
            open.len().saturating_sub(1)
        };
        Self { memory, process, answering }
    }

    pub(super) fn backend(&self) -> Arc<MemoryBackend> {
        Arc::clone(&self.memory.backend)
    }

    pub(super) fn close(&self) {
        if let Some(is_open) = self.memory.open.lock().get_mut(self.process) {
            *is_open = false;
        }
    }

    /// Answers a question of this process.
    ///
    /// # Errors
    /// [`AskError::Unanswered`] if no answering function is installed.
    pub(super) async fn ask(&self, question: &[u8]) -> Result<Vec<u8>, AskError> {
        self.answering.answer(question.to_vec()).await.ok_or(AskError::Unanswered)
    }

    pub(super) fn instance(&self) -> InstanceId {
        InstanceId::new(self.process.to_string())
    }

    pub(super) fn is_alive(&self, instance: &InstanceId) -> bool {
        let process = instance.as_str().parse::<usize>().ok();
        process.and_then(|process| self.memory.open.lock().get(process).copied()).unwrap_or(false)
    }
}
