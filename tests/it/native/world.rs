//! A server of one person with tools that are code, a GitHub that the test decides, and clients.

use std::sync::Arc;

use countersign::app::{Access, App};
use countersign::broker::Call;
use countersign::broker::code::CodeTools;
use countersign::model::{Caller, Outcome, Principal, UserId};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::github_tools::{SearchGitHubRepos, StarGitHubRepo};
use crate::support::browser::{Browser, Page};
use crate::support::host::Dialect;
use crate::support::http::client;
use crate::support::provider::{Act, answer, json as said};
use crate::support::world::provider::Provider;
use crate::support::world::{self, TestClock};

/// The token that the API accepts.
pub(super) const TOKEN: &str = "a-token-of-ana";

pub(super) struct World {
    pub(super) app: Arc<App>,
    pub(super) provider: Provider,
    _server: world::World,
    address: String,
    browser: Browser,
    http: reqwest::Client,
}

impl World {
    /// A server with the tools of the example.
    pub(super) async fn of_example() -> Self {
        Self::with(|origin| {
            let api = || origin.to_owned();
            CodeTools::default()
                .with(SearchGitHubRepos { api: api() })
                .with(StarGitHubRepo { api: api() })
        })
        .await
    }

    /// A server with these tools, made from the API's origin.
    pub(super) async fn with(code: impl FnOnce(&str) -> CodeTools) -> Self {
        Self::beside("", code).await
    }

    /// Like [`Self::with`], with these lines in `tools.toml`, where `ORIGIN` stands for the API's.
    pub(super) async fn beside(more: &str, code: impl FnOnce(&str) -> CodeTools) -> Self {
        let clock = TestClock::new();
        let provider = Provider::start(&clock).await;
        provider.says(tokens(TOKEN));
        provider.api(|request| Act::Say(api(request)));
        let tools = format!("{TOOLS}{more}").replace("ORIGIN", provider.origin());
        let tools = tools.replace("HOST", provider.origin().trim_start_matches("http://"));
        let code = code(provider.origin());
        let server = world::World::coded(None, &clock, &tools, code);
        let address = server.serve(Access::Local(ana()));
        Self {
            app: Arc::clone(&server.app),
            provider,
            _server: server,
            address,
            browser: Browser::new(),
            http: client().build().unwrap(),
        }
    }

    /// Calls a tool.
    pub(super) async fn call(&self, tool: &str, arguments: Value) -> Outcome {
        let principal = Principal::local(ana());
        let arguments = arguments.as_object().cloned();
        let call = Call { arguments, ..Call::new(&principal, tool) };
        self.app.broker.call(call).await.expect("the tool exists")
    }

    /// Calls a tool and gives each consent that it asks for, until it ends.
    pub(super) async fn call_and_consent(&self, tool: &str, arguments: Value) -> Outcome {
        loop {
            match self.call(tool, arguments.clone()).await {
                Outcome::AuthorizationRequired(prompt) => {
                    self.consent(&prompt.url).await;
                }
                ended => return ended,
            }
        }
    }

    /// Gives the consent behind a link.
    pub(super) async fn consent(&self, link: &str) -> Page {
        let page = self.browser.get(link).await;
        let departure =
            self.browser.post(link, &[("answer", "continue"), ("shown", page.shown())]).await;
        assert_eq!(departure.status, StatusCode::SEE_OTHER, "{}", departure.text);
        let (redirect, state) = (departure.parameter("redirect_uri"), departure.parameter("state"));
        self.browser.get(&format!("{redirect}?state={state}&code=c0de")).await
    }

