//! A store exported to one file, still sealed: for a backup, a move, or a change of backend.
//!
//! ```text
//! {"format":"countersign store","version":1,"store":"…","exported_at":"2026-11-21T09:30:00Z"}
//! {"key":"grant/…","sealed":"<base64>"}
//! …
//! {"records":2,"sha256":"<of all lines before this one, in hex>"}
//! ```
//!
//! The key ring is included as the record `ring`, so the store's master key opens the copy. The
//! other records are in key order. The ring comes last, or among them if an earlier version wrote
//! the archive.
//!
//! Archives are written and read record by record, so that only one record is in memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::Time;
use crate::model::time::utc;
use crate::store::backend::{Key, Sealed};
use crate::store::keys::ring::ring_key;
use crate::store::private_file;

const FORMAT: &str = "countersign store";
const VERSION: u32 = 1;
/// Maximum bytes of a line; a longer line counts as cut off. A record has some kilobytes.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// An archive that has been read to its end once and found complete.
#[derive(Debug)]
pub struct Archive<S> {
    /// Id of the exported store.
    pub store: String,
    /// UTC, e.g. `2026-11-21T09:30:00Z`.
    pub exported_at: String,
    source: S,
    ring: Sealed,
    /// Number of records, including the ring.
    records: usize,
    digest: String,
}

/// Failure to read or write an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("this is no export of a store")]
    Foreign,
    #[error("this export is of format {found}, and this version knows {VERSION}")]
    OtherVersion { found: u32 },
    #[error("the export ends early, after {lines} lines")]
    CutOff { lines: usize },
    #[error("line {line} of the export is damaged")]
    Damaged { line: usize },
    #[error("the export was changed or damaged: its digest does not fit")]
    Changed,
    #[error("the export could not be read or written: {0}")]
    Io(#[from] io::Error),
}

impl ArchiveError {
    /// Returns what the user can do about this error.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Foreign => "give a file that `countersign store export` wrote",
            Self::OtherVersion { .. } => "use the Countersign that wrote it, or a newer one",
            Self::CutOff { .. } | Self::Damaged { .. } | Self::Changed => {
                "copy or export it again; nothing was imported"
            }
            Self::Io(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                "name a file that does not exist yet"
            }
            Self::Io(_) => "check the file's place and permissions",
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
    store: String,
    exported_at: String,
}

/// Part of the head that stays the same in every version.
#[derive(Deserialize)]
struct Claim {
    format: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: String,
    sealed: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tail {
    records: usize,
    sha256: String,
}

/// Writes an archive.
pub(super) struct Writer<W> {
    to: W,
    digest: Sha256,
    records: usize,
}

impl<W: Write> Writer<W> {
    pub(super) fn begin(to: W, store: String, now: Time) -> io::Result<Self> {
        let mut writer = Self { to, digest: Sha256::new(), records: 0 };
        let (format, exported_at) = (FORMAT.into(), utc(now));
        writer.line(&Head { format, version: VERSION, store, exported_at })?;
        Ok(writer)
    }

    /// Adds a record. The caller passes the records in key order, and the ring last.
    pub(super) fn put(&mut self, key: &Key, sealed: &Sealed) -> io::Result<()> {
        self.records += 1;
        let sealed = STANDARD.encode(sealed.as_bytes());
        self.line(&Line { key: key.as_str().into(), sealed })
    }

    /// Writes the last line, without which the archive counts as cut off. Returns the number of
    /// records.
    pub(super) fn finish(mut self) -> io::Result<usize> {
        let tail = Tail { records: self.records, sha256: hex(self.digest.clone()) };
        self.line(&tail)?;
        self.to.flush()?;
        Ok(self.records)
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        self.digest.update(&line);
        self.to.write_all(&line)
    }
}

impl Archive<File> {
    /// Reads an archive to its end. Copies it into a private file first: an import reads the
    /// records more than once, and must undo exactly what it did even if `path` changes.
    ///
    /// # Errors
    /// [`ArchiveError`] if the file cannot be read or copied, or is not a complete archive.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        Self::receive(File::open(path)?)
    }

    /// Like [`Self::open`], but reads from a stream such as standard input.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn receive(mut from: impl Read) -> Result<Self, ArchiveError> {
        let mut copy = private_file::scratch()?;
        io::copy(&mut from, &mut copy)?;
        Self::read(copy)
    }
}

