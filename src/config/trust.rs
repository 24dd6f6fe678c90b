//! Decides whether a `tools.toml` found in the working folder may be served.
//!
//! Coding hosts start servers in the folder of the repository that is open. A cloned repository
//! with a `tools.toml` of its own could send this process's environment variables to its author's
//! host, or use an existing grant in another tool. So such a file is served only if it is the one
//! compiled into this binary, if it cannot act in the user's name, or if the user has trusted
//! exactly these bytes at this path ([`Trusted`], `countersign trust`). In the second case, its
//! tools reach public hosts only ([`HttpAction::is_untrusted`]).
//!
//! [`HttpAction::is_untrusted`]: crate::model::tool::HttpAction::is_untrusted

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::span::Span;
use super::{environment, secret_ref};

/// The `tools.toml` that this binary was built with.
const BUILT_IN: &str = include_str!("../../tools.toml");
/// Name of the list in the configuration folder. One line per file: SHA-256, two spaces, canonical
/// path.
const FILE_NAME: &str = "trusted";
/// Tables that offer tools and cannot act in the user's name. Any other table, including those of
/// later versions, needs trust.
const HARMLESS_TABLES: [&str; 3] = ["gateways", "server", "tools"];
/// Keys of `[server]` that need no trust.
const HARMLESS_SETTINGS: [&str; 4] = ["name", "instructions", "max_chars", "port"];

/// A part of a file that needs the user's trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    pub power: Power,
    /// The secret reference, or the key of the table or setting, as written.
    pub what: String,
    pub(super) span: Span,
}

/// An ability of a file to act in the user's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Power {
    /// A secret reference: an environment variable, a file, a keychain entry or a program.
    Secret,
    /// A tool that acts with a provider's credential.
    Credential,
    /// A table that may connect accounts, run programs or fetch documents.
    Table,
    /// A setting of `[server]` that changes where data goes or who may call.
    Setting,
}

impl Power {
    /// Describes the ability, e.g. `reads a secret of yours`.
    pub fn words(self) -> &'static str {
        match self {
            Self::Secret => "reads a secret of yours",
            Self::Credential => "acts with your account",
            Self::Table => "may act in your name",
            Self::Setting => "changes what this server trusts",
        }
    }
}

/// Whether this is the file that this binary was built with.
pub(super) fn is_built_in(source: &str) -> bool {
    source == BUILT_IN
}

/// Returns the parts of the file that need the user's trust, in the order of the file. Empty for
/// the built-in file and for one that only sends requests without credentials.
pub(super) fn needs(source: &str, table: &DeTable<'_>) -> Vec<Need> {
    let mut found = Vec::new();
    if is_built_in(source) {
        return found;
    }
    for (name, value) in table {
        let table = name.get_ref().as_ref();
        if !HARMLESS_TABLES.contains(&table) {
            found.push(need(Power::Table, name));
        }
        collect_secrets(value, &mut found);
        let DeValue::Table(entries) = value.get_ref() else { continue };
        for (key, entry) in entries {
            if table == "server" && !HARMLESS_SETTINGS.contains(&key.get_ref().as_ref()) {
                found.push(need(Power::Setting, key));
            }
            if let ("tools", DeValue::Table(tool)) = (table, entry.get_ref()) {
                let provider = tool.iter().find(|(key, _)| key.get_ref() == "provider");
                found.extend(provider.map(|(_, value)| Need {
                    power: Power::Credential,
                    what: value.get_ref().as_str().unwrap_or("provider").to_owned(),
                    span: value.span(),
                }));
            }
        }
    }
    found.sort_by_key(|need| need.span.start);
    found
}

fn need(power: Power, key: &Spanned<DeString<'_>>) -> Need {
    Need { power, what: key.get_ref().to_string(), span: key.span() }
}

