//! A server with tools of a GitHub that the test decides, and Portia's client before it.

use std::fmt::Write as _;
use std::time::Duration;

use countersign::app::{Access, App};
use countersign::config::Config;
use countersign::model::run::{DocumentLimits, Stored};
use countersign::model::server_auth::{ApplicationSettings, KeyHolder, ResolvedAuth, ResolvedKey};
use countersign::model::{Caller, UserId};
use countersign::store::Tables;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::rest::document::Exchange;
use crate::snapshot::Snapshot;
use crate::support::browser::{Browser, Page};
use crate::support::http::{Reply, request};
use crate::support::provider::{Act, json as said};
use crate::support::world::provider::Provider;
use crate::support::world::{self, TestClock};

/// The run of a plan, as the client names it.
pub(super) const RUN: &str = "prun-6989f1aa-f910-4c53-b3c5-69d1aa4ebf42";
/// A plan, as the client names it.
pub(super) const PLAN: &str = "plan-0a1b2c3d-f910-4c53-b3c5-69d1aa4ebf42";
/// Key of the application `app`, and of every program of a machine.
pub(super) const KEY: &str = "app-key-0123456789abcdef0123456789";
/// Key of the application `other`.
pub(super) const OTHER_KEY: &str = "other-key-0123456789abcdef0123456789";
/// Key of a person.
pub(super) const PERSONS_KEY: &str = "ana-key-0123456789abcdef0123456789";
/// The public host of a server of many.
const HOST: &str = "tools.example";

pub(super) struct World {
    pub(super) provider: Provider,
    server: world::World,
    browser: Browser,
    /// The served port.
    address: String,
    /// `Host` of each request; `None`: the port's own.
    host: Option<&'static str>,
}

impl World {
    /// A server of one's own machine.
    pub(super) async fn new() -> Self {
        Self::with("").await
    }

    /// Like [`Self::new`], with more tables in `tools.toml`; `ORIGIN` stands for the provider's.
    pub(super) async fn with(more: &str) -> Self {
        Self::altered(None, |_| more.to_owned(), |_| {}).await
    }

    /// Like [`Self::new`], with a tool whose user confirms each call.
    pub(super) async fn with_payments() -> Self {
        Self::altered(None, world::payments, world::confirm_payments).await
    }

    /// Like [`Self::of_many`], where little is stored for a user, and with a key.
    pub(super) async fn with_little_room() -> Self {
        Self::altered(
            Some("https://tools.example"),
            |_| String::new(),
            |config| {
                config.server.document_limits = DocumentLimits {
                    of_user: Stored { documents: 4, bytes: 20_000 },
                    of_key: Stored { documents: 6, bytes: 30_000 },
                };
            },
        )
        .await
    }

    /// A server with the keys of two applications and of one person.
    pub(super) async fn of_many() -> Self {
        Self::altered(Some("https://tools.example"), |_| String::new(), |_| {}).await
    }

    async fn altered(
        public: Option<&str>,
        more: impl FnOnce(&str) -> String,
        alter: fn(&mut Config),
    ) -> Self {
        let clock = TestClock::new();
        let provider = Provider::start(&clock).await;
        provider.tokens(|_| Act::Say(said(TOKENS)));
        provider.api(|request| Act::Say(api(request)));
        let tools = format!("{TOOLS}{}", more(provider.origin()));
        let tools = tools.replace("ORIGIN", provider.origin());
        let server = world::World::altered(public, &clock, &tools, alter);
        let access = match public {
            None => Access::Local(Caller::local(UserId::new("default"))),
            Some(_) => server.for_many(ResolvedAuth { issuer: None, keys: keys() }),
        };
        let address = server.serve(access);
        let host = public.map(|_| HOST);
        Self { provider, server, browser: Browser::new(), address, host }
    }

    pub(super) fn app(&self) -> &App {
        &self.server.app
    }

    /// The tables of another process that shares the store.
    pub(super) fn tables_of_a_peer(&self) -> Tables {
        self.server.tables_of_a_peer()
    }

    /// The part of one of the server's URLs that follows the origin.
    pub(super) fn path_of(&self, url: &str) -> String {
        let origin = match self.host {
            None => self.address.clone(),
            Some(host) => format!("https://{host}"),
        };
        url.strip_prefix(&origin).unwrap_or_else(|| panic!("{url} is not at {origin}")).to_owned()
    }

    /// Lets time pass.
    pub(super) fn pass(&self, span: Duration) {
        self.server.clock.pass(span);
    }

