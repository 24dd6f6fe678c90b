//! Export and import of a whole store, sealed as it is, page by page.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::ops::Range;
use std::path::Path;

use futures_util::future::join_all;
use tokio::sync::watch;

use super::archive::{self, Archive, ArchiveError, Writer};
use crate::model::Time;
use crate::store::backend::walk::Walk;
use crate::store::backend::{Backend, BackendError, Key, Sealed};
use crate::store::folder::{Answering, DataFolder, FolderHome, Role};
use crate::store::keys::ring::{Opening, Ring, ring_key};
use crate::store::keys::seal;
use crate::store::keys::source::KeySource;
use crate::store::records::key_without_owner;
use crate::store::{MAX_CONCURRENT_WRITES, Store, StoreError, private_file};

/// Contents of an export.
#[derive(Debug, PartialEq, Eq)]
pub struct Exported {
    /// Number of records without the ring.
    pub records: usize,
    /// Keys of records that are too large to be read, without their user: `authorization/…/github`.
    pub left_out: Vec<String>,
}

/// Failure of an export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl ExportError {
    /// Returns what the user can do about this error.
    pub fn hint(&self) -> String {
        match self {
            Self::Store(error) => error.hint(),
            Self::Archive(error) => error.hint().into(),
        }
    }
}

impl From<BackendError> for ExportError {
    fn from(error: BackendError) -> Self {
        Self::Store(error.into())
    }
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Archive(error.into())
    }
}

/// Failure of an import.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the store is not empty: it holds something that the export does not")]
    NotEmpty,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl ImportError {
    /// Returns what the user can do about this error.
    pub fn hint(&self) -> String {
        match self {
            Self::NotEmpty => {
                "give an empty folder with `--data DIR`; this store was left as it was".into()
            }
            Self::Store(error) => error.hint(),
            Self::Archive(error) => error.hint().into(),
        }
    }
}

impl From<BackendError> for ImportError {
    fn from(error: BackendError) -> Self {
        Self::Store(error.into())
    }
}

/// Result of an import.
#[derive(Debug)]
pub struct Imported {
    /// Number of records that the store did not have yet.
    pub added: usize,
    /// Reason why the store does not open with this process's key, if it does not.
    pub locked: Option<StoreError>,
}

type Result<T, E = ImportError> = std::result::Result<T, E>;

/// Attempts of an export before [`StoreError::Contended`]; a concurrent rotation can make it start
/// over.
const MAX_EXPORT_ATTEMPTS: usize = 8;

impl Store {
    /// Exports into a new file that only this user can read. A failed export leaves no file.
    ///
    /// # Errors
    /// [`ExportError`]; [`ArchiveError::Io`] with [`io::ErrorKind::AlreadyExists`] if the file
    /// exists, which stays as it is.
    pub async fn export_to_file(&self, now: Time, path: &Path) -> Result<Exported, ExportError> {
        let file = private_file::create_private(path)?;
        let anew = || {
            let mut file = &file;
            file.set_len(0)?;
            file.rewind()?;
            Ok(BufWriter::new(file))
        };
        let exported = self.export(now, anew).await;
        let exported = exported.and_then(|exported| {
            file.sync_all()?;
            Ok(exported)
        });
        if exported.is_err() {
            // Remove the incomplete file; if that fails, an import refuses it.
            let _ = fs::remove_file(path);
        }
        exported
    }

    /// Exports every record that can be read.
    ///
    /// `begin` opens the output, empty. It is called again if the ring has lost a key that a
    /// written record needs, because keys were rotated during the export. It fails if the output
    /// cannot be started over.
    ///
    /// # Errors
    /// [`ExportError`] if the store cannot be read or the output cannot be written.
    pub async fn export<W: Write>(
        &self,
        now: Time,
        mut begin: impl FnMut() -> io::Result<W>,
    ) -> Result<Exported, ExportError> {
        for _ in 0..MAX_EXPORT_ATTEMPTS {
            if let Some(exported) = self.export_once(now, begin()?).await? {
                return Ok(exported);
            }
        }
        Err(StoreError::Contended.into())
    }

    async fn export_once(
        &self,
        now: Time,
        to: impl Write,
    ) -> Result<Option<Exported>, ExportError> {
        let before = self.backend.get(&ring_key()).await?;
        let ring = self.ring.read(&*self.backend).await?;
        let mut writer = Writer::begin(to, ring.store_id(), now)?;
        let (mut used, mut left_out) = (BTreeSet::new(), Vec::new());
        let mut records = self.records();
        while let Some(page) = records.next().await? {
            for (key, sealed) in &page {
                if sealed.is_left_out() {
                    left_out.push(key_without_owner(key));
                    continue;
                }
                used.extend(seal::sealed_with(sealed).ok());
                writer.put(key, sealed)?;
            }
        }
        // Read the ring after the records: it holds a data key before the first record that needs
        // it. An earlier key may have been dropped since, when its last record was resealed.
        let wrapped = self.backend.get(&ring_key()).await?.ok_or(StoreError::NoRing)?;
        let listed = seal::listed(&wrapped);
        let is_dropped = |(id, _)| used.contains(&id) && !listed.contains(&id);
        if before.as_ref() != Some(&wrapped) && ring.keys().any(is_dropped) {
            return Ok(None);
        }
        writer.put(&ring_key(), &wrapped)?;
        Ok(Some(Exported { records: writer.finish()? - 1, left_out }))
    }

