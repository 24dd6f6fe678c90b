//! The embedded backend: sled 0.34.7 and what it takes to trust it with tokens.
//!
//! sled's own `flush()` on Linux ends in `sync_file_range`, which promises nothing after a power
//! loss, so every write is followed by `sync_data()` on a second handle of the same file. Its error
//! types come without kinds worth matching, it panics on a truncated file, and it never opens again
//! after a kill in the middle of a snapshot; all of that stays behind this file.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::{Mutex, RwLock};

use super::backend::{Backend, BackendError, Key, Sealed};
use super::folder::Lock;
use crate::model::Time;

const CACHE_BYTES: u64 = 16 << 20;
/// Records remembered: some kilobytes each at most, and more people than call at once.
const MOST_RECENT: usize = 1024;

/// Holds sled open, under the folder's lock.
pub(super) struct SledBackend(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// `None` while it is being opened again.
    open: RwLock<Option<Open>>,
    /// Swaps made so far, and the last one that is known to be on disk: writers that come while one
    /// flushes share the next flush.
    made: AtomicU64,
    flushed: Mutex<u64>,
    /// Set by a failed write or flush, cleared by the next flush that succeeds (contract, 6).
    unsure: AtomicBool,
    recent: Mutex<Recent>,
    /// Last, so that nobody takes the folder over before sled is closed, which may be some time
    /// after the backend itself is gone: a write under way still has hold of it.
    lock: OnceLock<Lock>,
}

struct Open {
    db: sled::Db,
    /// A second handle for `sync_data`; sled's lock is per open file and does not mind.
    file: File,
}

/// What was read last, so that the grant of a call does not cost a trip to another thread.
///
/// It is coherent because this process alone holds sled and every swap passes here: a swap takes
/// its key out, and a read fills in only what no swap has overtaken.
#[derive(Default)]
struct Recent {
    swaps: u64,
    found: HashMap<Key, Sealed>,
}

/// What opening had to leave behind to go on.
#[derive(Debug)]
pub(super) struct SetAside(pub(super) PathBuf);

impl SledBackend {
    /// Opens `path`, mending what can be mended. What still does not open is moved beside it under
    /// a dated name, never deleted.
    pub(super) fn open(path: &Path, now: Time) -> Result<(Self, Option<SetAside>), BackendError> {
        super::folder::create_private(path).map_err(from_io)?;
        // A kill while sled wrote a snapshot leaves this file, and with it sled never opens again.
        remove_snapshots(path, |name| name.ends_with(".generating")).map_err(from_io)?;
        let first = match attempt(path) {
            Ok(db) => return Self::from_open(db, path).map(|backend| (backend, None)),
            Err(failure) => failure,
        };
        first.unless_damage()?;
        // The log is complete without its snapshots; only a damaged snapshot needs to go.
        remove_snapshots(path, |_| true).map_err(from_io)?;
        let second = match attempt(path) {
            Ok(db) => return Self::from_open(db, path).map(|backend| (backend, None)),
            Err(failure) => failure,
        };
        second.unless_damage()?;
        let aside = path.with_file_name(format!("db.damaged-{}", now.millis()));
        fs::rename(path, &aside).map_err(from_io)?;
        super::folder::create_private(path).map_err(from_io)?;
        match attempt(path) {
            Ok(db) => Ok((Self::from_open(db, path)?, Some(SetAside(aside)))),
            Err(failure) => Err(failure.into_error()),
        }
    }

    fn from_open(db: sled::Db, path: &Path) -> Result<Self, BackendError> {
        let open = Open::new(db, path).map_err(from_io)?;
        Ok(Self(Arc::new(Inner {
            path: path.into(),
            open: RwLock::new(Some(open)),
            made: AtomicU64::new(0),
            flushed: Mutex::new(0),
            unsure: AtomicBool::new(false),
            recent: Mutex::default(),
            lock: OnceLock::new(),
        })))
    }

    /// Keeps the folder's lock until sled is closed.
    pub(super) fn hold(&self, lock: Lock) {
        let _ = self.0.lock.set(lock);
    }

    /// Runs sled's blocking calls off the async threads.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &Open) -> Result<T, BackendError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, BackendError>> {
        let inner = Arc::clone(&self.0);
        async move {
            tokio::task::spawn_blocking(move || {
                // sled panics on some damage; that must cost this call, not the process.
                catch_unwind(AssertUnwindSafe(|| {
                    inner.settle()?;
                    let open = inner.open.read();
                    let done = work(&inner, open.as_ref().ok_or(BackendError::Closed)?);
                    if let Err(BackendError::Full | BackendError::Io(_)) = &done {
                        inner.unsure.store(true, Ordering::SeqCst);
                    }
                    done
                }))
                .unwrap_or(Err(BackendError::Corrupt))
            })
            .await
            .unwrap_or(Err(BackendError::Closed))
        }
        .boxed()
    }
}

impl Open {
    fn new(db: sled::Db, path: &Path) -> io::Result<Self> {
        let file = File::options().write(true).open(path.join("db"))?;
        Ok(Self { db, file })
    }

    fn persist(&self) -> Result<(), BackendError> {
        self.db.flush()?;
        self.file.sync_data().map_err(from_io)
    }
}

