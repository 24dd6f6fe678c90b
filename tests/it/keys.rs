//! The keys and the store as an operator handles them: the real binary on a real folder.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::command::{countersign, run};

const TOOLS: &str = r#"
    [providers.acme]
    client_id = "us"
    base_url  = "https://api.acme.example"
    [providers.acme.oauth]
    authorize_url = "https://login.acme.example/authorize"
    token_url     = "https://login.acme.example/token"
    loopback      = "any-port"

    [tools.read]
    description = "Reads."
    provider    = "acme"
    request     = "GET /notes"
"#;

struct Home {
    folder: tempfile::TempDir,
    key: Option<String>,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tools.toml"), TOOLS).unwrap();
        Self { folder, key: None }
    }

    /// A home whose store holds an open link: an authorization, and the link that leads to it.
    fn with_a_link() -> Self {
        let home = Self::new();
        home.open_a_link();
        home
    }

    fn open_a_link(&self) {
        let mut command = self.command(&["auth", "login", "acme"]);
        let mut login = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut link = String::new();
        BufReader::new(login.stdout.take().unwrap()).read_line(&mut link).unwrap();
        login.kill().unwrap();
        login.wait().unwrap();
        assert!(link.contains("/connect/"), "{link}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn key_file(&self) -> PathBuf {
        self.path(".config/countersign/master.key")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = countersign();
        command.current_dir(&self.folder).env("HOME", self.folder.path()).args(arguments);
        if let Some(key) = &self.key {
            command.env("COUNTERSIGN_KEY", key);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        run(&mut self.command(arguments))
    }

    fn done(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
        stdout
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.done(arguments)).unwrap()
    }
}

fn fresh_key() -> String {
    let (code, stdout, stderr) = run(countersign().args(["key", "generate"]));
    assert_eq!((code, stderr.as_str()), (0, ""));
    stdout.strip_suffix('\n').unwrap().to_owned()
}

#[test]
fn a_generated_key_is_all_that_is_printed_and_works() {
    let mut home = Home::new();
    let keys = [fresh_key(), fresh_key()];
    assert!(keys[0] != keys[1] && keys.iter().all(|key| key.len() == 44), "{keys:?}");
    home.key = Some(keys[0].clone());
    home.open_a_link();
    assert!(!home.key_file().exists());
    let status = home.json(&["key", "status", "--json"]);
    assert_eq!(status["master_key"]["variable"], "COUNTERSIGN_KEY");
    assert_eq!(status["opens"], true);
    assert!(!status.to_string().contains(&keys[0]), "{status}");

    home.key = Some(keys[1].clone());
    let (code, stdout, stderr) = home.run(&["key", "status"]);
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(stdout.contains("master key: COUNTERSIGN_KEY\n"), "{stdout}");
    assert!(stderr.contains("another key than that in COUNTERSIGN_KEY"), "{stderr}");
    assert!(stderr.contains("help: set COUNTERSIGN_KEY"), "{stderr}");
    let (code, stdout, _) = home.run(&["key", "status", "--json"]);
    let status: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &status["opens"]), (1, &Value::Bool(false)));

    // As the help of `key rotate --master` says.
    home.key = Some(keys[0].clone());
    let (code, _, stderr) = home.run(&["key", "rotate", "--master"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("`new,old`"), "{stderr}");
    // Read-only commands leave the wrapping as it is: a server may still run with the old key.
    home.key = Some(format!("{},{}", keys[1], keys[0]));
    for look in [
        &["key", "status"][..],
        &["key", "status", "--json"],
        &["store", "verify"],
        &["store", "export", "-"],
        &["auth", "status"],
        &["auth", "users"],
        &["tools", "list"],
    ] {
        // 4: a consent is needed.
        let expected = if look == ["auth", "status"] { 4 } else { 0 };
        assert_eq!(home.run(look).0, expected, "{look:?}");
        home.key = Some(keys[0].clone());
        assert_eq!(home.run(&["store", "verify"]).0, 0, "{look:?} has wrapped the ring anew");
        home.key = Some(format!("{},{}", keys[1], keys[0]));
    }
    // A command that works with the store wraps the ring anew.
    home.open_a_link();
    home.key = Some(keys[1].clone());
    assert!(home.done(&["store", "verify"]).contains("✓ requests for consent: 1 good"));
    home.key = Some(keys[0].clone());
    assert_eq!(home.run(&["store", "verify"]).0, 1, "the old key is of no use any more");
}

