//! A backend in the memory of one process, for tests that need a store and no data folder.

use std::collections::BTreeMap;
use std::ops::Bound;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;

use super::{Backend, BackendError, Key, MAX_RECORD_BYTES, Page, Sealed};

/// Keeps the whole contract except durability: its records end with the process.
#[derive(Default)]
pub(crate) struct MemoryBackend(Mutex<BTreeMap<Key, Sealed>>);

impl MemoryBackend {
    fn swap_now(
        &self,
        key: &Key,
        old: Option<&Sealed>,
        new: Option<&Sealed>,
    ) -> Result<bool, BackendError> {
        if new.is_some_and(|new| new.as_bytes().len() > MAX_RECORD_BYTES) {
            return Err(BackendError::TooLarge);
        }
        let mut records = self.0.lock();
        if records.get(key) != old {
            return Ok(false);
        }
        match new {
            Some(new) => records.insert(key.clone(), new.clone()),
            None => records.remove(key),
        };
        Ok(true)
    }
}

impl Backend for MemoryBackend {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Sealed>, BackendError>> {
        ready(Ok(self.0.lock().get(key).cloned())).boxed()
    }

    fn page<'a>(
        &'a self,
        prefix: &'a Key,
        after: Option<&'a Key>,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let records = self.0.lock();
        let found = records.range((start, Bound::Unbounded));
        let under_it = found.take_while(|(key, _)| key.as_bytes().starts_with(prefix.as_bytes()));
        let page = Page::cut(under_it.map(|(key, sealed)| Ok((key.clone(), sealed.clone()))));
        ready(page).boxed()
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        old: Option<&'a Sealed>,
        new: Option<&'a Sealed>,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        ready(self.swap_now(key, old, new)).boxed()
    }
}
