//! The bearer token of a local server: created at first use, in a file that only the same user's
//! programs can read.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::environment;
use crate::model::secret;
use crate::store::private_file::{self, Unfit};

/// Returns the path of the file, beside the configuration.
///
/// # Errors
/// There is no home folder.
pub(in crate::cli) fn path() -> anyhow::Result<PathBuf> {
    let folder = environment::config_folder();
    Ok(folder.context("there is no home folder to keep the token in")?.join("http.token"))
}

/// Minimum characters of a token; a shorter one is refused. A generated token has 43 (256 bits in
/// base64url), but a user may write one in another alphabet.
const MIN_TOKEN_CHARS: usize = 32;

/// Failure to read or create the token file.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenFileError {
    #[error("the token file `{}` can be read by others, or is not this user's", .0.display())]
    Exposed(PathBuf),
    #[error("the token file `{}` is not a file", .0.display())]
    NotAFile(PathBuf),
    #[error("the token file `{}` does not hold a token", .0.display())]
    NoToken(PathBuf),
    #[error("the token file `{}` could not be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the token file `{}` could not be made: {source}", path.display())]
    NotMade { path: PathBuf, source: io::Error },
}

impl TokenFileError {
    /// Returns what the user can do about this error.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Exposed(path) => format!(
                "others may know the token: remove `{}`, and a new one is made",
                path.display()
            ),
            Self::NotAFile(path) | Self::NoToken(path) => {
                format!("remove `{}`, and a new token is made", path.display())
            }
            Self::Unreadable { path, .. } => {
                format!("make `{}` readable for this user", path.display())
            }
            Self::NotMade { path, .. } => {
                format!("make `{}` writable", path.parent().unwrap_or(path).display())
            }
        }
    }
}

/// Returns the token in this file, and creates the file if it is missing.
///
/// # Errors
/// [`TokenFileError`] if the file cannot be created or read, other users have access to it, or it
/// holds no token.
pub(super) fn read_or_make(path: &Path) -> Result<SecretString, TokenFileError> {
    match private_file::read(path) {
        Err(Unfit::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => {
            private_file::make(path, secret::random().expose_secret().as_bytes())
                .map_err(|source| TokenFileError::NotMade { path: path.into(), source })?;
            parse(path, private_file::read(path))
        }
        read => parse(path, read),
    }
}

fn parse(
    path: &Path,
    read: Result<zeroize::Zeroizing<String>, Unfit>,
) -> Result<SecretString, TokenFileError> {
    let text = read.map_err(|unfit| match unfit {
        Unfit::Exposed => TokenFileError::Exposed(path.into()),
        Unfit::NotAFile => TokenFileError::NotAFile(path.into()),
        Unfit::Unreadable(source) => TokenFileError::Unreadable { path: path.into(), source },
    })?;
    let token = text.trim();
    // No client could send any other character in a header.
    if token.len() < MIN_TOKEN_CHARS || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenFileError::NoToken(path.into()));
    }
    Ok(token.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config").join("http.token");
        let first = read_or_make(&path).unwrap();
        assert_eq!(first.expose_secret().len(), 43);
        assert_eq!(read_or_make(&path).unwrap().expose_secret(), first.expose_secret());
    }

    #[cfg(unix)]
    #[test]
    fn a_token_that_others_may_know_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http.token");
        read_or_make(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = read_or_make(&path).unwrap_err();
        assert!(matches!(error, TokenFileError::Exposed(_)) && error.hint().contains("remove"));
    }

    #[test]
    fn what_is_no_token_is_refused_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in
            [("empty", ""), ("short", "hunter2"), ("odd", "hunter2 and forty more characters here")]
        {
            let path = folder.path().join(name);
            private_file::write_private(&path, text.as_bytes()).unwrap();
            let error = read_or_make(&path).unwrap_err();
            assert!(matches!(error, TokenFileError::NoToken(_)), "{name}");
            assert!(!format!("{error} {error:?} {}", error.hint()).contains("hunter2"));
        }
        assert!(matches!(read_or_make(folder.path()), Err(TokenFileError::NotAFile(_))));
    }
}