#[test]
fn keys_rotate_and_nothing_is_lost() {
    let home = Home::with_a_link();
    let before = home.json(&["key", "status", "--json"]);
    assert_eq!(before["master_key"]["path"], home.key_file().to_str().unwrap());
    assert_eq!(before["data_keys"].as_array().unwrap().len(), 1);
    assert_eq!(before["data_keys"][0]["records"], 2);

    let told = home.done(&["key", "rotate"]);
    assert!(told.contains("sealed anew: 2 records"), "{told}");
    let after = home.json(&["key", "status", "--json"]);
    assert_eq!(after["data_keys"][0]["id"], before["data_keys"][0]["id"]);
    assert_eq!(after["data_keys"][0]["records"], 0);
    assert_eq!(after["data_keys"][1]["records"], 2);
    assert_eq!(after["data_keys"][1]["seals"], true);

    let old = std::fs::read_to_string(home.key_file()).unwrap();
    home.done(&["key", "rotate", "--master"]);
    let new = std::fs::read_to_string(home.key_file()).unwrap();
    assert!(new != old && new.len() == 44, "one new key");
    let shown = home.done(&["key", "status"]);
    assert!(shown.contains("it opens the store") && !shown.contains(&new), "{shown}");
    let told = home.done(&["store", "verify"]);
    assert_eq!(told, "✓ requests for consent: 1 good\n✓ links: 1 good\n");
    let (_, kept, _) = home.run(&["store", "verify", "--json"]);
    let kept: Value = serde_json::from_str(&kept).unwrap();
    assert_eq!((&kept["ok"], &kept["orphans"]), (&Value::Bool(true), &0.into()));
    home.open_a_link();
}

#[test]
fn a_store_moves_in_a_file_that_opens_with_the_same_key_only() {
    let home = Home::with_a_link();
    let file = home.path("backup.jsonl");
    let file = file.to_str().unwrap();
    assert_eq!(home.done(&["store", "export", file]), "");
    let text = std::fs::read_to_string(file).unwrap();
    let head: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&head["format"], &head["version"]), (&"countersign store".into(), &1.into()));
    assert!(head["store"].is_string());
    assert!(!text.contains("acme.example"), "sealed");
    private(Path::new(file));
    let streamed = home.done(&["store", "export", "-"]);
    assert_eq!(streamed.lines().skip(1).count(), text.lines().skip(1).count());
    let (code, _, stderr) = home.run(&["store", "export", file]);
    assert_eq!(code, 1);
    assert!(stderr.contains("does not exist yet"), "{stderr}");
    assert_eq!(std::fs::read_to_string(file).unwrap(), text);

    // Another machine, without a tools.toml, but with the key.
    let mut other = Home::new();
    std::fs::remove_file(other.path("tools.toml")).unwrap();
    let (code, stdout, stderr) = other.run(&["store", "import", file, "--data", "moved"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("imported 2 records"), "{stdout}");
    assert!(stderr.contains("master.key"), "the key is said to be missing: {stderr}");
    assert!(!other.key_file().exists(), "and none is made in its place");
    other.key = Some(std::fs::read_to_string(home.key_file()).unwrap());
    let found = other.json(&["store", "verify", "--json", "--data", "moved"]);
    assert_eq!(found["ok"], true);
    assert!(other.done(&["store", "import", file, "--data", "moved"]).contains("imported 0"));

    let (code, _, stderr) = Home::with_a_link().run(&["store", "import", file]);
    assert_eq!(code, 1);
    assert!(stderr.contains("the store is not empty"), "{stderr}");

    let mut wrong = Home::new();
    wrong.key = Some(fresh_key());
    let (code, stdout, stderr) = wrong.run(&["store", "import", file]);
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(stderr.contains("sealed with another key"), "{stderr}");
    assert!(!stderr.contains("nothing was touched"), "{stderr}");
}

