//! How `tools.toml` is found, and paths and contents that are no such file.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::command::{run, untold};

const TOOL: &str = "[tools.a]\ndescription = \"d\"\nrequest = \"GET https://a.example/\"\n";

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Runs `check` on a file with this content.
fn check(content: &[u8]) -> (i32, String) {
    let folder = folder();
    let path = folder.path().join("tools.toml");
    fs::write(&path, content).unwrap();
    check_path(&path)
}

fn check_path(path: &Path) -> (i32, String) {
    let (code, stdout, _) = run(untold().arg("check").arg(path));
    (code, stdout)
}

#[test]
fn the_file_is_found_by_argument_variable_home_and_folder() {
    let folder = folder();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    };
    let named = |name: &str| TOOL.replace("tools.a", &format!("tools.{name}"));
    let argument = file("argument.toml", &named("argument"));
    let variable = file("variable.toml", &named("variable"));
    file("work/tools.toml", &named("work"));
    file("home/.config/countersign/tools.toml", &named("home"));
    fs::create_dir(folder.path().join("empty")).unwrap();
    let list = |argument: Option<&Path>, variable: Option<&Path>, work: &str| {
        let mut command = untold();
        command.args(["tools", "list"]).current_dir(folder.path().join(work));
        command.env("HOME", folder.path().join("home"));
        if let Some(path) = argument {
            command.arg("--config").arg(path);
        }
        if let Some(path) = variable {
            command.env("COUNTERSIGN_CONFIG", path);
        }
        let (code, stdout, stderr) = run(&mut command);
        assert_eq!(code, 0, "{stderr}");
        assert!(stderr.starts_with("using "), "{stderr}");
        stdout.split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(list(Some(&argument), Some(&variable), "work"), "argument");
    assert_eq!(list(None, Some(&variable), "work"), "variable");
    // The user's own file wins over one that may have been cloned.
    assert_eq!(list(None, Some(Path::new("")), "work"), "home");
    assert_eq!(list(None, None, "empty"), "home");
    fs::remove_file(folder.path().join("home/.config/countersign/tools.toml")).unwrap();
    assert_eq!(list(None, None, "work"), "work");
}

#[test]
fn no_file_at_all_says_where_it_was_looked_for() {
    let folder = folder();
    let (code, stdout, stderr) =
        run(untold().args(["tools", "list"]).current_dir(folder.path()).env("HOME", folder.path()));
    assert_eq!((code, stdout.as_str()), (5, ""));
    assert!(stderr.contains("no `tools.toml`") && stderr.contains("help: "), "{stderr}");
}

#[test]
fn a_byte_order_mark_and_crlf_are_no_mistake() {
    let content = format!("\u{feff}{}", TOOL.replace('\n', "\r\n"));
    let (code, said) = check(content.as_bytes());
    assert!(code == 0 && said.ends_with("ok: 1 tool, 1 warning\n"), "{said}");
    let (code, said) = check(b"");
    assert!(code == 0 && said.contains("there are no tools in this file"), "{said}");
    assert!(said.ends_with("ok: 0 tools, 1 warning\n"), "{said}");
}

#[test]
fn what_is_no_text_is_said_to_be_none() {
    for (content, part) in [
        (&b"[tools.a]\nx = \"\xff\""[..], "not UTF-8"),
        (b"\xff\xfe[\0", "UTF-16"),
        (&vec![b'#'; 16 * 1024 * 1024 + 1], "larger than 16 MiB"),
    ] {
        let (code, stdout) = check(content);
        assert_eq!(code, 5);
        assert!(stdout.contains(part), "{stdout}");
    }
}

#[test]
fn what_is_no_file_is_said_to_be_none() {
    let folder = folder();
    let (code, stdout) = check_path(folder.path());
    assert!(code == 5 && stdout.contains("it is a folder"), "{stdout}");
    let (code, stdout) = check_path(&folder.path().join("nothing.toml"));
    assert!(code == 5 && stdout.contains("there is no such file"), "{stdout}");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let folder = folder();
    let fifo = folder.path().join("tools.toml");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let (code, stdout) = check_path(&fifo);
    assert!(code == 5 && stdout.contains("no ordinary file"), "{stdout}");
}

#[test]
fn a_secret_in_any_place_is_never_shown() {
    let places = [
        "[providers.github]\nclient_secret = \"hunter2canary\"",
        "[providers.github]\nclient_secret = \"hunter2canary",
        "[providers.github]\nclient_secret = 'env:hunter2 canary'",
        "[providers.github]\nclientsecret = \"hunter2canary\"\nx = 1",
        "[providers.github]\nbasic = { user = \"u\", password = \"hunter2canary\" }",
        "[providers.x]\nbase_url = \"https://a:hunter2canary@x.example\"\napi_key = { query = \"k\", value = \"hunter2canary\" }",
        "[server.auth]\nclient_secret = \"hunter2canary\"\n[[server.auth.api_keys]]\nname = \"n\"\nkey = \"hunter2canary\"",
        "[server.auth]\nkeys = [\"hunter2canary\"]",
        "[server.auth]\napi_keys = [\"hunter2canary\"]",
        "[server.auth]\napi_keys = { ana = \"hunter2canary\" }",
        "[server]\nauth = \"hunter2canary\"",
        "[[server.auth.api_keys]]\nname = \"n\"\nkey = [\"hunter2canary\"]",
        "[[server.auth.api_keys]]\nname = \"n\"\nkey = \"env:hunter2 canary\"",
        "[[server.auth.api_keys]]\nname = \"n\"\nky = \"hunter2canary\"",
        "[[server.auth.api_keys]]\nname = \"n\"\nkey = \"hunter2canary",
        "[[server.auth.api_keys]]\nname = \"n\"\nkey = \"env:A\"\nverifier_url = \"https://u:hunter2canary@a.example\"",
        "[server.auth]\nissuer = \"https://u:hunter2canary@a.example\"",
        "[providers.x]\nbase_url = \"https://a.example\"\napi_key = \"hunter2canary\"",
        "[store]\nurl = \"postgres://u:hunter2canary@h/d\"",
        "[tools.a]\ndescription = \"d\"\nrequest = \"GET https://a.example/?api_key=hunter2canary\"",
        "[tools.a]\ndescription = \"d\"\nrequest = \"GET https://a.example/\"\nheaders = { Authorization = \"Bearer hunter2canary\" }",
        "[tools.a]\ndescription = \"d\"\nrequest = \"GET https://a.example/\"\nquery.access_token = \"hunter2canary\"",
    ];
    for place in places {
        let folder = folder();
        let path = folder.path().join("tools.toml");
        fs::write(&path, place).unwrap();
        for arguments in [&["check"][..], &["check", "--json"], &["tools", "list", "--config"]] {
            let (code, stdout, stderr) = run(untold().args(arguments).arg(&path));
            assert_eq!(code, 5, "{place}");
            assert!(
                !stdout.contains("hunter2") && !stderr.contains("hunter2"),
                "{place}\n{stdout}{stderr}"
            );
        }
    }
}
