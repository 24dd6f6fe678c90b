//! A store that is opened when it is first needed, and again if that failed.
//!
//! Another process may own the data folder, or the key may be missing: that must keep nobody from
//! listing tools or calling those that need no grant, and must mend itself when its cause is gone.

use std::path::PathBuf;

use tokio::sync::OnceCell;

use super::{KeySource, Store, StoreError};
use crate::model::Clock;

/// Where the store is, and the store once it is open.
pub struct Slot {
    data: PathBuf,
    keys: KeySource,
    purpose: &'static str,
    clock: Clock,
    store: OnceCell<Store>,
}

impl Slot {
    /// `purpose` names this process to others that want the folder, e.g. `serve --stdio`.
    pub fn new(data: PathBuf, keys: KeySource, purpose: &'static str, clock: Clock) -> Self {
        Self { data, keys, purpose, clock, store: OnceCell::new() }
    }

    /// The store, opened now if it is not open yet.
    ///
    /// # Errors
    /// As [`Store::open`]; the next call tries again.
    pub async fn get(&self) -> Result<&Store, StoreError> {
        self.store
            .get_or_try_init(|| {
                Store::open(&self.data, self.keys.clone(), self.purpose, self.clock.now())
            })
            .await
    }
}
