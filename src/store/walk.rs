//! Iteration over many records page by page, so that memory does not grow with their number and
//! calls can run in between.

use std::marker::PhantomData;

use super::backend::{Backend, BackendError, Key, Page, Sealed};
use super::record::Record;
use super::{Held, Result, Store, ring};

/// The records under a prefix, page by page and in key order.
pub(super) struct Walk<'b> {
    backend: &'b dyn Backend,
    prefix: Key,
    after: Option<Key>,
    is_over: bool,
}

impl<'b> Walk<'b> {
    pub(super) fn under(backend: &'b dyn Backend, prefix: &str) -> Self {
        Self { backend, prefix: Key::new(prefix.into()), after: None, is_over: false }
    }

    /// Walks every record of the store.
    pub(super) fn everything(backend: &'b dyn Backend) -> Self {
        Self::under(backend, "")
    }

    /// Returns the next page, which is never empty. `None` after the last page and after an error.
    pub(super) async fn next(
        &mut self,
    ) -> std::result::Result<Option<Vec<(Key, Sealed)>>, BackendError> {
        if self.is_over {
            return Ok(None);
        }
        self.is_over = true;
        let Page { records, is_last } =
            self.backend.page(&self.prefix, self.after.as_ref()).await?;
        let Some((last, _)) = records.last() else { return Ok(None) };
        self.after = Some(last.clone());
        self.is_over = is_last;
        Ok(Some(records))
    }
}

/// Whether a store holds no record, not even a ring.
pub(super) async fn is_empty(backend: &dyn Backend) -> std::result::Result<bool, BackendError> {
    Ok(Walk::everything(backend).next().await?.is_none())
}

/// The records of one kind under a prefix, opened.
pub(super) struct Opened<'s, T> {
    store: &'s Store,
    walk: Walk<'s>,
    kind: PhantomData<fn() -> T>,
}

impl<T: Record> Opened<'_, T> {
    /// Returns the records of the next page that open. A record that does not is logged and
    /// skipped: it must not block access to the others.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Held<T>>>> {
        let page = self.walk.next().await;
        let Some(page) = self.store.noted_read(page)? else { return Ok(None) };
        let mut opened = Vec::with_capacity(page.len());
        for (key, sealed) in page {
            let name = key_without_owner(&key);
            match self.open(key, sealed).await {
                Ok(held) => opened.extend(held),
                Err(error) => {
                    tracing::warn!(record = T::NAME, key = name, %error, "left a record alone");
                }
            }
        }
        Ok(Some(opened))
    }

    /// Opens a record; `None` if it has been deleted since the page was read.
    async fn open(&self, key: Key, sealed: Sealed) -> Result<Option<Held<T>>> {
        if !sealed.is_left_out() {
            return self.store.unseal(key, sealed).await.map(Some);
        }
        // The owner can still read it, and delete it when it has expired.
        Box::pin(self.store.read(key)).await
    }
}

/// Returns a key without its user: kind and provider, no hash, e.g. `grant/…/github`.
pub(super) fn key_without_owner(key: &Key) -> String {
    let mut parts = key.as_str().split('/');
    let kind = parts.next().unwrap_or_default();
    match parts.nth(1) {
        Some(provider) => format!("{kind}/…/{provider}"),
        None => format!("{kind}/…"),
    }
}

impl Store {
    pub(super) fn opened<T: Record>(&self, prefix: &str) -> Opened<'_, T> {
        Opened { store: self, walk: Walk::under(&self.backend, prefix), kind: PhantomData }
    }

    /// Returns all records that [`Self::opened`] yields; only for small sets.
    pub(super) async fn read_all<T: Record>(&self, prefix: &str) -> Result<Vec<Held<T>>> {
        let (mut pages, mut all) = (self.opened(prefix), Vec::new());
        while let Some(page) = pages.next().await? {
            all.extend(page);
        }
        Ok(all)
    }

    /// Walks every record except the ring.
    pub(super) fn records(&self) -> Records<'_> {
        Records::of(&self.backend)
    }
}

/// Every record of the store except the ring, page by page.
pub(super) struct Records<'b>(Walk<'b>);

impl<'b> Records<'b> {
    pub(super) fn of(backend: &'b dyn Backend) -> Self {
        Self(Walk::everything(backend))
    }

    /// Like [`Walk::next`], except that a page may be empty.
    pub(super) async fn next(
        &mut self,
    ) -> std::result::Result<Option<Vec<(Key, Sealed)>>, BackendError> {
        let mut page = self.0.next().await?;
        if let Some(records) = &mut page {
            records.retain(|(key, _)| key.as_str() != ring::PLACE);
        }
        Ok(page)
    }
}
