//! `[webhooks]`

use super::*;
use crate::model::webhook::ConnectionChange;

const KEYS: &str = "[[server.auth.api_keys]]\nname = \"my-app\"\nkey = \"env:A\"\n\
                    [[server.auth.api_keys]]\nname = \"ana\"\nkey = \"env:B\"\nuser = \"ana\"\n";

fn with_webhook(lines: &str) -> String {
    format!("{KEYS}[webhooks.main]\n{lines}")
}

const URL: &str = "url = \"https://app.example.com/hooks\"\n";
const SECRET: &str = "secret = \"env:UNSET_SECRET\"\n";
const KEY: &str = "key = \"my-app\"\n";

#[test]
fn a_webhook_is_read() {
    let config = good(&with_webhook(&format!("{URL}{SECRET}{KEY}")));
    let [webhook] = &config.webhooks[..] else { panic!("one") };
    assert_eq!((&*webhook.name, &*webhook.key), ("main", "my-app"));
    assert_eq!(webhook.url.as_str(), "https://app.example.com/hooks");
    assert_eq!(webhook.events.len(), 5);
    assert!(config.warnings.iter().any(|warning| warning.message.contains("UNSET_SECRET")));
    let events = "events = [\"connection.revoked\"]\n";
    let config = good(&with_webhook(&format!("{URL}{SECRET}{KEY}{events}")));
    assert_eq!(config.webhooks[0].events, [ConnectionChange::Revoked].into());
    let local = "url = \"http://127.0.0.1:8080/hooks\"\n";
    good(&with_webhook(&format!("{local}{SECRET}{KEY}")));
}

#[test]
fn mistakes_in_webhooks() {
    let with = with_webhook;
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, secret: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, secret).expect("it is written");
        format!("secret = \"file:{}\"\n", path.display())
    };
    let short = file("short", "whsec_aHVudGVyMg==");
    let both = file("both", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw,hunter2");
    expect_each(&[
        (with(&format!("{SECRET}{KEY}")), "8:1", "`url` is missing"),
        (with(&format!("{URL}{KEY}")), "8:1", "`secret` is missing"),
        (with(&format!("{URL}{SECRET}")), "8:1", "`key` is missing"),
        (with(&format!("{URL}{SECRET}key = \"my-ap\"")), "11:7", "no key `my-ap`"),
        (with(&format!("{URL}{SECRET}key = \"ana\"")), "11:7", "the key of a person"),
        (
            with(&format!("url = \"http://app.example.com/\"\n{SECRET}{KEY}")),
            "9:8",
            "`http://` is for loopback and private",
        ),
        (
            with(&format!("url = \"http://10.0.0.7/\"\n{SECRET}{KEY}")),
            "9:8",
            "events are sent by `https://` only",
        ),
        (with(&format!("{URL}{KEY}secret = \"whsec_hunter2\"")), "11:10", "a secret stands here"),
        (
            with(&format!("{URL}{KEY}secret = \"env:HOME\"")),
            "11:10",
            "does not begin with `whsec_`",
        ),
        (with(&format!("{URL}{KEY}{short}")), "11:10", "less than 24 bytes"),
        (with(&format!("{URL}{KEY}{both}")), "11:10", "does not begin with `whsec_`"),
        (
            with(&format!("{URL}{SECRET}{KEY}events = [\"connection.create\"]")),
            "12:11",
            "did you mean `connection.created`",
        ),
        (with(&format!("{URL}{SECRET}{KEY}target = \"x\"")), "12:1", "unknown key `target`"),
        (
            format!("{KEYS}[webhooks.\"a b\"]\n{URL}{SECRET}{KEY}"),
            "8:11",
            "a webhook's name has 1 to 64",
        ),
        (format!("[webhooks.main]\n{URL}{SECRET}{KEY}"), "4:7", "no key `my-app`"),
    ]);
}

#[test]
fn a_webhook_without_events_is_a_warning() {
    let config = good(&with_webhook(&format!("{URL}{SECRET}{KEY}events = []")));
    let found = config.warnings.iter().map(|warning| &warning.message);
    assert!(
        found.clone().any(|it| it.contains("is sent no event")),
        "{:?}",
        found.collect::<Vec<_>>()
    );
}
