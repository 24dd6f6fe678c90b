//! Runs the real binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Path of a file in this package, wherever it is checked out.
pub fn package(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn fixture(name: &str) -> PathBuf {
    package("tests/it/fixtures").join(name)
}

/// The binary in an empty environment that names the `tools.toml` in its working folder, as a
/// host's entry does. A file that the binary only finds there needs trust.
pub fn countersign() -> Command {
    let mut command = untold();
    command.env("COUNTERSIGN_CONFIG", "tools.toml");
    command
}

/// The binary in an empty environment; it has to find its `tools.toml`.
pub fn untold() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.env_clear().current_dir(std::env::temp_dir());
    command
}

pub fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("it was not killed"), text(stdout), text(stderr))
}
