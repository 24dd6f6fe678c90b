//! Last use of grants, in records beside them.

use super::backend::Key;
use super::backend::walk::Walk;
use super::records::Record as _;
use super::{Held, Result, Store};
use crate::model::grant::Used;
use crate::model::{Grant, Time};

impl Held<Grant> {
    /// Returns the grant's key, which a grant that replaces it keeps.
    pub fn place(&self) -> &Key {
        &self.key
    }
}

impl Store {
    /// Returns when the grant under this key was last used, as far as recorded.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) if the record cannot be read.
    pub async fn last_use(&self, grant: &Key) -> Result<Option<Time>> {
        Ok(self.read::<Used>(beside(grant)).await?.map(|held| held.value.at))
    }

    /// Records a use of the grant under this key, unless the grant is gone or a later use is
    /// recorded.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) if a record cannot be read or written.
    pub(super) async fn note_use(&self, grant: &Key, at: Time) -> Result<()> {
        if self.backend.get(grant).await?.is_none() {
            return Ok(());
        }
        let key = beside(grant);
        let held = self.read::<Used>(key.clone()).await?;
        if held.as_ref().is_none_or(|held| held.value.at < at) {
            // If another process was faster, it has recorded about the same time.
            self.write(&key, &Used { at }, held.as_ref()).await?;
        }
        Ok(())
    }

    /// Deletes a grant and its last use; false if the grant has changed since it was read.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) if the grant cannot be deleted.
    pub(super) async fn delete_grant(&self, held: &Held<Grant>) -> Result<bool> {
        let is_gone = self.delete(held).await?;
        if is_gone && let Err(error) = self.delete_use(&beside(&held.key)).await {
            // The grant is deleted, as requested; the sweep deletes the rest.
            tracing::debug!(%error, record = Used::NAME, "left behind");
        }
        Ok(is_gone)
    }

    /// Deletes the last uses of grants that are gone.
    pub(super) async fn clear_uses(&self) -> Result<()> {
        let mut uses = Walk::under(&*self.backend, USED);
        while let Some(page) = uses.next().await? {
            for (key, _) in page {
                let grant = key.as_str().replacen(USED, GRANT, 1);
                if self.backend.get(&Key::new(grant)).await?.is_none() {
                    self.delete_use(&key).await?;
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn delete_use(&self, key: &Key) -> Result<()> {
        if let Some(sealed) = self.backend.get(key).await? {
            self.swap(key, Some(&sealed), None).await?;
        }
        Ok(())
    }
}

const GRANT: &str = "grant/";
const USED: &str = "used/";

fn beside(grant: &Key) -> Key {
    Key::new(grant.as_str().replacen(GRANT, USED, 1))
}
