//! Reads the file's text. Refuses files that could hang the read, fill the memory or are not text.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::environment::{self, HomeError};

/// Size limit in bytes; a larger file is refused. 10,000 tools are about 4 MiB.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Reason for refusing a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("there is no such file")]
    Missing,
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error("it is a folder")]
    Folder,
    #[error("it is no ordinary file")]
    Special,
    #[error("it cannot be read: {0}")]
    Unreadable(std::io::Error),
    #[error("it is larger than {} MiB", MAX_FILE_BYTES / 1024 / 1024)]
    TooLarge,
    #[error("it is not UTF-8: byte {0} begins no character")]
    NotUtf8(usize),
    #[error("it is UTF-16")]
    Utf16,
    #[error("`{}` belongs to another user, and this file was found, not named", .0.display())]
    Foreign(PathBuf),
    #[error("others may write to `{}`, and this file was found, not named", .0.display())]
    Shared(PathBuf),
}

impl SourceError {
    /// Says how to fix this.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Missing => "check the path, or leave it out to look in the usual places",
            Self::Home(error) => error.hint(),
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

/// Returns the file's text, without a byte order mark.
///
/// Checks the type of the file before opening it, because opening a FIFO waits for a writer that
/// never comes.
///
/// # Errors
/// [`SourceError`] if it is missing, unreadable, no regular file, too large or not UTF-8.
pub(super) fn read(path: &Path) -> Result<String, SourceError> {
    environment::expanded(path)?;
    let kind = fs::metadata(path).map_err(wrong)?;
    if kind.is_dir() {
        return Err(SourceError::Folder);
    }
    if !kind.is_file() {
        return Err(SourceError::Special);
    }
    let mut bytes =
        Vec::with_capacity(usize::try_from(kind.len().min(MAX_FILE_BYTES)).unwrap_or(0));
    File::open(path)
        .map_err(wrong)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(wrong)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
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

/// Checks that a file which the user did not name belongs to the user of this process or to root,
/// and that no other user can change it: in a folder like `/tmp`, any user may place a file for us
/// to find.
///
/// # Errors
/// [`SourceError::Foreign`] or [`SourceError::Shared`]; another [`SourceError`] if the file or its
/// folder cannot be examined.
#[cfg(unix)]
pub(super) fn vouch(path: &Path) -> Result<(), SourceError> {
    let real = fs::canonicalize(path).map_err(wrong)?;
    // The folder of a symbolic link counts too: a user who can write there can redirect the link.
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
    let by_group = found.mode() & 0o020 != 0;
    // On systems with a private group for each user (gid equal to uid), files are created writable
    // by that group. The equal number alone proves nothing: other users can be members too.
    let is_by_others = by_group && (found.gid() != found.uid() || has_other_members(&found));
    if found.mode() & 0o002 != 0 || is_by_others {
        return Err(SourceError::Shared(path.into()));
    }
    Ok(())
}

/// Whether the file's group may have members besides the file's owner and root, according to the
/// local databases. True for a group that they do not list.
#[cfg(unix)]
fn has_other_members(found: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (groups, users) = (read("/etc/group"), read("/etc/passwd"));
    !is_alone(&groups, &users, found.gid(), found.uid())
}

/// Whether only `owner` and root can be in the group `gid`, according to the texts of `/etc/group`
/// (group(5)) and `/etc/passwd` (passwd(5)). False if the group is not listed.
#[cfg(unix)]
fn is_alone(groups: &str, users: &str, gid: u32, owner: u32) -> bool {
    let users: Vec<(&str, u32, u32)> = users
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, ..] = fields[..] else { return None };
            Some((name, uid.parse().ok()?, gid.parse().ok()?))
        })
        .collect();
    let is_trusted = |uid: u32| uid == owner || uid == 0;
    let mut listed = groups.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, number, members] = fields[..] else { return None };
        (number.parse() == Ok(gid)).then_some(members)
    });
    let Some(first) = listed.next() else { return false };
    let by_name = std::iter::once(first).chain(listed).flat_map(|members| members.split(','));
    by_name.filter(|name| !name.trim().is_empty()).all(|name| {
        let known = |(user, uid, _): &(&str, u32, u32)| *user == name.trim() && is_trusted(*uid);
        users.iter().any(known)
    }) && users.iter().all(|(_, uid, primary)| *primary != gid || is_trusted(*uid))
}

/// Accepts every file: owners and permissions work differently on these platforms.
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

#[cfg(all(test, unix))]
mod tests {
    use super::is_alone;

    #[test]
    fn a_group_is_one_user_s_own_only_without_other_members() {
        let users = "root:x:0:0::/root:/bin/sh\nana:x:1000:1000:Ana,,:/home/ana:/bin/sh\nben:x:1001:1001::/home/ben:/bin/sh\n";
        let table = [
            ("ana:x:1000:\n", true),
            ("ana:x:1000:ana\n", true),
            ("ana:x:1000:root,ana\n", true),
            ("ana:x:1000:ben\n", false),
            ("ana:x:1000:ana,ben\n", false),
            // A member from another database: its uid and the other members are unknown.
            ("ana:x:1000:carl\n", false),
            ("ben:x:1001:\n", false),
            ("ana:x:1000:\nfriends:x:1000:ben\n", false),
        ];
        for (groups, is_own) in table {
            assert_eq!(is_alone(groups, users, 1000, 1000), is_own, "{groups}");
        }
        // Another user's primary group.
        let shared = format!("{users}mia:x:1002:1000::/home/mia:/bin/sh\n");
        assert!(!is_alone("ana:x:1000:\n", &shared, 1000, 1000));
    }
}