fn collect_secrets(value: &Spanned<DeValue<'_>>, found: &mut Vec<Need>) {
    match value.get_ref() {
        DeValue::String(text) if secret_ref::looks_like_one(text) => {
            found.push(Need { power: Power::Secret, what: text.to_string(), span: value.span() });
        }
        DeValue::Array(items) => items.iter().for_each(|item| collect_secrets(item, found)),
        DeValue::Table(entries) => {
            entries.iter().for_each(|(_, entry)| collect_secrets(entry, found));
        }
        _ => {}
    }
}

/// The list of trusted files could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("there is no configuration folder to keep the list of trusted files in")]
    NoFolder,
    #[error("`{}` cannot be read", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("`{}` cannot be written", .path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    /// A line break in a path would end its line in the list.
    #[error("the path has a line break in it")]
    Path,
}

impl TrustError {
    /// Says how to fix this.
    pub fn hint(&self) -> String {
        match self {
            Self::NoFolder => "set HOME, or name the file with `--config FILE`".into(),
            Self::Unreadable { .. } => "check the path and its permissions".into(),
            Self::Unwritable { path, .. } => {
                format!("make `{}` writable, or name the file with `--config FILE`", path.display())
            }
            Self::Path => "rename the folder, or name the file with `--config FILE`".into(),
        }
    }
}

/// A file that the user has trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Canonical, so that other paths to the file have the same entry.
    pub path: PathBuf,
    /// SHA-256 of its bytes in lower-case hex, as `sha256sum` prints it.
    pub digest: String,
}

/// The files that the user has trusted, by path and content.
#[derive(Clone, Debug)]
pub struct Trusted {
    list: PathBuf,
    entries: Vec<Entry>,
}

impl Trusted {
    /// Reads the list; a missing one is empty.
    ///
    /// # Errors
    /// [`TrustError::NoFolder`] without a configuration folder; [`TrustError::Unreadable`] if the
    /// list cannot be read.
    pub fn load() -> Result<Self, TrustError> {
        let list = environment::config_folder().ok_or(TrustError::NoFolder)?.join(FILE_NAME);
        let text = match fs::read_to_string(&list) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(source) => return Err(TrustError::Unreadable { path: list, source }),
        };
        Ok(Self { entries: text.lines().filter_map(entry).collect(), list })
    }

    /// Returns the trusted files, in the order of the list.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether the user has trusted these bytes at this path. A trusted file that has changed is no
    /// longer trusted.
    pub(super) fn holds(&self, path: &Path, bytes: &[u8]) -> bool {
        // A link to a trusted file is not that file: relative paths in it would name programs in
        // the folder of the link.
        if fs::symlink_metadata(path).map_or(true, |found| found.is_symlink()) {
            return false;
        }
        let Ok(path) = fs::canonicalize(path) else { return false };
        let digest = digest(bytes);
        self.entries.iter().any(|entry| entry.path == path && entry.digest == digest)
    }

    /// Whether the file at this path was trusted, also with other bytes.
    pub(super) fn knows(&self, path: &Path) -> bool {
        fs::canonicalize(path).is_ok_and(|path| self.entries.iter().any(|entry| entry.path == path))
    }

    /// Trusts these bytes of the file at `path`, and saves the list durably.
    ///
    /// # Errors
    /// [`TrustError`] if the path cannot be listed or the list cannot be saved.
    pub fn add(&mut self, path: &Path, bytes: &[u8]) -> Result<&Entry, TrustError> {
        let path = canonical(path)?;
        self.entries.retain(|entry| entry.path != path);
        self.entries.push(Entry { path, digest: digest(bytes) });
        self.save()?;
        self.entries.last().ok_or(TrustError::Path)
    }

    /// Stops trusting the file at `path`; false if it was not trusted.
    ///
    /// # Errors
    /// [`TrustError::Unwritable`] if the list cannot be saved.
    pub fn remove(&mut self, path: &Path) -> Result<bool, TrustError> {
        // The file may be gone; then `path` must be the path in the list.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let before = self.entries.len();
        self.entries.retain(|entry| entry.path != path);
        let is_removed = self.entries.len() < before;
        if is_removed {
            self.save()?;
        }
        Ok(is_removed)
    }

    /// Writes a new file and renames it, so that a crash leaves the old list or the new one.
    fn save(&self) -> Result<(), TrustError> {
        let unwritable = |source| TrustError::Unwritable { path: self.list.clone(), source };
        let folder = self.list.parent().ok_or(TrustError::NoFolder)?;
        fs::create_dir_all(folder).map_err(unwritable)?;
        let beside = self.list.with_extension(std::process::id().to_string());
        let written = fs::File::create(&beside).and_then(|mut file| {
            for Entry { path, digest } in &self.entries {
                writeln!(file, "{digest}  {}", path.display())?;
            }
            file.sync_all()
        });
        written.and_then(|()| fs::rename(&beside, &self.list)).map_err(|source| {
            // The old list is intact; remove the incomplete new one.
            let _ = fs::remove_file(&beside);
            unwritable(source)
        })
    }
}

