//! Contract with scripts and hosts: exit codes, and a message for each reason not to start.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::command::{countersign, fixture, package, run, untold};
use crate::support::provider::{Server, answer};

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

/// Path of the program as these tests call it; the printed commands repeat it.
const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");

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
        let mut command = untold();
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
            "account": "default",
            "scopes": ["notes:read"],
            "next": format!("{PROGRAM} auth login acme --scopes notes:read"),
        },
    });
    assert_eq!((code, shown), (4, expected));
}

#[test]
fn the_built_in_tool_says_what_is_needed_and_which_command_connects_it() {
    let folder = folder();
    let call = |arguments: &[&str]| {
        let mut command = countersign();
        command.current_dir(&folder).env("HOME", folder.path());
        run(command.args(["tools", "call", "connections"]).args(arguments))
    };
    let (code, stdout, stderr) = call(&["tools=read"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("access is needed before read can run"), "{stdout}");
    let next = format!("Next: {PROGRAM} auth login acme --scopes notes:read\n");
    assert!(stdout.contains(&next), "{stdout}");
    // A link would lead to a process that has ended.
    assert!(!stdout.contains("http://"), "{stdout}");
    let (code, stdout, _) = call(&["--json"]);
    let shown: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &shown["is_error"]), (0, &json!(false)));
    assert_eq!(shown["structured"]["needed"][0]["provider"], "acme");
    let (code, _, stderr) = call(&["tool=read", "user=bob"]);
    assert_eq!(code, 2, "{stderr}");
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
    assert_eq!(
        shown["ids"],
        json!({"arcade": "Countersign.Read", "portia": "countersign:tools:read"})
    );
    assert!(stdout.contains("  arcade   Countersign.Read\n"), "{stdout}");
    assert!(stdout.contains("  portia   countersign:tools:read\n"), "{stdout}");
}

#[test]
fn a_toolkit_is_shown_with_the_ids_of_both_contracts() {
    let show = |arguments: &[&str]| {
        let (code, stdout, stderr) =
            run(countersign().args(["toolkits", "show", "github"]).args(arguments));
        assert_eq!(code, 0, "{stderr}");
        stdout
    };
    let text = show(&[]);
    for ids in [
        "Arcade's clients: Github.StarRepo; Portia's: portia:github::star_repo\n",
        "Arcade's clients: Github.GetRepository; Portia's: countersign:github:get_repo\n",
    ] {
        assert!(text.contains(ids), "{ids}: {text}");
    }
    let shown: Value = serde_json::from_str(&show(&["--json"])).unwrap();
    let tools = shown["tools"].as_array().unwrap();
    assert!(tools.iter().all(|tool| tool["arcade"].is_string() && tool["portia"].is_string()));
}

#[test]
fn a_call_of_a_tool_that_no_toolkit_was_asked_for_says_which_line_serves_it() {
    let folder = folder();
    for name in ["github_star_repo", "Github.StarRepo", "portia:github::star_repo"] {
        for verb in ["call", "show"] {
            let mut command = countersign();
            let (code, _, stderr) = run(command.current_dir(&folder).args(["tools", verb, name]));
            assert_eq!(code, 2, "{stderr}");
            assert!(stderr.contains("e.g. `github = [\"star_repo\"]`"), "{stderr}");
        }
    }
}

#[test]
fn the_next_command_is_about_the_same_file_person_and_folder() {
    let folder = folder();
    let (config, data) = (folder.path().join("my tools.toml"), folder.path().join("it's here"));
    std::fs::write(&config, TOOLS).unwrap();
    let with = |arguments: &[&str]| {
        let mut command = countersign();
        command.env("HOME", folder.path()).args(arguments).args(["--user", "ana b"]);
        run(command.arg("--config").arg(&config).arg("--data").arg(&data))
    };
    let (_, stdout, _) = with(&["tools", "call", "read", "id=1", "--json"]);
    let shown: Value = serde_json::from_str(&stdout).unwrap();
    let next = shown["consent_needed"]["next"].as_str().unwrap().to_owned();
    let (_, _, stderr) = with(&["auth", "status"]);
    let shorter = next.replace(" --scopes notes:read", "");
    assert!(stderr.contains(&format!("Next: {shorter}\n")), "{stderr}");
    // Run the printed command in a shell with an empty environment. The listener would wait for a
    // browser, so run `auth status` on the same store instead.
    let status = next.replace("auth login acme --scopes notes:read", "auth status --json");
    let mut shell = std::process::Command::new("/bin/sh");
    let (code, stdout, stderr) =
        run(shell.env_clear().env("HOME", folder.path()).current_dir("/").arg("-c").arg(status));
    assert_eq!(code, 4, "nothing is connected: {stderr}");
    let shown: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(shown["user"], "ana b");
    assert!(data.join("FORMAT").exists(), "another folder was used");
}