enum Failure {
    Sled(sled::Error),
    Panic,
}

fn attempt(path: &Path) -> Result<sled::Db, Failure> {
    let open = || {
        sled::Config::new()
            .path(path)
            .mode(sled::Mode::LowSpace)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .open()
    };
    catch_unwind(AssertUnwindSafe(open)).map_err(|_| Failure::Panic)?.map_err(Failure::Sled)
}

impl Failure {
    /// Passes on what is no damage: a full disk or a missing permission mends itself or can be
    /// mended, and moving the store away for it would lose every grant.
    fn unless_damage(self) -> Result<(), BackendError> {
        match self {
            Self::Panic | Self::Sled(sled::Error::Corruption { .. }) => Ok(()),
            other @ Self::Sled(_) => Err(other.into_error()),
        }
    }

    fn into_error(self) -> BackendError {
        match self {
            Self::Sled(error) => error.into(),
            Self::Panic => BackendError::Io(io::Error::other("sled gave up on its files")),
        }
    }
}

fn remove_snapshots(path: &Path, which: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && which(&name) {
            tracing::warn!(file = %name, "removing a snapshot that the store can do without");
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl Inner {
    /// Contract, 6: after a failed flush nothing is answered until one has succeeded.
    fn settle(&self) -> Result<(), BackendError> {
        if !self.unsure.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut open = self.open.write();
        if !self.unsure.load(Ordering::SeqCst) {
            return Ok(());
        }
        // sled remembers its first failed write for ever; only opening it anew shows whether the
        // disk has room again. What it could not write is then gone, which every caller was told.
        *open = None;
        self.recent.lock().found.clear();
        let db = attempt(&self.path).map_err(Failure::into_error)?;
        let anew = open.insert(Open::new(db, &self.path).map_err(from_io)?);
        anew.persist()?;
        self.unsure.store(false, Ordering::SeqCst);
        Ok(())
    }

    fn recent(&self, key: &Key) -> Option<Sealed> {
        // Contract, 6: what a failed flush left visible must not be answered.
        if self.unsure.load(Ordering::SeqCst) {
            return None;
        }
        self.recent.lock().found.get(key).cloned()
    }

    fn remember(&self, key: Key, found: Sealed, swaps: u64) {
        let mut recent = self.recent.lock();
        if recent.swaps == swaps {
            if recent.found.len() >= MOST_RECENT {
                recent.found.clear();
            }
            recent.found.insert(key, found);
        }
    }

    fn forget(&self, key: &Key) {
        let mut recent = self.recent.lock();
        recent.swaps += 1;
        recent.found.remove(key);
    }

    /// Makes every swap so far durable, sharing the work with whoever else is waiting for it.
    fn persist(&self, open: &Open) -> Result<(), BackendError> {
        let mine = self.made.load(Ordering::SeqCst);
        let mut flushed = self.flushed.lock();
        if *flushed >= mine {
            return Ok(());
        }
        let target = self.made.load(Ordering::SeqCst);
        open.persist()?;
        *flushed = target;
        Ok(())
    }
}

impl Backend for SledBackend {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Sealed>, BackendError>> {
        if let Some(found) = self.0.recent(key) {
            return std::future::ready(Ok(Some(found))).boxed();
        }
        let key = key.clone();
        self.run(move |inner, open| {
            let swaps = inner.recent.lock().swaps;
            let found = open.db.get(key.as_bytes())?;
            let found = found.map(|bytes| Sealed::from_stored(bytes.to_vec()));
            if let Some(found) = &found {
                inner.remember(key, found.clone(), swaps);
            }
            Ok(found)
        })
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a Key,
    ) -> BoxFuture<'a, Result<Vec<(Key, Sealed)>, BackendError>> {
        let prefix = prefix.clone();
        self.run(move |_, open| {
            open.db
                .scan_prefix(prefix.as_bytes())
                .map(|entry| {
                    let (key, value) = entry?;
                    let key = std::str::from_utf8(&key).map_err(|_| BackendError::Corrupt)?;
                    Ok((Key::new(key.to_owned()), Sealed::from_stored(value.to_vec())))
                })
                .collect()
        })
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        old: Option<&'a Sealed>,
        new: Option<&'a Sealed>,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        let (key, old, new) = (key.clone(), old.cloned(), new.cloned());
        self.run(move |inner, open| {
            let outcome = open.db.compare_and_swap(
                key.as_bytes(),
                old.as_ref().map(Sealed::as_bytes),
                new.as_ref().map(Sealed::as_bytes),
            )?;
            if outcome.is_err() {
                return Ok(false);
            }
            inner.forget(&key);
            inner.made.fetch_add(1, Ordering::SeqCst);
            inner.persist(open)?;
            Ok(true)
        })
    }
}

impl From<sled::Error> for BackendError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(source) => from_io(source),
            sled::Error::Corruption { .. } => Self::Corrupt,
            other => Self::Io(io::Error::other(other.to_string())),
        }
    }
}

fn from_io(source: io::Error) -> BackendError {
    if source.kind() == io::ErrorKind::StorageFull {
        BackendError::Full
    } else {
        BackendError::Io(source)
    }
}
