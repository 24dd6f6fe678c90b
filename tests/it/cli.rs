//! What scripts and hosts rely on: exit codes, and that whatever keeps us from starting is said.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::command::{countersign, fixture, run};

const TOOLS: &str = r#"
    [providers.acme]
    client_id = "us"
    base_url  = "https://api.acme.example"
    [providers.acme.oauth]
    authorize_url = "https://login.acme.example/authorize"
    token_url     = "https://login.acme.example/token"
    loopback      = "any-port"

    [tools.read]
    description = "Reads.\u001b[2J"
    provider    = "acme"
    scopes      = ["notes:read"]
    request     = "GET /notes/{id}"
    params.id   = { type = "integer", description = "Which." }
"#;

/// A folder with a `tools.toml`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tools.toml"), TOOLS).unwrap();
    folder
}

#[test]
fn a_missing_or_broken_configuration_is_exit_code_5_everywhere() {
    let empty = tempfile::tempdir().unwrap();
    let nothing: &[&[&str]] =
        &[&["check"], &["tools", "list"], &["auth", "status"], &["serve", "--stdio"]];
    for arguments in nothing {
        let mut command = countersign();
        command.current_dir(&empty).env("HOME", empty.path()).args(*arguments);
        let (code, _, stderr) = run(command.stdin(Stdio::null()));
        assert_eq!(code, 5, "{arguments:?}: {stderr}");
        assert!(stderr.contains("error: no `tools.toml`"), "{arguments:?}: {stderr}");
        assert!(stderr.contains("  help: name one with `--config FILE`"), "{stderr}");
    }
    let (code, _, _) =
        run(countersign().args(["auth", "status", "--config"]).arg(fixture("ten_mistakes.toml")));
    assert_eq!(code, 5);
}

#[test]
fn a_host_is_answered_why_the_server_does_not_start() {
    let folder = folder();
    let broken: &[(&str, &str, i32, &str)] = &[
        ("COUNTERSIGN_USER", " ana", 1, "the user id must have"),
        ("COUNTERSIGN_CONFIG", "nowhere.toml", 5, "nowhere.toml"),
    ];
    for (variable, value, expected, words) in broken {
        let mut command = countersign();
        command.current_dir(&folder).env("HOME", folder.path()).env(variable, value);
        command.args(["serve", "--stdio"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}});
        writeln!(child.stdin.take().unwrap(), "{initialize}").unwrap();
        let output = child.wait_with_output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).expect("an answer");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("countersign cannot start: "), "{message}");
        assert!(message.contains(words), "{message}");
        assert_eq!(output.status.code(), Some(*expected), "{message}");
    }
}

#[test]
fn a_needed_consent_is_data_too() {
    let folder = folder();
    let mut command = countersign();
    command.current_dir(&folder).env("HOME", folder.path());
    let (code, stdout, _) = run(command.args(["tools", "call", "read", "id=1", "--json"]));
    let shown: Value = serde_json::from_str(&stdout).unwrap();
    let expected = json!({
        "version": 1,
        "consent_needed": {
            "provider": "acme",
            "scopes": ["notes:read"],
            "next": "countersign auth login acme --scopes notes:read",
        },
    });
    assert_eq!((code, shown), (4, expected));
}

#[test]
fn a_tool_is_shown_as_the_model_sees_it() {
    let folder = folder();
    let show = |arguments: &[&str]| {
        let mut command = countersign();
        run(command.current_dir(&folder).args(["tools", "show", "read"]).args(arguments))
    };
    let (_, stdout, _) = show(&["--json"]);
    let shown: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(shown["input_schema"]["properties"]["id"]["type"], "integer");
    assert_eq!(shown["annotations"]["readOnlyHint"], true);
    let (_, stdout, _) = show(&[]);
    assert!(stdout.contains("  id (integer): Which."), "{stdout}");
    assert!(stdout.contains("Reads.") && !stdout.contains('\u{1b}'), "{stdout:?}");
}