#[test]
fn what_is_not_there_is_named_with_what_is_and_exits_2() {
    let folder = folder();
    let mistakes: &[(&[&str], &str, &str)] = &[
        (&["tools", "call", "nope"], "there is no tool `nope`", "the tools are read"),
        (&["tools", "show", "nope"], "there is no tool `nope`", "the tools are read"),
        (&["tools", "call", "raed"], "there is no tool `raed`", "did you mean `read`?"),
        (&["tools", "call", "read", "5"], "`5` is not of the form NAME=VALUE", "tools show read"),
        (&["tools", "call", "read", "idd=5"], "`idd`", "tools show read"),
        (&["tools", "call", "read", "id=x"], "`id` must be an integer", "tools show read"),
        (&["tools", "call", "read", "--arguments", "[]"], "`--arguments` is not", "tools show"),
        (&["auth", "login", "nope"], "there is no provider `nope`", "can be connected are acme"),
        (&["auth", "login", "acne"], "there is no provider `acne`", "did you mean `acme`?"),
        (&["auth", "revoke", "nope"], "there is no provider `nope`", "can be connected are acme"),
        (&["auth", "status", "--user", " x"], "the user id must have", ""),
    ];
    for (arguments, problem, help) in mistakes {
        let mut command = countersign();
        command.current_dir(&folder).env("HOME", folder.path()).args(*arguments);
        let (code, stdout, stderr) = run(command.stdin(Stdio::null()));
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains("error: ") && stderr.contains(problem), "{arguments:?}: {stderr}");
        assert!(help.is_empty() || stderr.contains("  help: "), "{arguments:?}: {stderr}");
        assert!(stderr.contains(help), "{arguments:?}: {stderr}");
    }
}

#[test]
fn what_was_revoked_is_data_too() {
    let folder = folder();
    let mut command = countersign();
    command.current_dir(&folder).env("HOME", folder.path());
    let (code, stdout, stderr) = run(command.args(["auth", "revoke", "acme", "--json"]));
    let shown: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stderr}"));
    let account = json!({
        "provider": "acme",
        "title": "Acme",
        "account": null,
        "label": null,
        "state": "not_connected",
    });
    assert_eq!(
        (code, shown),
        (0, json!({ "version": 1, "user": "default", "accounts": [account] }))
    );
}

#[test]
fn an_account_s_name_is_for_providers_that_take_several() {
    let folder = folder();
    let mut command = countersign();
    command.current_dir(&folder).env("HOME", folder.path());
    let (code, _, stderr) = run(command.args(["auth", "login", "acme", "--account", "work"]));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("set `accounts = true` in [providers.acme]"), "{stderr}");
}

