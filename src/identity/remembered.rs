//! What was found out about tokens a moment ago, by their digests: whose a good one is, and why another
//! was refused.

use parking_lot::RwLock;
use std::collections::HashMap;
use std::mem;

use super::digest::Digest;
use crate::model::Time;

/// In each of two halves, so that 16,384 people at once pay for each token once a minute.
const HALF: usize = 8192;

/// A bounded memory. When one half is full it becomes the older one, and the older one is forgotten:
/// no search for what to drop, and no more than twice [`HALF`] whatever comes in.
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
    pub(super) fn recall(&self, digest: &Digest, now: Time) -> Option<T> {
        let halves = self.0.read();
        let entry = halves.younger.get(digest).or_else(|| halves.older.get(digest))?;
        // A clock that was set back must not make a minute last longer.
        (entry.since <= now && now < entry.until).then(|| entry.value.clone())
    }

    pub(super) fn keep(&self, digest: Digest, value: T, since: Time, until: Time) {
        if until <= since {
            return;
        }
        let mut halves = self.0.write();
        if halves.younger.len() >= HALF {
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
        (1..=HALF).for_each(keep);
        assert!(knows(0, 1000) && knows(HALF, 1000));
        (HALF..=2 * HALF).for_each(keep);
        assert!(!knows(0, 1000) && knows(2 * HALF, 1000));
        assert!(Arc::strong_count(&ana) <= 2 * HALF + 1);
    }
}
