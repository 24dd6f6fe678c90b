//! Which layer may import which, and which files may name a foreign item. However it is written:
//! through braces, `super::super` or another local name.

use super::syntax::{Named, Names};
use super::{Parsed, check_sources, layer, module_of};

/// Sideways imports that are allowed, each with its reason.
const SIDEWAYS: &[(&str, &str)] = &[
    // `check` compiles jq filters with the compiler that will run them.
    ("config", "upstream"),
    // Callers are known by tokens of an authorization server, which `oauth` can ask.
    ("identity", "oauth"),
];

/// Items of other crates, and the only files that may name them.
const OWNERS: &[(&str, &[&str])] = &[
    ("rmcp", &["mcp/", "cli/log.rs"]),
    ("axum", &["web/", "mcp/http/", "app.rs"]),
    // The served port, and the bodies that pass through it.
    ("hyper", &["web/port/serve.rs", "mcp/http/limits.rs"]),
    ("hyper_util", &["web/port/serve.rs"]),
    ("oauth2", &["oauth/"]),
    // Its tests plant damaged and large records beside the port.
    ("sled", &["store/backend/", "store/tests/", "store/folder/peer/tests.rs"]),
    ("interprocess", &["store/folder/peer/"]),
    // Every outbound request passes `net`, whose clients refuse private addresses and redirects.
    ("reqwest::Client", &["net/"]),
    ("reqwest::ClientBuilder", &["net/"]),
    ("reqwest::blocking", &[]),
    ("reqwest::get", &[]),
    // Trust anchors, and signatures of assertions.
    ("rustls", &["net/", "oauth/assertion.rs"]),
    ("ring", &["identity/", "oauth/assertion.rs", "oauth/assertion/tests.rs"]),
    ("jaq_core", &["upstream/jq/"]),
    ("jaq_std", &["upstream/jq/"]),
    ("jaq_json", &["upstream/jq/"]),
    ("clap", &["cli/"]),
    ("anyhow", &["cli/"]),
    ("askama", &["web/pages/"]),
    ("libc", &["app/memory.rs"]),
    // One clock, which tests can set.
    ("std::time::SystemTime::now", &["model/time.rs"]),
    ("std::env::var", &["config/environment.rs"]),
    ("std::env::var_os", &["config/environment.rs"]),
    ("std::env::vars", &["config/environment.rs"]),
];

#[test]
fn imports_point_down() {
    check_sources(no_import_points_up);
}

fn no_import_points_up(sources: &[Parsed]) {
    let mut used = Vec::new();
    for (name, file) in sources {
        let module = module_of(name);
        let Some(own) = module.first().filter(|own| layer(own).is_some()) else { continue };
        for named in Names::of(file).full() {
            let Some(other) = crate_module(&module, &named) else { continue };
            let (Some(from), Some(to)) = (layer(own), layer(&other)) else { continue };
            let exception = SIDEWAYS.iter().find(|pair| **pair == (&**own, &*other));
            used.extend(exception);
            let allowed = *own == other || to < from || exception.is_some();
            assert!(allowed, "{name}: `{own}` imports `{other}`: {}", named.path.join("::"));
        }
    }
    for exception in SIDEWAYS {
        assert!(used.contains(&exception), "no import needs {exception:?} any more");
    }
}

#[test]
fn everything_has_one_owner() {
    check_sources(nothing_has_another_owner);
}

fn nothing_has_another_owner(sources: &[Parsed]) {
    let broken: Vec<String> = sources
        .iter()
        .flat_map(|(name, file)| {
            let named = Names::of(file).full().into_iter();
            let found = named.filter_map(|named| {
                let owners = broken(name, &named)?;
                Some(format!(
                    "{name} names `{}`, which belongs to {owners:?}",
                    named.path.join("::")
                ))
            });
            found.collect::<Vec<_>>()
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_name_is_found_however_it_is_written() {
    let breaks = |text: &str| {
        let names = Names::of(&syn::parse_file(text).unwrap());
        names.full().iter().any(|named| broken("broker/call.rs", named).is_some())
    };
    assert!(breaks("use reqwest::{Client, StatusCode};"));
    assert!(breaks("use reqwest::{self as http}; fn f() { http::Client::new(); }"));
    assert!(breaks("use std::time::{SystemTime}; fn f() { SystemTime::now(); }"));
    assert!(breaks("use reqwest::*;"));
    assert!(breaks("fn f() { std::env::var(\"A\"); }"));
    assert!(breaks("use std::env; mod m { fn f() { env::var(\"A\"); } } "));
    assert!(!breaks("use reqwest::StatusCode; use std::time::SystemTime;"));
    let module = ["broker", "grant", "access"].map(str::to_owned);
    let leads = |text: &str| {
        let names = Names::of(&syn::parse_file(text).unwrap()).full();
        names.iter().find_map(|named| crate_module(&module, named))
    };
    assert_eq!(leads("use super::super::super::web::X;").as_deref(), Some("web"));
    assert_eq!(leads("use crate::{mcp};").as_deref(), Some("mcp"));
    assert_eq!(leads("mod t { use super::super::super::super::cli; }").as_deref(), Some("cli"));
    assert_eq!(leads("use super::refresh::X;").as_deref(), Some("broker"));
    assert_eq!(leads("use std::fs::File;"), None);
}

/// The owners whose rule a path in this file breaks. `use x::*` could bring any name below `x`.
fn broken(file: &str, named: &Named) -> Option<&'static [&'static str]> {
    let path = &named.path;
    let rule = OWNERS.iter().find(|(item, owners)| {
        let item: Vec<&str> = item.split("::").collect();
        let is_glob = path.last().is_some_and(|last| last == "*");
        let is_there = if is_glob && path.len() <= item.len() {
            item.iter().zip(&path[..path.len() - 1]).all(|(one, other)| one == other)
        } else {
            path.len() >= item.len() && item.iter().zip(path).all(|(one, other)| one == other)
        };
        is_there && !owners.iter().any(|owner| file.starts_with(owner))
    });
    rule.map(|(_, owners)| *owners)
}

/// The top-level module of ours that a path leads to.
fn crate_module(module: &[String], named: &Named) -> Option<String> {
    let mut at: Vec<&String> = module.iter().chain(&named.inline).collect();
    let mut steps = named.path.iter().peekable();
    match steps.peek()?.as_str() {
        "crate" => {
            steps.next();
            at.clear();
        }
        "super" => {
            while steps.next_if(|step| *step == "super").is_some() {
                at.pop();
            }
        }
        _ => return None,
    }
    at.into_iter().chain(steps).next().cloned()
}
