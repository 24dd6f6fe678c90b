//! Questions of other processes to the owner of the data folder, such as to listen for the browsers
//! that follow a link. [`Answering`] is the owner's side; a peer asks with
//! [`Store::ask`](crate::store::Store::ask).

use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::listening_sockets::ListeningSockets;
use crate::store::StoreError;
use crate::store::backend::BackendError;

/// Function that answers questions of other processes to the owner; the store does not interpret
/// them.
pub type Answer = dyn Fn(Vec<u8>) -> BoxFuture<'static, Vec<u8>> + Send + Sync;

/// Place for the function that answers questions, filled at most once in a process.
#[derive(Clone, Default)]
pub(crate) struct Answering {
    answerer: Arc<OnceLock<Answerer>>,
    /// Notified while a server is connected that could own the folder in place of this keeper.
    pub(super) wanted: Arc<Notify>,
    /// Notified when a process has connected that can only own the folder, and cannot be a peer.
    pub(super) needed: Arc<Notify>,
    sockets: ListeningSockets,
}

struct Answerer {
    answer: Box<Answer>,
    /// Runtime that computes the answers: tasks that they start must outlive the server for peers.
    runtime: tokio::runtime::Handle,
}

impl Answering {
    /// Returns the sockets on which the owner listens for browsers.
    pub(crate) fn sockets(&self) -> &ListeningSockets {
        &self.sockets
    }

    /// Installs the function that answers. Call within the runtime that computes the answers. The
    /// first function stays; a second one is dropped and an error is logged.
    pub(crate) fn install(&self, answer: Box<Answer>) {
        let runtime = tokio::runtime::Handle::current();
        if self.answerer.set(Answerer { answer, runtime }).is_err() {
            tracing::error!("another function answers questions already");
        }
    }

    /// Answers a question; `None` if no function is installed or it fails.
    pub(crate) async fn answer(&self, question: Vec<u8>) -> Option<Vec<u8>> {
        let answerer = self.answerer.get()?;
        answerer.runtime.spawn((answerer.answer)(question)).await.ok()
    }

    /// Waits until a server is connected that could own the folder in place of this keeper.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Waits until a process has connected that can only own the folder.
    pub(crate) async fn needed(&self) {
        self.needed.notified().await;
    }
}

/// Reason why a question was not answered.
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
