//! `countersign providers`

use std::process::Command;

use countersign::{catalog, config};
use serde_json::Value;

use super::{oauth, placeholders};
use crate::command::{countersign, run, untold};

const TOOLS: &str = r#"
    [server]
    port = 9003
    [providers.acme]
    client_id = "us"
    base_url  = "https://api.acme.example"
    oauth     = { issuer = "https://login.acme.example" }
    [tools.star]
    description = "Stars."
    provider    = "github"
    scopes      = ["public_repo"]
    request     = "PUT /user/starred/a/b"
"#;

/// The command in a folder with this `tools.toml`, if any.
fn providers(file: Option<&str>) -> (tempfile::TempDir, Command) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = if let Some(file) = file {
        std::fs::write(folder.path().join("tools.toml"), file).unwrap();
        countersign()
    } else {
        untold()
    };
    command.current_dir(&folder).env("HOME", folder.path()).arg("providers");
    (folder, command)
}

fn shown(file: Option<&str>, arguments: &[&str]) -> Value {
    let (_folder, mut command) = providers(file);
    let (code, stdout, stderr) = run(command.args(arguments).arg("--json"));
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

#[test]
fn all_are_listed_and_those_in_use_are_marked() {
    let listed = shown(Some(TOOLS), &["list"]);
    let listed = listed["providers"].as_array().unwrap();
    assert_eq!(listed.len(), catalog::ids().count() + 1);
    let configured = listed.iter().filter(|provider| provider["configured"] == true);
    let configured: Vec<&Value> = configured.map(|provider| &provider["name"]).collect();
    assert_eq!(configured, ["acme", "github"]);
    let (_folder, mut command) = providers(Some(TOOLS));
    let (_, stdout, stderr) = run(command.arg("list"));
    assert!(stdout.contains("\n* github ") && stdout.contains("\n  gitlab "), "{stdout}");
    assert!(stderr.contains("* is in your tools.toml"), "{stderr}");
}

#[test]
fn one_is_shown_as_this_configuration_would_use_it() {
    let github = shown(Some(TOOLS), &["show", "github"]);
    assert_eq!(github["redirect_uri"], "http://127.0.0.1:9003/oauth/callback/github");
    assert_eq!(github["loopback"], "any-port");
    assert_eq!(github["scopes"], serde_json::json!(["public_repo"]));
    assert_eq!(github["secrets"][0]["reference"], "env:GITHUB_CLIENT_ID");
    assert_eq!(github["secrets"][0]["set"], false);
    let (_folder, mut command) = providers(Some(TOOLS));
    let (_, stdout, _) = run(command.args(["show", "github"]).env("GITHUB_CLIENT_ID", "canary"));
    for line in [
        "  register  https://github.com/settings/developers\n",
        "  redirect  http://127.0.0.1:9003/oauth/callback/github (any port will do)\n",
        "  scopes    public_repo\n",
        "  set       GITHUB_CLIENT_ID\n",
        "  set       GITHUB_CLIENT_SECRET (not set)\n",
    ] {
        assert!(stdout.contains(line), "{line}{stdout}");
    }
    assert!(!stdout.contains("canary"));
}

#[test]
fn a_server_for_many_people_has_its_redirect_uri_at_its_public_url() {
    let file = r#"
        [server]
        public_url = "https://tools.example.com"
        [[server.auth.api_keys]]
        name = "one"
        key  = "env:ONE_KEY"
        user = "ana"
    "#;
    for (name, loopback) in [("github", "any-port"), ("slack", "refused")] {
        let provider = shown(Some(file), &["show", name]);
        let expected = format!("https://tools.example.com/oauth/callback/{name}");
        assert_eq!(provider["redirect_uri"], expected);
        assert_eq!(provider["loopback"], loopback);
    }
    let (_folder, mut command) = providers(Some(file));
    let (_, stdout, _) = run(command.args(["show", "github"]));
    assert!(stdout.contains("/oauth/callback/github (to the letter)\n"), "{stdout}");
}

/// The address is there already, so the advice must not be to set one.
#[test]
fn a_redirect_uri_that_a_provider_refuses_is_said_with_the_reason() {
    let file = r#"
        [server]
        public_url = "http://127.0.0.1:8080"
        [[server.auth.api_keys]]
        name = "one"
        key  = "env:ONE_KEY"
        user = "ana"
    "#;
    let (local, served) = (Some("[tools]"), Some(file));
    for (file, name, part) in [
        (served, "xero", "accepts only `localhost` in redirect URIs: set `public_url` in [server]"),
        (served, "slack", "accepts only https redirect URIs: serve over HTTP with [server.auth]"),
        (local, "slack", "accepts only https redirect URIs: serve over HTTP with [server.auth]"),
    ] {
        let (_folder, mut command) = providers(file);
        let (_, stdout, stderr) = run(command.args(["show", name]));
        assert!(stdout.contains(part), "{name}: {stdout}{stderr}");
        assert_eq!(shown(file, &["show", name])["redirect_uri"], Value::Null, "{name}");
    }
}

#[test]
fn it_helps_before_there_is_a_file_and_while_it_is_broken() {
    for file in [None, Some("[tools.a]\nprovider = \"shopify\""), Some("[")] {
        let shopify = shown(file, &["show", "shopify"]);
        assert_eq!(shopify["needs"], serde_json::json!(["shop"]));
        assert_eq!(shopify["configured"], false);
        assert_eq!(shopify["redirect_uri"], "http://localhost:8971/oauth/callback/shopify");
    }
    let (_folder, mut command) = providers(None);
    let (code, ..) = run(command.args(["list", "--config", "nowhere.toml"]));
    assert_eq!(code, 5, "a file that was named has to be there");
}

#[test]
fn an_unknown_name_is_exit_code_2_and_the_nearest_is_told() {
    let (_folder, mut command) = providers(None);
    let (code, stdout, stderr) = run(command.args(["show", "gihub"]));
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("there is no provider `gihub`"), "{stderr}");
    assert!(stderr.contains("  help: did you mean `github`?"), "{stderr}");
}

#[test]
fn every_provider_can_be_shown_before_it_is_set_up() {
    for id in catalog::ids() {
        let known = config::built_in(id).unwrap_or_else(|| panic!("{id}"));
        let keys = placeholders(id).lines().filter_map(|line| line.split(' ').next());
        assert_eq!(known.needs, keys.collect::<Vec<_>>(), "{id}");
        assert!(!known.console_url.is_empty(), "{id}");
        if let Some(settings) = oauth(&known.provider) {
            assert!(settings.endpoints.authorize.is_some(), "{id}");
        }
    }
    assert!(config::built_in("nobody").is_none());
}
