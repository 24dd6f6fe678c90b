//! A machine with tools of every kind, and the APIs behind them.

use crate::support::browser::{Browser, Page};
use crate::support::process::home::Home;
use crate::support::provider::{self, Act, Server};

/// The providers whose consents are given, one after the other.
const PROVIDERS: [&str; 3] = ["acme", "bolt", "crate"];

pub(super) struct Machine {
    pub(super) home: Home,
    api: Server,
}

impl Machine {
    /// A machine with tools that run, and tools that need a consent.
    pub(super) async fn with_consents() -> Self {
        let api = api().await;
        let tools = format!("{}{}", plain_tools(&api.origin), consent_tools(&api.origin));
        Self { home: Home::new(&tools), api }
    }

    /// A machine with a tool for each failure.
    pub(super) async fn with_failures() -> Self {
        let api = api().await;
        let tools = format!("{}{}", plain_tools(&api.origin), failing_tools(&api.origin));
        Self { home: Home::new(&tools), api }
    }

    /// Values of this machine, with their names in a snapshot.
    pub(super) fn known(&self) -> [(&str, &str); 2] {
        let host = self.api.origin.trim_start_matches("http://");
        [(&self.api.origin, "http://API"), (host, "API")]
    }
}

async fn api() -> Server {
    Server::start(|request| {
        let path = request.split(' ').nth(1).unwrap().split('?').next().unwrap();
        let json = "Content-Type: application/json\r\n";
        let has_token = request.to_ascii_lowercase().contains("authorization: bearer a-token");
        Act::Say(match path {
            "/token" => provider::json(
                r#"{"access_token":"a-token","refresh_token":"r","expires_in":3600}"#,
            ),
            "/revoke" => provider::json("{}"),
            "/read" if has_token => provider::json(r#"{"notes":["one","two"]}"#),
            "/read" => provider::answer("401 Unauthorized", "", ""),
            "/text" => provider::answer("200 OK", "Content-Type: text/plain\r\n", "plain text"),
            "/nothing" => provider::answer("204 No Content", "", ""),
            "/missing" => provider::answer("404 Not Found", json, r#"{"message":"no such note"}"#),
            "/forbidden" => provider::answer("403 Forbidden", json, r#"{"message":"not yours"}"#),
            "/refused" => provider::answer("422 Unprocessable", json, r#"{"message":"bad title"}"#),
            "/busy" => provider::answer("429 Too Many Requests", "Retry-After: 7\r\n", ""),
            "/broken" => provider::answer("500 Oh No", "Content-Type: text/html\r\n", "<html>"),
            "/torn" => {
                return Act::SayAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_vec());
            }
            "/silent" => return Act::Stall(Vec::new()),
            _ => {
                provider::json(r#"{"id":5,"text":"hello","status":"rejected","reason":"too old"}"#)
            }
        })
    })
    .await
}

fn plain_tools(origin: &str) -> String {
    format!(
        r#"
        [tools.plain]
        title       = "Read plainly"
        description = "Reads without a consent."
        request     = "GET {origin}/plain/{{id}}"
        params.id   = {{ type = "integer", min = 1, description = "Which." }}
        params.word = {{ optional = true, enum = ["one", "two"], description = "How." }}

        [tools.shaped]
        description = "Returns data."
        request     = "GET {origin}/plain"
        select      = "{{id}}"
        output      = {{ type = "object", properties = {{ id = {{ type = "integer" }} }}, required = ["id"] }}

        [tools.text]
        description = "Returns a text."
        request     = "GET {origin}/text"

        [tools.nothing]
        description = "Returns nothing."
        request     = "DELETE {origin}/nothing"
        "#
    )
}

fn consent_tools(origin: &str) -> String {
    let of = |name: &&str| {
        format!(
            r#"
            [providers.{name}]
            title     = "{title}"
            base_url  = "{origin}"
            client_id = "us"
            [providers.{name}.oauth]
            authorize_url = "{origin}/authorize"
            token_url     = "{origin}/token"
            revoke_url    = "{origin}/revoke"
            loopback      = "any-port"

            [tools.{name}_read]
            description = "Reads notes."
            provider    = "{name}"
            scopes      = ["notes:read"]
            request     = "GET /read"
            "#,
            title = name.to_uppercase()
        )
    };
    PROVIDERS.iter().map(of).collect()
}

fn failing_tools(origin: &str) -> String {
    let paths = ["missing", "forbidden", "refused", "busy", "broken", "torn"];
    let tool = |path: &&str| {
        format!("[tools.{path}]\ndescription = \"x\"\nrequest = \"GET {origin}/{path}\"\n")
    };
    let refused = paths.iter().map(tool).collect::<Vec<_>>().concat();
    format!(
        r#"
        {refused}
        [tools.torn_write]
        description = "x"
        request     = "POST {origin}/torn"

        [tools.silent]
        description = "x"
        request     = "GET {origin}/silent"
        timeout     = 1

        [tools.away]
        description = "x"
        request     = "GET http://127.0.0.1:9/x"

        [tools.reported]
        description = "x"
        request     = "GET {origin}/plain"
        error       = 'if .status == "rejected" then .reason else empty end'

        [tools.filtered]
        description = "x"
        request     = "GET {origin}/plain"
        select      = ".text.deeper"

        [tools.not_json]
        description = "x"
        request     = "GET {origin}/text"
        select      = ".id"

        [tools.misshapen]
        description = "x"
        request     = "GET {origin}/plain"
        output      = {{ type = "object", properties = {{ id = {{ type = "string" }} }} }}

        [providers.keyed]
        base_url = "{origin}"
        api_key  = {{ query = "key", value = "env:KEYED_KEY" }}
        [tools.keyed]
        description = "x"
        provider    = "keyed"
        request     = "GET /x"

        [providers.unfinished]
        client_id     = "us"
        client_secret = "env:UNFINISHED_SECRET"
        base_url      = "{origin}"
        [providers.unfinished.oauth]
        authorize_url = "{origin}/authorize"
        token_url     = "{origin}/token"
        loopback      = "any-port"
        [tools.unfinished]
        description = "x"
        provider    = "unfinished"
        request     = "GET /x"
        "#
    )
}

/// Consents through this link in a browser; returns the page that it ends on.
pub(super) async fn consent(link: &str) -> Page {
    let browser = Browser::new();
    let page = browser.get(link).await;
    let departure = browser.post(link, &[("answer", "continue"), ("shown", page.shown())]).await;
    let (redirect, state) = (departure.parameter("redirect_uri"), departure.parameter("state"));
    let back = browser.get(&format!("{redirect}?state={state}&code=c0de")).await;
    browser.get(back.location()).await
}

/// Declines through this link in a browser.
pub(super) async fn decline(link: &str) {
    let browser = Browser::new();
    let page = browser.get(link).await;
    browser.post(link, &[("answer", "decline"), ("shown", page.shown())]).await;
}
