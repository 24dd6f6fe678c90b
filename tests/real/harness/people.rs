//! People at an issuer that knows them, at browsers of their own, and in an application.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde_json::{Value, json};

use super::part;
use super::program::Program;
use crate::support::host::{Answer, Host, Prompt, Served, Transport, Wire};
use crate::support::http::request;
use crate::support::process::running::Running;

/// The OpenID provider of the users and of the tested server.
pub struct Issuer(Program);

impl Issuer {
    pub const CLIENT: (&str, &str) = ("countersign", "sign-in-secret-0123456789");

    /// Starts an issuer whose access tokens are `jwt` or `opaque`.
    pub fn start(tokens: &str) -> Self {
        let (client_id, client_secret) = Self::CLIENT;
        let clients = json!([
            {
                "client_id": client_id,
                "client_secret": client_secret,
                "auth": "client_secret_basic",
                "any_port": true,
                "redirect_uris": ["http://127.0.0.1/signin/callback"],
            },
            {
                "client_id": "mcp-client",
                "auth": "none",
                "any_port": true,
                "redirect_uris": [REDIRECT],
            },
        ]);
        let options = json!({ "clients": clients, "resource_tokens": tokens });
        Self(Program::start("world/authorization_server.mjs", &options))
    }

    pub fn url(&self) -> &str {
        self.0.url()
    }

    /// Signs a person in at an MCP client; returns the access token that the client gets for the
    /// server.
    pub fn access_token(&self, served: &Served, login: &str) -> String {
        let mut command = Command::new(part("COUNTERSIGN_REAL_NODE"));
        command
            .arg(part("COUNTERSIGN_REAL_DIR").join("world/sign_in.mjs"))
            .args([self.url(), "mcp-client", REDIRECT])
            .args([&served.url(Transport::Streamable), login]);
        let tokens = Running::start(command).end().json();
        tokens["access_token"].as_str().expect("an access token").to_owned()
    }
}

const REDIRECT: &str = "http://127.0.0.1/callback";

/// An application with a key, whose verifier page knows the user of each browser.
pub struct Application(Program);

impl Application {
    pub fn start(key: &str) -> Self {
        Self(Program::start("world/app.mjs", &json!({ "key": key })))
    }

    pub fn url(&self) -> &str {
        self.0.url()
    }

    /// Makes it confirm every browser from now on, to this server.
    pub fn confirm_to(&self, served: &Served) {
        let body = json!({ "url": served.origin() }).to_string();
        let reply = request("POST", &format!("{}/test/server", self.url()), &[], &body);
        assert_eq!(reply.status, 200);
    }

    /// Requests to its verifier page: `flow_id`, `user_id`, and the `status` of the confirmation.
    pub fn flows(&self) -> Vec<Value> {
        let flows = request("GET", &format!("{}/test/flows", self.url()), &[], "").json();
        flows.as_array().expect("flows are a list").clone()
    }
}

/// A site whose page leads its visitors to another address, by script.
pub struct Attacker(Program);

impl Attacker {
    pub fn start() -> Self {
        Self(Program::start("world/attacker.mjs", &json!({})))
    }

    /// Returns the address of a page that leads to another one. Browsers treat `localhost` and
    /// `127.0.0.1` as different sites.
    pub fn lure(&self, to: &str) -> String {
        let to: String = url::form_urlencoded::byte_serialize(to.as_bytes()).collect();
        format!("{}/lure?to={to}", self.0.url().replace("127.0.0.1", "localhost"))
    }
}

/// People, each at a Chromium with a profile of their own.
pub struct Browsers(Program);

/// The page on a user's screen.
#[derive(Debug, Deserialize)]
pub struct Page {
    pub url: String,
    pub status: u16,
    pub title: String,
    pub text: String,
    pub fields: Vec<String>,
    pub buttons: Vec<Option<String>>,
    /// The addresses that led to it, redirects included.
    pub visited: Vec<String>,
}

impl Page {
    pub fn is_at(&self, origin: &str) -> bool {
        self.url.strip_prefix(origin).is_some_and(|path| path.starts_with('/'))
    }
}

impl Browsers {
    pub fn start() -> Self {
        Self(Program::start("world/profiles.mjs", &json!({})))
    }

    /// Browsers that run the scripts of pages.
    pub fn with_scripts() -> Self {
        Self(Program::start("world/profiles.mjs", &json!({ "scripts": true })))
    }

    /// Opens a page that leads on without a click, until the browser is at an address with this
    /// prefix.
    pub fn open_until(&mut self, who: &str, url: &str, at: &str) -> Page {
        self.act(&json!({ "who": who, "goto": url, "until": at }))
    }

    pub fn open(&mut self, who: &str, url: &str) -> Page {
        self.act(&json!({ "who": who, "goto": url }))
    }

    /// Presses a button by its value, or the only one.
    pub fn press(&mut self, who: &str, button: &str) -> Page {
        self.act(&json!({ "who": who, "press": button }))
    }

    /// Signs in and allows everything that the site `at` asks for, until another site asks.
    pub fn allow(&mut self, who: &str, at: &str, login: &str, mut page: Page) -> Page {
        for _ in 0..MOST_FORMS {
            if !page.is_at(at) {
                return page;
            }
            let has_login = page.fields.iter().any(|field| field == "login");
            let fill = if has_login { json!({ "login": login }) } else { json!({}) };
            page = self.act(&json!({ "who": who, "fill": fill, "press": "allow" }));
        }
        panic!("{who} is still at {at}: {page:?}");
    }

    /// Returns the accessibility problems of the page on a user's screen; leaves pictures of it
    /// under this name.
    pub fn problems(&mut self, who: &str, name: &str) -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/real/screens/people");
        std::fs::create_dir_all(&folder).unwrap();
        let seen = self.0.ask(&json!({ "who": who, "look": name, "folder": folder }));
        assert!(seen.get("error").is_none(), "{name}: {seen}");
        serde_json::from_value(seen["problems"].clone()).expect("a list of problems")
    }

    fn act(&mut self, what: &Value) -> Page {
        let page = self.0.ask(what);
        assert!(page.get("error").is_none(), "{what}: {page}");
        serde_json::from_value(page).expect("a page")
    }
}

const MOST_FORMS: usize = 4;

/// Calls `whoami`, and returns its request for consent.
pub fn asked(host: &mut Host<Box<dyn Wire>>) -> Prompt {
    host.call("whoami", &json!({})).asked()
}

/// Asserts which account at the tool's provider this caller's calls use.
#[track_caller]
pub fn assert_account(host: &mut Host<Box<dyn Wire>>, login: &str) {
    let text = host.call("whoami", &json!({})).ran();
    assert!(text.contains(&format!("\"{login}\"")), "{text}");
}

#[track_caller]
pub fn assert_unconnected(host: &mut Host<Box<dyn Wire>>) {
    let answer = host.call("whoami", &json!({}));
    assert!(matches!(answer, Answer::Asked(_)), "{answer:?}");
}
