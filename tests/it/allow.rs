//! `allow`: which callers see and call a tool, on a server with several callers.

use std::sync::Arc;

use countersign::app::App;
use countersign::mcp::{Handler, ServerText, Who};
use countersign::model::principal::BrowserProof;
use countersign::model::{Caller, Principal, UserId};
use rmcp::ServiceExt as _;
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, ReadHalf, WriteHalf,
};

use crate::command::{countersign, run};
use crate::support::provider::{Server, json as answer};
use crate::support::world::{TestClock, World};

const ISSUER: &str = "https://login.example.com";

/// Three tools: for all callers, for one group, for one person.
fn tools_toml(origin: &str) -> String {
    let tool = |name: &str, allow: &str| {
        format!("[tools.{name}]\ndescription = \"x\"\nrequest = \"GET {origin}/{name}\"\n{allow}\n")
    };
    [
        format!("[server]\npublic_url = \"https://tools.example.com\"\n[server.auth]\nissuer = \"{ISSUER}\"\nclient_id = \"us\"\n"),
        tool("notes_list", ""),
        tool("payroll_export", "allow = [\"group:finance\", \"user:carla@example.com\"]"),
        tool("notes_list_all", "allow = [\"user:carla@example.com\"]"),
    ]
    .concat()
}

fn person(user: &str, groups: &[&str]) -> Principal {
    let caller = Caller { namespace: ISSUER.into(), user: UserId::new(user) };
    let groups = groups.iter().map(|&group| group.to_owned()).collect();
    Principal::new(caller, groups, Ok(BrowserProof::SignedIn))
}

fn app(tools: &str) -> Arc<App> {
    World::new(&TestClock::new(), tools).app
}

/// A 2026-07-28 client at the other end of this person's connection.
struct Client {
    input: WriteHalf<DuplexStream>,
    output: BufReader<ReadHalf<DuplexStream>>,
}

impl Client {
    fn of(app: &App, principal: Principal) -> Self {
        let (near, far) = tokio::io::duplex(1 << 20);
        let handler = Handler::new(
            app.broker.clone(),
            Who::One(Arc::new(principal)),
            ServerText { name: "it".into(), instructions: None },
        );
        tokio::spawn(async move {
            let running = Box::pin(handler.serve(far)).await.expect("it begins");
            running.waiting().await
        });
        let (output, input) = tokio::io::split(near);
        Self { input, output: BufReader::new(output) }
    }

    /// Returns the answer as it stands on the wire.
    async fn wire(&mut self, method: &str, mut params: Value) -> String {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "it", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let request = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        self.input.write_all(format!("{request}\n").as_bytes()).await.unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).await.unwrap();
        line
    }

    async fn call(&mut self, tool: &str) -> String {
        self.wire("tools/call", json!({ "name": tool, "arguments": {} })).await
    }

    /// Returns the listed tools, and who may cache the list.
    async fn list(&mut self) -> (Vec<String>, Value) {
        let line = self.wire("tools/list", json!({})).await;
        let mut answer: Value = serde_json::from_str(&line).unwrap();
        let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("{line}"));
        let names = tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
        (names, answer["result"]["cacheScope"].take())
    }
}

#[tokio::test]
async fn everybody_is_listed_what_they_may_call_and_keeps_the_list_to_themselves() {
    let app = app(&tools_toml("http://127.0.0.1:9"));
    for (principal, expected) in [
        (person("ana@example.com", &["eng", "finance"]), &["notes_list", "payroll_export"][..]),
        (person("bob@example.com", &["eng", "Finance", "finance "]), &["notes_list"]),
        (person("finance", &[]), &["notes_list"]),
        (person("Carla@example.com", &["carla@example.com"]), &["notes_list"]),
        (person("carla@example.com", &[]), &["notes_list", "notes_list_all", "payroll_export"]),
        // A user who runs the server for themselves.
        (
            Principal::local(Caller::local(UserId::new("dora"))),
            &["notes_list", "notes_list_all", "payroll_export"],
        ),
    ] {
        let user = principal.caller.user.clone();
        let (names, scope) = Client::of(&app, principal).list().await;
        assert_eq!(names, expected, "{user}");
        assert_eq!(scope, "private", "{user}");
    }
    app.close().await;
}

#[tokio::test]
async fn a_list_that_is_the_same_for_everybody_may_be_shared() {
    let tools = "[tools.a]\ndescription = \"x\"\nrequest = \"GET http://127.0.0.1:9/a\"\n";
    let app = app(tools);
    let (names, scope) = Client::of(&app, person("ana", &[])).list().await;
    assert_eq!((names, scope), (vec!["a".to_owned()], "public".into()));
    app.close().await;
}

#[tokio::test]
async fn a_tool_that_one_may_not_see_is_a_tool_that_is_not_there() {
    let server = Server::saying(answer(r#"{"ok":true}"#)).await;
    let tools = tools_toml(&server.origin);
    let hidden = tools.find("[tools.payroll_export]").unwrap();
    let (with, without) = (app(&tools), app(&tools[..hidden]));
    let mut bob = Client::of(&with, person("bob@example.com", &["eng"]));
    let mut elsewhere = Client::of(&without, person("bob@example.com", &["eng"]));
    // Hidden tools, near misses of hidden ones, and unknown names.
    for name in [
        "payroll_export",
        "Payroll_Export",
        "payroll_exports",
        "payroll",
        "notes_list_all",
        "notes_list_al",
        "banana",
        "",
    ] {
        let answer = bob.call(name).await;
        assert_eq!(answer, elsewhere.call(name).await, "{name}");
        assert!(answer.contains("-32602"), "{answer}");
        assert!(!answer.contains("payroll_export") && !answer.contains("list_all"), "{answer}");
    }
    // A name that resembles no tool is answered like a hidden one, too.
    assert_eq!(bob.call("payroll_export").await, bob.call("banana").await);
    assert!(server.requests().is_empty());
    // A caller who may use the tool gets the hint and runs the tool.
    let mut ana = Client::of(&with, person("ana@example.com", &["finance"]));
    let near = ana.call("payroll_exports").await;
    assert!(near.contains("did you mean `payroll_export`?"), "{near}");
    let ran = ana.call("payroll_export").await;
    assert!(ran.contains("ok") && !ran.contains("\"error\""), "{ran}");
    assert_eq!(server.requests().len(), 1);
    with.close().await;
    without.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_the_operator_s_and_see_every_tool() {
    let server = Server::saying(answer(r#"{"ok":true}"#)).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tools.toml");
    std::fs::write(&path, tools_toml(&server.origin)).unwrap();
    let command = |arguments: &[&str]| {
        run(countersign().args(arguments).arg("--config").arg(&path).env("HOME", folder.path()))
    };
    let (code, listed, _) = command(&["tools", "list"]);
    assert_eq!(code, 0);
    assert!(listed.contains("payroll_export") && listed.contains("notes_list_all"), "{listed}");
    let (code, called, problem) = command(&["tools", "call", "payroll_export"]);
    assert_eq!(code, 0, "{problem}");
    assert!(called.contains("ok"), "{called}");
}
