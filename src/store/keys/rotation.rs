//! Key rotation while servers run.
//!
//! **A new data key**: the ring gets one more key, which seals from then on. Every record is
//! resealed by compare-and-swap, which overwrites no concurrent change of another process. Then the
//! keys that no record refers to are dropped. A key that has just stopped sealing stays for
//! [`OLD_KEY_GRACE`], because a write sealed with it may be under way; a later rotation drops it.
//! No key is dropped while the key of any record is unknown because the record is too large or of
//! another form.
//!
//! **A new master key** rewraps the ring and changes no record.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::key_file::Replacing;
use super::master_key::KeyError;
use super::seal::{self, DataKeyId, KeyRing};
use super::source::KeySource;
use crate::model::Time;
use crate::store::backend::{Key, Sealed};
use crate::store::records::key_without_owner;
use crate::store::{MAX_CONCURRENT_WRITES, Result, Store, StoreError};

/// Time a data key stays after it stopped sealing. Every write reads the ring right before it
/// seals, so a process may hang that long in between (a suspended process, a sleeping laptop).
pub(crate) const OLD_KEY_GRACE: Duration = Duration::from_hours(24);

/// Maximum passes over all records; the rotation stops after one that reseals no record. Concurrent
/// writes use the new key, so the second pass is usually the last.
const MAX_PASSES: usize = 4;

/// Result for one record.
#[derive(PartialEq, Eq)]
enum Step {
    Moved,
    /// Nothing to do, or another process did it.
    Left,
    Unreadable,
}

/// A data key of the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataKey {
    pub id: DataKeyId,
    /// `None` if an earlier version made it.
    pub made_at: Option<Time>,
    /// Whether this key seals; the others only open.
    pub seals: bool,
    /// Records sealed with it.
    pub records: usize,
}

/// Result of a data key rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    pub new: DataKeyId,
    /// Records that were resealed.
    pub resealed: usize,
    /// Records that do not open and were left as they are.
    pub unreadable: usize,
    pub dropped: Vec<DataKeyId>,
    /// Older keys that stay until a later rotation.
    pub kept: Vec<DataKeyId>,
}

impl Store {
    /// Returns the data keys, oldest first, and the number of records whose data key the ring
    /// lacks.
    ///
    /// # Errors
    /// [`StoreError`] if the records or the ring cannot be read.
    pub async fn data_keys(&self) -> Result<(Vec<DataKey>, usize)> {
        // Read the ring after the records: it holds a data key before the first record that needs
        // it.
        let mut counts: BTreeMap<DataKeyId, usize> = BTreeMap::new();
        let mut lost = 0;
        let mut records = self.records();
        while let Some(page) = records.next().await? {
            for (_, sealed) in page {
                match seal::sealed_with(&sealed) {
                    Ok(id) => *counts.entry(id).or_default() += 1,
                    Err(_) => lost += 1,
                }
            }
        }
        let ring = self.ring.read(&*self.backend).await?;
        let newest = ring.newest();
        let keys = ring.keys().map(|(id, made_at)| DataKey {
            id,
            made_at,
            seals: Some(id) == newest,
            records: counts.remove(&id).unwrap_or(0),
        });
        let keys = keys.collect();
        Ok((keys, lost + counts.into_values().sum::<usize>()))
    }

    /// Makes a new data key, reseals every record with it, and drops keys that are no longer
    /// needed.
    ///
    /// # Errors
    /// [`StoreError`] if the ring cannot be read or replaced, or a record cannot be read or
    /// written.
    pub async fn rotate_data_key(&self, now: Time) -> Result<Rotated> {
        let ring = self.ring.replace(&*self.backend, |ring| Some(ring.with_new_key(now))).await?;
        let new = ring.newest().ok_or(StoreError::NoRing)?;
        let mut resealed = 0;
        let mut unreadable = 0;
        for _ in 0..MAX_PASSES {
            let (moved, left) = self.reseal_all(&ring).await?;
            resealed += moved;
            unreadable = left;
            if moved == 0 {
                break;
            }
        }
        let (dropped, kept) = self.drop_keys(now).await?;
        Ok(Rotated { new, resealed, unreadable, dropped, kept })
    }

