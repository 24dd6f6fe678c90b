//! `countersign import`: the binary, a provider that rotates refresh tokens, and files.

use std::collections::HashSet;
use std::fs;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::process::home::Home;
use crate::support::process::running::{Finished, Running};
use crate::support::provider::{Act, Server, answer, json as said};

/// Part of every token in a file. Nothing that the command writes may hold it.
const CANARY: &str = "canary-token";

/// A provider and a machine.
struct World {
    provider: Server,
    home: Home,
    /// Holds the answers back: of the token endpoint for the account `slow`, and of the userinfo
    /// endpoint for `slow-info`.
    gate: Arc<Semaphore>,
}

impl World {
    /// A machine whose `tools.toml` has `more`.
    async fn with(more: &str) -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let (spent, held) = (Mutex::new(HashSet::new()), Arc::clone(&gate));
        let provider = Server::start(move |request| {
            if request.starts_with("POST /token") {
                return token(request, &spent, &held);
            }
            let Some((_, who)) = request.split_once("access-of-") else {
                return Act::Say(answer("401 Unauthorized", "", ""));
            };
            let who = who.split(['\r', '-']).next().unwrap();
            let about = said(json!({"sub": format!("id-{who}"), "email": who}).to_string());
            if who == "slowinfo" { Act::SayWhen(Arc::clone(&held), about) } else { Act::Say(about) }
        })
        .await;
        let home = Home::new(&tools(&provider.origin, more));
        Self { provider, home, gate }
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        fs::write(self.home.path(name), text).unwrap();
        name.to_owned()
    }

    /// Runs the command; nothing that it writes holds a token.
    fn import(&self, arguments: &[&str]) -> Finished {
        let arguments: Vec<&str> =
            ["import"].into_iter().chain(arguments.iter().copied()).collect();
        let done = self.home.run(&arguments);
        assert!(!done.stdout.contains(CANARY), "{done:?}");
        assert!(!self.home.log().contains(CANARY), "{}", self.home.log());
        done
    }

    fn requests(&self, of: &str) -> usize {
        let begins = |it: &&String| it.starts_with("POST /token") && it.contains(of);
        self.provider.requests().iter().filter(begins).count()
    }
}

/// Answers a refresh: each token is taken once.
fn token(request: &str, spent: &Mutex<HashSet<String>>, gate: &Arc<Semaphore>) -> Act {
    let sent = request.split("refresh_token=").nth(1).unwrap();
    let sent = sent.split('&').next().unwrap().to_owned();
    let is_good = sent.starts_with(CANARY) && !sent.contains("dead");
    if !is_good || !spent.lock().unwrap().insert(sent.clone()) {
        let gone = r#"{"error":"invalid_grant"}"#;
        let head = "Content-Type: application/json\r\n";
        return Act::Say(answer("400 Bad Request", head, gone));
    }
    let who = sent.rsplit('-').next().unwrap();
    let issued = json!({
        "access_token": format!("access-of-{who}-{CANARY}"), "expires_in": 3600,
        "refresh_token": format!("{CANARY}-next-{who}"), "scope": "notes:read",
    });
    let issued = said(issued.to_string());
    if who == "slow" { Act::SayWhen(Arc::clone(gate), issued) } else { Act::Say(issued) }
}

fn tools(origin: &str, more: &str) -> String {
    format!(
        r#"
        {more}
        [providers.acme]
        title     = "Acme"
        base_url  = "{origin}"
        client_id = "us"
        [providers.acme.oauth]
        authorize_url = "{origin}/authorize"
        token_url     = "{origin}/token"
        loopback      = "any-port"
        userinfo_url  = "{origin}/userinfo"

        [tools.read]
        description = "Reads."
        provider    = "acme"
        scopes      = ["notes:read"]
        request     = "GET /notes"
        "#
    )
}

fn table(users: &[&str]) -> String {
    let rows = users.iter().map(|user| format!("{user},acme,us,{CANARY}-{user}\n"));
    ["user_id,provider,client_id,refresh_token\n".to_owned()].into_iter().chain(rows).collect()
}

