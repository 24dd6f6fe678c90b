//! Reads the file itself: nothing that hangs, nothing that fills the memory, nothing but text.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// 10,000 tools are about 4 MiB.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Why a file is no source text.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("there is no such file")]
    Missing,
    #[error("it is a folder")]
    Folder,
    #[error("it is no ordinary file")]
    Special,
    #[error("it cannot be read: {0}")]
    Unreadable(std::io::Error),
    #[error("it is larger than {} MiB", MAX_BYTES / 1024 / 1024)]
    TooLarge,
    #[error("it is not UTF-8: byte {0} begins no character")]
    NotUtf8(usize),
    #[error("it is UTF-16")]
    Utf16,
    #[error("`{}` belongs to somebody else, and nobody named this file", .0.display())]
    Foreign(PathBuf),
    #[error("others may write to `{}`, and nobody named this file", .0.display())]
    Shared(PathBuf),
}

impl SourceError {
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Missing => "check the path, or leave it out to look in the usual places",
            Self::Folder => "name the file in it",
            Self::Special => {
                "it must be a file: a pipe or device would be gone after the first read"
            }
            Self::Unreadable(_) => "the user that runs the server must be able to read it",
            Self::TooLarge => "split what belongs to different servers",
            Self::NotUtf8(_) | Self::Utf16 => "save it as UTF-8",
            Self::Foreign(_) => {
                "name the file with `--config` or COUNTERSIGN_CONFIG to say that you trust it"
            }
            Self::Shared(_) => {
                "take the permission away (`chmod go-w`), or name the file with `--config` or COUNTERSIGN_CONFIG to say that you trust it"
            }
        }
    }
}

/// The file's text, without a byte order mark.
///
/// # Errors
/// [`SourceError`]. The kind of file is looked at before it is opened, because opening a FIFO
/// waits for a writer that never comes.
pub(super) fn read(path: &Path) -> Result<String, SourceError> {
    let kind = fs::metadata(path).map_err(wrong)?;
    if kind.is_dir() {
        return Err(SourceError::Folder);
    }
    if !kind.is_file() {
        return Err(SourceError::Special);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(kind.len().min(MAX_BYTES)).unwrap_or(0));
    File::open(path).map_err(wrong)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(SourceError::TooLarge);
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(SourceError::Utf16);
    }
    let mut text = String::from_utf8(bytes)
        .map_err(|error| SourceError::NotUtf8(error.utf8_error().valid_up_to()))?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}

/// Whether a file that nobody named was put there by whoever runs us, and can be changed by nobody
/// else: in a folder like `/tmp`, anybody may lay one out for us to find.
///
/// # Errors
/// [`SourceError::Foreign`], [`SourceError::Shared`], or that it cannot be looked at.
#[cfg(unix)]
pub(super) fn vouch(path: &Path) -> Result<(), SourceError> {
    let real = fs::canonicalize(path).map_err(wrong)?;
    // The folder of a symbolic link decides as well where it leads.
    let named = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folders = [real.parent(), Some(named.unwrap_or(Path::new(".")))];
    std::iter::once(&*real).chain(folders.into_iter().flatten()).try_for_each(is_ours_alone)
}

#[cfg(unix)]
fn is_ours_alone(path: &Path) -> Result<(), SourceError> {
    use std::os::unix::fs::MetadataExt as _;
    let found = fs::metadata(path).map_err(wrong)?;
    if found.uid() != 0 && found.uid() != rustix::process::geteuid().as_raw() {
        return Err(SourceError::Foreign(path.into()));
    }
    // Where everybody has a group of their own (same number as the user), files are born writable
    // by that group, which means by nobody else.
    let others = if found.gid() == found.uid() { 0o002 } else { 0o022 };
    if found.mode() & others != 0 {
        return Err(SourceError::Shared(path.into()));
    }
    Ok(())
}

/// Owners and rights have other shapes there.
#[cfg(not(unix))]
pub(super) fn vouch(_: &Path) -> Result<(), SourceError> {
    Ok(())
}

fn wrong(error: std::io::Error) -> SourceError {
    match error.kind() {
        ErrorKind::NotFound => SourceError::Missing,
        _ => SourceError::Unreadable(error),
    }
}
