//! Calls that run at most once under their key.

use super::backend::Key;
use super::{Held, Result, Store};
use crate::model::once::Once;

/// # Errors
/// As the methods of [`Store`] in general.
impl Store {
    /// Returns the call under this key of an application, `space`.
    pub async fn once(&self, space: &str, key: &str) -> Result<Option<Held<Once>>> {
        self.read(self.once_key(space, key)).await
    }

    /// Stores a call in place of `over` (`None`: where there is none). `None` if another writer was
    /// faster.
    pub(super) async fn begin_once(
        &self,
        space: &str,
        key: &str,
        once: Once,
        over: Option<&Held<Once>>,
    ) -> Result<Option<Held<Once>>> {
        let key = self.once_key(space, key);
        let of = Some(once.caller.clone());
        let plain = super::records::encode(&once, of.as_ref())?;
        let sealed = self.ring.seal(&*self.backend, &key, &plain).await?;
        let is_ours = self.swap(&key, over.map(|held| &held.sealed), Some(&sealed)).await?;
        Ok(is_ours.then_some(Held { value: once, key, sealed, of }))
    }

    fn once_key(&self, space: &str, key: &str) -> Key {
        let application = self.ring.hash("application", &[space]);
        Key::new(format!("once/{application}/{}", self.ring.hash("once", &[key])))
    }
}
