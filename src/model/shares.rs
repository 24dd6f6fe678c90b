//! Shares of what several keys take together: slots or bytes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// An amount that keys share. No key takes more than its share, since one that took everything
/// would make all the others wait.
pub struct Shares {
    most: usize,
    most_per_key: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    all: usize,
    by_key: HashMap<String, usize>,
}

/// A part of a key's share; free again when this is dropped.
pub struct Share {
    of: Arc<Shares>,
    key: String,
    amount: usize,
}

/// Why a key gets no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoShare {
    /// It has its share already.
    OfKey,
    /// All keys together have everything.
    OfAll,
}

impl Shares {
    /// Creates an amount of `most`, of which one key holds at most `most_per_key`.
    pub fn new(most: usize, most_per_key: usize) -> Arc<Self> {
        Arc::new(Self { most, most_per_key, held: Mutex::default() })
    }

    /// Takes `amount` for a key.
    ///
    /// # Errors
    /// [`NoShare`] if the amount exceeds what is left.
    pub fn take(self: &Arc<Self>, key: &str, amount: usize) -> Result<Share, NoShare> {
        let mut held = self.held.lock();
        let own = held.by_key.get(key).copied().unwrap_or_default();
        if amount > self.most_per_key.saturating_sub(own) {
            return Err(NoShare::OfKey);
        }
        if amount > self.most.saturating_sub(held.all) {
            return Err(NoShare::OfAll);
        }
        held.all += amount;
        held.by_key.insert(key.to_owned(), own + amount);
        Ok(Share { of: Arc::clone(self), key: key.to_owned(), amount })
    }

    /// Returns how much a key holds.
    pub fn held_by(&self, key: &str) -> usize {
        self.held.lock().by_key.get(key).copied().unwrap_or_default()
    }

    /// Whether no key holds anything.
    #[cfg(test)]
    pub fn is_untouched(&self) -> bool {
        let held = self.held.lock();
        held.all == 0 && held.by_key.is_empty()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.of.held.lock();
        held.all -= self.amount;
        match held.by_key.get_mut(&self.key) {
            Some(own) if *own > self.amount => *own -= self.amount,
            _ => drop(held.by_key.remove(&self.key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_leaves_room_for_the_others() {
        let shares = Shares::new(10, 6);
        let first = shares.take("ana", 4).unwrap();
        let second = shares.take("ana", 2).unwrap();
        assert_eq!(shares.take("ana", 1).err(), Some(NoShare::OfKey));
        assert_eq!(shares.take("bob", 5).err(), Some(NoShare::OfAll));
        let third = shares.take("bob", 4).unwrap();
        drop(first);
        assert_eq!(shares.take("ana", 5).err(), Some(NoShare::OfKey));
        drop((shares.take("ana", 4).unwrap(), second, third));
        assert!(shares.is_untouched());
    }
}