    /// Imports an archive into an empty store, or completes an interrupted import.
    ///
    /// The ring is written last, and without it no store opens: an interrupted import leaves no
    /// half of a store, and the next import completes it. A failed import is undone.
    ///
    /// # Errors
    /// [`ImportError::NotEmpty`] if the store holds records that the archive does not;
    /// [`ImportError`] if the archive cannot be read or the store cannot be written.
    pub async fn import<S: Read + Seek>(
        folder: DataFolder,
        keys: KeySource,
        archive: &mut Archive<S>,
    ) -> Result<Imported> {
        let now = folder.clock.now();
        let role = watch::Sender::new(Role::Peer);
        // Open as owner or peer: a server may have the store open.
        let home = FolderHome::open(folder, ring_key(), Answering::default(), role).await?;
        import(&*home.backend(), keys, now, archive).await
    }
}

/// Imports an archive as [`Store::import`] does.
async fn import<S: Read + Seek>(
    backend: &dyn Backend,
    keys: KeySource,
    now: Time,
    archive: &mut Archive<S>,
) -> Result<Imported> {
    let mut steps = Steps::new(backend);
    let added = match put(&mut steps, archive).await {
        Ok(added) => added,
        Err(error) => {
            steps.undo(archive).await;
            return Err(error);
        }
    };
    let locked = Ring::open(backend, keys, now, Opening::Look).await.err();
    Ok(Imported { added, locked })
}

async fn put<S: Read + Seek>(steps: &mut Steps<'_>, archive: &mut Archive<S>) -> Result<usize> {
    let ring = archive.ring().clone();
    let old_ring = steps.backend.get(&ring_key()).await?;
    let same = steps.compare(archive).await?;
    if let Some(old_ring) = old_ring.as_ref().filter(|old| **old != ring) {
        // A first start leaves only a ring; if there are records, this ring has sealed them.
        if same > 0 {
            return Err(ImportError::NotEmpty);
        }
        // Remove the ring first, so that a running process writes nothing under it any more.
        steps.remove_ring(old_ring).await?;
    }
    let added = steps.add(archive).await?;
    // Compare again: records that a running process wrote in between would not open under the new
    // ring.
    steps.compare(archive).await?;
    if old_ring.as_ref() != Some(&ring) {
        steps.put_ring(&ring).await?;
    }
    Ok(added)
}

/// The steps of an import, which can be undone.
struct Steps<'b> {
    backend: &'b dyn Backend,
    removed_ring: Option<Sealed>,
    put_ring: Option<Sealed>,
    /// Numbers of the archive's records that were added to the store; usually one range.
    added: Vec<Range<usize>>,
}

impl<'b> Steps<'b> {
    fn new(backend: &'b dyn Backend) -> Self {
        Self { backend, removed_ring: None, put_ring: None, added: Vec::new() }
    }

    /// Counts the archive's records that the store has.
    ///
    /// # Errors
    /// [`ImportError::NotEmpty`] if the store has other records.
    async fn compare<S: Read + Seek>(&self, archive: &mut Archive<S>) -> Result<usize> {
        let mut comparison = Comparison::begin(archive, self.backend)?;
        let mut same = 0;
        while let Some(record) = comparison.next().await? {
            same += usize::from(matches!(record, Compared::Same));
        }
        Ok(same)
    }

    /// Adds the records that the store lacks, and returns their number.
    async fn add<S: Read + Seek>(&mut self, archive: &mut Archive<S>) -> Result<usize> {
        let mut comparison = Comparison::begin(archive, self.backend)?;
        let (mut missing, mut number, mut added) =
            (Vec::with_capacity(MAX_CONCURRENT_WRITES), 0, 0);
        loop {
            let record = comparison.next().await?;
            let is_end = record.is_none();
            if let Some(Compared::Missing(key, sealed)) = record {
                missing.push((number, key, sealed));
            }
            number += 1;
            if missing.len() >= MAX_CONCURRENT_WRITES || is_end {
                added += missing.len();
                self.add_some(std::mem::take(&mut missing)).await?;
            }
            if is_end {
                return Ok(added);
            }
        }
    }

    async fn add_some(&mut self, some: Vec<(usize, Key, Sealed)>) -> Result<()> {
        let swaps = some.iter().map(|(_, key, sealed)| self.backend.swap(key, None, Some(sealed)));
        // Let every swap finish, or a failed import could not be undone.
        let swapped = join_all(swaps).await;
        let mut outcome = Ok(());
        for (swapped, (number, ..)) in swapped.into_iter().zip(some) {
            match swapped {
                Ok(false) => outcome = Err(ImportError::NotEmpty),
                Ok(true) => self.note(number),
                Err(error) => {
                    // A failed swap may have happened all the same.
                    self.note(number);
                    outcome = Err(error.into());
                }
            }
        }
        outcome
    }

