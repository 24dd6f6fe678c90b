//! Records of one kind, opened page by page.

use std::marker::PhantomData;

use super::backend::walk::Walk;
use super::backend::{Key, Sealed};
use super::keys::ring::ring_key;
use super::records::{Record, key_without_owner};
use super::{Held, Result, Store, StoreError};

/// The records of one kind under a prefix, opened.
pub(super) struct Opened<'s, T> {
    store: &'s Store,
    walk: Walk<'s>,
    kind: PhantomData<fn() -> T>,
    /// Error of the first record that did not open.
    skipped: Option<StoreError>,
}

impl<T: Record> Opened<'_, T> {
    /// Returns the records of the next page that open. A record that does not is logged and
    /// skipped: it must not block access to the others.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Held<T>>>> {
        let page = self.walk.next().await;
        let Some(page) = self.store.health.noted_read(page)? else { return Ok(None) };
        let mut opened = Vec::with_capacity(page.len());
        for (key, sealed) in page {
            let name = key_without_owner(&key);
            match self.open(key, sealed).await {
                Ok(held) => opened.extend(held),
                Err(error) => {
                    tracing::warn!(record = T::NAME, key = name, %error, "left a record alone");
                    self.skipped.get_or_insert(error);
                }
            }
        }
        Ok(Some(opened))
    }

    /// Returns the error of the first record that was skipped.
    pub(super) fn skipped(self) -> Option<StoreError> {
        self.skipped
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

impl Store {
    pub(super) fn opened<T: Record>(&self, prefix: &str) -> Opened<'_, T> {
        let walk = Walk::under(&*self.backend, prefix);
        Opened { store: self, walk, kind: PhantomData, skipped: None }
    }

    /// Returns whether a record under this prefix meets a condition. Fails if none does and one does
    /// not open, since that may be the one.
    pub(super) async fn any<T: Record>(
        &self,
        prefix: &str,
        is_met: impl Fn(&T) -> bool,
    ) -> Result<bool> {
        let mut pages = self.opened::<T>(prefix);
        while let Some(page) = pages.next().await? {
            if page.iter().any(|held| is_met(&held.value)) {
                return Ok(true);
            }
            tokio::task::yield_now().await;
        }
        pages.skipped().map_or(Ok(false), Err)
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
    pub(super) fn records(&self) -> Walk<'_> {
        Walk::everything(&*self.backend).except(ring_key())
    }
}
