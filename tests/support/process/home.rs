//! A machine of its own for every test: an empty HOME, a `tools.toml`, a key, and a separate
//! environment.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::keepers;
use super::running::{Finished, Running};
use crate::support::{environment, free_port, wait_until};

pub const BINARY: &str = env!("CARGO_BIN_EXE_countersign");

/// The secret of the authorization server's client `web-basic`.
const CLIENT_SECRET: &str = "basic+secret/with:signs%25";

pub struct Home {
    folder: TempDir,
    port: u16,
    variables: BTreeMap<String, String>,
}

impl Home {
    pub fn new(tools: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = Self { folder, port: free_port(), variables: BTreeMap::new() };
        fs::create_dir(home.path("home")).expect("a HOME");
        home.write_tools(tools);
        let path = environment("PATH").expect("a PATH").to_string_lossy().into_owned();
        let base = home.path("home").to_string_lossy().into_owned();
        let tools = home.path("tools.toml").to_string_lossy().into_owned();
        home.with("PATH", &path)
            // Named, as in a host's entry: a file that is only found in the working folder would
            // need trust.
            .with("COUNTERSIGN_CONFIG", &tools)
            .with("HOME", &base)
            .with("XDG_CONFIG_HOME", &format!("{base}/config"))
            .with("XDG_DATA_HOME", &format!("{base}/data"))
            .with("XDG_RUNTIME_DIR", &format!("{base}/run"))
            .with("NOTES_CLIENT_SECRET", CLIENT_SECRET)
            .with("COUNTERSIGN_LOG", "info")
    }

    #[must_use]
    pub fn with(mut self, variable: &str, value: &str) -> Self {
        self.variables.insert(variable.into(), value.into());
        self
    }

    /// Leaves the file to be found in the working folder.
    #[must_use]
    pub fn unnamed(mut self) -> Self {
        self.variables.remove("COUNTERSIGN_CONFIG");
        self
    }

    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The data folder, which holds the grants.
    pub fn data(&self) -> PathBuf {
        self.path("home/data/countersign")
    }

    /// The file of the automatically generated key.
    pub fn key_file(&self) -> PathBuf {
        self.path("home/config/countersign/master.key")
    }

    /// The stderr of this machine's processes so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("stderr.log")).unwrap_or_default()).into_owned()
    }

    /// Returns the log once it holds `part`: a running process writes its log on a thread of its
    /// own.
    #[track_caller]
    pub fn log_with(&self, part: &str) -> String {
        wait_until(&format!("`{part}` in the log"), || self.log().contains(part));
        self.log()
    }

    /// Replaces `tools.toml`. Every machine has its own port for links, so that tests that run at
    /// once do not take it from one another while a server restarts.
    pub fn write_tools(&self, tools: &str) {
        let server = format!("[server]\nport = {}\n", self.port);
        self.write_tools_only(&format!("{server}{tools}"));
    }

    /// Replaces `tools.toml` with just this.
    pub fn write_tools_only(&self, tools: &str) {
        fs::write(self.path("tools.toml"), tools).expect("tools.toml can be written");
    }

    /// The binary, ready to start beside `tools.toml`, with its stderr added to the log.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let log = File::options().create(true).append(true).open(self.path("stderr.log"));
        let mut command = Command::new(BINARY);
        command
            .args(arguments)
            .env_clear()
            .envs(&self.variables)
            .current_dir(self.folder.path())
            .stderr(log.expect("a log file"));
        command
    }

    /// Runs a command to its end. Its stderr is added to the log.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        Running::start(self.command(arguments)).end()
    }
}

/// Ends the keepers of the machine.
impl Drop for Home {
    fn drop(&mut self) {
        keepers::end_all(self.folder.path());
    }
}

/// Every file below a folder, with its content. Left out is a file that a process removes meanwhile,
/// as one does that has just been asked to end.
pub fn contents(below: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |file: PathBuf| match fs::read(&file) {
        Ok(content) => Some((file, content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => panic!("{}: {error}", file.display()),
    };
    files(below).into_iter().filter_map(read).collect()
}

/// Every file below a folder.
pub fn files(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![below.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let kind = entry.file_type().expect("a file has a type");
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found
}
