//! The right to write records: one table for each kind.

use std::marker::PhantomData;
use std::sync::Arc;

use super::records::Record;
use super::{Held, Key, LazyStore, Result, Store};
use crate::model::{Caller, Grant, Time};

/// The right to write the records of one kind. Its holder owns that kind.
///
/// A table is made with its store, by [`LazyStore::into_tables`] and only there, and cannot be
/// cloned.
///
/// # Errors
/// The methods return an error if the store cannot be opened, else as the methods of [`Store`] in
/// general.
pub struct Table<T> {
    store: Arc<LazyStore>,
    kind: PhantomData<fn() -> T>,
}

/// The tables of one store. Each is to be moved to the owner of its records.
pub struct Tables {
    /// Also for the last uses of grants.
    pub grants: Table<Grant>,
}

impl LazyStore {
    /// Shares the store, and hands out the rights to write its records.
    pub fn into_tables(self) -> (Arc<Self>, Tables) {
        let store = Arc::new(self);
        let tables = Tables { grants: Table::of(&store) };
        (store, tables)
    }
}

impl<T> Table<T> {
    fn of(store: &Arc<LazyStore>) -> Self {
        Self { store: Arc::clone(store), kind: PhantomData }
    }

    async fn store(&self) -> Result<&Store> {
        self.store.get().await
    }
}

impl<T: Record> Table<T> {
    /// Replaces a record by `value`; `None` if the record has changed since it was read.
    pub async fn replace(&self, value: T, over: &Held<T>) -> Result<Option<Held<T>>> {
        self.store().await?.replace(value, over).await
    }

    /// Deletes a record; false if it has changed since it was read.
    pub async fn delete(&self, held: &Held<T>) -> Result<bool> {
        self.store().await?.forget(held).await
    }
}

impl Table<Grant> {
    /// Stores a grant in place of `over` (`None`: where there is none). Returns false if another
    /// writer was faster; the caller must then read that writer's grant.
    pub async fn put(
        &self,
        caller: &Caller,
        grant: &Grant,
        over: Option<&Held<Grant>>,
    ) -> Result<bool> {
        self.store().await?.keep(caller, grant, over).await
    }

    /// Deletes a grant and its last use; false if the grant has changed since it was read.
    pub async fn delete_with_use(&self, held: &Held<Grant>) -> Result<bool> {
        self.store().await?.forget_grant(held).await
    }

    /// Records a use of the grant under this key, unless the grant is gone or a later use is
    /// recorded.
    pub async fn note_use(&self, grant: &Key, at: Time) -> Result<()> {
        self.store().await?.note_use(grant, at).await
    }
}
