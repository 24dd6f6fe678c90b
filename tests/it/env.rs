//! `countersign env`: the variables for a product's clients.

use crate::command::{countersign, run};

const TOOL: &str = "[tools.look]\ndescription = \"d\"\nrequest = \"GET https://api.example.com/x\"\nselect = \"{id}\"\n";

fn lines(file: &str, words: &[&str]) -> Vec<String> {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("t.toml");
    std::fs::write(&path, format!("{file}{TOOL}")).unwrap();
    let mut command = countersign();
    command.current_dir(&home).env("HOME", home.path()).env("XDG_CONFIG_HOME", home.path());
    command.args(["--config", path.to_str().unwrap(), "env"]).args(words);
    let (exit, out, err) = run(&mut command);
    assert_eq!(exit, 0, "{err}");
    out.replace(home.path().to_str().unwrap(), "HOME").lines().map(str::to_owned).collect()
}

#[test]
fn two_variables_are_enough_on_ones_own_machine() {
    assert_eq!(
        lines("", &["arcade"]),
        ["export ARCADE_BASE_URL=http://127.0.0.1:8080", "export ARCADE_API_KEY=countersign"]
    );
    assert_eq!(
        lines("", &["portia", "--sse", "0.0.0.0:9000"]),
        ["export PORTIA_API_ENDPOINT=http://127.0.0.1:9000", "export PORTIA_API_KEY=countersign"]
    );
    assert_eq!(
        lines("", &["countersign"]),
        ["export COUNTERSIGN_URL=http://127.0.0.1:8080", "export COUNTERSIGN_API_KEY=countersign"]
    );
    let [_, key] = &lines("", &["arcade", "--token"])[..] else { panic!("two") };
    assert!(key.starts_with("export ARCADE_API_KEY=\"$(cat "), "{key}");
    assert!(key.ends_with("http.token)\""), "{key}");
}

#[test]
fn a_server_for_many_users_names_its_address_and_its_application_s_key() {
    let auth = "[server]\npublic_url = \"https://tools.example.com\"\n[[server.auth.api_keys]]\nname = \"ana\"\nkey = \"env:ANA_KEY\"\nuser = \"ana\"\n[[server.auth.api_keys]]\nname = \"app\"\nkey = \"env:APP_KEY\"\n";
    assert_eq!(
        lines(auth, &["portia"]),
        [
            "export PORTIA_API_ENDPOINT=https://tools.example.com",
            "export PORTIA_API_KEY=\"$APP_KEY\""
        ]
    );
}