impl<S: Read + Seek> Archive<S> {
    /// Reads the whole archive, or fails.
    pub(crate) fn read(mut source: S) -> Result<Self, ArchiveError> {
        let mut reader = Reader::begin(&mut source)?;
        let mut ring = None;
        while let Some((key, sealed)) = reader.next()? {
            if key == ring_key() {
                ring = Some(sealed);
            }
        }
        let Reader { head, records, digest, .. } = reader;
        let digest = hex(digest);
        let ring = ring.ok_or(ArchiveError::Foreign)?;
        Ok(Self { store: head.store, exported_at: head.exported_at, source, ring, records, digest })
    }

    pub(super) fn ring(&self) -> &Sealed {
        &self.ring
    }

    /// Number of records without the ring.
    pub fn len(&self) -> usize {
        self.records.saturating_sub(1)
    }

    /// Whether the archive holds no record besides the ring.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the records without the ring, in key order.
    pub(super) fn records(&mut self) -> Result<Records<'_, S>, ArchiveError> {
        let reader = Reader::begin(&mut self.source)?;
        Ok(Records { reader, digest: &self.digest, is_over: false })
    }
}

/// The records of an archive without the ring, in key order.
pub(super) struct Records<'a, S> {
    reader: Reader<'a, S>,
    digest: &'a str,
    is_over: bool,
}

impl<S: Read> Records<'_, S> {
    /// Returns the next record; `None` at the end.
    ///
    /// # Errors
    /// [`ArchiveError::Changed`] at the end, if the content differs from what was read before.
    pub(super) fn next(&mut self) -> Result<Option<(Key, Sealed)>, ArchiveError> {
        while !self.is_over {
            match self.reader.next()? {
                Some((key, _)) if key == ring_key() => {}
                Some(record) => return Ok(Some(record)),
                None if hex(self.reader.digest.clone()) != self.digest => {
                    return Err(ArchiveError::Changed);
                }
                None => self.is_over = true,
            }
        }
        Ok(None)
    }
}

/// Reads an archive from its beginning, line by line.
struct Reader<'a, S> {
    from: BufReader<&'a mut S>,
    head: Head,
    digest: Sha256,
    lines: usize,
    records: usize,
    last: Option<Key>,
    has_ring: bool,
}