    /// Sends a POST request to a REST face; returns status and body.
    pub(super) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.address));
        let request = request.header("authorization", authorization(path));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null))
    }

    /// Sends a GET request to a REST face.
    pub(super) async fn get(&self, path: &str) -> Value {
        let request = self.http.get(format!("{}{path}", self.address));
        let response = request.header("authorization", authorization(path)).send().await.unwrap();
        serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null)
    }

    /// Calls a tool over MCP; `more` are further parameters of the call. Returns the last message
    /// and those before it.
    pub(super) async fn mcp(
        &self,
        dialect: Dialect,
        tool: &str,
        arguments: &Value,
        more: &Value,
    ) -> (Value, Vec<Value>) {
        let session = if dialect.is_stateless() { None } else { Some(self.session(dialect).await) };
        let mut params = dialect.sign(json!({ "name": tool, "arguments": arguments }));
        for (name, value) in more.as_object().into_iter().flatten() {
            match params.get_mut(name).and_then(Value::as_object_mut) {
                Some(known) => known.extend(value.as_object().cloned().unwrap_or_default()),
                None => params[name] = value.clone(),
            }
        }
        let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
        let mut messages = self.say(dialect, session.as_deref(), &call).await.1;
        (messages.pop().expect("an answer"), messages)
    }

    async fn session(&self, dialect: Dialect) -> String {
        let hello = json!({
            "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": dialect.initialize(),
        });
        let (session, _) = self.say(dialect, None, &hello).await;
        let session = session.expect("a session");
        let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        self.say(dialect, Some(&session), &ready).await;
        session
    }

    async fn say(
        &self,
        dialect: Dialect,
        session: Option<&str>,
        message: &Value,
    ) -> (Option<String>, Vec<Value>) {
        let mut request = self
            .http
            .post(format!("{}/mcp", self.address))
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        for (name, value) in dialect.headers(Some(message)) {
            request = request.header(name, value);
        }
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        let response = request.body(message.to_string()).send().await.unwrap();
        let session = response.headers().get("mcp-session-id");
        let session = session.map(|id| id.to_str().unwrap().to_owned());
        let text = response.text().await.unwrap();
        let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let events: Vec<Value> =
            events.filter_map(|event| serde_json::from_str(event).ok()).collect();
        let whole = serde_json::from_str(&text).ok();
        (session, if events.is_empty() { whole.into_iter().collect() } else { events })
    }
}

/// A key in the form of the face; the server of one person takes any.
fn authorization(path: &str) -> &'static str {
    if path.starts_with("/api/v0") { "Api-Key any" } else { "Bearer any" }
}

fn ana() -> Caller {
    Caller::local(UserId::new("ana"))
}

/// A token response with this access token, for all scopes that were asked for.
pub(super) fn tokens(token: &str) -> Vec<u8> {
    said(
        json!({
            "access_token": token,
            "refresh_token": "a-refresh-token",
            "token_type": "bearer",
            "expires_in": 3600,
        })
        .to_string(),
    )
}

/// The API: a search, stars, and what a tool must not get.
pub(super) fn api(request: &str) -> Vec<u8> {
    let head = request.to_ascii_lowercase();
    let has_token = head.contains(&format!("authorization: bearer {TOKEN}\r\n"));
    let path = request.split(' ').nth(1).unwrap_or_default();
    let json = "Content-Type: application/json\r\n";
    match path.split('?').next().unwrap_or_default() {
        _ if !has_token => answer("401 Unauthorized", json, r#"{"message":"Bad credentials"}"#),
        "/search/repositories" => said(
            r#"{"total_count":1,"items":[{"full_name":"ana/notes","description":null,"stargazers_count":3,"id":7}]}"#,
        ),
        "/user/starred/ana/gone" => answer("404 Not Found", json, r#"{"message":"Not Found"}"#),
        path if path.starts_with("/user/starred/") => answer("204 No Content", "", ""),
        "/busy" => answer("429 Too Many Requests", "Retry-After: 7\r\n", ""),
        "/scope" => {
            let challenge =
                "WWW-Authenticate: Bearer error=\"insufficient_scope\", scope=\"repo\"\r\n";
            answer("403 Forbidden", challenge, "")
        }
        "/echo" => said(format!(r#"{{"seen":"Bearer {TOKEN}"}}"#)),
        _ => said(r#"{"id":5}"#),
    }
}

const TOOLS: &str = r#"
[providers.github]
base_url  = "ORIGIN"
hosts     = ["HOST"]
client_id = "us"
client_secret = "cmd:echo s3cret"
[providers.github.oauth]
authorize_url = "ORIGIN/authorize"
token_url     = "ORIGIN/token"
loopback      = "any-port"

[tools.github_read_gist]
description = "Reads a gist."
provider    = "github"
scopes      = ["gist"]
request     = "GET /gists/{id}"
params.id   = "Its id"
"#;
