//! The crate as it is packed, and a program outside that uses it: the one of `docs/rust-tools.md`.
//!
//! Building it takes minutes, so `./tests/run long` runs it. The plain suite compiles
//! `examples/github_tools.rs` instead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::harness::{Dialect, Home, Server, Visit, World};

const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// Goes from `cargo new` to a call that runs with a consent, and looks for what it must not reach.
#[test]
fn fifty_lines_become_a_server_with_consent() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path());
    let main = documented();
    assert!(main.lines().count() <= 50, "the document promises fifty lines");
    let world = World::start();
    let api = format!("get(\"{}/me\")", world.api());
    let main = main
        .replace("\"github\"", "\"notes\"")
        .replace("\"public_repo\"", "\"notes:read\"")
        .replace("put(\"https://api.github.com/user/starred/{owner}/{repo}\")", &api);
    fs::write(program.join("src/main.rs"), main).unwrap();
    cargo(&program, &["build"]).expect("the documented program compiles");
    let home = Home::new(&world.tools());
    let mut command = Command::new(target().join("debug/star-tools"));
    command.args(["serve", "--stdio", "--user", "ana"]);
    command.env_clear().envs(home.variables()).current_dir(home.path(""));
    let mut server = Server::spawn(command, Dialect::PLAIN);
    server.shake_hands();
    let names: Vec<String> =
        server.tools().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
    assert!(names.iter().any(|name| name == "github_star_repo"), "{names:?}");
    assert!(names.iter().any(|name| name == "whoami"), "{names:?}");
    let star = json!({ "owner": "rust-lang", "repo": "rust" });
    let prompt = server.call("github_star_repo", &star).asked();
    Visit::to(&prompt.url).approves();
    let text = server.call("github_star_repo", &star).ran();
    assert!(text.starts_with("Starred rust-lang/rust."), "{text}");
    // The consent is that of the tools in tools.toml, too.
    server.call("whoami", &json!({})).ran();
}

/// Nothing but the prelude can be named.
#[test]
fn nothing_but_the_prelude_is_reachable() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path());
    for (line, is_public) in [
        ("use countersign::prelude::Server;", true),
        ("use countersign::broker::Broker;", false),
        ("use countersign::store::Store;", false),
    ] {
        fs::write(
            program.join("src/main.rs"),
            format!("#[allow(unused)]\n{line}\nfn main() {{}}\n"),
        )
        .unwrap();
        let checked = cargo(&program, &["check"]);
        assert_eq!(checked.is_ok(), is_public, "{line}: {checked:?}");
        assert!(is_public || checked.unwrap_err().contains("E0603"), "{line}");
    }
}

/// Folder of what is built, kept from run to run.
fn target() -> PathBuf {
    Path::new(PACKAGE).join("target/real/packed")
}

/// A new program that depends on the packed crate.
fn program(folder: &Path) -> PathBuf {
    let packed = ["package", "--offline", "--allow-dirty", "--no-verify", "--quiet"];
    cargo(Path::new(PACKAGE), &packed).expect("the crate can be packed");
    let crates = target().join("package");
    let version = env!("CARGO_PKG_VERSION");
    let unpacked = Command::new("tar")
        .args(["-xzf", &format!("countersign-{version}.crate")])
        .args(["-C".as_ref(), folder.as_os_str()])
        .current_dir(crates)
        .status();
    assert!(unpacked.expect("tar starts").success());
    let program = folder.join("star-tools");
    fs::create_dir_all(program.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"star-tools\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\n\
         countersign = {{ path = \"../countersign-{version}\" }}\nschemars = \"1\"\n\
         serde = {{ version = \"1\", features = [\"derive\"] }}\n[workspace]\n"
    );
    fs::write(program.join("Cargo.toml"), manifest).unwrap();
    // The versions that this package is tested with; nothing is fetched.
    fs::copy(Path::new(PACKAGE).join("Cargo.lock"), program.join("Cargo.lock")).unwrap();
    program
}

/// Runs Cargo without the network.
///
/// # Errors
/// Its messages.
fn cargo(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).current_dir(folder).env("CARGO_TARGET_DIR", target());
    let output = command.env("CARGO_NET_OFFLINE", "true").output().expect("cargo starts");
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The program of the document.
fn documented() -> String {
    let document = fs::read_to_string(Path::new(PACKAGE).join("docs/rust-tools.md")).unwrap();
    let (_, rest) = document.split_once("```rust,no_run\n").expect("a program");
    let (program, _) = rest.split_once("```").expect("its end");
    program.to_owned()
}
