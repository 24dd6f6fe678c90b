//! Failure of a store operation.

use super::backend::BackendError;
use super::folder::FolderError;
use super::keys::master_key::{KeyError, KeyPlace};
use super::keys::seal::SealError;
use super::records::RecordError;

/// Failure of a store operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the store was sealed with another key than that in {place}; nothing was touched")]
    WrongKey { place: KeyPlace },
    /// Only for a command that reads and creates no store.
    #[error("there is no store yet")]
    Empty,
    #[error("the store's key ring is missing or damaged; nothing was touched")]
    NoRing,
    #[error("the store was replaced by another one while this process used it")]
    Replaced,
    /// This call waited for another call's attempt to open the store, which failed.
    #[error("{error}")]
    NotOpened { error: String, hint: String },
    #[error("others change the store faster than this process can")]
    Contended,
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl StoreError {
    /// Returns what the user can do about this error.
    pub fn hint(&self) -> String {
        match self {
            Self::Folder(error) => error.hint(),
            Self::Key(error) => error.hint(),
            Self::WrongKey { place } => place.hint_when_wrong(),
            Self::NoRing => "bring the data folder back from a backup or finish `countersign store import`; to start over, move the folder away".into(),
            Self::Empty => "connect an account first".into(),
            Self::NotOpened { hint, .. } => hint.clone(),
            Self::Replaced | Self::Contended => "call again".into(),
            Self::Backend(error) => error.hint(),
            Self::Record(RecordError::TooNew { .. }) => "use the newer Countersign".into(),
            Self::Record(RecordError::TooDeep(_)) => "send fewer lists within lists".into(),
            Self::Seal(_) | Self::Record(RecordError::Malformed(_)) => {
                "connect the account again".into()
            }
        }
    }
}

/// Result of a store operation.
pub(super) type Result<T> = std::result::Result<T, StoreError>;
