//! The port to the place where records are kept: a key-value store of sealed bytes, with one atomic
//! operation.
//!
//! Each backend is a file of this folder. A new one implements the three methods of [`Backend`],
//! reduces its failures to [`BackendError`], and runs the suite in `contract.rs`. What a process
//! needs of the place of its store besides records is in [`Home`](super::home::Home).

pub(super) mod memory;
mod recent;
pub(super) mod sled;
pub(super) mod walk;

#[cfg(test)]
mod contract;
#[cfg(test)]
pub(super) mod intercepted;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

/// Full key of a record, e.g. `grant/<user hash>/github/<binding>/default`.
///
/// It is also the associated data of the record's seal and is stored in clear: user ids, tickets
/// and states occur in it only as keyed hashes.
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

    /// Returns the key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the key as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A sealed record. Only [`super::seal`] makes one from plaintext, so no backend can receive
/// plaintext.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Placeholder in a [`Page`] for a record above [`MAX_RECORD_BYTES`]; no key opens it.
    pub(super) fn left_out() -> Self {
        Self(Vec::new())
    }

    pub(super) fn is_left_out(&self) -> bool {
        self.0.is_empty()
    }

    /// Wraps bytes that are sealed already, for the backends and the seal.
    pub(super) fn from_stored(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the sealed bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// Maximum bytes of a sealed record, so that a process can send another one two records in one
/// message, as a swap needs. A larger record is refused with [`BackendError::TooLarge`]; one that
/// an earlier version wrote is left out of pages.
pub(super) const MAX_RECORD_BYTES: usize = (2 << 20) - (64 << 10);

/// Maximum bytes of keys and sealed records in a page; only the first record may exceed it.
pub(super) const MAX_PAGE_BYTES: usize = 256 << 10;

/// A part of the records under a prefix, so that memory does not grow with their number.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// In key order. [`Sealed::left_out`] replaces a record above [`MAX_RECORD_BYTES`], so that a
    /// peer still gets the other records.
    pub records: Vec<(Key, Sealed)>,
    /// Whether no record follows. If false, `records` is not empty.
    pub is_last: bool,
}

impl Page {
    /// Fills a page up to [`MAX_PAGE_BYTES`]; takes the first record at any size.
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
            if size > MAX_PAGE_BYTES && !records.is_empty() {
                return Ok(Self { records, is_last: false });
            }
            records.push((key, sealed));
        }
        Ok(Self { records, is_last: true })
    }
}

/// Contract of every backend; `contract.rs` tests it.
///
/// 1. At most one of several concurrent swaps from the same `old` returns true.
/// 2. A swap that returned true survives `kill -9` of the process that requested it.
/// 3. A page reflects every swap that returned before the page was requested. So a walk from page
///    to page returns each record that exists throughout exactly once. It may or may not return a
///    record that is written or deleted during the walk.
/// 4. Bytes are opaque.
/// 5. A swap whose answer was lost is settled by reading: if the key holds exactly `new`, the swap
///    happened; otherwise it is not known to be ours.
/// 6. After a failed flush every operation fails until a flush succeeds, because a swap may be
///    visible before it is durable.
pub trait Backend: Send + Sync + 'static {
    /// Returns the record under `key`; `None` if there is none.
    ///
    /// # Errors
    /// [`BackendError`] if the record cannot be read.
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Sealed>, BackendError>>;

    /// Returns the next records whose key starts with `prefix` and is greater than `after` (`None`:
    /// from the first), in key order, as many as [`Page::cut`] takes. [`Walk`](walk::Walk)
    /// continues from page to page.
    ///
    /// # Errors
    /// [`BackendError`] if a record cannot be read.
    fn page<'a>(
        &'a self,
        prefix: &'a Key,
        after: Option<&'a Key>,
    ) -> BoxFuture<'a, Result<Page, BackendError>>;

    /// Returns every record whose key starts with `prefix`, in key order.
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

    /// Replaces `old` by `new` if the key holds exactly `old` (`None`: no record), and returns
    /// whether it did. The change is durable when this returns true.
    ///
    /// # Errors
    /// [`BackendError::TooLarge`] for a `new` above [`MAX_RECORD_BYTES`]; [`BackendError`] if the
    /// swap cannot be made durable.
    fn swap<'a>(
        &'a self,
        key: &'a Key,
        old: Option<&'a Sealed>,
        new: Option<&'a Sealed>,
    ) -> BoxFuture<'a, Result<bool, BackendError>>;
}

/// Failure of a backend operation, in terms that fit every backend. A change is not confirmed, and
/// may still have happened.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    #[error("no space left on the disk that holds the store")]
    Full,
    /// Concerns one record or a part of the records.
    #[error("a record of the store is damaged on disk")]
    Damaged,
    /// Any other failure; `hint` says what the operator of this backend can check.
    #[error("the store could not be written or read")]
    Failed {
        #[source]
        cause: Box<dyn Error + Send + Sync>,
        hint: &'static str,
    },
    #[error("the store is shutting down")]
    Closed,
    #[error("a record is too large to be kept")]
    TooLarge,
    /// No process or server answers for the records.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
}

impl BackendError {
    /// Returns what the user can do about this error.
    pub fn hint(&self) -> String {
        match self {
            Self::Full => "free some space, then call again; nothing that was kept is lost".into(),
            Self::Damaged => "connect the account again; a disk check is advisable".into(),
            Self::Failed { hint, .. } => (*hint).into(),
            Self::Closed => "start Countersign again".into(),
            Self::TooLarge => "look at what the provider answers: no token is that long".into(),
            Self::Unreachable(unreachable) => unreachable.hint.clone(),
        }
    }

    /// Whether the error concerns the whole store, and not one record or the end of this process.
    pub(super) fn is_of_the_whole_store(&self) -> bool {
        match self {
            Self::Full | Self::Failed { .. } | Self::Unreachable(_) => true,
            Self::Damaged | Self::Closed | Self::TooLarge => false,
        }
    }
}

/// Reason why a backend is not reachable, in the words of the error that says so.
#[derive(Clone, Debug)]
pub struct Unreachable {
    cause: Arc<dyn Error + Send + Sync>,
    hint: String,
}

impl Unreachable {
    /// Wraps the error of a backend, with what the user can do about it.
    pub(super) fn new(cause: impl Error + Send + Sync + 'static, hint: String) -> Self {
        Self { cause: Arc::new(cause), hint }
    }

    /// Returns the error that was wrapped, if it is of this type.
    #[cfg(test)]
    pub(super) fn cause<E: Error + 'static>(&self) -> Option<&E> {
        let cause: &(dyn Error + 'static) = &*self.cause;
        cause.downcast_ref()
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for Unreachable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
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
        for sizes in
            [vec![], vec![1], vec![1_000; 3], vec![100_000; 50], vec![MAX_PAGE_BYTES * 2; 3]]
        {
            let all: Vec<_> =
                sizes.iter().enumerate().map(|(number, size)| record(number, *size)).collect();
            let mut back = Vec::new();
            loop {
                let page = Page::cut(all.iter().skip(back.len()).cloned().map(Ok)).unwrap();
                let bytes: usize = page.records.iter().map(|(_, sealed)| sealed.0.len()).sum();
                assert!(bytes <= MAX_PAGE_BYTES || page.records.len() == 1, "{bytes}");
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
        let failing = [Ok(record(0, 1)), Err(BackendError::Damaged)];
        assert!(matches!(Page::cut(failing.into_iter()), Err(BackendError::Damaged)));
    }
}
