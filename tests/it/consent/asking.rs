//! How the server asks a client for consent, and how it interprets the client's answer.

use std::time::Duration;

use countersign::app::Access;
use serde_json::{Value, json};

use super::world::{World, ana, tools_toml};
use crate::support::http::client;

const SEVERAL: &str = r#"
    [tools.typed]
    description = "Has an output schema."
    provider    = "acme"
    scopes      = ["notes:read"]
    request     = "GET /read"
    output      = { type = "object" }
"#;

/// A world behind `/mcp`, and an HTTP client for it.
struct Served {
    world: World,
    origin: String,
    http: reqwest::Client,
}

impl Served {
    async fn new() -> Self {
        Self::with("").await
    }

    /// Adds these lines to `[server]`.
    async fn with(server: &str) -> Self {
        let world =
            World::of(|origin| format!("[server]\n{server}\n{}{SEVERAL}", tools_toml(origin)))
                .await;
        let origin = world.serve(Access::Local(ana()));
        let http = client().build().unwrap();
        Self { world, origin, http }
    }

    /// Returns the status, the session ID and the JSON of the answer or of its last event.
    async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> (u16, Option<String>, Value) {
        let mut request = self
            .http
            .post(format!("{}{path}", self.origin))
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body.to_string()).send().await.unwrap();
        let status = response.status().as_u16();
        let session = response.headers().get("mcp-session-id");
        let session = session.map(|id| id.to_str().unwrap().to_owned());
        let text = response.text().await.unwrap();
        let last = text.lines().rfind(|line| line.starts_with("data: {"));
        let json = last.map_or(text.as_str(), |line| line.trim_start_matches("data: "));
        (status, session, serde_json::from_str(json).unwrap_or(Value::Null))
    }

    /// Sends a 2026-07-28 `tools/call` with these additional parameters.
    async fn call(&self, path: &str, tool: &str, url: bool, more: &Value) -> Value {
        let elicitation = if url { json!({ "url": {} }) } else { json!({}) };
        let mut params = json!({ "name": tool, "arguments": {}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "it", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": { "elicitation": elicitation },
        }});
        for (name, value) in more.as_object().into_iter().flatten() {
            params[name] = value.clone();
        }
        let headers = [
            ("MCP-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", "tools/call"),
            ("Mcp-Name", tool),
        ];
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
        let (status, _, answer) = self.post(path, &headers, &body).await;
        assert_eq!(status, 200, "{answer}");
        answer["result"].clone()
    }

    /// Makes a call that asks for consent, and answers with this action after some time.
    async fn answered(&self, action: &str, after: Duration) -> Value {
        let asked = self.call("/mcp", "read", true, &Value::Null).await;
        assert_eq!(asked["resultType"], "input_required", "{asked}");
        self.world.pass(after);
        let more = json!({
            "requestState": asked["requestState"],
            "inputResponses": { "acme_authorization": { "action": action } },
        });
        self.call("/mcp", "read", true, &more).await
    }

    /// Begins a session of 2025-11-25 that declares URL elicitation.
    async fn session(&self, path: &str, client: &str) -> Session<'_> {
        let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": { "elicitation": { "url": {} } },
            "clientInfo": { "name": client, "version": "1" },
        }});
        let (status, id, answer) = self.post(path, &[], &hello).await;
        assert_eq!(status, 200, "{answer}");
        let session = Session { served: self, path: path.to_owned(), id: id.unwrap() };
        session.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        session
    }
}

struct Session<'s> {
    served: &'s Served,
    path: String,
    id: String,
}

impl Session<'_> {
    async fn say(&self, message: &Value) -> Value {
        let headers =
            [("Mcp-Session-Id", self.id.as_str()), ("MCP-Protocol-Version", "2025-11-25")];
        self.served.post(&self.path, &headers, message).await.2
    }

    async fn call(&self, tool: &str) -> Value {
        self.say(&json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call",
            "params": { "name": tool, "arguments": {} } }))
            .await
    }
}

/// Returns the link from the text form of the prompt.
#[track_caller]
fn link_in(result: &Value) -> String {
    let machine = result["content"][1]["text"].as_str().unwrap_or_else(|| panic!("{result}"));
    let machine: Value = serde_json::from_str(machine).unwrap();
    machine["authorization_url"].as_str().unwrap().to_owned()
}

fn words(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{result}"))
}

#[tokio::test]
async fn what_a_machine_answers_gives_the_link_as_text_and_is_no_refusal() {
    let served = Served::new().await;
    for (action, after) in [
        ("cancel", Duration::ZERO),
        ("cancel", Duration::from_mins(2)),
        ("decline", Duration::ZERO),
        ("decline", Duration::from_millis(16)),
        ("decline", Duration::from_millis(999)),
    ] {
        let told = served.answered(action, after).await;
        assert_eq!(told["isError"], true, "{action} after {after:?}: {told}");
        let link = link_in(&told);
        assert!(words(&told).contains(&link), "{told}");
        assert!(!words(&told).contains("Do not ask again"), "{told}");
        let page = served.world.get(&link).await;
        assert_eq!(page.status, 200, "it is open");
    }
}