    /// Makes a new master key and wraps the ring with it.
    ///
    /// # Errors
    /// [`KeyError::NotOurs`] if the operator provides the key; [`KeyError::Locked`] while another
    /// process replaces it; [`StoreError`] if the key or the ring cannot be written.
    pub async fn rotate_master_key(&self) -> Result<()> {
        let KeySource::Automatic(path) = self.ring.source() else {
            return Err(KeyError::NotOurs { place: self.ring.source().place() }.into());
        };
        // A process that opens the store between these two steps finds its key among the old ones,
        // and performs the second step.
        let replacing = Replacing::begin(path)?;
        replacing.put_new_key()?;
        self.ring.replace(&*self.backend, |ring| Some(ring.clone())).await?;
        Ok(())
    }

    /// Passes over every record once. Returns how many were resealed and how many do not open.
    async fn reseal_all(&self, ring: &KeyRing) -> Result<(usize, usize)> {
        let (mut moved, mut unreadable) = (0, 0);
        let mut records = self.records();
        while let Some(page) = records.next().await? {
            let mut steps = stream::iter(page)
                .map(|(key, sealed)| self.reseal(ring, key, sealed))
                .buffer_unordered(MAX_CONCURRENT_WRITES);
            while let Some(step) = steps.try_next().await? {
                moved += usize::from(step == Step::Moved);
                unreadable += usize::from(step == Step::Unreadable);
            }
        }
        Ok((moved, unreadable))
    }

    async fn reseal(&self, ring: &KeyRing, key: Key, sealed: Sealed) -> Result<Step> {
        // A newer key of another rotation is as good.
        match seal::sealed_with(&sealed) {
            Ok(id) if Some(id) == ring.newest() || !ring.knows(id) => return Ok(Step::Left),
            _ => {}
        }
        let Ok(plain) = ring.open(&key, &sealed) else { return Ok(Step::Unreadable) };
        let anew = ring.seal(&key, &plain)?;
        let is_ours = self.backend.swap(&key, Some(&sealed), Some(&anew)).await?;
        Ok(if is_ours { Step::Moved } else { Step::Left })
    }

    /// Drops the data keys that have not sealed for [`OLD_KEY_GRACE`] and that no record refers to.
    /// Returns those, and the older ones that stay.
    async fn drop_keys(&self, now: Time) -> Result<(Vec<DataKeyId>, Vec<DataKeyId>)> {
        let before = self.ring.read(&*self.backend).await?;
        // Choose the keys before searching the records: no later write uses a chosen key.
        let spent: Vec<DataKeyId> = spent(&before, now);
        let mut used: BTreeSet<DataKeyId> = BTreeSet::new();
        let mut may_drop = true;
        let mut records = self.records();
        while let Some(page) = records.next().await? {
            for (key, sealed) in &page {
                match seal::sealed_with(sealed) {
                    Ok(id) => _ = used.insert(id),
                    Err(error) => {
                        may_drop = false;
                        let key = key_without_owner(key);
                        tracing::warn!(key, %error, "a record cannot be read, so all keys stay");
                    }
                }
            }
        }
        let dropped: Vec<_> =
            spent.into_iter().filter(|id| may_drop && !used.contains(id)).collect();
        let after = self
            .ring
            .replace(&*self.backend, |ring| (!dropped.is_empty()).then(|| ring.without(&dropped)))
            .await?;
        let newest = after.newest();
        let kept = after.keys().map(|(id, _)| id).filter(|id| Some(*id) != newest).collect();
        Ok((dropped, kept))
    }
}

/// Returns the keys that stopped sealing at least [`OLD_KEY_GRACE`] ago, when the next key was
/// made.
fn spent(ring: &KeyRing, now: Time) -> Vec<DataKeyId> {
    let keys: Vec<_> = ring.keys().collect();
    let pairs = keys.iter().zip(keys.iter().skip(1));
    pairs
        .filter(|(_, (_, next))| next.is_some_and(|made_at| now.since(made_at) >= OLD_KEY_GRACE))
        .map(|((id, _), _)| *id)
        .collect()
}

#[cfg(test)]
mod tests;