    /// Sends a request with this key, and a body of JSON if there is one.
    pub(super) async fn send(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Reply {
        let key = format!("Api-Key {key}");
        let mut headers = vec![("authorization", key.as_str())];
        headers.extend(body.map(|_| ("content-type", "application/json")));
        self.send_raw(method, path, &headers, &body.map(Value::to_string).unwrap_or_default()).await
    }

    /// Sends a request with exactly these headers beside `Host`.
    pub(super) async fn send_raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let owned = |text: &str| text.to_owned();
        let (verb, url, sent) = (owned(method), format!("{}{path}", self.address), owned(body));
        let host = self.host.map(|host| ("host", host));
        let headers: Vec<(String, String)> =
            host.iter().chain(headers).map(|(name, value)| (owned(name), owned(value))).collect();
        let sent_type = headers.iter().find(|(name, _)| name == "content-type");
        let sent_type = sent_type.map(|(_, value)| value.clone());
        let reply = tokio::task::spawn_blocking(move || {
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            request(&verb, &url, &headers, &sent)
        });
        let reply = reply.await.expect("the request was sent");
        let exchange = Exchange {
            method,
            path,
            sent_type: sent_type.as_deref(),
            sent: body.as_bytes(),
            status: reply.status,
            answered_type: reply.header("content-type"),
            answered: reply.body.as_bytes(),
        };
        exchange.check();
        reply
    }

    /// Answers the question behind a link with this button, as the person in front of this machine.
    pub(super) async fn press(&self, link: &str, answer: &str) -> Page {
        let page = self.browser.get(link).await;
        self.browser.post(link, &[("answer", answer), ("shown", page.shown())]).await
    }

    /// Gives the consent behind a link, as the person in front of this machine.
    pub(super) async fn consent(&self, link: &str) -> Page {
        let departure = self.press(link, "continue").await;
        assert_eq!(departure.status, StatusCode::SEE_OTHER, "{}", departure.text);
        let redirect = departure.parameter("redirect_uri");
        let state = departure.parameter("state");
        self.browser.get(&format!("{redirect}?state={state}&code=c0de")).await
    }
}

/// Body of a request to run a tool.
pub(super) fn run_body(user: Option<&str>, arguments: &Value) -> Value {
    json!({ "arguments": arguments, "execution_context": context(user) })
}

/// The user and the run of a request.
pub(super) fn context(user: Option<&str>) -> Value {
    json!({ "end_user_id": user, "plan_run_id": RUN })
}

fn keys() -> Vec<ResolvedKey> {
    let application = |name: &str, key: &str| ResolvedKey {
        name: name.into(),
        values: vec![key.into()],
        holder: KeyHolder::Application(ApplicationSettings {
            verifier_url: Some(format!("https://{name}.example/verify").parse().expect("a URL")),
            ..ApplicationSettings::default()
        }),
    };
    let ana = ResolvedKey {
        name: "laptop".into(),
        values: vec![PERSONS_KEY.into()],
        holder: KeyHolder::Person(UserId::new("ana")),
    };
    vec![application("app", KEY), application("other", OTHER_KEY), ana]
}

/// A conversation in the making: each request of the client with the server's answer.
pub(super) struct Conversation<'w> {
    world: &'w World,
    snapshot: Snapshot,
}

impl<'w> Conversation<'w> {
    pub(super) fn new(world: &'w World, name: &str) -> Self {
        Self { world, snapshot: Snapshot::new(&format!("portia/{name}")) }
    }

