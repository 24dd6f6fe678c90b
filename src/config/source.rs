//! Reads the file itself: nothing that hangs, nothing that fills the memory, nothing but text.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::Path;

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
        }
    }
}

/// The file's text, without a byte order mark.
///
/// # Errors
/// [`SourceError`]. The kind of file is looked at before it is opened, because opening a FIFO
/// waits for a writer that never comes.
pub(super) fn read(path: &Path) -> Result<String, SourceError> {
    let wrong = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => SourceError::Missing,
        _ => SourceError::Unreadable(error),
    };
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
