//! When grants were last used, in records beside them.

use super::backend::{Backend as _, Key};
use super::walk::Walk;
use super::{Held, Result, Store, record};
use crate::model::grant::Used;
use crate::model::{Grant, Time};

impl Held<Grant> {
    /// Names the place of the grant; whatever grant comes to stand there has the same.
    pub fn place(&self) -> &Key {
        &self.key
    }
}

impl Store {
    /// When the grant at this place was last used, as far as it has been written down.
    pub async fn last_use(&self, grant: &Key) -> Result<Option<Time>> {
        Ok(self.read::<Used>(beside(grant)).await?.map(|held| held.value.at))
    }

    /// Writes down that the grant at this place was used, if one is there and nobody has written down
    /// a later use.
    pub async fn note_use(&self, grant: &Key, at: Time) -> Result<()> {
        if self.backend.get(grant).await?.is_none() {
            return Ok(());
        }
        let key = beside(grant);
        let held = self.read::<Used>(key.clone()).await?;
        if held.as_ref().is_none_or(|held| held.value.at < at) {
            // Another process that was faster has written down about the same.
            self.write(&key, &Used { at }, held.as_ref()).await?;
        }
        Ok(())
    }

    /// Deletes a grant and when it was used, unless the grant has changed since it was read.
    pub async fn forget_grant(&self, held: &Held<Grant>) -> Result<bool> {
        let is_gone = self.forget(held).await?;
        if is_gone && let Err(error) = self.forget_use(&beside(&held.key)).await {
            // The grant is gone, which is what was asked for; the sweep takes the rest.
            tracing::debug!(%error, record = <Used as record::Record>::NAME, "left behind");
        }
        Ok(is_gone)
    }

    /// Deletes what is left of grants that are gone.
    pub(super) async fn clear_uses(&self) -> Result<()> {
        let mut uses = Walk::under(&self.backend, USED);
        while let Some(page) = uses.next().await? {
            for (key, _) in page {
                let grant = key.as_str().replacen(USED, GRANT, 1);
                if self.backend.get(&Key::new(grant)).await?.is_none() {
                    self.forget_use(&key).await?;
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn forget_use(&self, key: &Key) -> Result<()> {
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
