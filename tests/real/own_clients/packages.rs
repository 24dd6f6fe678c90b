//! Our clients as users install them: built from `clients/`, and installed from what was built.

use std::fs;
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use crate::harness::{part, wait_within};

/// Longest run of a program here. A type checker takes two minutes on cores that other work shares.
const MAX_RUN: Duration = Duration::from_mins(10);

/// A client that is built and installed.
pub struct Package {
    /// The built archives.
    pub archives: Vec<PathBuf>,
    /// Folder in which its language looks for installed packages.
    pub installed: PathBuf,
}

/// `countersign-client`, made by `python -m build` and installed by pip.
pub static PYTHON: LazyLock<Package> = LazyLock::new(|| {
    let (built, installed) = (empty("python/built"), empty("python/installed"));
    let python = || Command::new(part("COUNTERSIGN_REAL_CLIENTS_PYTHON"));
    // Without isolation: the locked build backend is used, and nothing is fetched.
    let build = ["-m", "build", "--no-isolation", "--outdir"];
    run(python().args(build).arg(&built).arg(source("python")));
    let archives = files(&built);
    let wheel = archives.iter().find(|file| file.extension().is_some_and(|kind| kind == "whl"));
    let install =
        ["-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--target"];
    run(python().args(install).arg(&installed).arg(wheel.expect("a wheel")));
    Package { archives, installed }
});

/// `@countersign/client`, compiled by the locked TypeScript and made by `npm pack`. The packages that
/// its examples need are beside it.
pub static TYPESCRIPT: LazyLock<Package> = LazyLock::new(|| {
    let (built, installed) = (empty("typescript/built"), empty("typescript/installed"));
    let copy = empty("typescript/source");
    run(Command::new("cp").arg("-R").arg(source("typescript")).arg(&copy));
    let copy = copy.join("typescript");
    tsc(&["--project".as_ref(), copy.as_ref()]);
    // `prepack` would compile it once more, with a compiler of the package's own.
    let pack = ["pack", "--ignore-scripts", "--loglevel", "error", "--pack-destination"];
    run(Command::new("npm").args(pack).arg(&built).current_dir(&copy));
    let archives = files(&built);
    let package = installed.join("node_modules/@countersign/client");
    fs::create_dir_all(&package).unwrap();
    run(Command::new("tar")
        .args(["--strip-components", "1", "-C"])
        .arg(&package)
        .arg("-xzf")
        .arg(&archives[0]));
    for name in ["ai", "zod"] {
        let there = part("COUNTERSIGN_REAL_DIR").join("node_modules").join(name);
        symlink(there, installed.join("node_modules").join(name)).unwrap();
    }
    fs::write(installed.join("package.json"), r#"{"type": "module"}"#).unwrap();
    let examples = package.join("examples");
    run(Command::new("cp").arg("-R").arg(examples).arg(&installed));
    Package { archives, installed }
});

/// Folder of a client's source.
pub fn source(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(language)
}

/// Runs the locked TypeScript compiler.
#[track_caller]
pub fn tsc(arguments: &[&Path]) {
    let compiler = part("COUNTERSIGN_REAL_DIR").join("node_modules/typescript/bin/tsc");
    run(Command::new(part("COUNTERSIGN_REAL_NODE")).arg(compiler).args(arguments));
}

/// Runs a program to its end, and expects success.
#[track_caller]
pub fn run(command: &mut Command) {
    let mut output = tempfile::tempfile().unwrap();
    let copy = || output.try_clone().unwrap();
    command.stdin(Stdio::null()).stdout(copy()).stderr(copy());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut status = None;
    wait_within(MAX_RUN, &format!("the end of {command:?}"), || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    let mut text = String::new();
    output.rewind().unwrap();
    output.read_to_string(&mut text).unwrap();
    assert!(status.is_some_and(|status| status.success()), "{command:?}: {text}");
}

/// Makes an empty folder below `target`.
fn empty(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/real/own_clients").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}
