//! Disk space in the data folder: the reserve, which is freed to save what is held in memory when
//! the process ends on a full disk, and the probe, which checks whether there is space again.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A file in the data folder that only reserves disk space.
const RESERVE: &str = "reserve";
/// Bytes of the reserve: two segments of sled's log, some hundred grants.
const RESERVE_BYTES: usize = 1 << 20;
/// A file that is written to check whether there is disk space again.
const PROBE: &str = "probe";
const PROBE_BYTES: usize = 64 << 10;

/// Takes up the reserve, unless it exists. If there is no space, a later start makes it.
pub(super) fn make(data: &Path) {
    let path = data.join(RESERVE);
    if !path.exists()
        && let Err(error) = take_up(&path, RESERVE_BYTES)
    {
        let _ = fs::remove_file(&path);
        tracing::debug!(%error, "no room for a reserve");
    }
}

/// Frees the reserve.
///
/// # Errors
/// If the file exists and cannot be removed.
pub(super) fn release(data: &Path) -> io::Result<()> {
    remove(data.join(RESERVE))
}

/// Writes and removes a file.
///
/// # Errors
/// If there is no space, or the folder cannot be written.
pub(super) fn probe(data: &Path) -> io::Result<()> {
    let path = data.join(PROBE);
    let written = take_up(&path, PROBE_BYTES);
    remove(path)?;
    written
}

/// Writes zeros, because setting a length alone would take up no disk space.
fn take_up(path: &Path, bytes: usize) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&vec![0; bytes])?;
    file.sync_all()
}

fn remove(path: PathBuf) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_takes_up_room_and_gives_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(RESERVE);
        make(folder.path());
        assert_eq!(fs::metadata(&path).unwrap().len(), RESERVE_BYTES as u64);
        release(folder.path()).unwrap();
        assert!(!path.exists());
        release(folder.path()).unwrap();
        probe(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
