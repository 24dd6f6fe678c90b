//! Why the owner's store cannot be used.

use super::frame::{self, Hello};
use crate::store::backend::{BackendError, Unreachable};

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
    #[error("another program listens on the socket of the data folder's owner")]
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
            Self::Foreign => "end the program that listens on `store.sock` in the data folder".into(),
            Self::NoOwner => "call again; if that does not help, end the other Countersign processes of this folder".into(),
        }
    }
}

impl From<PeerError> for BackendError {
    fn from(error: PeerError) -> Self {
        let hint = error.hint();
        Unreachable::new(error, hint).into()
    }
}
