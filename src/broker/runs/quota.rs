//! Limits on what clients store. Consents are on the same disk, and documents must not take their room.

use tokio::sync::Mutex;

use super::RunError;
use crate::model::Caller;
use crate::model::run::{DocumentLimits, Stored};
use crate::store::{DocumentCount, Store, StoreError};

/// Counts what is stored, and refuses what is too much.
///
/// This process counts all records before its first write and after each deletion of expired ones,
/// and follows its own writes in between. Writes of other processes, and writes at the same moment,
/// can exceed a limit by what they store.
pub(super) struct Quota {
    limits: DocumentLimits,
    count: Mutex<Option<DocumentCount>>,
}

/// The user and the key whose document changes. Plans have no user.
#[derive(Clone, Copy)]
pub(super) struct Whose<'a> {
    pub(super) space: &'a str,
    pub(super) caller: Option<&'a Caller>,
}

/// A document that replaces another one, or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    before: Stored,
    after: Stored,
}

impl Change {
    /// A document of `after` bytes, in place of one of `before` bytes.
    pub(super) fn new(before: Option<usize>, after: usize) -> Self {
        let before = before.map(Stored::one).unwrap_or_default();
        Self { before, after: Stored::one(after) }
    }

    fn applied(self, mut to: Stored) -> Stored {
        to.remove(self.before);
        to.add(self.after);
        to
    }

    /// Whether the change keeps to a limit. A change that stores no more than before always does.
    fn fits(self, now: Stored, limit: Stored) -> bool {
        let next = self.applied(now);
        (next.documents <= limit.documents || next.documents <= now.documents)
            && (next.bytes <= limit.bytes || next.bytes <= now.bytes)
    }
}

impl Quota {
    pub(super) fn new(limits: DocumentLimits) -> Self {
        Self { limits, count: Mutex::default() }
    }

    /// Checks the limits on a change.
    ///
    /// # Errors
    /// [`RunError::Full`], or [`RunError::Store`] if what is stored cannot be counted.
    pub(super) async fn check(
        &self,
        store: &Store,
        whose: Whose<'_>,
        change: Change,
    ) -> Result<(), RunError> {
        let mut count = self.count.lock().await;
        let count = counted(&mut count, store).await?;
        let Whose { space, caller } = whose;
        let of_user = caller.and_then(|caller| count.by_user.get(caller));
        if caller.is_some()
            && !change.fits(of_user.copied().unwrap_or_default(), self.limits.of_user)
        {
            return Err(RunError::Full { whose: "this user", most: self.limits.of_user });
        }
        let of_key = count.by_space.get(&store.space_hash(space)).copied().unwrap_or_default();
        if !change.fits(of_key, self.limits.of_key) {
            return Err(RunError::Full { whose: "this key", most: self.limits.of_key });
        }
        Ok(())
    }

    /// Counts a change that was stored.
    pub(super) async fn note(&self, store: &Store, whose: Whose<'_>, change: Change) {
        let mut count = self.count.lock().await;
        let Some(count) = count.as_mut() else { return };
        let mut spaces = vec![whose.space.to_owned()];
        if let Some(caller) = whose.caller {
            let of_user = count.by_user.entry(caller.clone()).or_default();
            *of_user = change.applied(*of_user);
            spaces = caller.spaces().into();
        }
        for space in spaces {
            let of_key = count.by_space.entry(store.space_hash(&space)).or_default();
            *of_key = change.applied(*of_key);
        }
    }

    /// Counts that all documents of a user were deleted.
    pub(super) async fn note_deletion(&self, store: &Store, caller: &Caller) {
        let mut count = self.count.lock().await;
        let Some(count) = count.as_mut() else { return };
        let Some(deleted) = count.by_user.remove(caller) else { return };
        for space in caller.spaces() {
            if let Some(of_key) = count.by_space.get_mut(&store.space_hash(&space)) {
                of_key.remove(deleted);
            }
        }
    }

    /// Has the next write count all records again.
    pub(super) async fn forget(&self) {
        *self.count.lock().await = None;
    }
}

async fn counted<'c>(
    count: &'c mut Option<DocumentCount>,
    store: &Store,
) -> Result<&'c mut DocumentCount, StoreError> {
    let found = match count.take() {
        Some(found) => found,
        None => store.count_documents().await?,
    };
    Ok(count.insert(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_keeps_to_both_limits_and_one_that_stores_less_is_always_taken() {
        let stored = |documents, bytes| Stored { documents, bytes };
        let limit = stored(3, 100);
        for (now, before, after, is_taken) in [
            (stored(0, 0), None, 100, true),
            (stored(0, 0), None, 101, false),
            (stored(2, 50), None, 50, true),
            (stored(3, 50), None, 1, false),
            (stored(3, 50), Some(10), 60, true),
            (stored(3, 50), Some(10), 61, false),
            (stored(5, 500), Some(10), 10, true),
            (stored(5, 500), Some(10), 11, false),
        ] {
            let change = Change::new(before, after);
            assert_eq!(change.fits(now, limit), is_taken, "{now:?} {before:?} {after}");
        }
    }
}