fn canonical(path: &Path) -> Result<PathBuf, TrustError> {
    let canonical = fs::canonicalize(path)
        .map_err(|source| TrustError::Unreadable { path: path.into(), source })?;
    match canonical.to_str() {
        Some(text) if !text.contains(['\n', '\r']) => Ok(canonical),
        _ => Err(TrustError::Path),
    }
}

fn entry(line: &str) -> Option<Entry> {
    let (digest, path) = line.split_once("  ")?;
    Some(Entry { path: path.into(), digest: digest.to_owned() })
}

fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing into a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn power(source: &str) -> Option<Power> {
        let (table, errors) = DeTable::parse_recoverable(source);
        assert!(errors.is_empty(), "{source}: {errors:?}");
        needs(source, table.get_ref()).first().map(|need| need.power)
    }

    #[test]
    fn only_what_acts_in_the_persons_name_needs_trust() {
        let open = "[tools.a]\ndescription = \"d\"\nrequest = \"GET https://a.example/\"\n";
        assert_eq!(power(""), None);
        assert_eq!(power(open), None);
        assert_eq!(power(&format!("[server]\nname = \"x\"\nport = 9000\n{open}")), None);
        assert_eq!(power(BUILT_IN), None);
        assert_eq!(power(&format!("{BUILT_IN}\n# changed\n")), Some(Power::Table));
        for (more, expected) in [
            ("provider = \"github\"", Power::Credential),
            ("headers = { X-Key = \"env:AWS_SECRET_ACCESS_KEY\" }", Power::Secret),
            ("query.a = \"file:/etc/passwd\"", Power::Secret),
            ("query.a = [\"b\", \"cmd:touch ran\"]", Power::Secret),
            ("[mcp.linear]\nurl = \"https://mcp.example\"", Power::Table),
            ("[worker.x]\ncommand = \"sh\"", Power::Table),
            ("[openapi.x]\nfile = \"a.json\"", Power::Table),
            ("[providers.x]\nbase_url = \"https://x.example\"", Power::Table),
            ("[store]\nurl = \"sled:/tmp/x\"", Power::Table),
            ("[a_table_of_a_later_version]", Power::Table),
            ("[server]\nallow_private = [\"10.0.0.0/8\"]", Power::Setting),
            ("[server]\nafter_connect = \"https://a.example\"", Power::Setting),
            ("[server.auth]\nissuer = \"https://a.example\"", Power::Setting),
            ("[server]\nnotify = \"x\"", Power::Setting),
        ] {
            assert_eq!(power(&format!("{open}{more}\n")), Some(expected), "{more}");
        }
    }

    #[test]
    fn the_list_reads_like_that_of_sha256sum() {
        let line =
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  /a b/tools.toml";
        let read = entry(line).unwrap();
        assert_eq!((read.path, read.digest), ("/a b/tools.toml".into(), digest(b"")));
    }
}