#[tokio::test]
async fn a_slow_decline_is_the_persons_and_two_of_them_end_the_asking() {
    let served = Served::new().await;
    for after in [Duration::from_secs(1), Duration::from_secs(40)] {
        let told = served.answered("decline", after).await;
        assert!(words(&told).contains("the user declined"), "{told}");
    }
    let told = served.call("/mcp", "read", true, &Value::Null).await;
    assert_eq!(told["isError"], true, "{told}");
    assert!(words(&told).contains("2 times within the last hour"), "{told}");
    served.world.pass(Duration::from_hours(1));
    let asked = served.call("/mcp", "read", true, &Value::Null).await;
    assert_eq!(asked["resultType"], "input_required", "{asked}");
}

#[tokio::test]
async fn an_error_that_shows_nothing_but_its_message_shows_the_link() {
    let served = Served::new().await;
    let session = served.session("/mcp", "it").await;
    let error = session.call("read").await["error"].clone();
    assert_eq!(error["code"], -32042, "{error}");
    let link = error["data"]["elicitations"][0]["url"].as_str().unwrap();
    let message = error["message"].as_str().unwrap();
    assert!(message.ends_with(link), "{message}");
    assert!(message.contains("open this link in a browser"), "{message}");
}

#[tokio::test]
async fn who_swallows_the_error_gets_the_text_the_next_time() {
    let served = Served::new().await;
    let session = served.session("/mcp", "it").await;
    assert_eq!(session.call("read").await["error"]["code"], -32042);
    let told = session.call("read").await["result"].clone();
    let link = link_in(&told);
    // Another session has not been shown the link yet.
    let other = served.session("/mcp", "it").await;
    assert_eq!(other.call("read").await["error"]["code"], -32042);
    // A client that has brought its user to the page understands the error.
    served.world.get(&link).await;
    assert_eq!(session.call("read").await["error"]["code"], -32042);
    // The error comes first again for a new link.
    served.world.press(&link, "decline").await;
    let again = served.session("/mcp", "it").await;
    assert_eq!(again.call("read").await["error"]["code"], -32042);
}

/// Returns `input`, `error`, `text` or `result`.
fn way(answer: &Value) -> &'static str {
    if answer["error"]["code"] == -32042 {
        return "error";
    }
    let result = if answer["result"].is_null() { answer } else { &answer["result"] };
    if result["resultType"] == "input_required" {
        return "input";
    }
    link_in(result);
    if result["isError"] == true { "text" } else { "result" }
}

#[tokio::test]
async fn the_operator_or_else_the_address_says_how_clients_are_asked() {
    for (written, query, expected, typed) in [
        ("", "", "input", "input"),
        ("", "?consent=auto", "input", "input"),
        ("", "?consent=text", "text", "text"),
        ("", "?consent=result", "result", "text"),
        ("", "?other=1&consent=result", "result", "text"),
        ("consent = \"text\"", "", "text", "text"),
        ("consent = \"result\"", "", "result", "text"),
        ("consent = \"text\"", "?consent=auto", "text", "text"),
        ("consent = \"auto\"", "?consent=text", "input", "input"),
        ("consent = \"result\"", "?consent=text", "result", "text"),
    ] {
        let served = Served::with(written).await;
        let path = format!("/mcp{query}");
        let of =
            async |tool, declares| way(&served.call(&path, tool, declares, &Value::Null).await);
        assert_eq!(of("read", true).await, expected, "{written} {query}");
        assert_eq!(of("typed", true).await, typed, "{written} {query}");
        let undeclared = if expected == "result" { "result" } else { "text" };
        assert_eq!(of("read", false).await, undeclared, "{written} {query}");
        let session = served.session(&path, "it").await;
        let in_session = if expected == "input" { "error" } else { expected };
        assert_eq!(way(&session.call("read").await), in_session, "{written} {query}");
    }
}

#[tokio::test]
async fn an_address_with_a_word_that_means_nothing_is_refused() {
    let served = Served::new().await;
    for query in ["consent=", "consent=Text", "consent=text&consent=result"] {
        let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
        let (status, _, answer) = served.post(&format!("/mcp?{query}"), &[], &ping).await;
        assert_eq!(status, 400, "{query}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("auto, text or result"), "{message}");
    }
}

#[tokio::test]
async fn the_page_says_where_the_client_waits_for_a_click() {
    for (client, waits) in [("claude-code", true), ("Claude Code", true), ("it", false)] {
        let served = Served::new().await;
        let world = &served.world;
        world.provider.says(super::world::tokens(r#"{"access_token":"first"}"#));
        let session = served.session("/mcp", client).await;
        let error = session.call("read").await["error"].clone();
        let link = error["data"]["elicitations"][0]["url"].as_str().unwrap();
        world.consent_by(link).await;
        let page = world.get(link).await;
        assert_eq!(page.text.contains("Retry now"), waits, "{client}: {}", page.text);
    }
}
