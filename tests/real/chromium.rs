//! The whole consent once in a real Chromium, by keyboard and without scripts; the pictures are for
//! people to look at.

use std::path::Path;
use std::process::Command;

use countersign::broker::Call;
use countersign::model::{Caller, Outcome, Principal, Question, UserId};
use serde_json::json;

use crate::harness::{Dialect, Home, Running, Served, Server, Transport, World, part, wait_until};
use crate::support;
use crate::support::world::TestClock;

#[test]
fn a_person_gets_through_in_a_real_browser() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut server = Server::start(&home, Dialect::PLAIN);
    let prompt = server.call("whoami", &json!({})).asked();
    let report = drive(&prompt.url, "approved", &[]);
    assert_eq!(report["problems"], json!([]), "{report}");
    assert!(report["connect_title"].as_str().unwrap().contains("Notes"), "{report}");
    assert!(report["final_text"].as_str().unwrap().contains("Notes"), "{report}");
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));

    let prompt = server.call("write_note", &json!({"title": "x"})).asked();
    let report = drive(&prompt.url, "unticked", &["--untick", "notes:write"]);
    assert_eq!(report["problems"], json!([]), "{report}");
    assert!(report["final_text"].as_str().unwrap().contains("notes:write"), "{report}");

    let prompt = server.call("write_note", &json!({"title": "x"})).asked();
    let report = drive(&prompt.url, "denied", &["--deny"]);
    assert_eq!(report["problems"], json!([]), "{report}");
}

/// The API tests a key before it is stored; the first key is wrong.
#[test]
fn a_key_is_pasted_in_a_real_browser() {
    let world = World::start();
    let api = world.api();
    let home = Home::new(&format!(
        r#"
[providers.vault]
title = "Vault"
base_url = "{api}"
bearer = {{ ask = "Make a token at vault.example/tokens, with the right to read, and copy it here.", test = "GET /vault" }}
[tools.open]
description = "x"
provider = "vault"
request = "GET /vault"
[tools.echo]
description = "x"
provider = "vault"
request = "GET /echo"
"#
    ));
    let secrets = home.path("secrets");
    std::fs::write(&secrets, format!("wrong-{KEY}\n{KEY}\n")).unwrap();
    let mut server = Server::start(&home, Dialect::PLAIN);
    let prompt = server.call("open", &json!({})).asked();
    assert!(prompt.message.contains("never in this chat"), "{}", prompt.message);
    let report = drive(&prompt.url, "pasted", &["--paste", secrets.to_str().unwrap()]);
    assert_eq!(report["problems"], json!([]), "{report}");
    assert!(report["final_text"].as_str().unwrap().contains("Vault is connected"), "{report}");
    assert!(server.call("open", &json!({})).ran().contains("bearer"));
    assert!(server.call("echo", &json!({})).ran().contains("[redacted]"));

    let report = drive(&prompt.url, "pasted-over", &["--press", "disconnect"]);
    assert_eq!(report["problems"], json!([]), "{report}");
    server.call("open", &json!({})).asked();
    let (_, heard) = server.close();
    for place in [home.log(), json!(heard).to_string()] {
        assert!(!place.contains(KEY));
    }
}

/// The key that opens `GET /vault`.
const KEY: &str = "shared-token-0123456789";

