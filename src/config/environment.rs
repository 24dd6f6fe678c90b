//! The only reader of environment variables, and the paths that follow from them.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use etcetera::BaseStrategy as _;

/// Variables that lead to the master key. Programs that `secrets` runs do not inherit them.
pub(super) const KEY_VARIABLES: [&str; 2] = ["COUNTERSIGN_KEY", "COUNTERSIGN_KEY_FILE"];

/// Name of the file in each folder that [`find`] searches.
pub const FILE_NAME: &str = "tools.toml";

/// Path of a `tools.toml`, and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    pub by: FoundBy,
}

/// How a `tools.toml` was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundBy {
    /// `--config`, or a command's own argument.
    Argument,
    /// `COUNTERSIGN_CONFIG`
    Variable,
    WorkingFolder,
    /// The platform's configuration folder.
    Platform,
}

/// Treats a plain path as one that the user named.
impl<P: AsRef<Path> + ?Sized> From<&P> for Found {
    fn from(path: &P) -> Self {
        Self { path: path.as_ref().into(), by: FoundBy::Argument }
    }
}

impl FoundBy {
    /// Whether the user named the file and so intends what it says.
    pub fn is_named(self) -> bool {
        matches!(self, Self::Argument | Self::Variable)
    }

    /// Describes how the file was found, for the line that says which file is used.
    pub fn words(self) -> &'static str {
        match self {
            Self::Argument => "as asked",
            Self::Variable => "named by COUNTERSIGN_CONFIG",
            Self::WorkingFolder => "in the current folder",
            Self::Platform => "in the configuration folder",
        }
    }
}

/// No `tools.toml` was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no `tools.toml`: not in the current folder{}", .platform.as_ref().map(|path| format!(" and not at `{}`", path.display())).unwrap_or_default())]
pub struct NotFound {
    platform: Option<PathBuf>,
}

impl NotFound {
    /// Says how to fix this.
    pub fn hint(&self) -> &'static str {
        "name one with `--config FILE` or COUNTERSIGN_CONFIG"
    }
}

/// A path that begins with `~` and whose home folder cannot be determined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HomeError {
    #[error("`{0}` names another user's home folder, which only a shell finds")]
    Other(String),
    #[error("`~` stands for the home folder, and there is none")]
    Missing,
}

impl HomeError {
    /// Says how to fix this.
    pub fn hint(&self) -> &'static str {
        "write the whole path, or `./~…` for a file or folder of that name"
    }
}

/// Replaces a leading `~/` by the home folder, because hosts start servers without a shell that
/// would do so.
///
/// # Errors
/// [`HomeError`] if `~` cannot be replaced: used as it is, it would create a folder called `~`.
pub fn expanded(path: &Path) -> Result<PathBuf, HomeError> {
    let mut parts = path.components();
    let Some(Component::Normal(first)) = parts.next() else { return Ok(path.into()) };
    match first.to_str() {
        Some("~") => {
            let home = etcetera::home_dir().map_err(|_| HomeError::Missing)?;
            Ok(home.join(parts.as_path()))
        }
        Some(name) if name.starts_with('~') => Err(HomeError::Other(name.to_owned())),
        _ => Ok(path.into()),
    }
}

/// Finds the file, in this order: `argument`, `COUNTERSIGN_CONFIG`, the platform's configuration
/// folder, the working folder. The first two are returned even if the file does not exist: a user
/// who names a file wants that one and no other. The user's own file comes before that of the
/// working folder, which may be a cloned repository.
///
/// # Errors
/// [`NotFound`], naming the places searched, if no file is named or found.
pub fn find(argument: Option<&Path>) -> Result<Found, NotFound> {
    if let Some(path) = argument {
        return Ok(Found { path: at_home(path), by: FoundBy::Argument });
    }
    if let Some(path) = non_empty("COUNTERSIGN_CONFIG") {
        return Ok(Found { path: at_home(Path::new(&path)), by: FoundBy::Variable });
    }
    let platform = config_folder().map(|folder| folder.join(FILE_NAME));
    let here = PathBuf::from(FILE_NAME);
    match platform {
        Some(path) if path.exists() => Ok(Found { path, by: FoundBy::Platform }),
        _ if here.exists() => Ok(Found { path: here, by: FoundBy::WorkingFolder }),
        platform => Err(NotFound { platform }),
    }
}

/// [`expanded`], or the path unchanged if that fails; reading the file then reports the error.
fn at_home(path: &Path) -> PathBuf {
    expanded(path).unwrap_or_else(|_| path.into())
}

/// `~/.config/countersign` or this platform's equivalent; `None` without a home folder.
pub fn config_folder() -> Option<PathBuf> {
    Some(etcetera::choose_base_strategy().ok()?.config_dir().join("countersign"))
}

/// `~/.local/share/countersign` or this platform's equivalent; `None` without a home folder.
pub fn data_folder() -> Option<PathBuf> {
    Some(etcetera::choose_base_strategy().ok()?.data_dir().join("countersign"))
}

/// Folder for files that live no longer than their process: `XDG_RUNTIME_DIR`, else the folder for
/// temporary files, to which other users may write too.
pub fn runtime_folder() -> PathBuf {
    let folder = non_empty("XDG_RUNTIME_DIR").map(PathBuf::from);
    folder.filter(|path| path.is_absolute()).unwrap_or_else(std::env::temp_dir)
}

/// The end user of a local server: `COUNTERSIGN_USER`.
pub fn user() -> Option<String> {
    text("COUNTERSIGN_USER")
}

/// The master key, or `new,old` while it is rotated: `COUNTERSIGN_KEY`.
pub fn key() -> Option<secrecy::SecretString> {
    text("COUNTERSIGN_KEY").map(Into::into)
}

/// A file that holds the master key: `COUNTERSIGN_KEY_FILE`.
pub fn key_file() -> Option<PathBuf> {
    non_empty("COUNTERSIGN_KEY_FILE").map(Into::into)
}

/// Variables that a keeper inherits: they locate programs, certificates and the user's folders. It
/// gets no others, because a host's environment holds secrets, and a keeper would hold them for
/// longer than the host intends.
const KEPT: [&str; 16] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "RES_OPTIONS",
];

/// Returns the variables of this process that a keeper inherits ([`crate::app::keeper`]).
pub fn for_keeper() -> Vec<(&'static str, OsString)> {
    KEPT.into_iter().filter_map(|name| Some((name, read(name)?))).collect()
}

/// Levels of the log, e.g. `warn,countersign::record=info`: `COUNTERSIGN_LOG`. A value that is not
/// UTF-8 is converted lossily and then refused as an invalid level.
pub fn log() -> Option<String> {
    Some(non_empty("COUNTERSIGN_LOG")?.to_string_lossy().into_owned())
}

/// Format of the log, `text` or `json`: `COUNTERSIGN_LOG_FORMAT`.
pub fn log_format() -> Option<String> {
    Some(non_empty("COUNTERSIGN_LOG_FORMAT")?.to_string_lossy().into_owned())
}

/// Whether `NO_COLOR` is set (<https://no-color.org>).
pub fn no_color() -> bool {
    non_empty("NO_COLOR").is_some()
}

/// Returns any variable, for `env:` references; `None` if it is not set or not UTF-8.
pub(super) fn variable(name: &str) -> Option<String> {
    read(name)?.into_string().ok()
}

fn text(name: &str) -> Option<String> {
    non_empty(name)?.into_string().ok()
}

/// Treats an empty variable as unset: hosts that do not know a variable pass it empty.
fn non_empty(name: &str) -> Option<OsString> {
    read(name).filter(|value| !value.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "this is the single reader of the environment")]
fn read(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