    /// Sends a request, and notes it with its answer under this heading.
    pub(super) async fn say(
        &mut self,
        heading: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Reply {
        let reply = self.world.send(KEY, method, path, body).await;
        self.snapshot.part(heading);
        let mut text = format!("{method} {path}\n");
        if let Some(body) = body {
            let _ = writeln!(text, "{body:#}");
        }
        let _ = writeln!(text, "\n{}", reply.status);
        for name in ["content-type", "cache-control", "www-authenticate", "retry-after"] {
            if let Some(value) = reply.header(name) {
                let _ = writeln!(text, "{name}: {value}");
            }
        }
        let _ = writeln!(text, "{:#}", reply.json());
        self.snapshot.add(&text);
        reply
    }

    /// Calls a tool for this user.
    pub(super) async fn run(
        &mut self,
        heading: &str,
        user: &str,
        tool: &str,
        arguments: &Value,
    ) -> Reply {
        let body = run_body(Some(user), arguments);
        self.say(heading, "POST", &format!("/api/v0/tools/{tool}/run/"), Some(&body)).await
    }

    /// Notes what happens between two requests.
    pub(super) fn note(&mut self, heading: &str) {
        self.snapshot.part(heading);
    }

    #[track_caller]
    pub(super) fn hold(self) {
        let origin = self.world.provider.origin();
        let host = origin.trim_start_matches("http://");
        let (run, plan) = (RUN.trim_start_matches("prun-"), PLAN.trim_start_matches("plan-"));
        let known = [(origin, "http://API"), (host, "API"), (run, "RUN"), (plan, "PLAN")];
        self.snapshot.hold(&known);
    }
}

const TOKENS: &str = r#"{"access_token":"a-token","scope":"repo:read starring","expires_in":3600}"#;

fn api(request: &str) -> Vec<u8> {
    use crate::support::provider::answer;
    let json = "Content-Type: application/json\r\n";
    let path = request.split(' ').nth(1).unwrap_or_default();
    let has_token = request.to_ascii_lowercase().contains("authorization: bearer a-token");
    match path.split('?').next().unwrap_or_default() {
        "/search" if has_token => said(r#"[{"owner":"portiaAI","repo":"docs"}]"#),
        path if path.starts_with("/starred/") && has_token => answer("204 No Content", "", ""),
        "/search" | "/starred/portiaAI/docs" => answer("401 Unauthorized", "", ""),
        "/admin" if has_token => {
            let challenge =
                "WWW-Authenticate: Bearer error=\"insufficient_scope\", scope=\"starring\"\r\n";
            answer("403 Forbidden", challenge, "")
        }
        "/numbers" => said("[1,2,3]"),
        "/categories" => said(r#"[{"category":"Action"}]"#),
        "/text" => answer("200 OK", "Content-Type: text/plain\r\n", "plain text"),
        "/missing" => answer("404 Not Found", json, r#"{"message":"no such note"}"#),
        "/forbidden" => answer("403 Forbidden", json, r#"{"message":"not yours"}"#),
        "/busy" => answer("429 Too Many Requests", "Retry-After: 7\r\n", ""),
        "/broken" => answer("500 Oh No", json, "{}"),
        _ => said(r#"{"id":5}"#),
    }
}

const TOOLS: &str = r#"
[providers.hub]
title     = "GitHub"
base_url  = "ORIGIN"
client_id = "us"
[providers.hub.oauth]
authorize_url = "ORIGIN/authorize"
token_url     = "ORIGIN/token"
revoke_url    = "ORIGIN/revoke"
loopback      = "any-port"

[tools.github_search_repos]
title        = "Portia Github Search Repos"
description  = "Searches repositories."
provider     = "hub"
scopes       = ["repo:read"]
request      = "GET /search"
params.query = { as = "q", description = "What to search for." }
params.limit = { default = 10, min = 1, max = 100, description = "How many" }
params.sort  = { enum = ["stars", "forks"], optional = true, description = "Order" }
ids          = { portia = "portia:github::search_repos" }
args         = { portia = { query = "search_term" } }
returns      = { type = "list", description = "The repositories." }

[tools.github_star_repo]
title        = "Portia Github Star Repo"
description  = "Stars a GitHub repository."
provider     = "hub"
scopes       = ["starring"]
request      = "PUT /starred/{owner}/{repo}"
params.owner = "The owner"
params.repo  = "The repository"
reply        = "Starred {owner}/{repo}."
ids          = { portia = "portia:github::star_repo" }
args         = { portia = { "owner/repo" = "repo" } }

[tools.github_admin]
title       = "Administer"
description = "Needs more than it declares."
provider    = "hub"
scopes      = ["repo:read"]
request     = "GET /admin"

[tools.numbers]
description = "Returns numbers."
request     = "GET ORIGIN/numbers"

[tools.categories]
description = "Returns what looks like a clarification."
request     = "GET ORIGIN/categories"

[tools.text]
description = "Returns a text."
request     = "GET ORIGIN/text"

[tools.notes_list]
title            = "List notes"
description      = "Returns a note."
request          = "GET ORIGIN/notes"
should_summarize = true
params.kind      = { enum = ["a", "A", "b"], optional = true, description = "Which" }
params.filter    = { type = "object", optional = true, description = "Free form" }

[tools.issues_list]
title        = "List issues"
description  = "Lists issues."
request      = "GET ORIGIN/issues"
params.query = "What to search for."
params.state = { enum = ["open", "closed"], description = "Which issues." }
params.page  = { type = "integer", optional = true, description = "Which page." }
args         = { portia = { query = "search_term" } }

[tools.odd]
description = "Has a parameter that the clients cannot read."
request     = "GET ORIGIN/odd"
params._id  = "Which"

[tools.missing]
description = "x"
request     = "GET ORIGIN/missing"

[tools.forbidden]
description = "x"
request     = "GET ORIGIN/forbidden"

[tools.busy]
description = "x"
request     = "GET ORIGIN/busy"

[tools.broken_write]
description = "x"
request     = "POST ORIGIN/broken"
"#;