/// The account's name comes from the authorization server's userinfo endpoint (OpenID Connect Core
/// §5.3).
#[test]
fn another_account_is_confirmed_in_a_real_browser() {
    let world = World::start();
    let tools = world
        .tools()
        .replace("client_id ", "accounts = true\nscopes = [\"openid\", \"profile\"]\nclient_id ");
    let home = Home::new(&tools);
    let mut server = Server::start(&home, Dialect::PLAIN);
    let prompt = server.call("whoami", &json!({})).asked();
    let report = drive(&prompt.url, "identity", &[]);
    assert_eq!(report["problems"], json!([]), "{report}");
    let text = report["final_text"].as_str().unwrap();
    assert!(text.contains("connected as Test login ana"), "{report}");

    let prompt = server.call("write_note", &json!({"title": "x"})).asked();
    let report = drive(&prompt.url, "kept", &["--login", "bob", "--press", "keep"]);
    assert_eq!(report["problems"], json!([]), "{report}");
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
    wait_until("the end of the token at the provider", || world.revocations() == 1);

    let prompt = server.call("write_note", &json!({"title": "x"})).asked();
    let presses = ["--login", "bob", "--press", "confirm"];
    let report = drive(&prompt.url, "confirmed", &presses);
    assert_eq!(report["problems"], json!([]), "{report}");
    assert!(server.call("whoami", &json!({})).ran().contains("\"bob\""));

    let login = Running::start(home.command(&[
        "auth",
        "login",
        "notes",
        "--account",
        "home",
        "--user",
        "ana",
    ]));
    let report = drive(&login.line(), "second", &[]);
    assert_eq!(report["problems"], json!([]), "{report}");
    assert_eq!(login.end().code, Some(0), "{}", home.log());
    assert!(server.call("whoami", &json!({"account": "home"})).ran().contains("\"ana\""));
    let status = home.run(&["auth", "status", "--user", "ana"]).stdout;
    assert!(status.contains("✓ Notes (notes), default account: Test login bob\n"), "{status}");
    assert!(status.contains("✓ Notes (notes), account home: Test login ana\n"), "{status}");
    let accounts = home.run(&["auth", "status", "--json", "--user", "ana"]).json();
    assert_eq!(accounts["accounts"][1]["account"], "home", "{accounts}");
    assert_eq!(accounts["accounts"][1]["label"], "Test login ana", "{accounts}");
    let said = server.call("whoami", &json!({"account": "hoem"})).failed();
    for part in ["Did you mean `home`?", "default (“Test login bob”), home (“Test login ana”)"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let revoke = ["auth", "revoke", "notes", "--account", "home", "--user", "ana"];
    assert_eq!(home.run(&revoke).stdout, "Notes account home (Test login ana) is disconnected.\n");
    assert!(server.call("whoami", &json!({})).ran().contains("\"bob\""));
}

#[test]
fn accounts_are_connected_and_ended_in_a_real_browser() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let served = Served::start(&home);
    let accounts = format!("{}/connections", served.origin());

    let report = drive(&accounts, "accounts-none", &["--press", "connect"]);
    assert_eq!(report["problems"], json!([]), "{report}");
    assert_eq!(report["final_title"], "Connect Notes · Countersign", "{report}");

    let mut host = served.host(Transport::Streamable, Dialect::PLAIN);
    let prompt = host.call("whoami", &json!({})).asked();
    let report = drive(&prompt.url, "accounts-connected", &[]);
    assert_eq!(report["problems"], json!([]), "{report}");
    assert!(host.call("whoami", &json!({})).ran().contains("\"ana\""));

    let report = drive(&accounts, "accounts-one", &["--press", "reconnect"]);
    assert_eq!(report["problems"], json!([]), "{report}");
    assert_eq!(report["connect_title"], "Your accounts · Countersign", "{report}");
    assert_eq!(report["final_title"], "Connect Notes · Countersign", "{report}");

    let presses = ["--press", "disconnect", "--press", "end"];
    let report = drive(&accounts, "accounts-ended", &presses);
    assert_eq!(report["problems"], json!([]), "{report}");
    assert!(report["final_text"].as_str().unwrap().contains("is disconnected"), "{report}");
    wait_until("the end of the token at the provider", || world.revocations() == 1);
    host.call("whoami", &json!({})).asked();
}

