//! The embedded backend: sled 0.34.7, and what makes it safe for tokens.
//!
//! sled's own `flush()` on Linux ends in `sync_file_range`, which promises nothing after a power
//! loss, so every write is followed by `sync_data()` on a second handle of the same file. Its
//! errors have no kinds worth matching, it panics on a truncated file or opens it as an empty one,
//! and it never opens again after a kill during a snapshot. This file hides all of that.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::{Mutex, RwLock};

use super::recent::{Read, Recent};
use super::{Backend, BackendError, Key, MAX_RECORD_BYTES, Page, Sealed};
use crate::model::Time;
use crate::store::folder::{DISK_HINT, Lock};
use crate::store::notice::Notice;
use crate::store::private_file;

const CACHE_BYTES: u64 = 16 << 20;
/// A file beside sled's that exists while the store holds the guarded record, which is the key
/// ring. Without its ring no record opens, so the file tells a lost store from a new one.
const GUARD_FILE: &str = "holds-a-ring";
/// Name of the swap counter, in a tree of sled and in a file beside it. The file is written after a
/// swap is on disk, so it is ahead only if sled has lost swaps: sled takes damage near the end of
/// its log for an interrupted write, and silently drops what came after it.
const SWAPS: &str = "swaps";

/// Keeps sled open, under the folder's lock.
pub(crate) struct SledBackend(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// Key of the record whose loss is the loss of the store, see [`GUARD_FILE`].
    guarded: Key,
    /// `None` while sled is reopened.
    open: RwLock<Option<Open>>,
    /// Number of swaps made, and of those known to be on disk: writers that arrive during a flush
    /// share the next flush.
    made: Mutex<u64>,
    flushed: Mutex<u64>,
    /// Set by a failed write or flush, cleared by the next flush that succeeds (contract, 6).
    unsure: AtomicBool,
    /// Coherent because this process alone opens sled, and every swap passes here.
    recent: Mutex<Recent>,
    /// Dropped last, so that no process takes the folder before sled is closed. That may be some
    /// time after the backend is dropped: a write under way still uses sled.
    lock: OnceLock<Lock>,
}

struct Open {
    db: sled::Db,
    /// Second handle for `sync_data`; sled's lock is per open file and allows it.
    file: File,
    /// See [`SWAPS`].
    inner_count: sled::Tree,
    outer_count: File,
}

impl SledBackend {
    /// Opens `path` and repairs it if possible. A store that still does not open is set aside under
    /// a dated name, never deleted. A store that has lost the record under `guarded` counts as
    /// damaged.
    ///
    /// # Errors
    /// [`BackendError`] if the folder cannot be read or written, or another process has sled open.
    pub(crate) fn open(
        path: &Path,
        guarded: &Key,
        now: Time,
    ) -> Result<(Self, Option<Notice>), BackendError> {
        private_file::create_folder(path).map_err(from_io)?;
        // A kill during a snapshot leaves this file, with which sled never opens again.
        remove_snapshots(path, |name| name.ends_with(".generating")).map_err(from_io)?;
        let first = match whole(path, guarded) {
            Ok(db) => return Self::from_open(db, path, guarded),
            Err(failure) => failure,
        };
        first.unless_damage()?;
        // The log is complete without its snapshots: if only a snapshot is damaged, removing it
        // restores every record. Otherwise sled may take an unreadable part for the end of the log
        // and cut it off, so copy the folder first.
        let aside = path.with_file_name(format!("db.damaged-{}", now.millis()));
        copy(path, &aside).map_err(from_io)?;
        remove_snapshots(path, |_| true).map_err(from_io)?;
        let second = match whole(path, guarded) {
            Ok(db) => {
                tracing::warn!(
                    "the store was damaged and is mended; the last changes may be missing"
                );
                fs::remove_dir_all(&aside).map_err(from_io)?;
                return Self::from_open(db, path, guarded);
            }
            Err(failure) => failure,
        };
        second.unless_damage()?;
        fs::remove_dir_all(path).map_err(from_io)?;
        private_file::create_folder(path).map_err(from_io)?;
        match attempt(path) {
            Ok(db) => Ok((Self::from_open(db, path, guarded)?.0, Some(Notice::SetAside(aside)))),
            Err(failure) => Err(failure.into_error()),
        }
    }

