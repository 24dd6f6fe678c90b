//! Export and import of a whole store, sealed as it is.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tokio::sync::watch;

use super::archive::Archive;
use super::backend::{Backend, BackendError, Key, Sealed};
use super::peer::Answering;
use super::ring::{self, Opening, Ring};
use super::rotation::AT_ONCE;
use super::shared::{Role, Shared};
use super::{DataFolder, KeySource, Store, StoreError};
use crate::model::Time;

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the store is not empty: it holds something that the export does not")]
    NotEmpty,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImportError {
    pub fn hint(&self) -> String {
        match self {
            Self::NotEmpty => {
                "give an empty folder with `--data DIR`; this store was left as it was".into()
            }
            Self::Store(error) => error.hint(),
        }
    }
}

/// What an import did.
#[derive(Debug)]
pub struct Imported {
    /// Records that were not there yet.
    pub added: usize,
    /// Why the store does not open with the key that this process has.
    pub locked: Option<StoreError>,
}

type Result<T, E = ImportError> = std::result::Result<T, E>;

/// Rotations that an export may have to wait out.
const ROUNDS: usize = 8;

impl Store {
    /// All records as they are at some moment of the call.
    pub async fn export(&self, now: Time) -> Result<Archive, StoreError> {
        let place = place();
        for _ in 0..ROUNDS {
            let before = self.backend.get(&place).await?;
            let mut records: BTreeMap<_, _> = self.records().await?.into_iter().collect();
            // Between two looks at the same ring, it had the data key of each.
            match self.backend.get(&place).await? {
                Some(wrapped) if before.as_ref() == Some(&wrapped) => {
                    let id = self.ring.read(&self.backend).await?.store_id();
                    records.insert(place, wrapped);
                    return Ok(Archive::new(id, now, records));
                }
                Some(_) => {}
                None => return Err(StoreError::NoRing),
            }
        }
        Err(StoreError::Contended)
    }

    /// Puts an archive into an empty store, or completes an import that was cut off.
    ///
    /// The ring comes last, and without it no store opens: what was cut off is no half of a store,
    /// but one that the next import completes. What fails is undone.
    pub async fn import(
        folder: DataFolder,
        keys: KeySource,
        archive: &Archive,
    ) -> Result<Imported> {
        let now = folder.clock.now();
        let role = watch::Sender::new(Role::Peer);
        // Like any process, owner or peer: a server may have the store open.
        let backend = Shared::open(folder, Answering::default(), role).await?;
        let mut steps = Steps { backend: &backend, done: Vec::new() };
        let added = match put(&mut steps, archive).await {
            Ok(added) => added,
            Err(error) => {
                steps.undo().await;
                return Err(error);
            }
        };
        let locked = Ring::open(&backend, keys, now, Opening::Look).await.err();
        Ok(Imported { added, locked })
    }
}

async fn put(steps: &mut Steps<'_>, archive: &Archive) -> Result<usize> {
    let place = place();
    let ring = archive.records.get(&place);
    let old_ring = steps.read(&place).await?;
    let there = steps.others(archive).await?;
    let is_other_ring = old_ring.is_some() && old_ring.as_ref() != ring;
    // A ring alone is what a first start leaves behind; beside records it has sealed them.
    if there.foreign > 0 || (there.same > 0 && is_other_ring) {
        return Err(ImportError::NotEmpty);
    }
    if is_other_ring {
        // First of all, so that a running process writes nothing under it any more.
        steps.swap(&place, old_ring.as_ref(), None).await?;
    }
    let added = steps.add(archive).await?;
    // What a running process wrote in between would not open under the new ring.
    if steps.others(archive).await?.foreign > 0 {
        return Err(ImportError::NotEmpty);
    }
    if old_ring.as_ref() != ring {
        steps.swap(&place, None, ring).await?;
    }
    Ok(added)
}

/// Swaps that can be taken back.
struct Steps<'b> {
    backend: &'b dyn Backend,
    /// The key, what was put there, what stood there.
    done: Vec<(Key, Option<Sealed>, Option<Sealed>)>,
}

/// Records beside the ring.
struct Others {
    same: usize,
    foreign: usize,
}

impl Steps<'_> {
    async fn read(&self, key: &Key) -> Result<Option<Sealed>, StoreError> {
        Ok(self.backend.get(key).await?)
    }

    async fn others(&self, archive: &Archive) -> Result<Others, StoreError> {
        let mut found = self.backend.scan(&Key::new(String::new())).await?;
        found.retain(|(key, _)| *key != place());
        let is_same = |(key, sealed): &&(Key, Sealed)| archive.records.get(key) == Some(sealed);
        let same = found.iter().filter(is_same).count();
        Ok(Others { same, foreign: found.len() - same })
    }

    async fn swap(&mut self, key: &Key, old: Option<&Sealed>, new: Option<&Sealed>) -> Result<()> {
        let swapped = self.backend.swap(key, old, new).await;
        self.note(key, old, new, swapped)
    }

    /// Puts the records where they are not yet.
    async fn add(&mut self, archive: &Archive) -> Result<usize> {
        let there = self.backend.scan(&Key::new(String::new())).await.map_err(StoreError::from)?;
        let there: BTreeMap<_, _> = there.into_iter().collect();
        let is_missing = |(key, _): &(&Key, &Sealed)| **key != place() && !there.contains_key(key);
        let missing: Vec<_> = archive.records.iter().filter(is_missing).collect();
        for some in missing.chunks(AT_ONCE) {
            let swaps = some.iter().map(|(key, sealed)| self.backend.swap(key, None, Some(sealed)));
            // All of them to their end, or what failed could not be taken back.
            let swapped = join_all(swaps).await.into_iter().zip(some);
            let noted: Vec<_> = swapped
                .map(|(swapped, (key, sealed))| self.note(key, None, Some(sealed), swapped))
                .collect();
            noted.into_iter().collect::<Result<()>>()?;
        }
        Ok(missing.len())
    }

    fn note(
        &mut self,
        key: &Key,
        old: Option<&Sealed>,
        new: Option<&Sealed>,
        swapped: Result<bool, BackendError>,
    ) -> Result<()> {
        if let Ok(false) = swapped {
            return Err(ImportError::NotEmpty);
        }
        // What failed may have happened all the same.
        self.done.push((key.clone(), new.cloned(), old.cloned()));
        swapped.map_err(StoreError::from)?;
        Ok(())
    }

    async fn undo(self) {
        for (key, put, stood) in self.done.iter().rev() {
            let is_undone = match self.backend.swap(key, put.as_ref(), stood.as_ref()).await {
                Ok(false) => self.read(key).await.is_ok_and(|stands| stands == *stood),
                undone => undone.is_ok(),
            };
            if !is_undone {
                tracing::warn!("a step of the import could not be taken back; import again");
            }
        }
    }
}

fn place() -> Key {
    Key::new(ring::PLACE.into())
}

#[cfg(test)]
mod tests;
