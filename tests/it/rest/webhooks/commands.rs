//! `countersign webhooks`, as an operator types it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::receiver::{KEYS, Receiver, SECRET};
use crate::command::{countersign, run};

/// Runs a command in a home that has a `tools.toml`.
async fn webhooks(home: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = countersign();
    command.env("HOME", home).current_dir(home).arg("webhooks").args(arguments);
    // The receiver answers in this process.
    tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap()
}

#[tokio::test]
async fn webhooks_are_listed_tried_and_replayed() {
    let receiver = Receiver::start().await;
    let home = tempfile::tempdir().unwrap();
    let tools = format!("{KEYS}{}", receiver.table("main", "app"));
    fs::write(home.path().join("tools.toml"), tools).unwrap();

    let (code, stdout, stderr) = webhooks(home.path(), &["list"]).await;
    assert_eq!(
        (code, &*stdout),
        (0, &*format!("main  {}  key app  all events\n", receiver.origin())),
        "{stderr}"
    );
    let (_, stdout, _) = webhooks(home.path(), &["list", "--json"]).await;
    let listed: Value = serde_json::from_str(&stdout).unwrap();
    let expected = json!({
        "name": "main", "configured": true, "origin": receiver.origin(), "key": "app",
        "events": [
            "connection.created", "connection.widened", "connection.needs_consent",
            "connection.disconnected", "connection.revoked",
        ],
        "waiting": 0, "parked": 0, "users": 0, "failing_users": 0, "users_of_another_key": 0,
        "oldest": null, "next_attempt": null, "last_failure": null,
    });
    assert_eq!(listed, json!({ "version": 1, "webhooks": [expected] }));

    let (code, stdout, stderr) = webhooks(home.path(), &["test", "main"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("The receiver of `main` took the test event in "), "{stdout}");
    assert_eq!(receiver.deliveries()[0].json()["type"], "webhook.test");

    receiver.says("307 Temporary Redirect");
    let (code, _, stderr) = webhooks(home.path(), &["test", "main"]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("`main` has not taken the test event"), "{stderr}");
    assert!(stderr.contains("help: write the final address in `url`"), "{stderr}");

    let (code, _, stderr) = webhooks(home.path(), &["replay", "mian"]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("help: did you mean `main`?"), "{stderr}");
    let (code, stdout, stderr) = webhooks(home.path(), &["replay", "main"]).await;
    assert_eq!((code, &*stdout), (0, "No event waits for `main`.\n"), "{stderr}");
}

#[tokio::test]
async fn a_secret_that_cannot_sign_is_explained_and_not_shown() {
    let receiver = Receiver::start().await;
    let home = tempfile::tempdir().unwrap();
    let table = receiver.table("main", "app").replace(SECRET, "whsec_hunter2!");
    fs::write(home.path().join("tools.toml"), format!("{KEYS}{table}")).unwrap();
    let (code, _, stderr) = webhooks(home.path(), &["test", "main"]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("what follows `whsec_` is no base64"), "{stderr}");
    assert!(stderr.contains("openssl rand -base64 32"), "{stderr}");
    assert!(!stderr.contains("hunter2"), "{stderr}");
    assert!(receiver.deliveries().is_empty());
}
