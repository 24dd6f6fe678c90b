//! `countersign serve --stdio` as a host sees it: lines in, lines out, in the order in which they came.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::lines::Lines;
use super::{Answer, Dialect, Home, Prompt};

pub struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    output: Lines,
    dialect: Dialect,
    /// Every message so far, in order.
    heard: Vec<Value>,
    last_id: u64,
}

impl Server {
    /// Starts it and shakes hands.
    pub fn start(home: &Home, dialect: Dialect) -> Self {
        Self::start_as(home, dialect, "ana")
    }

    pub fn start_as(home: &Home, dialect: Dialect, user: &str) -> Self {
        let mut server = Self::spawn(home.command(&["serve", "--stdio", "--user", user]), dialect);
        server.shake_hands();
        server
    }

    /// Starts it and says nothing yet.
    pub fn spawn(mut command: Command, dialect: Dialect) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdin = child.stdin.take();
        let output = Lines::of(child.stdout.take().expect("stdout is piped"));
        Self { child, stdin, output, dialect, heard: Vec::new(), last_id: 0 }
    }

    pub fn shake_hands(&mut self) {
        let revision = self.dialect.revision;
        if self.dialect.is_stateless() {
            let found = self.ask("server/discover", json!({}));
            let versions = found["result"]["supportedVersions"].as_array();
            assert!(versions.is_some_and(|all| all.iter().any(|one| one == revision)), "{found}");
        } else {
            let hello = self.ask("initialize", self.dialect.initialize());
            assert_eq!(hello["result"]["protocolVersion"], revision, "{hello}");
            self.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn say(&mut self, message: &Value) {
        self.say_bytes(message.to_string().as_bytes());
    }

    /// Writes a line, whatever is in it.
    pub fn say_bytes(&mut self, line: &[u8]) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(&[line, b"\n"].concat()).expect("the server reads");
    }

    /// Sends a request and does not wait; the id is what to wait for.
    pub fn send(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        let params = self.dialect.sign(params);
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// Sends a request and waits for the answer.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        self.wait(id)
    }

    /// The answer to a request, whole.
    pub fn wait(&mut self, id: u64) -> Value {
        let at = self.until(&format!("an answer to request {id}"), |message| message["id"] == id);
        self.heard[at].clone()
    }

    /// Where in the order of things a message came that `is` describes; waits for it if need be.
    pub fn until(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> usize {
        if let Some(at) = self.heard.iter().position(&is) {
            return at;
        }
        loop {
            assert!(self.hear(what), "the server ended before {what}");
            if self.heard.last().is_some_and(&is) {
                return self.heard.len() - 1;
            }
        }
    }

    /// Takes in one more line. False at the end of the output.
    fn hear(&mut self, what: &str) -> bool {
        let Some(line) = self.output.next(what) else { return false };
        self.take(&line);
        true
    }

    fn take(&mut self, line: &[u8]) {
        let message = serde_json::from_slice::<Value>(line)
            .ok()
            .filter(is_json_rpc)
            .unwrap_or_else(|| panic!("not JSON-RPC on stdout: {}", String::from_utf8_lossy(line)));
        self.heard.push(message);
    }

    pub fn heard(&self) -> &[Value] {
        &self.heard
    }

    // ── Tools ───────────────────────────────────────────────────────────────

    pub fn tools(&mut self) -> Vec<Value> {
        let answer = self.ask("tools/list", json!({}));
        answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("no tools: {answer}")).clone()
    }

    /// Sends a call and does not wait.
    pub fn begin(&mut self, tool: &str, arguments: &Value) -> u64 {
        self.send("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    pub fn end(&mut self, id: u64) -> Answer {
        Answer::of(&self.wait(id))
    }

    /// The answer to a call, if it comes in time; nothing else may come before it.
    pub fn end_within(&mut self, id: u64, time: Duration) -> Option<Answer> {
        let line = self.output.next_within(time)?;
        self.take(&line);
        self.heard.last().filter(|message| message["id"] == id).map(Answer::of)
    }

    pub fn call(&mut self, tool: &str, arguments: &Value) -> Answer {
        let id = self.begin(tool, arguments);
        self.end(id)
    }

    /// Calls a process that may be killed meanwhile; `None` if it is.
    pub fn call_while_it_lives(&mut self, tool: &str, arguments: &Value) -> Option<Answer> {
        self.heard.clear();
        self.last_id += 1;
        let id = self.last_id;
        let params = self.dialect.sign(json!({"name": tool, "arguments": arguments}));
        let request = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        let line = format!("{request}\n");
        self.stdin.as_mut().expect("stdin is open").write_all(line.as_bytes()).ok()?;
        while self.hear("an answer") {
            if let Some(answer) = self.heard.last().filter(|message| message["id"] == id) {
                return Some(Answer::of(answer));
            }
        }
        None
    }

    /// Sends a call again that required input, with the person's `action` on the request, and does not wait.
    pub fn begin_round(
        &mut self,
        tool: &str,
        arguments: &Value,
        prompt: &Prompt,
        action: &str,
    ) -> u64 {
        let request = prompt.request.as_deref().expect("the prompt of a round");
        let params = json!({
            "name": tool,
            "arguments": arguments,
            "inputResponses": { request: { "action": action } },
            "requestState": prompt.state,
        });
        self.send("tools/call", params)
    }

    /// Calls again with nothing but the state, as clients do.
    pub fn begin_waiting_round(&mut self, tool: &str, arguments: &Value, state: &str) -> u64 {
        self.send(
            "tools/call",
            json!({"name": tool, "arguments": arguments, "requestState": state}),
        )
    }

    /// Calls again until the rounds come to an end, as clients do.
    pub fn finish_rounds(&mut self, tool: &str, arguments: &Value, prompt: &Prompt) -> Answer {
        let mut id = self.begin_round(tool, arguments, prompt, "accept");
        loop {
            match self.end(id) {
                Answer::Waiting(state) => id = self.begin_waiting_round(tool, arguments, &state),
                other => return other,
            }
        }
    }

    /// Waits for the notice that an elicitation is over, and says where in the order it came.
    pub fn completion(&mut self, elicitation: &str) -> usize {
        self.until("a completion notice", |message| {
            message["method"] == "notifications/elicitation/complete"
                && message["params"]["elicitationId"] == elicitation
        })
    }

    // ── Ends ────────────────────────────────────────────────────────────────

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Closes stdin, as a host does that is done, and takes in what still comes.
    pub fn close(mut self) -> (ExitStatus, Vec<Value>) {
        drop(self.stdin.take());
        while self.hear("the end after stdin was closed") {}
        let status = self.child.wait().expect("a child can be waited for");
        (status, std::mem::take(&mut self.heard))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_json_rpc(message: &Value) -> bool {
    let Some(object) = message.as_object() else { return false };
    let outcomes = ["result", "error"].iter().filter(|key| object.contains_key(**key)).count();
    object.get("jsonrpc").is_some_and(|version| version == "2.0")
        && match object.get("method") {
            Some(method) => method.is_string() && outcomes == 0,
            // What could not be read has no id to be answered under.
            None => outcomes == 1 && (object.contains_key("id") || object.contains_key("error")),
        }
}
