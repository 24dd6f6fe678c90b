//! Architecture rules: which layer may import which, which file owns a name, how long files and
//! functions may be, what documentation says.

mod circles;
mod owners;
mod shape;
mod syntax;

use std::any::Any;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, mpsc};
use std::thread;

/// Layers from the ground up; a file imports its own layer's module and lower layers only.
const LAYERS: &[&[&str]] = &[
    &["model", "catalog", "net"],
    &["upstream", "oauth", "store", "identity", "config"],
    &["registry"],
    &["broker"],
    &["words"],
    &["mcp", "web"],
    &["app"],
    &["cli"],
];

/// Texts, and the only files that may contain them. `owners` has the items of other crates.
const TEXT_OWNERS: &[(&str, &[&str])] = &[
    // Code above the port must work with every backend.
    ("SledBackend", &["store/backend/", "store/folder/"]),
    ("Client::builder", &["net/"]),
    ("unsafe {", &["app/memory.rs"]),
    // A device code is for the terminal of the user who asked for it: an agent that could get one
    // would have another person type it (RFC 8628 §5.4).
    ("begin_device_login", &["broker/consent/device.rs", "cli/"]),
    ("device_authorization(", &["broker/consent/device.rs", "oauth/"]),
];

#[test]
fn texts_have_their_owners() {
    for (path, text) in sources() {
        let name = path.strip_prefix(source()).unwrap().to_string_lossy().replace('\\', "/");
        for line in text.lines().filter(|line| !is_comment(line)) {
            let line = without_texts(line);
            for (what, owners) in TEXT_OWNERS {
                let is_there = line.match_indices(what).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                });
                let owned = owners.iter().any(|owner| name.starts_with(owner));
                assert!(!is_there || owned, "{name} mentions `{what}`: {line}");
            }
        }
    }
}

#[test]
fn files_stay_short() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 600, "{} has {lines} lines", path.display());
    }
}

#[test]
fn every_layer_is_known() {
    for entry in fs::read_dir(source()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let module = name.trim_end_matches(".rs");
        let is_known = ["main", "lib"].contains(&module) || layer(module).is_some();
        assert!(is_known, "`{module}` belongs to no layer");
    }
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// The module of a file below `src`, from the crate's root down.
fn module_of(name: &str) -> Vec<String> {
    let name = name.trim_end_matches(".rs");
    name.split('/').filter(|step| *step != "mod").map(str::to_owned).collect()
}

/// A source file, parsed, by its name below `src`.
type Parsed = (String, syn::File);

/// A check on all of them, and the way back for the message of its panic.
type Check = (Box<dyn FnOnce(&[Parsed]) + Send>, mpsc::Sender<Result<(), String>>);

/// Runs a check on every source file. All checks run on one thread, one after the other: it parses
/// the files once, and what syn returns cannot leave its thread.
fn check_sources(check: impl FnOnce(&[Parsed]) + Send + 'static) {
    static CHECKS: LazyLock<mpsc::Sender<Check>> = LazyLock::new(|| {
        let (checks, waiting) = mpsc::channel::<Check>();
        thread::spawn(move || {
            let sources = parsed_sources();
            for (check, result) in waiting {
                let outcome = panic::catch_unwind(AssertUnwindSafe(|| check(&sources)));
                result.send(outcome.map_err(|payload| message(&*payload))).unwrap();
            }
        });
        checks
    });
    let (result, outcome) = mpsc::channel();
    CHECKS.send((Box::new(check), result)).expect("the thread that parses the sources");
    // Panics once more here: the output of that thread belongs to the test that began it.
    outcome
        .recv()
        .expect("sources that syn can parse")
        .unwrap_or_else(|message| panic!("{message}"));
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}

fn parsed_sources() -> Vec<Parsed> {
    let parsed = sources().into_iter().map(|(path, text)| {
        let name = path.strip_prefix(source()).unwrap().to_string_lossy().replace('\\', "/");
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, file)
    });
    parsed.collect()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// A line without the texts between quotes.
fn without_texts(line: &str) -> String {
    line.replace("\\\"", "").split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut open = vec![source()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found
}
