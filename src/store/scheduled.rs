//! Calls that run at a time that their client has chosen.

use super::backend::Key;
use super::{Held, Result, Store};
use crate::model::Caller;
use crate::model::scheduled::ScheduledCall;

const SCHEDULED: &str = "scheduled/";

/// # Errors
/// As the methods of [`Store`] in general.
impl Store {
    /// Returns a call of an application, `space`, by its id.
    pub async fn scheduled(&self, space: &str, id: &str) -> Result<Option<Held<ScheduledCall>>> {
        self.read(self.scheduled_key(space, id)).await
    }

    /// Calls `each` with every call of an application, `space`, or of all. Calls may be large, so no
    /// list of them is made.
    pub async fn for_each_scheduled(
        &self,
        space: Option<&str>,
        mut each: impl FnMut(&ScheduledCall),
    ) -> Result<()> {
        let prefix = space.map_or_else(|| SCHEDULED.to_owned(), |it| self.scheduled_prefix(it));
        let mut pages = self.opened::<ScheduledCall>(&prefix);
        while let Some(page) = pages.next().await? {
            for held in &page {
                each(&held.value);
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Stores a new call. `None` if there is one with its id.
    pub(super) async fn put_scheduled(
        &self,
        call: ScheduledCall,
    ) -> Result<Option<Held<ScheduledCall>>> {
        let key = self.scheduled_key(&call.space, &call.id);
        let of = Some(call.caller.clone());
        let plain = super::records::encode(&call, of.as_ref())?;
        let sealed = self.ring.seal(&*self.backend, &key, &plain).await?;
        let is_ours = self.swap(&key, None, Some(&sealed)).await?;
        Ok(is_ours.then_some(Held { value: call, key, sealed, of }))
    }

    /// Deletes the calls of a user, in every state. Returns their number.
    pub(super) async fn delete_scheduled(&self, caller: &Caller) -> Result<usize> {
        let mut deleted = 0;
        for space in caller.spaces() {
            let prefix = self.scheduled_prefix(&space);
            deleted += self.delete_all::<ScheduledCall>(&prefix, |it| it.caller == *caller).await?;
        }
        Ok(deleted)
    }

    fn scheduled_prefix(&self, space: &str) -> String {
        format!("{SCHEDULED}{}/", self.ring.hash("application", &[space]))
    }

    fn scheduled_key(&self, space: &str, id: &str) -> Key {
        Key::new(format!("{}{}", self.scheduled_prefix(space), self.ring.hash("scheduled", &[id])))
    }
}
