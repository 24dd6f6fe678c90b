//! Lines of the log that an operator needs to help an application's developer.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, LazyLock, Once};

use countersign::broker::ready::Asking;
use countersign::broker::ready::authorize::ViewState;
use countersign::model::principal::{BrowserProof, ConfirmOrder, NoBrowserProof, Verifier};
use countersign::model::{AccountName, Caller, Principal, ProviderId, Scopes, UserId};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::rest::world::{World, key_of};

/// What all servers of this process have logged since [`log`] was first called. They answer on
/// threads of their own, so each test reads the lines of its own users.
static LOG: LazyLock<Lines> = LazyLock::new(Lines::default);

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Begins to log.
fn log() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let log = tracing_subscriber::fmt().json().with_writer(LOG.clone());
        log.with_max_level(tracing::Level::INFO).init();
    });
}

/// Returns the fields of the lines with this message and these values.
fn lines(message: &str, values: &[(&str, &str)]) -> Vec<Value> {
    let text = String::from_utf8(LOG.0.lock().clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let fields = lines.map(|line| line["fields"].clone());
    let is_meant = |fields: &Value| {
        let said = fields["message"].as_str().unwrap_or_default();
        said.contains(message) && values.iter().all(|(name, value)| fields[*name] == *value)
    };
    fields.filter(is_meant).collect()
}

const WITHHELD: &str = "an access token is not handed out";

/// Returns the id of the pending consent and its link.
async fn asked(world: &World, app: &str, user: &str) -> (String, String) {
    let body = json!({"tool_name": "Notes.Read", "user_id": user});
    let pending = world.post(&key_of(app), "/v1/tools/authorize", body).await.ok();
    let text = |field: &str| pending[field].as_str().unwrap_or_else(|| panic!("{pending}"));
    (text("id").to_owned(), text("url").to_owned())
}

async fn connect(world: &World, app: &str, user: &str) {
    let (_, link) = asked(world, app, user).await;
    world.consent(app, user, &link).await;
}

/// Returns the token of a connected account, as an application is given it.
async fn token(world: &World, app: &str, user: &str) -> Value {
    let body = json!({"tool_name": "Notes.Read", "user_id": user});
    let answer = world.post(&key_of(app), "/v1/tools/authorize", body).await.ok();
    assert_eq!(answer["status"], "completed");
    answer["context"]["token"].clone()
}

#[tokio::test]
async fn a_withheld_token_is_logged_with_its_reason_and_the_remedy() {
    log();
    let world = World::for_many().await;
    for app in ["plain", "app"] {
        connect(&world, app, "withheld-1").await;
    }
    assert_eq!(token(&world, "plain", "withheld-1").await, Value::Null);
    assert_eq!(token(&world, "app", "withheld-1").await, "code-withheld-1");
    let of_plain = lines(WITHHELD, &[("namespace", "plain"), ("provider", "acme")]);
    let [line, ..] = &*of_plain else { panic!("no line") };
    assert_eq!(line["reason"], "no_right");
    assert!(line["hint"].as_str().unwrap().contains("`tokens = true`"), "{line}");
    assert!(!line.to_string().contains("code-"), "{line}");

    let machine = World::on_machine().await;
    connect(&machine, "", "").await;
    assert_eq!(token(&machine, "", "").await, Value::Null);
    let of_machine = lines(WITHHELD, &[("namespace", "local"), ("reason", "no_configured_key")]);
    let hint = of_machine[0]["hint"].as_str().unwrap();
    assert!(hint.contains("[[server.auth.api_keys]]"), "{hint}");
}

#[tokio::test]
async fn a_client_that_asks_again_and_again_leaves_one_line() {
    log();
    let world = World::for_many().await;
    let acme = ProviderId::new("acme");
    for user in ["ana", "bob", "ana"] {
        let caller = Caller { namespace: "key:asks-again".into(), user: UserId::new(user) };
        let proof = Err(NoBrowserProof::NoVerifier { key: "asks-again".into() });
        let principal = Principal::new(caller, BTreeSet::new(), proof);
        let account = AccountName::default();
        let token = world.broker().hand_out_token(&principal, &acme, &account).await;
        assert!(token.unwrap().is_none());
    }
    let lines = lines(WITHHELD, &[("namespace", "asks-again")]);
    assert_eq!(lines.len(), 1, "{lines:?}");
}

/// The operator gave the key its right after the user had consented.
#[tokio::test]
async fn a_consent_whose_page_did_not_say_it_is_logged_with_its_user() {
    log();
    let world = World::for_many().await;
    let user = "not-agreed-1";
    let caller = Caller { namespace: "key:app".into(), user: UserId::new(user) };
    let url = "https://app.example/verify".parse().unwrap();
    let verifier = Verifier { key: "app".into(), url, confirm: ConfirmOrder::Before };
    let proof = Ok(BrowserProof::Application(verifier));
    let before = Principal::new(caller, BTreeSet::new(), proof);
    let acme = world.broker().provider("acme").unwrap();
    let asking = Asking::Link { client: Some("app"), next: None, later: None };
    let scopes = Scopes::new(["notes:read"]);
    let view = world.broker().authorize(&before, &acme, &scopes, asking).await;
    let ViewState::Pending { url, .. } = view.state else { panic!("{view:?}") };
    world.consent("app", user, &url).await;
    let after = Principal { gets_tokens: true, ..before };
    let account = AccountName::default();
    for _ in 0..2 {
        let token = world.broker().hand_out_token(&after, &acme.id, &account).await;
        assert!(token.unwrap().is_none());
    }
    let withheld = lines(WITHHELD, &[("user", user), ("namespace", "app")]);
    let [line] = &*withheld else { panic!("{withheld:?}") };
    assert_eq!(line["reason"], "not_agreed");
    assert!(line["hint"].as_str().unwrap().contains("/v1/auth/authorize"), "{line}");
}

#[tokio::test]
async fn a_connection_whose_end_is_not_confirmed_is_a_warning() {
    log();
    let world = World::for_many().await;
    let (key, user) = (key_of("app"), "unconfirmed-1");
    connect(&world, "app", user).await;
    let path = format!("/v1/admin/user_connections?user_id={user}");
    let mine = world.get(&key, &path).await.ok();
    let id = mine["items"][0]["id"].as_str().unwrap();
    let path = format!("/v1/admin/user_connections/{id}");
    assert_eq!(world.send(Method::DELETE, &key, &path, None, &[]).await.status, 204);
    let warned = lines("has not confirmed the end", &[("user", user), ("namespace", "app")]);
    let [line] = &*warned else { panic!("{warned:?}") };
    assert_eq!((&line["provider"], &line["outcome"]), (&json!("acme"), &json!("no_revocation")));
    assert!(line["message"].as_str().unwrap().contains("settings"), "{line}");
}
