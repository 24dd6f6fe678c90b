//! The key ring in a running process, while other processes rotate keys.
//!
//! The ring is stored under `ring` and replaced only by compare-and-swap, so two rotations at once
//! do not lose each other's key. The copy in a process may be outdated:
//!
//! - **Reading**: if a record names an unknown data key, the process reads the `ring` record once.
//!   A new data key is on disk before the first record that needs it.
//! - **Writing**: every write first reads the `ring` record and seals with its newest data key. A
//!   data key is dropped no sooner than [`OLD_KEY_GRACE`](super::rotation::OLD_KEY_GRACE) after it
//!   stopped sealing, so only a write that hangs for that long between its two steps could use a
//!   dropped key.
//! - **A replaced master key**: the process reads the key source again. If that still gives the old
//!   key (a variable cannot change in a running process), the process continues with its own ring
//!   while the new ring lists, in clear, the data key that it seals with.

use std::sync::Arc;

use parking_lot::RwLock;
use zeroize::Zeroizing;

use super::master_key::MasterKey;
use super::seal::{self, KeyRing, SealError};
use super::source::KeySource;
use crate::model::Time;
use crate::store::backend::walk::is_empty;
use crate::store::backend::{Backend, BackendError, Key, Sealed};
use crate::store::error::{Result, StoreError};

/// Key of the wrapped ring, as text.
const RING: &str = "ring";

/// Returns the key of the wrapped ring.
pub(crate) fn ring_key() -> Key {
    Key::new(RING.into())
}

/// Attempts to swap the ring before [`StoreError::Contended`]; more concurrent changes are a fault,
/// not a race.
const MAX_SWAP_ATTEMPTS: usize = 16;

/// Purpose for which a process opens a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Use: creates a missing ring, and rewraps one that a later key of the list has wrapped.
    Use,
    /// Inspection: writes nothing.
    Look,
}

/// The ring, read again when necessary.
pub(crate) struct Ring {
    source: KeySource,
    held: Arc<RwLock<Arc<Held>>>,
}

struct Held {
    ring: KeyRing,
    /// As it was read: the ring is unchanged while the store holds exactly this.
    wrapped: Sealed,
}

impl Ring {
    /// Opens the ring of a store. [`Opening::Use`] creates it if the store is empty.
    ///
    /// If a later key of the list wrapped the ring, the first key rewraps it, which is the purpose
    /// of `COUNTERSIGN_KEY=new,old`. A command that only reads leaves it: the old key must keep
    /// working for a server that still runs with it.
    pub(crate) async fn open(
        backend: &dyn Backend,
        source: KeySource,
        now: Time,
        opening: Opening,
    ) -> Result<Self> {
        let place = ring_key();
        // A process that loses a race to create or rewrap the ring continues with the winner's.
        for _ in 0..MAX_SWAP_ATTEMPTS {
            let Some(wrapped) = backend.get(&place).await? else {
                // A new ring beside existing records would only hide that their ring is lost.
                if !is_empty(backend).await? {
                    // Another process may have created the ring and a first record since.
                    if backend.get(&place).await?.is_some() {
                        continue;
                    }
                    return Err(StoreError::NoRing);
                }
                if opening == Opening::Look {
                    return Err(StoreError::Empty);
                }
                let masters = load(&source, true).await?;
                let ring = KeyRing::generate(now);
                let wrapped = ring.wrap(first(&masters, &source)?)?;
                if backend.swap(&place, None, Some(&wrapped)).await? {
                    return Ok(Self::holding(source, ring, wrapped));
                }
                continue;
            };
            let masters = load(&source, false).await?;
            let (at, ring) = unwrap(&wrapped, &masters, &source)?;
            if at == 0 || opening == Opening::Look {
                return Ok(Self::holding(source, ring, wrapped));
            }
            let anew = ring.wrap(first(&masters, &source)?)?;
            if backend.swap(&place, Some(&wrapped), Some(&anew)).await? {
                return Ok(Self::holding(source, ring, anew));
            }
        }
        Err(StoreError::Contended)
    }

    fn holding(source: KeySource, ring: KeyRing, wrapped: Sealed) -> Self {
        Self { source, held: Arc::new(RwLock::new(Arc::new(Held { ring, wrapped }))) }
    }

    pub(crate) fn source(&self) -> &KeySource {
        &self.source
    }