#[test]
fn a_login_says_that_it_waits_and_for_how_long() {
    use std::io::{BufRead as _, BufReader};
    let folder = folder();
    let mut command = countersign();
    command.current_dir(&folder).env("HOME", folder.path()).args(["auth", "login", "acme"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let waiting = said.into_iter().find(|line| line.starts_with("Waiting"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(waiting.unwrap().contains("for at most 15 minutes"));
}

#[test]
fn a_tool_is_shown_with_all_that_its_arguments_must_be() {
    let folder = tempfile::tempdir().unwrap();
    let tools = r#"
        [tools.find]
        description = "Finds."
        request = "GET https://api.example.com/{kind}"
        params.kind = { description = "Of what", enum = ["cats", "dogs"] }
        params.limit = { type = "integer", default = 10, min = 1, max = 50, description = "Most" }
        params.tags = { type = "array", optional = true, max = 3, description = "All of" }
        [tools.send]
        description = "Sends."
        request = "POST https://api.example.com/x"
        [tools.add]
        description = "Adds."
        request = "POST https://api.example.com/x"
        effect = "write"
    "#;
    std::fs::write(folder.path().join("tools.toml"), tools).unwrap();
    let show = |tool: &str| run(countersign().current_dir(&folder).args(["tools", "show", tool])).1;
    let find = show("find");
    for line in [
        "  effect   read (GET is read-only unless `effect` says otherwise)\n",
        "  kind (string, one of `cats`, `dogs`): Of what\n",
        "  limit (integer, optional, default 10, 1 to 50): Most\n",
        "  tags (array of strings, optional): All of (at most 3 items)\n",
    ] {
        assert!(find.contains(line), "{line} in\n{find}");
    }
    let send = "  effect   destroy (POST may destroy unless `effect` says otherwise)\n";
    assert!(show("send").contains(send), "{}", show("send"));
    assert!(show("add").contains("  effect   write (as `effect` says)\n"), "{}", show("add"));
}

/// Returns the program's output when stdout and stderr are a terminal.
#[cfg(target_os = "linux")]
fn on_a_terminal(folder: &tempfile::TempDir, arguments: &[&str]) -> String {
    use std::io::Read as _;
    use std::os::unix::ffi::OsStrExt as _;
    let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
    let near = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&near).unwrap();
    rustix::pty::unlockpt(&near).unwrap();
    let name = rustix::pty::ptsname(&near, Vec::new()).unwrap();
    let far = std::fs::File::options()
        .write(true)
        .open(std::ffi::OsStr::from_bytes(name.as_bytes()))
        .unwrap();
    let mut command = countersign();
    command.current_dir(folder).env("HOME", folder.path()).args(arguments).stdin(Stdio::null());
    command.stdout(far.try_clone().unwrap()).stderr(far);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut seen = Vec::new();
    // Linux reports an error once the last writer has gone.
    let _ = std::fs::File::from(near).read_to_end(&mut seen);
    child.wait().unwrap();
    String::from_utf8(seen).unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_steers_a_terminal_and_a_program_gets_it_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let tools = r#"
        [tools.say]
        description = "Says."
        title = "A\u009b2J\u001b]0;title\u0007\u202eZ"
        request = "GET https://api.example.com/"
    "#;
    std::fs::write(folder.path().join("tools.toml"), tools).unwrap();
    let (_, piped, _) = run(countersign().current_dir(&folder).args(["tools", "list", "--json"]));
    assert!(piped.contains('\u{9b}') && piped.contains('\u{202e}'), "{piped:?}");
    let commands: [&[&str]; 3] = [
        &["tools", "list", "--json"],
        &["tools", "show", "say"],
        &["tools", "call", "no\u{9b}2Jpe"],
    ];
    for arguments in commands {
        let seen = on_a_terminal(&folder, arguments);
        assert!(
            seen.contains("say") && !seen.contains(['\u{9b}', '\u{1b}', '\u{202e}']),
            "{seen:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_calls_a_tool_here_is_the_operator() {
    let folder = tempfile::tempdir().unwrap();
    let tools = "[providers.acme]\nbase_url = \"http://127.0.0.1:9\"\n\
         api_key = { query = \"key\", value = \"env:ACME_KEY\" }\n\
         [tools.get_it]\ndescription = \"x\"\nprovider = \"acme\"\nrequest = \"GET /x\"\n";
    std::fs::write(folder.path().join("tools.toml"), tools).unwrap();
    let mut command = countersign();
    command.current_dir(&folder).env("HOME", folder.path()).args(["tools", "call", "get_it"]);
    let (code, _, stderr) = run(&mut command);
    assert_eq!(code, 1);
    assert!(stderr.contains("`ACME_KEY` is not set.\n  help: set ACME_KEY where"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_does_not_compile_is_found_before_anything_is_sent() {
    let server = Server::saying(answer("200 OK", "", "{}")).await;
    let folder = tempfile::tempdir().unwrap();
    let tools = format!(
        "[tools.send]\ndescription = \"x\"\nrequest = \"POST {}/x\"\n\nselect = \".a | lenght\"\n",
        server.origin
    );
    std::fs::write(folder.path().join("tools.toml"), tools).unwrap();
    let mut command = countersign();
    command.current_dir(&folder).env("HOME", folder.path()).args(["tools", "call", "send"]);
    let (code, _, stderr) = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    assert_eq!(code, 1);
    assert!(stderr.contains("Nothing was sent: the jq filter `select` of send"), "{stderr}");
    let help = "  help: line 5 of tools.toml, `select` of [tools.send]: the filter `lenght`";
    assert!(stderr.contains(help), "{stderr}");
    assert!(server.requests().is_empty());
}

#[test]
fn our_own_tools_are_shown() {
    let shown = |tool: &str| {
        run(countersign().args(["tools", "show", tool, "--config"]).arg(package("tools.toml")))
    };
    let (code, stdout, stderr) =
        run(countersign().args(["tools", "list", "--config"]).arg(package("tools.toml")));
    assert_eq!(code, 0, "{stderr}");
    for line in stdout.lines() {
        assert_eq!(shown(line.split_whitespace().next().unwrap()).0, 0, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_can_be_seen_before_anything_is_picked_from_it() {
    let whole = r#"{"items":[1,2],"other":"x"}"#;
    let api = Server::saying(crate::support::provider::json(whole)).await;
    let folder = tempfile::tempdir().unwrap();
    let tools = format!(
        "[tools.get_items]\ndescription = \"x\"\nrequest = \"GET {}/x\"\nselect = \".items\"\n\
         [tools.ping]\ndescription = \"x\"\nrequest = \"GET {}/x\"\nreply = \"Done.\"\n",
        api.origin, api.origin
    );
    std::fs::write(folder.path().join("tools.toml"), tools).unwrap();
    let told = |arguments: &[&str]| {
        let (code, stdout, stderr) = run(countersign()
            .args(arguments)
            .args(["--config", "tools.toml"])
            .env("HOME", folder.path())
            .current_dir(&folder));
        assert_eq!(code, 0, "{stderr}");
        stdout.trim_end().to_owned()
    };
    assert_eq!(told(&["tools", "call", "get_items"]), "[1,2]");
    assert_eq!(told(&["tools", "call", "get_items", "--raw"]), whole);
    assert_eq!(told(&["tools", "call", "ping"]), "Done.");
    assert_eq!(told(&["tools", "call", "ping", "--raw"]), whole);
    assert!(told(&["tools", "list"]).lines().all(|line| line.ends_with("no account")));
    // `providers show` does not offer what `check` refuses.
    for provider in ["github", "slack", "google"] {
        let shown = told(&["providers", "show", provider]);
        assert!(shown.contains("lists") && !shown.contains("paginate"), "{shown}");
    }
}

/// The help explains each argument and states the exit codes that scripts act on.
#[test]
fn the_help_explains_every_argument() {
    let help = |command: &str| {
        let (code, stdout, stderr) =
            run(countersign().args(command.split_whitespace()).arg("--help"));
        assert_eq!(code, 0, "{command}: {stderr}");
        stdout
    };
    for command in [
        "auth login",
        "auth status",
        "auth users",
        "auth revoke",
        "tools list",
        "tools show",
        "tools call",
        "check",
        "serve",
        "trust",
        "key status",
        "key rotate",
        "store export",
        "store import",
        "store verify",
        "providers list",
        "providers show",
    ] {
        let help = help(command);
        let mut lines = help.lines().peekable();
        while let Some(line) = lines.next() {
            let is_entry =
                line.starts_with("  <") || line.starts_with("  [") || line.starts_with("      --");
            let has_words = line.trim().split("  ").nth(1).is_some();
            let goes_on = lines.peek().is_some_and(|next| next.starts_with("          "));
            assert!(!is_entry || has_words || goes_on, "`{command}`: no words for `{line}`");
        }
    }
    assert!(help("auth status").contains("Exits 4"));
    assert!(help("auth revoke").contains("auth revoke [OPTIONS] <PROVIDER|--all>"));
    assert!(!help("auth users").contains("--user <ID>"), "it lists all of them");
    assert!(help("").contains("act with a user's own accounts"));
}

/// `tools call` prints no link, so it creates none: the next consent page would name a program that
/// is not in use.
#[test]
fn a_call_at_the_command_line_makes_no_link() {
    let folder = folder();
    let command = |arguments: &[&str]| {
        let mut command = countersign();
        command.current_dir(&folder).env("HOME", folder.path()).args(arguments);
        run(command.stdin(Stdio::null()))
    };
    let (code, stdout, stderr) = command(&["tools", "call", "read", "id=5"]);
    assert_eq!((code, &*stdout), (4, ""), "{stderr}");
    assert!(stderr.contains("Next: ") && !stderr.contains("/connect/"), "{stderr}");
    let (code, stdout, stderr) = command(&["store", "verify", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let found: Value = serde_json::from_str(&stdout).unwrap();
    for kind in found["kinds"].as_array().unwrap() {
        assert_eq!(kind["good"], 0, "{kind}");
    }
}
