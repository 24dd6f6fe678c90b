//! A store in one file, still sealed: to back it up, to move it, to outlive its backend.
//!
//! ```text
//! {"format":"countersign store","version":1,"store":"…","exported_at":"2026-11-21T09:30:00Z"}
//! {"key":"grant/…","sealed":"<base64>"}
//! …
//! {"records":2,"sha256":"<of all lines before this one, in hex>"}
//! ```
//!
//! The key ring travels along as the record `ring`, so the master key of the store opens the copy.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read as _, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::backend::{Key, Sealed};
use super::{private_file, ring};
use crate::model::Time;
use crate::model::time::utc;

const FORMAT: &str = "countersign store";
const VERSION: u32 = 1;
/// A record has some kilobytes.
const LONGEST_LINE: u64 = 16 << 20;

/// All records of a store.
#[derive(Debug, PartialEq, Eq)]
pub struct Archive {
    pub store: String,
    pub exported_at: String,
    /// The ring among them.
    pub(super) records: BTreeMap<Key, Sealed>,
}

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

/// What of the head no version may change.
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

impl Archive {
    pub(super) fn new(store: String, now: Time, records: BTreeMap<Key, Sealed>) -> Self {
        Self { store, exported_at: utc(now), records }
    }

    /// The number of records, without the ring.
    pub fn len(&self) -> usize {
        self.records.keys().filter(|key| key.as_str() != ring::PLACE).count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut digest = Sha256::new();
        let mut put = |line: &str| {
            digest.update(line);
            digest.update("\n");
            writeln!(to, "{line}")
        };
        put(&serde_json::to_string(&Head {
            format: FORMAT.into(),
            version: VERSION,
            store: self.store.clone(),
            exported_at: self.exported_at.clone(),
        })?)?;
        for (key, sealed) in &self.records {
            let sealed = STANDARD.encode(sealed.as_bytes());
            put(&serde_json::to_string(&Line { key: key.as_str().into(), sealed })?)?;
        }
        let tail = Tail { records: self.records.len(), sha256: hex(digest) };
        writeln!(to, "{}", serde_json::to_string(&tail)?)?;
        to.flush()
    }

    /// Writes it to a new file that nobody else can read.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut content = Vec::new();
        self.write(&mut content)?;
        let written = private_file::write_private(path, &content);
        if written.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::AlreadyExists) {
            // Half an export is none; one that cannot be removed is refused by `read`.
            let _ = std::fs::remove_file(path);
        }
        written
    }

    /// Reads all of it, or fails.
    pub fn read(mut from: impl BufRead) -> Result<Self, ArchiveError> {
        let mut digest = Sha256::new();
        let head = next_line(&mut from)?.ok_or(ArchiveError::Foreign)?;
        let claim: Claim = serde_json::from_slice(&head).map_err(|_| ArchiveError::Foreign)?;
        if claim.format != FORMAT {
            return Err(ArchiveError::Foreign);
        }
        if claim.version != VERSION {
            return Err(ArchiveError::OtherVersion { found: claim.version });
        }
        digest.update(&head);
        let head: Head =
            serde_json::from_slice(&head).map_err(|_| ArchiveError::Damaged { line: 1 })?;
        let mut records = BTreeMap::new();
        for number in 2.. {
            let damaged = || ArchiveError::Damaged { line: number };
            let Some(line) = next_line(&mut from)? else {
                return Err(ArchiveError::CutOff { lines: number - 1 });
            };
            if let Ok(tail) = serde_json::from_slice::<Tail>(&line) {
                if tail.records != records.len() || tail.sha256 != hex(digest) {
                    return Err(ArchiveError::Changed);
                }
                if next_line(&mut from)?.is_some() {
                    return Err(ArchiveError::Damaged { line: number + 1 });
                }
                break;
            }
            if !line.ends_with(b"\n") {
                return Err(ArchiveError::CutOff { lines: number });
            }
            digest.update(&line);
            let line: Line = serde_json::from_slice(&line).map_err(|_| damaged())?;
            let sealed = STANDARD.decode(line.sealed).map_err(|_| damaged())?;
            if records.insert(Key::new(line.key), Sealed::from_stored(sealed)).is_some() {
                return Err(damaged());
            }
        }
        if !records.contains_key(&Key::new(ring::PLACE.into())) {
            return Err(ArchiveError::Foreign);
        }
        Ok(Self { store: head.store, exported_at: head.exported_at, records })
    }
}

fn next_line(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let length = from.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    Ok((length > 0).then_some(line))
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Archive {
        let record =
            |key: &str, bytes: &[u8]| (Key::new(key.into()), Sealed::from_stored(bytes.to_vec()));
        let records = [record("grant/a", b"\x01sealed"), record("ring", b"\x02wrapped")];
        Archive::new("id".into(), Time::from_millis(0), records.into())
    }

    fn written() -> Vec<u8> {
        let mut text = Vec::new();
        archive().write(&mut text).unwrap();
        text
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(Archive::read(written().as_slice()).unwrap(), archive());
        assert_eq!(archive().len(), 1);
    }

    #[test]
    fn wherever_it_is_cut_off_it_is_refused() {
        let whole = written();
        for length in 0..whole.len() - 1 {
            assert!(Archive::read(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn wherever_it_is_changed_it_is_refused() {
        let whole = written();
        for at in 0..whole.len() - 1 {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(Archive::read(changed.as_slice()).is_err(), "{at}");
        }
        let twice = [whole.clone(), whole].concat();
        assert!(matches!(Archive::read(twice.as_slice()), Err(ArchiveError::Damaged { .. })));
    }

    #[test]
    fn another_format_is_named() {
        let text = String::from_utf8(written()).unwrap();
        let newer = text.replace("\"version\":1", "\"version\":2");
        let found = Archive::read(newer.as_bytes());
        assert!(matches!(found, Err(ArchiveError::OtherVersion { found: 2 })));
        for foreign in ["", "\n", "PK\u{3}", "{}", &text.replace("countersign store", "other")] {
            assert!(matches!(Archive::read(foreign.as_bytes()), Err(ArchiveError::Foreign)));
        }
    }
}