fn of_statuses(report: &Value) -> Vec<(String, String)> {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
    let entries = report["entries"].as_array().unwrap().iter();
    entries.map(|entry| (text(entry, "user"), text(entry, "status"))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(user, status)| ((*user).to_owned(), (*status).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_moved_in_and_tools_run_without_a_consent() {
    let world = World::with("").await;
    let file = world.write("users.csv", table(&["ana", "bob", "dead"]));
    let dry = world.import(&["csv", &file, "--dry-run"]);
    assert_eq!(dry.code, Some(0), "{dry:?}");
    assert!(dry.stdout.contains("✓ line 2: ana, acme: can be moved in"), "{dry:?}");
    assert!(world.provider.requests().is_empty() && !world.home.data().exists());

    let done = world.import(&["csv", &file]);
    assert_eq!(done.code, Some(1), "{done:?}");
    for part in [
        "✓ line 2: ana, acme: live as ana\n",
        "✓ line 3: bob, acme: live as bob\n",
        "✗ line 4: dead, acme: dead: the provider does not honour it: ended: the authorization server answered `invalid_grant`\n  help: ",
    ] {
        assert!(done.stdout.contains(part), "{part} in {}", done.stdout);
    }
    assert!(
        world.home.log_with("3 of 3: 2 live, 1 dead").contains("delete it once all is moved in")
    );
    // Each refresh token is spent by now; the repeat sends none.
    let sent = world.provider.requests().len();
    let again = world.import(&["csv", &file, "--json"]).json();
    let expected = pairs(&[("ana", "live"), ("bob", "live"), ("dead", "dead")]);
    assert_eq!(of_statuses(&again), expected);
    assert_eq!(again["entries"][0]["is_new"], false);
    assert_eq!(world.provider.requests().len(), sent);
    let call = world.home.run(&["tools", "call", "read", "--user", "ana"]);
    assert_eq!(call.code, Some(0), "{call:?} {}", world.home.log());
    let status = world.home.run(&["auth", "status", "--user", "bob", "--json"]).json();
    assert_eq!(status["accounts"][0]["label"], "bob");
}

/// The provider has rotated the token, and the process dies before it knows whose account it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_after_a_renewal_is_continued_without_the_spent_token() {
    let world = World::with("").await;
    let file = world.write("users.csv", table(&["ana", "slowinfo"]));
    let mut command = world.home.command(&["import", "csv", &file]);
    command.env("COUNTERSIGN_LOG", "trace");
    let first = Running::start(command);
    let asked =
        async || world.provider.requests().iter().any(|it| it.contains("access-of-slowinfo"));
    crate::support::wait_until_async("the question whose account it is", asked).await;
    drop(first);
    assert!(!world.home.log().contains(CANARY), "{}", world.home.log());
    let call = world.home.run(&["tools", "call", "read", "--user", "slowinfo"]);
    assert_eq!(call.code, Some(4), "no call uses an unproven deposit: {call:?}");
    world.gate.add_permits(2);
    let report = world.import(&["csv", &file, "--json"]).json();
    assert_eq!(of_statuses(&report), pairs(&[("ana", "live"), ("slowinfo", "live")]));
    assert_eq!(world.requests("-slowinfo"), 1);
    assert_eq!(world.requests("-ana"), 1);
}

/// The answer to the renewal itself is lost with the process. The refresh token is the last one that is
/// known, so it is sent once more, and the report says what has happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_in_the_middle_of_a_renewal_says_so() {
    let world = World::with("").await;
    let file = world.write("users.csv", table(&["slow"]));
    let first = Running::start(world.home.command(&["import", "csv", &file]));
    let asked = async || world.requests("-slow") == 1;
    crate::support::wait_until_async("the renewal", asked).await;
    drop(first);
    let report = world.import(&["csv", &file, "--json"]).json();
    let reason = report["entries"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("a process ended in the middle of a renewal"), "{report}");
    assert_eq!(report["entries"][0]["status"], "dead");
    world.import(&["csv", &file]);
    assert_eq!(world.requests("-slow"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_as_spreadsheets_and_attackers_write_them() {
    let world = World::with("").await;
    // A byte order mark, CR LF, semicolons, quotes.
    let excel = format!(
        "\u{feff}User_ID;provider;client_id;refresh_token;scopes;away\r\n\"ana\";acme;us;\"{CANARY}-ana\";\"notes:read, notes:write\";TRUE\r\n"
    );
    let file = world.write("excel.csv", excel);
    let report = world.import(&["csv", &file, "--json"]);
    assert_eq!((report.code, of_statuses(&report.json())), (Some(0), pairs(&[("ana", "live")])));

    let faulty = format!(
        "user_id,provider,client_id,refresh_token\n=cmd|' /C calc'!A0,acme,us,{CANARY}-x1\n\u{1b}[31mred,acme,us,{CANARY}-x2\n,acme,us,{CANARY}-x3\nuser1,acme,theirs,{CANARY}-x4\nuser2,nothing,us,{CANARY}-x5\nuser3,acme,us,\nuser4,acme,us,{CANARY} x6\nuser5,acme,us,{CANARY}-x7,more\nuser6,acme,us,\"{CANARY}-x8\nbob,acme,us,{CANARY}-x9\n"
    );
    let file = world.write("faulty.csv", faulty);
    let done = world.import(&["csv", &file, "--json"]);
    assert_eq!(done.code, Some(1));
    let report = done.json();
    let entries = report["entries"].as_array().unwrap();
    let parts = [
        "",
        "user id is not accepted",
        "names no user",
        "another client than `us`",
        "no such provider",
        "neither a refresh token nor an access token",
        "characters that no token has",
        "5 fields",
        "line break",
    ];
    assert_eq!(entries.len(), parts.len(), "{report}");
    for (entry, part) in entries.iter().zip(parts) {
        assert!(entry["reason"].as_str().unwrap_or_default().contains(part), "{part}: {entry}");
        assert!(entry["help"].as_str().is_none_or(|help| !help.is_empty()), "{entry}");
    }
    // A quote in a field of a name takes the token in.
    for line in [
        format!("\"bob,acme,us,{CANARY}-y1\","),
        format!("bob,\"acme,us,{CANARY}-y2\n"),
        format!("bob,{CANARY}-y4,us,{CANARY}-y4\n"),
    ] {
        let file =
            world.write("quote.csv", format!("user_id,provider,client_id,refresh_token\n{line}"));
        assert_eq!(world.import(&["csv", &file, "--json"]).code, Some(1));
    }
    // A user id that a spreadsheet would run is only a name here.
    assert_eq!(entries[0]["status"], "live", "{report}");
    assert!(!done.stdout.contains('\u{1b}'), "{}", done.stdout);

    for (name, bytes, part) in [
        ("typo.csv", b"user_id,refersh_token\na,b\n".to_vec(), "did you mean `refresh_token`?"),
        ("none.csv", b"user_id,provider\n".to_vec(), "neither a column `refresh_token`"),
        ("user.csv", b"user,refresh_token\na,b\n".to_vec(), "“user” is no column"),
        ("twice.csv", b"user_id,away,away,refresh_token\n".to_vec(), "two columns “away”"),
        ("empty.csv", b"user_id,refresh_token\n".to_vec(), "has no connection"),
        ("utf16.csv", b"\xff\xfeu\0s\0".to_vec(), "save it as UTF-8"),
        ("big.csv", vec![b'a'; 64 * 1024 * 1024 + 1], "larger than 64 MiB"),
    ] {
        let file = world.write(name, bytes);
        let refused = world.import(&["csv", &file]);
        assert_eq!(refused.code, Some(1), "{name}");
        assert!(world.home.log().contains(part), "{part}: {}", world.home.log());
    }
    assert_eq!(world.import(&["csv", "missing.csv"]).code, Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_an_application_are_named_by_its_key() {
    let auth = r#"
        public_url = "https://tools.example"
        [[server.auth.api_keys]]
        name = "shop"
        key  = "env:SHOP_KEY"
        verifier_url = "https://shop.example/verify"
    "#;
    let mut world = World::with(auth).await;
    let home = std::mem::replace(&mut world.home, Home::new(""));
    world.home = home
        .with("SHOP_KEY", "shop-key-0123456789")
        .with("COUNTERSIGN_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    let file = world.write("users.csv", table(&["ana"]));
    for arguments in [&["csv", &file][..], &["csv", &file, "--of", "local"]] {
        assert_eq!(world.import(arguments).code, Some(2));
    }
    assert!(
        world.home.log().contains("write `--of` and the name of their application's key: `shop`")
    );
    assert_eq!(world.import(&["csv", &file, "--of", "shop"]).code, Some(0));
    let users = world.home.run(&["auth", "users"]);
    assert_eq!(users.stdout, "ana (of shop): acme\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_of_nango_answers_is_moved_in() {
    let world = World::with("").await;
    let of = |user: &str, credentials: Value| {
        json!({
            "id": 1, "connection_id": format!("c-{user}"), "provider_config_key": "acme-prod",
            "provider": "acme", "end_user": {"id": user, "email": format!("{user}@example.com")},
            "credentials": credentials,
        })
    };
    let oauth2 = |user: &str| {
        json!({
            "type": "OAUTH2", "access_token": format!("old-{user}"), "refresh_token": format!("{CANARY}-{user}"),
            "expires_at": "2026-01-01T00:00:00.000Z",
            "raw": {"scope": "notes:read", "token_type": "bearer"},
        })
    };
    let list = json!([
        of("ana", oauth2("ana")),
        of("bob", json!({"type": "API_KEY", "apiKey": "k"})),
        of("eve", Value::Null),
    ]);
    let file = world.write("nango.json", list.to_string());
    let rest = ["--provider", "acme-prod=acme", "--client-id", "us", "--json"];
    let arguments: Vec<&str> = ["nango", &file].into_iter().chain(rest).collect();
    let report = world.import(&arguments).json();
    let expected = pairs(&[("ana", "live"), ("bob", "refused"), ("eve", "refused")]);
    assert_eq!(of_statuses(&report), expected);
    assert!(report["entries"][2]["help"].as_str().unwrap().contains("refresh_token=true"));
    // One answer per line, and another place of the user id.
    let file = world
        .write("nango.jsonl", format!("{}\n{}\n", of("x", oauth2("x1")), of("y", oauth2("y1"))));
    let place = ["--user-column", "end_user.email"];
    let arguments: Vec<&str> = ["nango", &file].into_iter().chain(rest).chain(place).collect();
    let report = world.import(&arguments).json();
    let expected = pairs(&[("x@example.com", "live"), ("y@example.com", "live")]);
    assert_eq!(of_statuses(&report), expected);
    // Nothing in the error is of the file.
    let file = world.write("broken.json", format!("[{{\"refresh_token\": \"{CANARY}\" x"));
    assert_eq!(world.import(&["nango", &file]).code, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_composio_masks_and_arcade_keeps_is_said() {
    let world = World::with("").await;
    let of = |user: &str, refresh: &str, is_managed: bool| {
        json!({
            "id": "ca_1", "user_id": user, "status": "ACTIVE", "toolkit": {"slug": "acme"},
            "auth_config": {"id": "ac_1", "is_composio_managed": is_managed},
            "state": {"authScheme": "OAUTH2", "val": {
                "status": "ACTIVE", "access_token": format!("an-access-token-of-{user}"), "refresh_token": refresh,
                "expires_in": 3600, "scope": "notes:read",
            }},
        })
    };
    let items = json!({"items": [
        of("ana", &format!("{CANARY}-ana"), false),
        of("bob", "cana...", false),
        of("eve", &format!("{CANARY}-eve"), true),
    ]});
    let file = world.write("composio.json", items.to_string());
    let report = world.import(&["composio", &file, "--client-id", "us", "--json"]).json();
    let expected = pairs(&[("ana", "live"), ("bob", "refused"), ("eve", "refused")]);
    assert_eq!(of_statuses(&report), expected);
    let help = |at: usize| report["entries"][at]["help"].as_str().unwrap();
    assert!(help(1).contains("mask_secret_keys_in_connected_account"), "{report}");
    assert_eq!(world.import(&["arcade", &file]).code, Some(1));
    let log = world.home.log();
    assert!(
        log.contains("error: Arcade exports no refresh tokens") && log.contains("CSV file"),
        "{log}"
    );
}

/// Which of them is meant is not known, and the provider would take the second use of a token for a
/// theft: nothing of them is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_or_a_connection_that_a_file_has_twice_is_refused() {
    let world = World::with("").await;
    let rows = [("ana", "one"), ("bob", "one"), ("eve", "two"), ("eve", "three"), ("joe", "joe")];
    let rows = rows.map(|(user, token)| format!("{user},acme,us,{CANARY}-{token}\n")).concat();
    let text = format!("user_id,provider,client_id,refresh_token\n{rows}");
    let file = world.write("twice.csv", text);
    for arguments in [&["csv", &file, "--json", "--dry-run"][..], &["csv", &file, "--json"]] {
        let report = world.import(arguments).json();
        for (at, part) in [(0, "same token"), (1, "same token"), (2, "same connection")] {
            let reason = report["entries"][at]["reason"].as_str().unwrap_or_default();
            assert!(reason.contains(part), "{report}");
        }
        assert_eq!(report["entries"][3]["status"], "refused", "{report}");
    }
    assert_eq!(world.requests("/token"), 1, "{:?}", world.provider.requests());
}