    fn from_open(
        db: sled::Db,
        path: &Path,
        guarded: &Key,
    ) -> Result<(Self, Option<Notice>), BackendError> {
        let open = Open::new(db, path)?;
        let (inside, outside) = open.counts()?;
        let lost = outside.saturating_sub(inside);
        if lost > 0 {
            open.count_outside(inside);
        }
        let backend = Self(Arc::new(Inner {
            path: path.into(),
            guarded: guarded.clone(),
            open: RwLock::new(Some(open)),
            made: Mutex::new(inside),
            flushed: Mutex::new(inside),
            unsure: AtomicBool::new(false),
            recent: Mutex::default(),
            lock: OnceLock::new(),
        }));
        Ok((backend, (lost > 0).then_some(Notice::LastChangesLost(lost))))
    }

    /// Keeps the folder's lock until sled is closed.
    pub(crate) fn hold(&self, lock: Lock) {
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
                // sled panics on some damage; that must fail this call, not the process.
                catch_unwind(AssertUnwindSafe(|| {
                    inner.settle()?;
                    let open = inner.open.read();
                    let done = work(&inner, open.as_ref().ok_or(BackendError::Closed)?);
                    if let Err(BackendError::Full | BackendError::Failed { .. }) = &done {
                        inner.unsure.store(true, Ordering::SeqCst);
                    }
                    done
                }))
                .unwrap_or(Err(BackendError::Damaged))
            })
            .await
            .unwrap_or(Err(BackendError::Closed))
        }
        .boxed()
    }
}

impl Open {
    fn new(db: sled::Db, path: &Path) -> Result<Self, BackendError> {
        let file = File::options().write(true).open(path.join("db")).map_err(from_io)?;
        let inner_count = db.open_tree(SWAPS)?;
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let outer_count = options.open(path.join(SWAPS)).map_err(from_io)?;
        Ok(Self { db, file, inner_count, outer_count })
    }

    /// Returns the swaps that sled counts, and those that were known to be on disk.
    fn counts(&self) -> Result<(u64, u64), BackendError> {
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_be_bytes);
        let inside = self.inner_count.get(SWAPS)?.map_or(0, |bytes| number(&bytes));
        let mut bytes = Vec::new();
        (&self.outer_count).take(9).read_to_end(&mut bytes).map_err(from_io)?;
        Ok((inside, number(&bytes)))
    }

    /// Writes the count into the file. Needs no sync, as the file may lag behind; a failure is only
    /// logged.
    fn count_outside(&self, swaps: u64) {
        let mut file = &self.outer_count;
        let written = file.rewind().and_then(|()| file.write_all(&swaps.to_be_bytes()));
        if let Err(error) = written {
            tracing::warn!(%error, "the store's changes could not be counted");
        }
    }

    fn persist(&self) -> Result<(), BackendError> {
        self.db.flush()?;
        self.file.sync_data().map_err(from_io)
    }
}

enum Failure {
    Sled(sled::Error),
    Panic,
    /// The guarded record existed and is gone.
    Lost,
}

/// Opens sled and checks that the guarded record is not lost.
fn whole(path: &Path, guarded: &Key) -> Result<sled::Db, Failure> {
    let db = attempt(path)?;
    let found = catch_unwind(AssertUnwindSafe(|| db.get(guarded.as_bytes())));
    match found.map_err(|_| Failure::Panic)?.map_err(Failure::Sled)? {
        Some(_) => mark_guarded(path),
        None if path.join(GUARD_FILE).exists() => return Err(Failure::Lost),
        None => {}
    }
    Ok(db)
}

/// Creates the file [`GUARD_FILE`]; if that fails, the next opening creates it.
fn mark_guarded(path: &Path) {
    let guard_file = path.join(GUARD_FILE);
    if !guard_file.exists()
        && let Err(error) = File::create(&guard_file).and_then(|file| file.sync_all())
    {
        tracing::warn!(%error, "the store could not be marked as in use");
    }
}