    /// Returns a function that gives the wrapped ring as it was last read.
    pub(crate) fn last_read(&self) -> impl Fn() -> Sealed + Send + Sync + 'static {
        let held = Arc::clone(&self.held);
        move || held.read().wrapped.clone()
    }

    /// See [`KeyRing::hash`]. Does not read the store: the root of the hashes never changes.
    pub(crate) fn hash(&self, purpose: &str, parts: &[&str]) -> String {
        self.held().ring.hash(purpose, parts)
    }

    /// See [`KeyRing::derive`].
    pub(crate) fn derive(&self, purpose: &str) -> Zeroizing<Vec<u8>> {
        self.held().ring.derive(purpose)
    }

    /// Seals a record with the data key that is the newest now.
    pub(crate) async fn seal(
        &self,
        backend: &dyn Backend,
        key: &Key,
        plain: &[u8],
    ) -> Result<Sealed> {
        let held = match self.current(backend).await {
            Ok(current) => current,
            Err(error @ (StoreError::WrongKey { .. } | StoreError::Key(_))) => {
                let held = self.held();
                let stored = backend.get(&ring_key()).await?;
                let listed = stored.as_ref().map(seal::listed).unwrap_or_default();
                if !held.ring.newest().is_some_and(|newest| listed.contains(&newest)) {
                    return Err(error);
                }
                tracing::warn!(%error, "the master key was replaced while this process ran");
                held
            }
            Err(error) => return Err(error),
        };
        Ok(held.ring.seal(key, plain)?)
    }

    /// Opens a record. Reads the ring again first if the record's data key is unknown here.
    pub(crate) async fn unseal(
        &self,
        backend: &dyn Backend,
        key: &Key,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let mut held = self.held();
        if !held.ring.knows(seal::sealed_with(sealed)?) {
            held = self.current(backend).await?;
        }
        Ok(held.ring.open(key, sealed)?)
    }

    /// Reads the ring from the store and returns a copy.
    pub(crate) async fn read(&self, backend: &dyn Backend) -> Result<KeyRing> {
        Ok(self.current(backend).await?.ring.clone())
    }

    /// Replaces the ring by the result of `change`, wrapped by the first key of the source. Calls
    /// `change` again if another process was faster; `None` leaves the ring as it is.
    pub(crate) async fn replace(
        &self,
        backend: &dyn Backend,
        change: impl Fn(&KeyRing) -> Option<KeyRing>,
    ) -> Result<KeyRing> {
        let place = ring_key();
        for _ in 0..MAX_SWAP_ATTEMPTS {
            let stored = backend.get(&place).await?.ok_or(StoreError::Replaced)?;
            let masters = load(&self.source, false).await?;
            let (_, ring) = unwrap(&stored, &masters, &self.source)?;
            let Some(changed) = change(&ring) else { return Ok(ring) };
            let wrapped = changed.wrap(first(&masters, &self.source)?)?;
            if backend.swap(&place, Some(&stored), Some(&wrapped)).await? {
                self.hold(changed.clone(), wrapped)?;
                return Ok(changed);
            }
        }
        Err(StoreError::Contended)
    }

    fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held.read())
    }

    /// Returns the ring as the store holds it now.
    async fn current(&self, backend: &dyn Backend) -> Result<Arc<Held>> {
        let held = self.held();
        let stored = backend.get(&ring_key()).await?.ok_or(StoreError::Replaced)?;
        if stored == held.wrapped {
            return Ok(held);
        }
        let masters = load(&self.source, false).await?;
        let (_, ring) = unwrap(&stored, &masters, &self.source)?;
        self.hold(ring, stored)
    }

    /// Holds a ring that was read or written. Fails once if it belongs to another store: keys that
    /// were hashed under the old ring would not be found again.
    fn hold(&self, ring: KeyRing, wrapped: Sealed) -> Result<Arc<Held>> {
        let new = Arc::new(Held { ring, wrapped });
        let old = std::mem::replace(&mut *self.held.write(), Arc::clone(&new));
        if !new.ring.is_of_the_store_of(&old.ring) {
            return Err(StoreError::Replaced);
        }
        Ok(new)
    }
}

async fn load(source: &KeySource, store_is_empty: bool) -> Result<Vec<MasterKey>> {
    let source = source.clone();
    Ok(tokio::task::spawn_blocking(move || source.load(store_is_empty))
        .await
        .map_err(|_| BackendError::Closed)??)
}

fn first<'m>(masters: &'m [MasterKey], source: &KeySource) -> Result<&'m MasterKey> {
    masters.first().ok_or_else(|| StoreError::WrongKey { place: source.place() })
}

/// Returns the ring, and the index of the key that opened it.
fn unwrap(wrapped: &Sealed, masters: &[MasterKey], source: &KeySource) -> Result<(usize, KeyRing)> {
    for (at, master) in masters.iter().enumerate() {
        match KeyRing::unwrap(wrapped, master) {
            Ok(ring) => return Ok((at, ring)),
            Err(SealError::Foreign) => {}
            // This key is right and the ring is damaged, or no key opens it: do not try others.
            Err(SealError::Format | SealError::Seal) => return Err(StoreError::NoRing),
        }
    }
    Err(StoreError::WrongKey { place: source.place() })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::store::Memory;
    use crate::store::backend::intercepted::Intercepted;
    use crate::store::tests::given;

    #[tokio::test]
    async fn a_ring_that_another_process_makes_meanwhile_is_used() {
        let several = Memory::default();
        several.process(given(1)).await.unwrap();
        // The first read comes before another process has created the ring.
        let has_looked = AtomicBool::new(false);
        let early = Intercepted::over(several.backend)
            .get(move || (!has_looked.swap(true, Ordering::Relaxed)).then_some(Ok(None)));
        let opened = Ring::open(&early, given(1), Time::from_millis(0), Opening::Use).await;
        assert!(opened.is_ok(), "{:?}", opened.err());
    }
}
