//! The real binary at the other end of a pipe, and its answers to a client that makes mistakes.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::{Value, json};

use crate::command::countersign;
use crate::support::lines::Lines;
use crate::support::wait_until;

/// A server whose every line must be JSON-RPC.
pub(crate) struct Session {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines,
}

impl Session {
    /// Serves this `tools.toml` and completes the handshake.
    pub(crate) fn over(folder: &tempfile::TempDir, tools: &str) -> Self {
        std::fs::write(folder.path().join("tools.toml"), tools).unwrap();
        let mut command = countersign();
        command.current_dir(folder).env("HOME", folder.path());
        Self::start(command.args(["serve", "--stdio"]))
    }

    /// Starts this server and completes the handshake.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        let output = Lines::of(child.stdout.take().unwrap());
        let mut session = Self { child, input, output };
        let client = json!({ "name": "it", "version": "1" });
        let hello =
            json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
        let answer = session.ask("initialize", &hello);
        assert!(answer["result"]["serverInfo"].is_object(), "{answer}");
        session.say(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        session
    }

    pub(crate) fn say(&mut self, line: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(line).unwrap();
        input.write_all(b"\n").unwrap();
    }

    /// Reads the next line, which must be JSON-RPC.
    pub(crate) fn hear(&mut self) -> Value {
        let line = self.output.next("an answer").expect("one more line");
        let line = String::from_utf8(line).unwrap();
        let value: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"));
        assert_eq!(value["jsonrpc"], "2.0", "{line}");
        value
    }

    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        self.say(request.to_string().as_bytes());
        self.hear()
    }

    /// Returns the text of a call's result, which must be an error.
    pub(crate) fn failure(&mut self, tool: &str, arguments: &Value) -> String {
        let answer = self.ask("tools/call", &json!({ "name": tool, "arguments": arguments }));
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        answer["result"]["content"][0]["text"].as_str().unwrap().to_owned()
    }
}

impl Session {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of a server that was told to end.
    pub(crate) fn wait(mut self) {
        wait_until("the end of the server", || self.child.try_wait().unwrap().is_some());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.input.take();
        let _ = self.child.wait();
    }
}

fn code(answer: &Value) -> (i64, Value) {
    (answer["error"]["code"].as_i64().unwrap(), answer["id"].clone())
}

#[test]
fn every_bad_line_is_answered_and_the_session_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::over(&folder, "");
    for (line, expected) in [
        (&b"{\"jsonrpc\":\"2.0\",\"id\":1,"[..], (-32700, Value::Null)),
        (b"\xff\xfe", (-32700, Value::Null)),
        (b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", (-32600, Value::Null)),
        (b"{\"id\":\"a\",\"method\":\"ping\"}", (-32600, "a".into())),
    ] {
        session.say(line);
        let answer = session.hear();
        assert!(answer.as_object().unwrap().contains_key("id"), "{answer}");
        assert_eq!(code(&answer), expected);
        assert!(session.ask("ping", &json!({}))["result"].is_object());
    }
    // Wrong, but never answered: the next message belongs to the ping.
    session.say(br#"{"jsonrpc":"2.0","method":"notifications/progress","params":3}"#);
    session.say(br#"{"jsonrpc":"2.0","id":99,"error":"x"}"#);
    assert!(session.ask("ping", &json!({}))["result"].is_object());
}

#[test]
fn a_peer_that_answers_our_answers_is_not_answered_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::over(&folder, "");
    for _ in 0..100 {
        session.say(b"what?");
    }
    session.say(br#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#);
    let answers = (0..200).take_while(|_| session.hear()["id"] != 5).count();
    assert_eq!(answers, 64);
}

#[test]
fn a_method_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::over(&folder, "");
    let answer = session.ask("tools/\u{1b}[2Jcal", &json!({}));
    assert_eq!(code(&answer), (-32601, 7.into()));
    assert_eq!(answer["error"]["message"], "this server has no method `tools/[2Jcal`");
    // They are undeclared, so the answer is an error and no empty list.
    for method in ["resources/list", "resources/templates/list", "prompts/list"] {
        let answer = session.ask(method, &json!({}));
        assert_eq!(code(&answer), (-32601, 7.into()));
        assert!(answer["error"]["message"].as_str().unwrap().contains(method), "{answer}");
    }
    let completion = json!({
        "ref": { "type": "ref/prompt", "name": "x" }, "argument": { "name": "x", "value": "y" },
    });
    assert_eq!(code(&session.ask("completion/complete", &completion)), (-32601, 7.into()));
    let answer = session.ask("tools/call", &json!({ "name": 5 }));
    assert_eq!(code(&answer), (-32602, 7.into()));
    assert!(answer["error"]["message"].as_str().unwrap().contains("`tools/call`"), "{answer}");
}

#[test]
fn what_only_the_operator_can_do_is_said_to_be_for_the_operator() {
    let folder = tempfile::tempdir().unwrap();
    let tools = r#"
        [providers.keyed]
        base_url = "http://127.0.0.1:9"
        api_key  = { query = "key", value = "env:KEYED_KEY" }
        [providers.asked]
        client_id     = "us"
        client_secret = "env:ASKED_SECRET"
        base_url      = "http://127.0.0.1:9"
        [providers.asked.oauth]
        authorize_url = "http://127.0.0.1:9/authorize"
        token_url     = "http://127.0.0.1:9/token"
        loopback      = "any-port"
        [tools.with_key]
        description = "x"
        provider    = "keyed"
        request     = "GET /x"
        [tools.with_consent]
        description = "x"
        provider    = "asked"
        request     = "GET /x"
        [tools.away]
        description = "x"
        request     = "GET http://127.0.0.1:9/x"
    "#;
    let mut session = Session::over(&folder, tools);
    for (tool, problem, hint) in [
        ("with_key", "`KEYED_KEY` is not set.", "Set KEYED_KEY where"),
        ("with_consent", "`ASKED_SECRET` is not set.", "Set ASKED_SECRET where"),
        ("away", "cannot be connected to", "Check that the service runs"),
    ] {
        let text = session.failure(tool, &json!({}));
        let (problems, hints) = text
            .split_once("\nFor the operator of this server: ")
            .unwrap_or_else(|| panic!("{text}"));
        assert!(problems.contains(problem) && hints.starts_with(hint), "{text}");
    }
}
