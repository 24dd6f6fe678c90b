//! Private files and folders: read only if no other user has access, and written atomically.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::model::secret::random_bytes;

/// Maximum bytes read of a file: some hundred keys.
const MAX_FILE_BYTES: u64 = 16 * 1024;

/// Reason why a file is not read.
#[derive(Debug)]
pub enum Unfit {
    Unreadable(io::Error),
    NotAFile,
    /// Other users have access to it, or it is not this user's.
    Exposed,
}

/// Reads a file, up to [`MAX_FILE_BYTES`].
///
/// # Errors
/// [`Unfit`] if it cannot be read or other users have access to it.
pub fn read(path: &Path) -> Result<Zeroizing<String>, Unfit> {
    // Check before opening, which would hang on a pipe, and check the opened file again, which is
    // the one that is read.
    if !fs::metadata(path).map_err(Unfit::Unreadable)?.is_file() {
        return Err(Unfit::NotAFile);
    }
    let file = File::open(path).map_err(Unfit::Unreadable)?;
    let metadata = file.metadata().map_err(Unfit::Unreadable)?;
    if is_exposed(&metadata) || !is_ours(&metadata) {
        return Err(Unfit::Exposed);
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(Unfit::Unreadable)?;
    Ok(text)
}

/// Creates a file atomically. If several first starts run at once, the first to link wins, and the
/// others read what it wrote.
///
/// # Errors
/// If the file cannot be written.
pub fn make(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    create_folder(folder)?;
    let draft = draft(folder);
    let written = write_private(&draft, content).and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match written {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(folder),
    }
}

/// Replaces a file's content atomically.
pub(super) fn overwrite(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let draft = draft(folder);
    let written = write_private(&draft, content).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // A draft that cannot be removed stays.
        let _ = fs::remove_file(&draft);
    }
    written.and_then(|()| sync_folder(folder))
}

fn draft(folder: &Path) -> PathBuf {
    folder.join(format!(".{}.draft", URL_SAFE_NO_PAD.encode(random_bytes::<9>())))
}

/// Creates a file that no other user can read, and syncs it to disk.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if the path exists; other I/O errors.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = create_private(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Creates an empty file that only its owner can read, for writing and reading.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if the path exists; other I/O errors.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Creates a private file without a name, which disappears when it is closed.
pub(super) fn scratch() -> io::Result<File> {
    let path = draft(&std::env::temp_dir());
    let file = create_private(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// Creates a folder that only this user can open.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if the path exists, even as a file or link; other I/O errors.
pub(super) fn create_new_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Creates a folder and its parents; only this user can open the new ones.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Whether the file's permissions give other users any access. Windows keeps profile folders
/// private itself.
#[cfg_attr(not(unix), expect(unused_variables))]
pub(super) fn is_exposed(metadata: &fs::Metadata) -> bool {
    #[cfg(unix)]
    return std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0;
    #[cfg(not(unix))]
    false
}

/// Whether the file belongs to the user who runs this process.
#[cfg_attr(not(unix), expect(unused_variables))]
pub(super) fn is_ours(metadata: &fs::Metadata) -> bool {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::uid(metadata) == rustix::process::geteuid().as_raw();
    #[cfg(not(unix))]
    true
}

/// Makes a new name in the folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}