/// Removes the file [`GUARD_FILE`], for an import that replaces the guarded record.
fn unmark_guarded(path: &Path) -> io::Result<()> {
    match fs::remove_file(path.join(GUARD_FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies a folder with all its contents, and syncs the copy to disk.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    private_file::create_folder(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
            File::options().write(true).open(&to)?.sync_all()?;
        }
    }
    private_file::sync_folder(to)
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
    /// Returns a failure that is no damage as an error: a full disk or a missing permission can be
    /// fixed, and setting the store aside for it would lose every grant.
    fn unless_damage(self) -> Result<(), BackendError> {
        match self {
            Self::Panic | Self::Lost | Self::Sled(sled::Error::Corruption { .. }) => Ok(()),
            other @ Self::Sled(_) => Err(other.into_error()),
        }
    }

    fn into_error(self) -> BackendError {
        match self {
            Self::Sled(error) => error.into(),
            Self::Panic | Self::Lost => failed(io::Error::other("sled gave up on its files")),
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
    /// Contract, 6: after a failed flush no operation succeeds until a flush has succeeded.
    fn settle(&self) -> Result<(), BackendError> {
        if !self.unsure.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut open = self.open.write();
        if !self.unsure.load(Ordering::SeqCst) {
            return Ok(());
        }
        // sled remembers its first failed write forever; only reopening it shows whether the disk
        // has room again. The failed writes are then lost, as every caller was told.
        *open = None;
        self.recent.lock().clear();
        let db = attempt(&self.path).map_err(Failure::into_error)?;
        let anew = open.insert(Open::new(db, &self.path)?);
        anew.persist()?;
        self.unsure.store(false, Ordering::SeqCst);
        Ok(())
    }

    fn recent(&self, key: &Key) -> Option<Read> {
        // Contract, 6: do not return what a failed flush left visible.
        if self.unsure.load(Ordering::SeqCst) {
            return None;
        }
        self.recent.lock().get(key)
    }

    /// Makes every swap so far durable; concurrent writers share the work.
    fn persist(&self, open: &Open) -> Result<(), BackendError> {
        let mine = *self.made.lock();
        let mut flushed = self.flushed.lock();
        if *flushed >= mine {
            return Ok(());
        }
        let target = *self.made.lock();
        open.persist()?;
        open.count_outside(target);
        *flushed = target;
        Ok(())
    }
}

impl Backend for SledBackend {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Sealed>, BackendError>> {
        if let Some(read) = self.0.recent(key) {
            return std::future::ready(Ok(read.into_found())).boxed();
        }
        let key = key.clone();
        self.run(move |inner, open| {
            let swaps = inner.recent.lock().swaps();
            let found = open.db.get(key.as_bytes())?;
            let found = found.map(|bytes| Sealed::from_stored(bytes.to_vec()));
            inner.recent.lock().remember(key, Read::of(found.as_ref()), swaps);
            Ok(found)
        })
    }

    fn page<'a>(
        &'a self,
        prefix: &'a Key,
        after: Option<&'a Key>,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        let (prefix, after) = (prefix.clone(), after.cloned());
        self.run(move |_, open| {
            let start = match &after {
                Some(after) if *after >= prefix => Bound::Excluded(after.as_bytes()),
                _ => Bound::Included(prefix.as_bytes()),
            };
            let found = open.db.range::<&[u8], _>((start, Bound::Unbounded));
            let under_it = found.take_while(|entry| {
                // Keep an error, so that the page fails.
                entry.as_ref().map_or(true, |(key, _)| key.starts_with(prefix.as_bytes()))
            });
            Page::cut(under_it.map(|entry| {
                let (key, value) = entry?;
                let key = std::str::from_utf8(&key).map_err(|_| BackendError::Damaged)?;
                Ok((Key::new(key.to_owned()), Sealed::from_stored(value.to_vec())))
            }))
        })
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        old: Option<&'a Sealed>,
        new: Option<&'a Sealed>,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        // Check here, where the writes of this process and of all its peers arrive.
        if new.is_some_and(|new| new.as_bytes().len() > MAX_RECORD_BYTES) {
            return std::future::ready(Err(BackendError::TooLarge)).boxed();
        }
        let (key, old, new) = (key.clone(), old.cloned(), new.cloned());
        self.run(move |inner, open| {
            let is_guarded = key == inner.guarded;
            if is_guarded && new.is_none() {
                unmark_guarded(&inner.path).map_err(from_io)?;
            }
            {
                // One swap at a time, or the count in sled could go back.
                let mut made = inner.made.lock();
                let outcome = open.db.compare_and_swap(
                    key.as_bytes(),
                    old.as_ref().map(Sealed::as_bytes),
                    new.as_ref().map(Sealed::as_bytes),
                )?;
                if outcome.is_err() {
                    return Ok(false);
                }
                inner.recent.lock().forget(&key);
                *made += 1;
                open.inner_count.insert(SWAPS, &made.to_be_bytes())?;
            }
            inner.persist(open)?;
            if is_guarded && new.is_some() {
                mark_guarded(&inner.path);
            }
            Ok(true)
        })
    }
}

impl From<sled::Error> for BackendError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(source) => from_io(source),
            sled::Error::Corruption { .. } => Self::Damaged,
            other => failed(io::Error::other(other.to_string())),
        }
    }
}

fn from_io(source: io::Error) -> BackendError {
    if source.kind() == io::ErrorKind::StorageFull { BackendError::Full } else { failed(source) }
}

fn failed(cause: io::Error) -> BackendError {
    BackendError::Failed { cause: Box::new(cause), hint: DISK_HINT }
}
