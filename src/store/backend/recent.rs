//! Cache of recent reads, so that a call or a poll needs no other thread.

use std::collections::HashMap;

use super::{Key, Sealed};

/// Bytes of the cache; a full one is emptied. Enough for the records of some thousand users.
const MAX_BYTES: usize = 8 << 20;
/// Bytes of a record that is kept. Larger ones are documents of clients, and seldom read.
const MAX_KEPT_RECORD_BYTES: usize = 64 << 10;
/// Bytes that an entry takes beside its key and its record, about.
const ENTRY_BYTES: usize = 128;

/// Results of reads, also of those that found nothing: a client that waits for its user's consent
/// asks again and again for a grant that is not there.
///
/// It is coherent if every swap passes here: a swap removes its key, and a read stores its result
/// only if no swap has happened since.
#[derive(Default)]
pub(super) struct Recent {
    swaps: u64,
    reads: HashMap<Key, Read>,
    bytes: usize,
}

/// Result of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Record(Sealed),
    Nothing,
}

impl Read {
    pub(super) fn of(found: Option<&Sealed>) -> Self {
        found.map_or(Self::Nothing, |found| Self::Record(found.clone()))
    }

    pub(super) fn into_found(self) -> Option<Sealed> {
        match self {
            Self::Record(sealed) => Some(sealed),
            Self::Nothing => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Record(sealed) => sealed.as_bytes().len(),
            Self::Nothing => 0,
        }
    }
}

impl Recent {
    /// Returns the number of swaps so far, for [`Self::remember`].
    pub(super) fn swaps(&self) -> u64 {
        self.swaps
    }

    pub(super) fn get(&self, key: &Key) -> Option<Read> {
        self.reads.get(key).cloned()
    }

    /// Keeps the result of a read that began after this number of swaps.
    pub(super) fn remember(&mut self, key: Key, read: Read, swaps: u64) {
        if self.swaps != swaps || read.bytes() > MAX_KEPT_RECORD_BYTES {
            return;
        }
        let bytes = entry_bytes(&key, &read);
        if self.bytes.saturating_add(bytes) > MAX_BYTES {
            self.clear();
        }
        self.remove(&key);
        self.bytes += bytes;
        self.reads.insert(key, read);
    }

    /// Removes the key of a swap.
    pub(super) fn forget(&mut self, key: &Key) {
        self.swaps += 1;
        self.remove(key);
    }

    pub(super) fn clear(&mut self) {
        self.reads.clear();
        self.bytes = 0;
    }

    fn remove(&mut self, key: &Key) {
        if let Some(read) = self.reads.remove(key) {
            self.bytes = self.bytes.saturating_sub(entry_bytes(key, &read));
        }
    }
}

fn entry_bytes(key: &Key, read: &Read) -> usize {
    key.as_bytes().len() + read.bytes() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new(name.to_owned())
    }

    fn record(bytes: usize) -> Read {
        Read::Record(Sealed::from_stored(vec![1; bytes]))
    }

    #[test]
    fn a_read_is_kept_until_its_key_is_swapped() {
        let mut recent = Recent::default();
        for read in [record(10), Read::Nothing] {
            recent.remember(key("a"), read.clone(), recent.swaps());
            recent.forget(&key("b"));
            assert_eq!(recent.get(&key("a")), Some(read));
        }
        recent.forget(&key("a"));
        assert_eq!(recent.get(&key("a")), None);
        assert_eq!(recent.bytes, 0);
    }

    #[test]
    fn a_read_that_a_swap_overtook_is_not_kept() {
        let mut recent = Recent::default();
        let before = recent.swaps();
        recent.forget(&key("a"));
        recent.remember(key("a"), Read::Nothing, before);
        assert_eq!(recent.get(&key("a")), None);
    }

    #[test]
    fn the_cache_stays_within_its_bytes() {
        let mut recent = Recent::default();
        recent.remember(key("document"), record(MAX_KEPT_RECORD_BYTES + 1), 0);
        assert_eq!(recent.get(&key("document")), None);
        for number in 0..1000 {
            recent.remember(key(&format!("key-{number}")), record(MAX_KEPT_RECORD_BYTES), 0);
            assert!(recent.bytes <= MAX_BYTES);
        }
        assert!(recent.get(&key("key-999")).is_some());
        assert_eq!(recent.get(&key("key-0")), None);
    }
}
