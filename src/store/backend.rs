//! The port to whatever keeps bytes: a key-value world with one atomic step.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::StoreError;
use super::peer::{LONGEST_FRAME, PeerError};

/// A record's full name, e.g. `grant/<user hash>/github/<binding>/default`.
///
/// It is also the associated data of the record's seal, so it never holds more than it may show:
/// user ids, tickets and states occur in it as keyed hashes only.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key(String);

impl Key {
    pub(super) fn new(path: String) -> Self {
        Self(path)
    }

    #[cfg(test)]
    pub(crate) fn named(path: &str) -> Self {
        Self::new(path.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A sealed record. Only [`super::seal`] makes one from plaintext, so no backend can be handed any.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Stands in a [`Page`] for a record above [`MAX_RECORD_BYTES`]. It opens with no key.
    pub(super) fn left_out() -> Self {
        Self(Vec::new())
    }

    pub(super) fn is_left_out(&self) -> bool {
        self.0.is_empty()
    }

    /// For backends, which get back what they were given, and for the seal.
    pub(super) fn from_stored(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// Bytes of a sealed record. A swap names two of them, and a peer must be able to send it in one frame. A
/// larger record is not written; one that an earlier version has written is left out of pages.
pub(super) const MAX_RECORD_BYTES: usize = LONGEST_FRAME / 2 - (64 << 10);

/// Bytes of keys and sealed records in a page.
pub(super) const PAGE_BYTES: usize = 256 << 10;

/// Some of the records under a prefix. Memory is bounded by a page, however many records there are.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// In order of keys. A record above [`MAX_RECORD_BYTES`] is [`Sealed::left_out`], so that it does not
    /// keep a peer from those beside it.
    pub records: Vec<(Key, Sealed)>,
    /// No record follows. Otherwise `records` is not empty.
    pub is_last: bool,
}

impl Page {
    /// Takes records up to [`PAGE_BYTES`], and the first one whatever its size.
    ///
    /// # Errors
    /// The first error of a record.
    pub(super) fn cut(
        found: impl Iterator<Item = Result<(Key, Sealed), BackendError>>,
    ) -> Result<Self, BackendError> {
        let (mut records, mut size) = (Vec::new(), 0);
        for record in found {
            let (key, mut sealed) = record?;
            if sealed.as_bytes().len() > MAX_RECORD_BYTES {
                sealed = Sealed::left_out();
            }
            size += key.as_bytes().len() + sealed.as_bytes().len();
            if size > PAGE_BYTES && !records.is_empty() {
                return Ok(Self { records, is_last: false });
            }
            records.push((key, sealed));
        }
        Ok(Self { records, is_last: true })
    }
}

/// What every store of bytes promises; `contract.rs` is the same in executable form.
///
/// 1. Of racing swaps from the same `old` at most one returns true.
/// 2. A swap that returned true survives `kill -9` of the process that asked.
/// 3. A page holds what every swap left that returned before it was asked for. So a walk from page to
///    page meets each record that is there all the while, once; one that is written or deleted
///    meanwhile it may meet or not.
/// 4. Bytes are opaque.
/// 5. A swap whose answer was lost is settled by reading: the key holding exactly `new` means that
///    it happened; anything else means that it is not known to be ours.
/// 6. After a failed flush every operation fails until a flush succeeds, because a swap may be
///    visible before it is durable.
pub trait Backend: Send + Sync + 'static {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Sealed>, BackendError>>;

    /// The next records whose key starts with `prefix` and is greater than `after` (`None`: the first
    /// ones), in order of keys, as many as [`Page::cut`] takes. [`Walk`](super::walk::Walk) goes on
    /// from page to page.
    fn page<'a>(
        &'a self,
        prefix: &'a Key,
        after: Option<&'a Key>,
    ) -> BoxFuture<'a, Result<Page, BackendError>>;

    /// Every record whose key starts with `prefix`, in order of keys.
    #[cfg(test)]
    fn scan<'a>(
        &'a self,
        prefix: &'a Key,
    ) -> BoxFuture<'a, Result<Vec<(Key, Sealed)>, BackendError>> {
        Box::pin(async move {
            let mut all: Vec<(Key, Sealed)> = Vec::new();
            loop {
                let after = all.last().map(|(key, _)| key.clone());
                let page = self.page(prefix, after.as_ref()).await?;
                all.extend(page.records);
                if page.is_last {
                    return Ok(all);
                }
            }
        })
    }

    /// Replaces `old` by `new` if the key holds exactly `old` (`None`: nothing), and says whether it
    /// did. Durable when it returns true.
    ///
    /// # Errors
    /// [`BackendError::TooLarge`] for a `new` above [`MAX_RECORD_BYTES`].
    fn swap<'a>(
        &'a self,
        key: &'a Key,
        old: Option<&'a Sealed>,
        new: Option<&'a Sealed>,
    ) -> BoxFuture<'a, Result<bool, BackendError>>;
}

/// Why a backend could not do what it was asked. Nothing is known to have changed.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    #[error("no space left on the disk that holds the store")]
    Full,
    #[error("a record of the store is damaged on disk")]
    Corrupt,
    #[error("the store could not be written or read")]
    Io(#[source] std::io::Error),
    #[error("the store is shutting down")]
    Closed,
    #[error("a record is too large to be kept")]
    TooLarge,
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The owner is gone and nobody could take over.
    #[error(transparent)]
    Unowned(Arc<StoreError>),
}

impl BackendError {
    pub fn hint(&self) -> String {
        match self {
            Self::Full => "free some space, then call again; nothing that was kept is lost".into(),
            Self::Corrupt => "connect the account again; a disk check is advisable".into(),
            Self::Io(_) => "check the disk and the permissions of the data folder".into(),
            Self::Closed => "start Countersign again".into(),
            Self::TooLarge => "look at what the provider answers: no token is that long".into(),
            Self::Peer(error) => error.hint(),
            Self::Unowned(error) => error.hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_bounded_by_its_bytes_and_holds_a_record_of_any_size() {
        let record = |number: usize, size: usize| {
            (Key::new(format!("k/{number:03}")), Sealed::from_stored(vec![7; size]))
        };
        for sizes in [vec![], vec![1], vec![1_000; 3], vec![100_000; 50], vec![PAGE_BYTES * 2; 3]] {
            let all: Vec<_> =
                sizes.iter().enumerate().map(|(number, size)| record(number, *size)).collect();
            let mut back = Vec::new();
            loop {
                let page = Page::cut(all.iter().skip(back.len()).cloned().map(Ok)).unwrap();
                let bytes: usize = page.records.iter().map(|(_, sealed)| sealed.0.len()).sum();
                assert!(bytes <= PAGE_BYTES || page.records.len() == 1, "{bytes}");
                back.extend(page.records);
                assert_eq!(page.is_last, back.len() == all.len());
                if page.is_last {
                    break;
                }
            }
            assert_eq!(back, all);
        }
        let large = [record(0, 1), record(1, MAX_RECORD_BYTES + 1), record(2, 1)];
        let page = Page::cut(large.into_iter().map(Ok)).unwrap();
        let left_out: Vec<_> = page.records.iter().map(|(_, it)| it.is_left_out()).collect();
        assert_eq!(left_out, [false, true, false]);
        let failing = [Ok(record(0, 1)), Err(BackendError::Corrupt)];
        assert!(matches!(Page::cut(failing.into_iter()), Err(BackendError::Corrupt)));
    }
}
