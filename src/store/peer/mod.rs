//! Sharing of one data folder between processes: its owner serves the three methods of a
//! [`Backend`](super::Backend) over a local socket, and every other process is its peer.
//!
//! Records on the socket are sealed already. Still, only the same user can connect: the folder and
//! the socket are private, and both sides ask the operating system which user is at the other end.

mod client;
mod frame;
mod serve;
mod socket;
mod sockets;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

pub(super) use client::{Peer, Trouble};
use frame::Hello;
pub(super) use frame::LONGEST_FRAME;
pub(super) use serve::Serving;
pub(super) use socket::Address;
pub use sockets::ListeningSockets;

/// Function that answers questions of other processes to the owner; the store does not interpret
/// them.
pub type Answer = dyn Fn(Vec<u8>) -> BoxFuture<'static, Vec<u8>> + Send + Sync;

/// Slot for the function that answers questions, filled at most once in a process.
#[derive(Clone, Default)]
pub(super) struct Answering {
    answerer: Arc<OnceLock<Answerer>>,
    /// Notified while a server is connected that could own the folder in place of this keeper.
    wanted: Arc<Notify>,
    /// Notified when a process has connected that can only own the folder, and cannot be a peer.
    needed: Arc<Notify>,
    sockets: ListeningSockets,
}

struct Answerer {
    answer: Box<Answer>,
    /// Runtime that computes the answers: tasks that they start must outlive the server for peers.
    runtime: tokio::runtime::Handle,
}

impl Answering {
    /// Returns the sockets on which the owner listens for browsers.
    pub(super) fn sockets(&self) -> &ListeningSockets {
        &self.sockets
    }

    /// Installs the function that answers. Call within the runtime that computes the answers. The
    /// first function stays; a second one is dropped and an error is logged.
    pub(super) fn install(&self, answer: Box<Answer>) {
        let runtime = tokio::runtime::Handle::current();
        if self.answerer.set(Answerer { answer, runtime }).is_err() {
            tracing::error!("somebody answers questions already");
        }
    }

    /// Answers a question; `None` if no function is installed or it fails.
    pub(super) async fn answer(&self, question: Vec<u8>) -> Option<Vec<u8>> {
        let answerer = self.answerer.get()?;
        answerer.runtime.spawn((answerer.answer)(question)).await.ok()
    }

    /// Waits until a server is connected that could own the folder in place of this keeper.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Waits until a process has connected that can only own the folder.
    pub(super) async fn needed(&self) {
        self.needed.notified().await;
    }
}

/// Reason why this process cannot use the owner's store.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    #[error("the Countersign that owns the data folder ({owner}) does not answer")]
    Silent { owner: String, pid: Option<u32> },
    #[error(
        "the data folder is owned by process {}, `{}`, of Countersign {}, which speaks protocol {} with other processes; this is Countersign {} and speaks protocol {}",
        owner.about.pid, owner.about.purpose, owner.about.version, owner.protocol,
        env!("CARGO_PKG_VERSION"), frame::PROTOCOL
    )]
    OtherProtocol { owner: Hello },
    #[error("whatever listens in the place of the data folder's owner is none")]
    Foreign,
    #[error("no process could take over the data folder in time")]
    NoOwner,
}

impl PeerError {
    /// Returns what the user can do about this error.
    pub fn hint(&self) -> String {
        match self {
            Self::Silent { pid: Some(pid), .. } => format!(
                "`kill -CONT {pid}` if it was stopped, otherwise end it: another process then takes over by itself"
            ),
            Self::Silent { pid: None, .. } => {
                "let it go on if it was stopped, otherwise end it: another process then takes over by itself".into()
            }
            Self::OtherProtocol { owner } if owner.protocol > frame::PROTOCOL => {
                "restart the program that started this process, so that it starts the newer version".into()
            }
            Self::OtherProtocol { owner } => format!(
                "restart the program that started process {}, so that it starts the version of this one",
                owner.about.pid
            ),
            Self::Foreign => "look for `store.sock` in the data folder and end what listens there".into(),
            Self::NoOwner => "call again; if that does not help, end the other Countersign processes of this folder".into(),
        }
    }
}
