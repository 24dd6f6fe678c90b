//! `auth login`: the requester that its page names, the terminal output, and the device flow behind
//! `--device`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use countersign::broker::consent::device::DeviceError;
use countersign::model::event::EndedBy;
use countersign::model::requester::AskedBy;
use countersign::model::{AccountName, Outcome, Principal, Scopes};

use super::identity::tools_toml;
use super::world::{World, ana, tokens};
use crate::command::countersign;
use crate::support::browser::Browser;
use crate::support::provider::{Act, Server, answer, json};

/// A provider that issues a token and names its account.
fn provide(request: &str) -> Act {
    Act::Say(match request.split(' ').nth(1).unwrap() {
        "/token" => json(r#"{"access_token":"ana","refresh_token":"r","expires_in":3600}"#),
        "/userinfo" => json(r#"{"sub":"1","email":"ana@example.com"}"#),
        _ => answer("404 Not Found", "", ""),
    })
}

/// Runs the real binary, and a browser that goes through the pages that it serves.
#[tokio::test]
async fn a_login_asks_as_the_user_and_says_which_account_is_connected() {
    let provider = Server::start(provide).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tools.toml"), tools_toml(&provider.origin)).unwrap();
    let mut command = countersign();
    command.current_dir(&folder).env("HOME", folder.path()).args(["auth", "login", "acme"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut login = command.spawn().unwrap();
    let mut link = String::new();
    BufReader::new(login.stdout.take().unwrap()).read_line(&mut link).unwrap();
    let link = link.trim_end();

    let browser = Browser::new();
    let page = browser.get(link).await;
    assert!(page.text.contains("You asked to connect your acme account"), "{}", page.text);
    let fields = [("answer", "continue"), ("shown", page.shown())];
    let departure = browser.post(link, &fields).await;
    let (redirect, state) = (departure.parameter("redirect_uri"), departure.parameter("state"));
    browser.get(&format!("{redirect}?state={state}&code=c0de")).await;
    let page = browser.get(link).await;
    assert!(page.text.contains("acme is connected as ana@example.com"), "{}", page.text);
    let mut said = String::new();
    login.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(login.wait().unwrap().code(), Some(0), "{said}");
    assert!(said.contains("\nacme is connected as ana@example.com.\n"), "{said}");
}

/// A program asked through the same link before; what the user starts now is their own request.
#[tokio::test]
async fn what_a_user_begins_by_hand_names_no_program() {
    let world = World::of(tools_toml).await;
    let Outcome::AuthorizationRequired(asked) = world.call_tool("read", Some("Claude")).await
    else {
        panic!("ran without a consent");
    };
    assert!(world.get(&asked.url).await.text.contains("<bdi>Claude</bdi>"));
    let broker = &world.app.broker;
    let provider = broker.provider("acme").unwrap();
    let (principal, account) = (Principal::local(ana()), AccountName::default());
    let scopes = Scopes::new(["notes:read"]);
    let begun =
        broker.consents().begin(&principal, &provider, &account, &scopes, AskedBy::default()).await;
    assert_eq!(begun.unwrap().url, asked.url, "the same link");
    let page = world.get(&asked.url).await.text;
    assert!(page.contains("You asked to connect your acme account"), "{page}");
    assert!(!page.contains("Claude") && !page.contains("<code>read</code>"), "{page}");
}

/// The program's request is still open, so the page continues to name the program.
#[tokio::test]
async fn what_a_user_begins_by_hand_beside_a_program_names_both() {
    let world = World::of(tools_toml).await;
    let Outcome::AuthorizationRequired(asked) = world.call_tool("write", Some("Claude")).await
    else {
        panic!("ran without a consent");
    };
    let broker = &world.app.broker;
    let provider = broker.provider("acme").unwrap();
    let (principal, account) = (Principal::local(ana()), AccountName::default());
    let begin = async |scopes: &[&str]| {
        let scopes = Scopes::new(scopes.iter().copied());
        let begun =
            broker.consents().begin(&principal, &provider, &account, &scopes, AskedBy::default());
        assert_eq!(begun.await.unwrap().url, asked.url, "the same link");
        world.get(&asked.url).await.text
    };
    for scopes in [&[][..], &["notes:read"]] {
        let page = begin(scopes).await;
        for part in ["You asked to connect your acme account. ", "<bdi>Claude</bdi>", "notes:write"]
        {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(page.contains("<code>write</code>"), "{page}");
    }
    // The user has now asked for all of it.
    let page = begin(&["notes:read", "notes:write"]).await;
    assert!(page.contains("You asked to connect your acme account."), "{page}");
    assert!(!page.contains("Claude") && !page.contains("<code>write</code>"), "{page}");
    // A program that asks afterwards is named beside the user.
    world.call_tool("write", Some("Codex")).await;
    let page = world.get(&asked.url).await.text;
    assert!(page.contains("You asked to connect") && page.contains("<bdi>Codex</bdi>"), "{page}");
}

/// A `tools.toml` with a device authorization endpoint.
fn with_codes(origin: &str) -> String {
    tools_toml(origin)
        .replace("loopback ", &format!("device_url = \"{origin}/device\"\n        loopback "))
}

/// An operator ends all access of a user who holds a device code: the approval that follows
/// attaches nothing, and the tokens that the provider issued are revoked there.
#[tokio::test]
async fn a_device_login_begun_before_access_was_ended_attaches_nothing() {
    let world = World::of(with_codes).await;
    world.provider.api(|_| {
        Act::Say(json(
            r#"{"device_code":"d","user_code":"A","verification_uri":"https://acme.example/","interval":1}"#,
        ))
    });
    let broker = &world.app.broker;
    let provider = broker.provider("acme").unwrap();
    let begin = async || {
        let account = AccountName::default();
        broker
            .consents()
            .begin_device_login(&ana(), &provider, &account, &Scopes::default())
            .await
            .unwrap()
    };
    let login = begin().await;
    world.pass(std::time::Duration::from_secs(5));
    broker.users().end_access(&ana(), EndedBy::Operator).await.unwrap();
    world.provider.says(tokens(r#"{"access_token":"late","refresh_token":"late"}"#));
    let finished = broker.consents().finish_device_login(login).await;
    assert!(matches!(finished, Err(DeviceError::AccessEnded)), "attached");
    assert!(world.accounts().await.is_empty());
    let ended = world.provider.requests().iter().any(|body| body.contains("token=late"));
    assert!(ended, "it still works at the provider");

    // A login begun afterwards connects the account.
    world.pass(std::time::Duration::from_secs(5));
    let login = begin().await;
    broker.consents().finish_device_login(login).await.expect("connected");
    assert_eq!(world.accounts().await.len(), 1);
}

/// The file sets `issuer` already, so the hint does not propose it.
#[tokio::test]
async fn an_issuer_without_device_codes_is_named_with_the_setting_that_helps() {
    let world = World::of(|origin| {
        tools_toml(origin)
            .replace("loopback ", &format!("issuer = \"{origin}\"\n        loopback "))
    })
    .await;
    let origin = world.origin().to_owned();
    world.provider.api(move |_| {
        Act::Say(json(format!(
            r#"{{"issuer":"{origin}","authorization_endpoint":"{origin}/authorize","token_endpoint":"{origin}/token","response_types_supported":["code"]}}"#
        )))
    });
    let broker = &world.app.broker;
    let provider = broker.provider("acme").unwrap();
    let (account, scopes) = (AccountName::default(), Scopes::default());
    let begun = broker.consents().begin_device_login(&ana(), &provider, &account, &scopes).await;
    let Err(error) = begun else { panic!("a code without an endpoint") };
    let (said, hint) = (error.to_string(), error.hint());
    assert!(said.starts_with("the issuer of `acme` names no "), "{said}");
    assert!(hint.contains("_url` in [providers.acme.oauth]"), "{hint}");
    assert!(!hint.contains("write `issuer`"), "{hint}");
}
