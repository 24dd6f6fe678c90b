//! The guide "Authorized Tool Calling" of Arcade's documentation, as it stands, with the two
//! environment variables: an unmodified client, Gmail played by an API of ours, Google by an
//! authorization server.
//!
//! `tests/it/seeds.rs` compares the programs with the guide's text.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Home, Running, Served, Visit, World, part};

const ASKS: &str = "Click this link to authorize: ";

/// Longer than any poll of a client or an idle connection: the clients' own limit for a request.
const SLOW_CONSENT: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug)]
enum Language {
    Python,
    JavaScript,
}

impl Language {
    const ALL: [Self; 2] = [Self::Python, Self::JavaScript];

    /// Starts the guide with nothing but the two variables in its environment.
    fn start(self, served: &Served) -> Running {
        let folder = part("COUNTERSIGN_REAL_DIR").join("fixtures/seed");
        let mut command = match self {
            Self::Python => {
                let mut python = Command::new(part("COUNTERSIGN_REAL_ARCADE_PYTHON"));
                // Unbuffered, as in a terminal: the user reads the link while the program waits.
                python.arg("-u").arg(folder.join("authorized_tool_calling.py"));
                python
            }
            Self::JavaScript => {
                let mut node = Command::new(part("COUNTERSIGN_REAL_NODE"));
                node.arg(folder.join("authorized_tool_calling.js"));
                node
            }
        };
        command
            .env_clear()
            .env("ARCADE_BASE_URL", served.origin())
            .env("ARCADE_API_KEY", "any-key");
        Running::start(command)
    }
}

struct Gmail {
    home: Home,
    served: Served,
    _world: World,
}

impl Gmail {
    fn start() -> Self {
        let redirect = json!([
            "http://127.0.0.1/oauth/callback/google",
            "http://localhost/oauth/callback/google"
        ]);
        let scopes = json!(["openid", "email", "https://www.googleapis.com/auth/gmail.readonly"]);
        let world = World::with(&json!({ "redirect_uris": redirect, "scopes": scopes }), json!({}));
        let home = Home::new(&tools(&world));
        let served = Served::start(&home);
        Self { home, served, _world: world }
    }

    /// Runs the guide and expects the emails at once.
    fn is_connected(&self, language: Language) {
        let finished = language.start(&self.served).end();
        assert_eq!(finished.code, Some(0), "{language:?}: {finished:?}\n{}", self.home.log());
        assert!(!finished.stdout.contains(ASKS), "{language:?}: {finished:?}");
        assert_has_emails(language, &finished.stdout);
    }

    fn revoke(&self) {
        let user = "{arcade_user_id}";
        let revoked = self.home.run(&["auth", "revoke", "google", "--user", user]);
        assert_eq!(revoked.code, Some(0), "{}", self.home.log());
    }
}

/// The built-in provider with the addresses of the world: what it knows of Google's scopes stays.
fn tools(world: &World) -> String {
    let (issuer, api) = (world.issuer(), world.api());
    let host = api.trim_start_matches("http://");
    format!(
        r#"
[providers.google]
base_url      = "{api}"
hosts         = ["{host}"]
client_id     = "web-basic"
client_secret = "env:NOTES_CLIENT_SECRET"
[providers.google.oauth]
issuer        = "{issuer}"
authorize_url = "{issuer}/auth"
token_url     = "{issuer}/token"
revoke_url    = "{issuer}/token/revocation"
userinfo_url  = "{issuer}/me"
token_auth    = "basic"

[tools.list_emails]
title        = "List e-mails"
description  = "List the newest conversations of the mailbox."
provider     = "google"
scopes       = ["gmail.readonly"]
request      = "GET /gmail/v1/users/me/threads"
params.limit = {{ type = "integer", default = 5, min = 1, max = 100, description = "How many" }}
query        = {{ maxResults = "{{limit}}" }}
select       = "[.threads[].snippet]"
ids          = {{ arcade = "Gmail.ListEmails" }}
args         = {{ arcade = {{ limit = "n_emails" }} }}
"#
    )
}

/// Returns the link that the guide prints first.
fn link_of(guide: &Running) -> String {
    let line = guide.line();
    let link = line.strip_prefix(ASKS).unwrap_or_else(|| panic!("no link: {line}"));
    link.to_owned()
}

fn assert_has_emails(language: Language, printed: &str) {
    for snippet in ["Lunch on Friday?", "Your invoice"] {
        assert!(printed.contains(snippet), "{language:?}: {printed}");
    }
}

fn goes_on(language: Language, guide: Running) {
    let finished = guide.end();
    assert_eq!(finished.code, Some(0), "{language:?}: {finished:?}");
    assert_has_emails(language, &finished.stdout);
}

fn asks_once_and_again_after_a_revocation(language: Language) {
    let gmail = Gmail::start();
    for _ in 0..2 {
        let guide = language.start(&gmail.served);
        Visit::to(&link_of(&guide)).approves();
        goes_on(language, guide);
        gmail.is_connected(language);
        gmail.revoke();
    }
}

#[test]
fn the_python_guide_asks_once_and_again_after_a_revocation() {
    asks_once_and_again_after_a_revocation(Language::Python);
}

#[test]
fn the_javascript_guide_asks_once_and_again_after_a_revocation() {
    asks_once_and_again_after_a_revocation(Language::JavaScript);
}

/// Both programs wait for the same user, so one consent lets both go on.
#[test]
fn a_consent_of_a_minute_is_waited_for() {
    let gmail = Gmail::start();
    let guides = Language::ALL.map(|language| (language, language.start(&gmail.served)));
    let links = guides.each_ref().map(|(_, guide)| link_of(guide));
    assert_eq!(links[0], links[1]);
    // The user's minute, in which the clients' first poll ends and the second begins.
    std::thread::sleep(SLOW_CONSENT);
    Visit::to(&links[0]).approves();
    for (language, guide) in guides {
        goes_on(language, guide);
        gmail.is_connected(language);
    }
}