impl<'a, S: Read> Reader<'a, S> {
    fn begin(source: &'a mut S) -> Result<Self, ArchiveError>
    where
        S: Seek,
    {
        source.rewind()?;
        let mut from = BufReader::new(source);
        let head = next_line(&mut from)?.ok_or(ArchiveError::Foreign)?;
        let claim: Claim = serde_json::from_slice(&head).map_err(|_| ArchiveError::Foreign)?;
        if claim.format != FORMAT {
            return Err(ArchiveError::Foreign);
        }
        if claim.version != VERSION {
            return Err(ArchiveError::OtherVersion { found: claim.version });
        }
        let digest = Sha256::new_with_prefix(&head);
        let head = serde_json::from_slice(&head).map_err(|_| ArchiveError::Damaged { line: 1 })?;
        Ok(Self { from, head, digest, lines: 1, records: 0, last: None, has_ring: false })
    }

    /// Returns the next record; `None` at the end of a complete archive.
    fn next(&mut self) -> Result<Option<(Key, Sealed)>, ArchiveError> {
        let Some(line) = next_line(&mut self.from)? else {
            return Err(ArchiveError::CutOff { lines: self.lines });
        };
        self.lines += 1;
        let damaged = || ArchiveError::Damaged { line: self.lines };
        if let Ok(tail) = serde_json::from_slice::<Tail>(&line) {
            if tail.records != self.records || tail.sha256 != hex(self.digest.clone()) {
                return Err(ArchiveError::Changed);
            }
            if next_line(&mut self.from)?.is_some() {
                return Err(ArchiveError::Damaged { line: self.lines + 1 });
            }
            return Ok(None);
        }
        if !line.ends_with(b"\n") {
            return Err(ArchiveError::CutOff { lines: self.lines });
        }
        self.digest.update(&line);
        let line: Line = serde_json::from_slice(&line).map_err(|_| damaged())?;
        let sealed = STANDARD.decode(line.sealed).map_err(|_| damaged())?;
        let key = Key::new(line.key);
        // Refuse a repeated key: the ring occurs once, and the other keys are in strict order.
        let is_twice = if key == ring_key() {
            std::mem::replace(&mut self.has_ring, true)
        } else {
            let last = self.last.replace(key.clone());
            last.is_some_and(|last| last >= key)
        };
        if is_twice {
            return Err(damaged());
        }
        self.records += 1;
        Ok(Some((key, Sealed::from_stored(sealed))))
    }
}

fn next_line(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let length = from.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    Ok((length > 0).then_some(line))
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    type Read = Archive<Cursor<Vec<u8>>>;

    fn read(text: impl Into<Vec<u8>>) -> Result<Read, ArchiveError> {
        Archive::read(Cursor::new(text.into()))
    }

    fn record(key: &str, bytes: &[u8]) -> (Key, Sealed) {
        (Key::new(key.into()), Sealed::from_stored(bytes.to_vec()))
    }

    fn write(records: &[(Key, Sealed)]) -> Vec<u8> {
        let mut text = Vec::new();
        let mut writer = Writer::begin(&mut text, "id".into(), Time::from_millis(0)).unwrap();
        for (key, sealed) in records {
            writer.put(key, sealed).unwrap();
        }
        assert_eq!(writer.finish().unwrap(), records.len());
        text
    }

    fn written() -> Vec<u8> {
        write(&[record("grant/a", b"\x01sealed"), record("ring", b"\x02wrapped")])
    }

    #[test]
    fn what_was_written_is_read() {
        let mut archive = read(written()).unwrap();
        assert_eq!((archive.store.as_str(), archive.len()), ("id", 1));
        assert_eq!(archive.exported_at, utc(Time::from_millis(0)));
        assert_eq!(archive.ring().as_bytes(), b"\x02wrapped");
        for _ in 0..2 {
            let mut records = archive.records().unwrap();
            assert_eq!(records.next().unwrap(), Some(record("grant/a", b"\x01sealed")));
            assert_eq!(records.next().unwrap(), None);
        }
    }

    #[test]
    fn the_ring_stands_anywhere_and_the_others_in_order_and_each_once() {
        let [a, b, ring, z] = ["a", "b", "ring", "z"].map(|key| record(key, b"\x01"));
        for records in [[&a, &b, &ring, &z], [&ring, &a, &b, &z], [&a, &b, &z, &ring]] {
            let mut archive = read(write(&records.map(Clone::clone))).unwrap();
            let mut back = archive.records().unwrap();
            let all: Vec<_> = std::iter::from_fn(|| back.next().unwrap()).collect();
            assert_eq!(all, [a.clone(), b.clone(), z.clone()]);
        }
        for (records, line) in [
            ([&a, &a, &ring, &z], 3),
            ([&b, &a, &ring, &z], 3),
            ([&a, &ring, &ring, &z], 4),
            ([&a, &ring, &b, &a], 5),
        ] {
            let found = read(write(&records.map(Clone::clone)));
            assert!(matches!(found, Err(ArchiveError::Damaged { line: at }) if at == line));
        }
        assert!(matches!(read(write(&[a])), Err(ArchiveError::Foreign)));
    }

    #[test]
    fn an_archive_that_is_another_one_the_second_time_is_refused() {
        let mut archive = read(written()).unwrap();
        let other = write(&[record("grant/b", b"\x01sealed"), record("ring", b"\x02wrapped")]);
        *archive.source.get_mut() = other;
        let mut records = archive.records().unwrap();
        assert!(records.next().unwrap().is_some());
        assert!(matches!(records.next(), Err(ArchiveError::Changed)));
    }

    #[test]
    fn wherever_it_is_cut_off_it_is_refused() {
        let whole = written();
        for length in 0..whole.len() - 1 {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn wherever_it_is_changed_it_is_refused() {
        let whole = written();
        for at in 0..whole.len() - 1 {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(read(changed).is_err(), "{at}");
        }
        let twice = [whole.clone(), whole].concat();
        assert!(matches!(read(twice), Err(ArchiveError::Damaged { .. })));
    }

    #[test]
    fn another_format_is_named() {
        let text = String::from_utf8(written()).unwrap();
        let newer = text.replace("\"version\":1", "\"version\":2");
        let found = read(newer);
        assert!(matches!(found, Err(ArchiveError::OtherVersion { found: 2 })));
        for foreign in ["", "\n", "PK\u{3}", "{}", &text.replace("countersign store", "other")] {
            assert!(matches!(read(foreign), Err(ArchiveError::Foreign)));
        }
    }
}