/// `tools.toml` has no key for it yet, so the server is in this process.
#[test]
fn a_call_is_confirmed_in_a_real_browser() {
    let api = tokio::runtime::Runtime::new().unwrap();
    let provider = api.block_on(support::provider::Server::start(|_| {
        support::provider::Act::Say(support::provider::json(r#"{"paid":true}"#))
    }));
    let tools = support::world::payments(&provider.origin);
    let clock = TestClock::new();
    let server = {
        let _within = api.enter();
        support::world::World::altered(None, &clock, &tools, support::world::confirm_payments)
    };
    let principal = Principal::local(Caller::local(UserId::new("ana")));
    let call = |note: &str| {
        let arguments = json!({ "sum": 5, "to": "Ben & Eve", "note": note });
        let call = Call {
            arguments: arguments.as_object().cloned(),
            client: Some("Some client".into()),
            ..Call::new(&principal, "pay")
        };
        api.block_on(server.app.broker.call(call)).unwrap()
    };
    let link = |outcome: Outcome| match outcome {
        Outcome::InputRequired(required) => match required.question {
            Question::Confirmation(prompt) => prompt.url,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let note = "For the lunch of last week.\nWith thanks; a \u{202e}hidden\u{200b} word.";
    let report = drive(&link(call(note)), "confirm-run", &["--press", "run"]);
    assert_eq!(report["problems"], json!([]), "{report}");
    assert_eq!(report["connect_title"], "Confirm: Pay · Countersign", "{report}");
    assert!(report["final_text"].as_str().unwrap().contains("You confirmed: Pay"), "{report}");
    assert!(matches!(call(note), Outcome::Complete(_)));
    let long = "y".repeat(3000);
    let report = drive(&link(call(&long)), "confirm-declined", &["--press", "decline"]);
    assert_eq!(report["problems"], json!([]), "{report}");
    assert!(report["final_text"].as_str().unwrap().contains("Nothing was sent"), "{report}");
    assert!(matches!(call(&long), Outcome::Failed(_)));
}

/// Measures where the buttons are, which a page's source does not show.
#[test]
fn the_buttons_are_seen_at_once_and_fill_a_narrow_page() {
    let world = World::start();
    // More permissions than a page lists at once, in words and without.
    let scopes = r#"scopes = ["openid", "offline_access", "profile", "email", "phone", "address", "notes:read", "notes:write", "notes:admin"]"#;
    let tools = world.tools().replace("client_id ", &format!("{scopes}\nclient_id "));
    let home = Home::new(&tools);
    let mut server = Server::start(&home, Dialect::PLAIN);
    let prompt = server.call("whoami", &json!({})).asked();
    let report = drive(&prompt.url, "fold", &["--deny"]);
    assert_eq!(report["problems"], json!([]), "{report}");
    let connect = &report["buttons"]["connect"];
    assert_eq!(answers(&connect["1280x720"]), ["continue", "decline"], "{connect}");
    for (window, fold) in [("1280x720", 720), ("390x844", 844)] {
        for button in connect[window].as_array().unwrap() {
            assert!(button["bottom"].as_i64().unwrap() <= fold, "{window}: {button}");
        }
    }

    let home = Home::new(&world.tools());
    let served = Served::start(&home);
    let mut host = served.host(Transport::Streamable, Dialect::PLAIN);
    let prompt = host.call("whoami", &json!({})).asked();
    let report = drive(&prompt.url, "fold-usual", &[]);
    let usual = &report["buttons"]["connect"];
    for (window, fold) in [("1280x720", 600), ("390x844", 640), ("320x640", 640)] {
        let [go_on, decline] = &usual[window].as_array().unwrap()[..] else { panic!("{usual}") };
        assert!(go_on["bottom"].as_i64().unwrap() <= fold, "{window}: {go_on}");
        assert!(decline["bottom"].as_i64().unwrap() <= fold + 60, "{window}: {decline}");
    }

    let accounts = format!("{}/connections", served.origin());
    let report = drive(&accounts, "fold-accounts", &["--press", "disconnect", "--press", "end"]);
    assert_eq!(report["problems"], json!([]), "{report}");
    let pages = report["buttons"].as_object().unwrap();
    for (page, seen) in pages.iter().chain([(&"connect".to_owned(), connect)]) {
        for button in seen["320x640"].as_array().unwrap() {
            assert_eq!(button["width"], button["room"], "{page}: {button}");
        }
    }
    let list = pages["before-0-disconnect"]["1280x720"].as_array().unwrap();
    let paint = |answer: &str| {
        let button = list.iter().find(|button| button["answer"] == answer);
        button.expect("a button").get("paint").unwrap().clone()
    };
    assert_ne!(paint("disconnect"), paint("reconnect"), "they look alike");
}

fn answers(buttons: &serde_json::Value) -> Vec<&str> {
    buttons.as_array().unwrap().iter().map(|it| it["answer"].as_str().unwrap()).collect()
}

fn drive(link: &str, name: &str, wishes: &[&str]) -> serde_json::Value {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/real/screens").join(name);
    std::fs::create_dir_all(&pictures).unwrap();
    let mut browser = Command::new(part("COUNTERSIGN_REAL_NODE"));
    browser.arg(part("COUNTERSIGN_REAL_DIR").join("world/browser.mjs")).arg(link).arg(&pictures);
    let finished = Running::start({
        browser.args(wishes);
        browser
    })
    .end();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let report = finished.json();
    for picture in report["screenshots"].as_array().unwrap() {
        let picture = std::fs::metadata(pictures.join(picture.as_str().unwrap())).unwrap();
        assert!(picture.len() > 1000, "a picture of something");
    }
    report
}