    fn note(&mut self, number: usize) {
        match self.added.last_mut() {
            Some(range) if range.end == number => range.end += 1,
            _ => self.added.push(number..number + 1),
        }
    }

    async fn remove_ring(&mut self, old: &Sealed) -> Result<()> {
        let swapped = self.backend.swap(&ring_key(), Some(old), None).await;
        if !matches!(swapped, Ok(false)) {
            self.removed_ring = Some(old.clone());
        }
        if swapped? { Ok(()) } else { Err(ImportError::NotEmpty) }
    }

    async fn put_ring(&mut self, new: &Sealed) -> Result<()> {
        let swapped = self.backend.swap(&ring_key(), None, Some(new)).await;
        if !matches!(swapped, Ok(false)) {
            self.put_ring = Some(new.clone());
        }
        if swapped? { Ok(()) } else { Err(ImportError::NotEmpty) }
    }

    async fn undo<S: Read + Seek>(mut self, archive: &mut Archive<S>) {
        let mut is_undone = true;
        if let Some(put) = self.put_ring.take() {
            is_undone &= self.take_back(&ring_key(), Some(&put), None).await;
        }
        let removed = self.remove_added(archive).await;
        is_undone &= removed.unwrap_or_else(|error| {
            tracing::warn!(%error, "the export cannot be read again");
            false
        });
        // Restore the old ring only if every added record is gone: a store with the old ring beside
        // records that it does not open would take no import.
        if is_undone && let Some(removed) = self.removed_ring.take() {
            is_undone = self.take_back(&ring_key(), None, Some(&removed)).await;
        }
        if !is_undone {
            tracing::warn!(
                "the import could not be undone, and no process opens this store until it is complete: run `countersign store import` once more"
            );
        }
    }

    async fn remove_added<S: Read + Seek>(&self, archive: &mut Archive<S>) -> Result<bool> {
        if self.added.is_empty() {
            return Ok(true);
        }
        let mut is_undone = true;
        let (mut records, mut number, mut some) = (archive.records()?, 0, Vec::new());
        loop {
            let record = records.next()?;
            let is_end = record.is_none();
            some.extend(record.filter(|_| self.added.iter().any(|range| range.contains(&number))));
            number += 1;
            if some.len() >= MAX_CONCURRENT_WRITES || is_end {
                let steps = some.iter().map(|(key, put)| self.take_back(key, Some(put), None));
                is_undone &= join_all(steps).await.into_iter().all(|is_undone| is_undone);
                some.clear();
            }
            if is_end {
                return Ok(is_undone);
            }
        }
    }

    /// Replaces `put` by `stood`, and returns whether `stood` is there now. A record that was not
    /// written after all is no failure.
    async fn take_back(&self, key: &Key, put: Option<&Sealed>, stood: Option<&Sealed>) -> bool {
        match self.backend.swap(key, put, stood).await {
            Ok(true) => true,
            Ok(false) => self.backend.get(key).await.is_ok_and(|there| there.as_ref() == stood),
            Err(_) => false,
        }
    }
}

/// A record of an archive, compared with the store.
enum Compared {
    Same,
    Missing(Key, Sealed),
}

/// An archive and a store side by side, both in key order and without their rings.
struct Comparison<'a, S> {
    archived: archive::Records<'a, S>,
    stored: Walk<'a>,
    page: std::vec::IntoIter<(Key, Sealed)>,
}

impl<'a, S: Read + Seek> Comparison<'a, S> {
    fn begin(archive: &'a mut Archive<S>, backend: &'a dyn Backend) -> Result<Self> {
        Ok(Self {
            archived: archive.records()?,
            stored: Walk::everything(backend).except(ring_key()),
            page: Vec::new().into_iter(),
        })
    }

    /// Returns the next record of the archive, compared with the store; `None` at the end.
    ///
    /// # Errors
    /// [`ImportError::NotEmpty`] if the store has a record that the archive does not.
    async fn next(&mut self) -> Result<Option<Compared>> {
        while self.page.as_slice().is_empty() {
            let Some(page) = self.stored.next().await? else { break };
            self.page = page.into_iter();
        }
        let Some((key, sealed)) = self.archived.next()? else {
            let is_more = !self.page.as_slice().is_empty();
            return if is_more { Err(ImportError::NotEmpty) } else { Ok(None) };
        };
        let Some((stored, there)) = self.page.as_slice().first() else {
            return Ok(Some(Compared::Missing(key, sealed)));
        };
        match stored.cmp(&key) {
            Ordering::Greater => Ok(Some(Compared::Missing(key, sealed))),
            Ordering::Equal if *there == sealed => {
                self.page.next();
                Ok(Some(Compared::Same))
            }
            Ordering::Equal | Ordering::Less => Err(ImportError::NotEmpty),
        }
    }
}

#[cfg(test)]
mod tests;