#[test]
fn an_export_whose_reader_has_gone_fails() {
    let home = Home::with_a_link();
    let mut command = home.command(&["store", "export", "-"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("`-` was not written"), "{stderr}");
}

#[cfg(unix)]
fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[cfg(not(unix))]
fn private(_: &Path) {}

#[test]
fn half_an_export_is_refused_before_anything_is_touched() {
    let home = Home::with_a_link();
    let whole = home.done(&["store", "export", "-"]);
    let lines: Vec<&str> = whole.lines().collect();
    let cut = lines[..lines.len() - 1].join("\n");
    let newer = whole.replacen("\"version\":1", "\"version\":2", 1);
    for (text, why) in [
        (cut.as_str(), "ends early"),
        (&newer, "format 2"),
        ("{}", "no export"),
        (&whole.replacen("ticket/", "ticked/", 1), "does not fit"),
    ] {
        std::fs::write(home.path("half"), text).unwrap();
        let (code, _, stderr) = home.run(&["store", "import", "half", "--data", "new"]);
        assert_eq!(code, 1);
        assert!(stderr.contains(why) && stderr.contains("`half` was not imported"), "{stderr}");
        assert!(!home.path("new").exists());
    }
}

#[test]
fn a_look_at_a_store_that_is_not_there_makes_none() {
    let home = Home::new();
    for arguments in [
        &["key", "status"][..],
        &["key", "rotate"],
        &["store", "verify"],
        &["store", "export", "-"],
    ] {
        let (code, stdout, stderr) = home.run(arguments);
        assert_eq!((code, stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(stderr.contains("there is no store at"), "{stderr}");
    }
    assert_eq!(std::fs::read_dir(home.folder.path()).unwrap().count(), 1, "tools.toml");
}

#[test]
fn a_look_at_what_is_connected_makes_no_store() {
    let home = Home::new();
    for (arguments, expected) in [(["auth", "status"], 4), (["auth", "users"], 0)] {
        let (code, stdout, stderr) = home.run(&arguments);
        assert_eq!((code, stdout.as_str()), (expected, ""), "{arguments:?}: {stderr}");
    }
    assert_eq!(home.json(&["auth", "users", "--json"])["users"], serde_json::json!([]));
    assert_eq!(std::fs::read_dir(home.folder.path()).unwrap().count(), 1, "tools.toml");
}

#[test]
fn a_command_that_can_mean_nobody_fails_and_says_who_there_is() {
    let home = Home::with_a_link();
    for arguments in [
        &["auth", "revoke", "acme", "--user", "bne"][..],
        &["auth", "revoke", "--all", "--user", "ben", "--of", "my-app"],
        &["auth", "status", "--of", "my-app"],
    ] {
        let (code, stdout, stderr) = home.run(arguments);
        assert_eq!((code, stdout.as_str()), (1, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains("has anything here to show or to end"), "{stderr}");
        assert!(stderr.contains("countersign auth users"), "{stderr}");
        assert_eq!(stderr.contains("is not kept"), arguments.contains(&"--all"), "{stderr}");
    }
    // A consent in progress leaves no record by which to find its user.
    let kinds = home.json(&["store", "verify", "--json"])["kinds"].clone();
    let cutoffs = kinds.as_array().unwrap().iter().find(|kind| kind["kind"] == "cutoff").unwrap();
    assert!(cutoffs["good"].as_u64() > Some(0), "{cutoffs}");
    let (code, stdout, _) = home.run(&["auth", "revoke", "acme"]);
    assert_eq!((code, stdout.as_str()), (0, "Acme was not connected.\n"));
}

/// Records of an earlier version hold their user only as a keyed hash: ben of my-app, and dora.
const UNNAMED: &str = include_str!("fixtures/unnamed_users.jsonl");

#[test]
fn accounts_that_name_no_user_are_counted_and_found_by_a_name() {
    use base64::Engine as _;
    let mut home = Home::new();
    home.key = Some(base64::engine::general_purpose::STANDARD.encode([1; 32]));
    std::fs::write(home.path("earlier"), UNNAMED).unwrap();
    home.done(&["store", "import", "earlier"]);
    let (code, stdout, stderr) = home.run(&["auth", "users"]);
    assert_eq!((code, stdout.as_str()), (0, "ana (of local): acme\n"));
    assert!(
        stderr.contains("2 more accounts") && stderr.contains("did not note whose"),
        "{stderr}"
    );
    let listed = home.json(&["auth", "users", "--json"]);
    assert_eq!(
        (listed["users"].as_array().unwrap().len(), &listed["unnamed_accounts"]),
        (1, &2.into())
    );

    let revoke = ["auth", "revoke", "--all", "--user", "ben", "--of"];
    let (code, _, stderr) = home.run(&[&revoke[..], &["other-app"]].concat());
    assert_eq!(code, 1, "{stderr}");
    for (user, of) in [("ben", "my-app"), ("dora", "https://login.example.com")] {
        let (code, stdout, stderr) =
            home.run(&["auth", "revoke", "--all", "--user", user, "--of", of]);
        assert_eq!(code, 0, "{stdout}{stderr}");
    }
    let listed = home.json(&["auth", "users", "--json"]);
    assert_eq!(
        (&listed["users"][0]["user"], &listed["unnamed_accounts"]),
        (&"ana".into(), &0.into())
    );
}
