//! The operator's concerns on a server for many people: ending a user's access, unfinished setup,
//! and a store that cannot be opened.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::direct;
use super::wire::Served;
use crate::command::{countersign, run};
use crate::support::wait_until;

const MASTER: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const APP_KEY: &str = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";

/// One provider with a complete OAuth app, and two whose secrets are missing.
const TOOLS: &str = r#"
    [server]
    public_url = "https://tools.example.com"
    [[server.auth.api_keys]]
    name         = "my-app"
    key          = "env:APP_KEY"
    verifier_url = "https://app.example.com/verify"

    [providers.acme]
    client_id = "us"
    base_url  = "https://api.acme.example"
    [providers.acme.oauth]
    authorize_url = "https://login.acme.example/authorize"
    token_url     = "https://login.acme.example/token"
    loopback      = "any-port"

    [providers.bolt]
    client_id     = "us"
    client_secret = "env:BOLT_CLIENT_SECRET"
    base_url      = "https://api.bolt.example"
    [providers.bolt.oauth]
    authorize_url = "https://login.bolt.example/authorize"
    token_url     = "https://login.bolt.example/token"
    loopback      = "any-port"

    [providers.crate]
    base_url = "https://api.crate.example"
    bearer   = "env:CRATE_TOKEN"

    [tools.read]
    description = "x"
    provider    = "acme"
    request     = "GET /notes"
    [tools.write]
    description = "x"
    provider    = "bolt"
    request     = "GET /notes"
    [tools.pack]
    description = "x"
    provider    = "crate"
    request     = "GET /notes"
"#;

fn served() -> Served {
    Served::start(TOOLS, |command| {
        let format = ("COUNTERSIGN_LOG_FORMAT", "json");
        command.envs([("APP_KEY", APP_KEY), ("COUNTERSIGN_KEY", MASTER), format])
    })
}

/// Returns the answer to a call by ben, a user of the application.
fn call(served: &Served, tool: &str) -> String {
    let bearer = format!("Bearer {APP_KEY}");
    let who =
        [("Host", "tools.example.com"), ("Authorization", &*bearer), ("Countersign-User", "ben")];
    let headers = [&direct::headers(tool)[..], &who].concat();
    let mut call = direct::call(tool, &json!({}));
    call["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    let answer = served.ask("POST /mcp", &headers, call.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

fn command_of(served: &Served, arguments: &[&str]) -> Command {
    let mut command = countersign();
    command.current_dir(&served.folder).env("HOME", served.folder.path());
    command.envs([("APP_KEY", APP_KEY), ("COUNTERSIGN_KEY", MASTER)]).args(arguments);
    command
}

fn command(served: &Served, arguments: &[&str]) -> (i32, String, String) {
    run(&mut command_of(served, arguments))
}

/// The user has connected nothing, but has a link. The log prints the namespace that `--of` takes.
#[test]
fn access_that_is_only_begun_is_ended_by_the_name_that_the_log_prints() {
    let served = served();
    assert!(call(&served, "read").contains("https://tools.example.com/connect/"));
    let revoke = |of: &str| {
        command(&served, &["auth", "revoke", "--all", "--json", "--user", "ben", "--of", of])
    };
    let (code, _, stderr) = revoke("other-app");
    assert_eq!(code, 1, "{stderr}");
    let (code, stdout, stderr) = revoke("my-app");
    assert_eq!(code, 0, "{stderr}");
    let ended: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&ended["links"], &ended["sessions"]), (&json!(1), &json!(0)), "{ended}");
    assert_eq!((&ended["of"], &ended["accounts"]), (&json!("my-app"), &json!([])), "{ended}");
    let (code, _, stderr) = revoke("my-app");
    assert_eq!(code, 1, "nothing is left: {stderr}");
    assert!(stderr.contains("has anything here to show or to end"), "{stderr}");

    call(&served, "read");
    let (code, stdout, stderr) =
        command(&served, &["auth", "revoke", "--all", "--user", "ben", "--of", "my-app"]);
    assert_eq!((code, &*stdout), (0, "1 open link is ended.\n"), "{stderr}");

    let log = served.end();
    let line = log.lines().find(|line| line.contains("\"user\":\"ben\"")).expect("a line of ben");
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["namespace"], "my-app", "what `--of` takes");
}

#[test]
fn an_unfinished_setup_is_one_sentence_to_users_and_the_rest_is_in_the_log() {
    let served = served();
    for (tool, title, variable) in
        [("write", "Bolt", "BOLT_CLIENT_SECRET"), ("pack", "Crate", "CRATE_TOKEN")]
    {
        let said = call(&served, tool);
        let sentence = format!("The operator of this server has to finish the setup of {title}");
        assert!(said.contains(&sentence), "{said}");
        for word in [variable, "For the operator", "env", "tools.toml"] {
            assert!(!said.contains(word), "{word}: {said}");
        }
    }
    let log = served.end();
    for variable in ["BOLT_CLIENT_SECRET", "CRATE_TOKEN"] {
        let line = log.lines().find(|line| line.contains(&format!("set {variable} where")));
        let line: Value = serde_json::from_str(line.unwrap_or_else(|| panic!("{log}"))).unwrap();
        assert_eq!(line["level"], "WARN", "{line}");
    }
}

/// The commands connect accounts of this machine's user, whom such a server does not know.
#[test]
fn a_login_at_the_command_line_is_refused_where_users_come_from_elsewhere() {
    let served = served();
    for arguments in [&["auth", "login", "acme"][..], &["auth", "login", "acme", "--device"]] {
        let mut command = command_of(&served, arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut login = command.spawn().unwrap();
        // A login that continues prints where to approve; do not wait for it.
        let mut said = BufReader::new(login.stdout.take().unwrap());
        let mut stdout = String::new();
        said.read_line(&mut stdout).unwrap();
        if !stdout.is_empty() {
            login.kill().unwrap();
        }
        let ended = login.wait_with_output().unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), &*stdout), (Some(2), ""), "{stderr}");
        assert!(stderr.contains("https://tools.example.com/connections"), "{stderr}");
        assert!(stderr.contains("open the link"), "{stderr}");
    }
}

/// A load balancer checks before the first user comes.
#[test]
fn a_store_that_cannot_be_opened_makes_the_server_unhealthy_until_it_can() {
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("key");
    let served = Served::start("", |command| command.env("COUNTERSIGN_KEY_FILE", &key));
    let health = served.ask("GET /health", &[], b"");
    assert_eq!(health.status, 503, "{health:?}");
    assert!(health.body.starts_with("store_not_opened"), "{health:?}");
    assert_eq!(served.ask("GET /health/live", &[], b"").status, 200);

    std::fs::write(&key, MASTER).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    // The server tries to open the store once a second.
    wait_until("a healthy server", || served.ask("GET /health", &[], b"").status == 200);
    let log = served.end();
    assert_eq!(log.matches("the store cannot be opened").count(), 1, "{log}");
}
