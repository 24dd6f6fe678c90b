//! Architecture rules: which layer may import which, which file owns a name, how long a file may
//! be.

mod circles;

use std::fs;
use std::path::{Path, PathBuf};

/// Layers from the ground up; a file imports its own layer's module and lower layers only.
const LAYERS: &[&[&str]] = &[
    &["model", "catalog", "net"],
    &["upstream", "oauth", "store", "identity", "config"],
    &["registry"],
    &["broker"],
    &["mcp", "web"],
    &["app"],
    &["cli"],
];

/// Sideways imports that are allowed, each with its reason.
const SIDEWAYS: &[(&str, &str)] = &[
    // `check` compiles jq filters with the compiler that will run them.
    ("config", "upstream"),
    // Callers are known by tokens of an authorization server, which `oauth` can ask.
    ("identity", "oauth"),
];

/// Names, and the only files that may mention them.
const OWNERS: &[(&str, &[&str])] = &[
    ("rmcp::", &["mcp/"]),
    // MCP over HTTP has routes too, and the root puts both tables on one port.
    ("axum::", &["web/", "mcp/http/", "app.rs"]),
    ("oauth2::", &["oauth/"]),
    ("sled::Config", &["store/backend/sled.rs"]),
    ("sled::Db", &["store/backend/sled.rs"]),
    // Code above the port must work with every backend.
    ("SledBackend", &["store/backend/", "store/folder/"]),
    ("interprocess::", &["store/folder/peer/"]),
    ("reqwest::Client", &["net/"]),
    ("Client::builder", &["net/"]),
    ("clap::", &["cli/"]),
    ("SystemTime::now", &["model/time.rs"]),
    ("unsafe {", &["app/memory.rs"]),
    ("libc::", &["app/memory.rs"]),
    ("std::env::var", &["config/environment.rs"]),
    ("env::var", &["config/environment.rs"]),
    ("anyhow::", &["cli/"]),
    ("askama::", &["web/"]),
    // A device code is for the terminal of the user who asked for it: an agent that could get one
    // would have another person type it (RFC 8628 §5.4).
    ("begin_device_login", &["broker/consent/device.rs", "cli/"]),
    ("device_authorization(", &["broker/consent/device.rs", "oauth/"]),
];

#[test]
fn imports_point_down() {
    let mut used = Vec::new();
    for (path, text) in sources() {
        let Some(own) = module(&path) else { continue };
        for line in text.lines().filter(|line| !is_comment(line)) {
            // Imports in braces would escape the search below.
            assert!(
                !line.contains("crate::{"),
                "{}: a line for each, please: {line}",
                path.display()
            );
            for (at, _) in line.match_indices("crate::") {
                let rest = &line[at + "crate::".len()..];
                let other: String =
                    rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let (Some(from), Some(to)) = (layer(&own), layer(&other)) else { continue };
                let exception = SIDEWAYS.iter().find(|pair| **pair == (&*own, &*other));
                used.extend(exception);
                let allowed = own == other || to < from || exception.is_some();
                assert!(allowed, "{}: `{own}` imports `{other}`: {line}", path.display());
            }
        }
    }
    for exception in SIDEWAYS {
        assert!(used.contains(&exception), "nobody needs {exception:?} any more");
    }
}

#[test]
fn everything_has_one_owner() {
    for (path, text) in sources() {
        let name = path.strip_prefix(source()).unwrap().to_string_lossy().replace('\\', "/");
        for line in text.lines().filter(|line| !is_comment(line)) {
            let line = without_texts(line);
            for (what, owners) in OWNERS {
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

fn module(path: &Path) -> Option<String> {
    let first = path.strip_prefix(source()).unwrap().components().next()?;
    let name = first.as_os_str().to_string_lossy();
    let name = name.trim_end_matches(".rs");
    layer(name).map(|_| name.to_owned())
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
