//! Recent findings about tokens, by digest: the user of an accepted one, and why another was
//! refused.

use parking_lot::RwLock;
use std::collections::HashMap;
use std::mem;

use super::digest::Digest;
use crate::model::Time;

/// Maximum entries in each of two halves, so that for 16,384 concurrent users each token is checked
/// only once a minute.
const MAX_ENTRIES_PER_HALF: usize = 8192;

/// A bounded cache. When one half is full it becomes the older one, and the older one is dropped:
/// no search for entries to drop, and never more than twice [`MAX_ENTRIES_PER_HALF`].
pub(super) struct Remembered<T>(RwLock<Halves<T>>);

struct Halves<T> {
    younger: HashMap<Digest, Entry<T>>,
    older: HashMap<Digest, Entry<T>>,
}

struct Entry<T> {
    value: T,
    since: Time,
    until: Time,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(RwLock::new(Halves { younger: HashMap::new(), older: HashMap::new() }))
    }
}

impl<T: Clone> Remembered<T> {
    /// Returns the value for a digest, if it is still valid.
    pub(super) fn recall(&self, digest: &Digest, now: Time) -> Option<T> {
        let halves = self.0.read();
        let entry = halves.younger.get(digest).or_else(|| halves.older.get(digest))?;
        // After a clock was set back, a minute must not last longer.
        (entry.since <= now && now < entry.until).then(|| entry.value.clone())
    }

    /// Stores a value that is valid from `since` until `until`.
    pub(super) fn keep(&self, digest: Digest, value: T, since: Time, until: Time) {
        if until <= since {
            return;
        }
        let mut halves = self.0.write();
        if halves.younger.len() >= MAX_ENTRIES_PER_HALF {
            halves.older = mem::take(&mut halves.younger);
        }
        halves.younger.insert(digest, Entry { value, since, until });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::digest::Digester;
    use super::*;

    #[test]
    fn it_is_short_and_bounded() {
        let (remembered, digester) = (Remembered::default(), Digester::new());
        let digest = |number: usize| digester.digest(&number.to_string());
        let ana = Arc::new("ana");
        let (start, end) = (Time::from_millis(1000), Time::from_millis(2000));
        let keep = |number| remembered.keep(digest(number), Arc::clone(&ana), start, end);
        let knows = |number, millis| {
            remembered.recall(&digest(number), Time::from_millis(millis)).is_some()
        };
        keep(0);
        assert!(knows(0, 1000) && knows(0, 1999));
        assert!(!knows(0, 2000) && !knows(0, 999) && !knows(1, 1000));
        (1..=MAX_ENTRIES_PER_HALF).for_each(keep);
        assert!(knows(0, 1000) && knows(MAX_ENTRIES_PER_HALF, 1000));
        (MAX_ENTRIES_PER_HALF..=2 * MAX_ENTRIES_PER_HALF).for_each(keep);
        assert!(!knows(0, 1000) && knows(2 * MAX_ENTRIES_PER_HALF, 1000));
        assert!(Arc::strong_count(&ana) <= 2 * MAX_ENTRIES_PER_HALF + 1);
    }
}
