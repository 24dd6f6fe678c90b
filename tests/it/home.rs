//! Paths that begin with `~`, as hosts hand them over without a shell.

use crate::command::{countersign, run};

const TOOLS: &str = "[tools.look]\ndescription = \"d\"\nrequest = \"GET https://api.example.com/x\"\nselect = \"{id}\"\n";

#[test]
fn a_leading_tilde_is_the_home_folder_wherever_a_path_is_read() {
    let home = tempfile::tempdir().unwrap();
    let here = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    std::fs::write(path("t.toml"), TOOLS).unwrap();
    std::fs::write(path("secret"), "s3cret-value").unwrap();
    let base = || {
        let mut command = countersign();
        command.current_dir(&here).env("HOME", home.path());
        command
    };
    for found in [
        run(base().args(["check", "~/t.toml"])),
        run(base().args(["check", "--config", "~/t.toml"])),
        run(base().arg("check").env("COUNTERSIGN_CONFIG", "~/t.toml")),
        run(base().args(["tools", "list", "--config", "~/t.toml"])),
    ] {
        assert_eq!(found.0, 0, "{found:?}");
    }
    // A store and its backup.
    let key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    std::fs::write(path("key"), key).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(path("key"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let with_key = || {
        let mut command = base();
        command.env("COUNTERSIGN_KEY_FILE", "~/key");
        command
    };
    let status = run(with_key().args(["auth", "status", "--config", "~/t.toml", "--data", "~/d"]));
    assert!(status.0 == 0 || status.0 == 1, "{status:?}");
    std::fs::write(path("store.toml"), format!("[store]\nurl = \"sled:~/d\"\n{TOOLS}")).unwrap();
    assert_eq!(run(base().args(["check", "~/store.toml"])).0, 0);
    let secret = format!(
        "[providers.acme]\nbase_url = \"https://api.example.com\"\nbearer = \"file:~/secret\"\n{TOOLS}provider = \"acme\"\n"
    );
    std::fs::write(path("secret.toml"), secret).unwrap();
    let found = run(base().args(["check", "~/secret.toml"]));
    assert!(found.0 == 0 && !found.1.contains("cannot be read"), "{found:?}");
    let left: Vec<_> = std::fs::read_dir(&here).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn another_users_home_is_refused_by_name() {
    let here = tempfile::tempdir().unwrap();
    let base = || {
        let mut command = countersign();
        command.current_dir(&here).env("HOME", here.path());
        command
    };
    std::fs::write(here.path().join("t.toml"), TOOLS).unwrap();
    let secret = "[providers.acme]\nbase_url = \"https://a.example\"\nbearer = \"file:~ben/x\"\n";
    std::fs::write(here.path().join("secret.toml"), format!("{secret}{TOOLS}")).unwrap();
    std::fs::write(
        here.path().join("store.toml"),
        format!("[store]\nurl = \"sled:~ben/d\"\n{TOOLS}"),
    )
    .unwrap();
    for (what, (code, stdout, stderr)) in [
        ("--config", run(base().args(["check", "--config", "~ben/t.toml"]))),
        ("variable", run(base().arg("check").env("COUNTERSIGN_CONFIG", "~ben/t.toml"))),
        ("--data", run(base().args(["auth", "status", "--config", "t.toml", "--data", "~ben/d"]))),
        ("store", run(base().args(["check", "store.toml"]))),
        ("export", run(base().args(["store", "export", "--config", "t.toml", "~ben/x"]))),
    ] {
        assert_ne!(code, 0, "{what}");
        let said = format!("{stdout}{stderr}");
        assert!(said.contains("`~ben` names another user's home folder"), "{what}: {said}");
    }
    let (code, stdout, _) = run(base().args(["check", "secret.toml"]));
    assert_eq!(code, 5, "{stdout}");
    assert!(stdout.contains("finds no other user's home folder"), "{stdout}");
    assert!(!here.path().join("~ben").exists() && !here.path().join("~").exists());
}
