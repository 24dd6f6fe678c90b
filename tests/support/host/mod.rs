//! The host's side of a conversation over any [`Wire`]: requests out, messages in, in the order of
//! their arrival.

mod answer;
mod dialect;
mod events;
mod sender;
mod served;
mod sse;
mod stdio;
mod streamable;

use std::time::Duration;

use serde_json::{Value, json};

use super::lines::Lines;
pub use answer::{Answer, Prompt, Way};
pub use dialect::Dialect;
pub use served::{Served, Transport};
pub use stdio::Server;

/// A transport of messages.
pub trait Wire {
    fn say(&mut self, message: &Value);

    /// The server's messages, one per line.
    fn output(&self) -> &Lines;
}

impl<W: Wire + ?Sized> Wire for Box<W> {
    fn say(&mut self, message: &Value) {
        (**self).say(message);
    }

    fn output(&self) -> &Lines {
        (**self).output()
    }
}

pub struct Host<W> {
    pub(super) wire: W,
    pub(super) dialect: Dialect,
    /// Every message so far, in order.
    pub(super) heard: Vec<Value>,
    pub(super) last_id: u64,
}

impl<W: Wire> Host<W> {
    /// A host that has sent nothing yet.
    pub fn over(wire: W, dialect: Dialect) -> Self {
        Self { wire, dialect, heard: Vec::new(), last_id: 0 }
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

    pub fn say(&mut self, message: &Value) {
        self.wire.say(message);
    }

    /// Sends a request and does not wait; returns the id to wait for.
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

    /// Waits for the whole answer to a request.
    pub fn wait(&mut self, id: u64) -> Value {
        let at = self.until(&format!("an answer to request {id}"), |message| message["id"] == id);
        self.heard[at].clone()
    }

    /// Returns the position of the first message that `is` accepts; waits for it if need be.
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

    /// Reads one more line. Returns `false` at the end of the output.
    pub(super) fn hear(&mut self, what: &str) -> bool {
        let Some(line) = self.wire.output().next(what) else { return false };
        self.take(&line);
        true
    }

    fn take(&mut self, line: &[u8]) {
        let message = serde_json::from_slice::<Value>(line)
            .ok()
            .filter(is_json_rpc)
            .unwrap_or_else(|| panic!("not JSON-RPC: {}", String::from_utf8_lossy(line)));
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

    /// Returns the answer to a call if it comes in time; no other message may come before it.
    pub fn end_within(&mut self, id: u64, time: Duration) -> Option<Answer> {
        let line = self.wire.output().next_within(time)?;
        self.take(&line);
        self.heard.last().filter(|message| message["id"] == id).map(Answer::of)
    }

    pub fn call(&mut self, tool: &str, arguments: &Value) -> Answer {
        let id = self.begin(tool, arguments);
        self.end(id)
    }

    /// Repeats a call that required input, with the user's `action` on the request, and does not
    /// wait.
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

    /// Repeats a call with only the state, as clients do.
    pub fn begin_waiting_round(&mut self, tool: &str, arguments: &Value, state: &str) -> u64 {
        self.send(
            "tools/call",
            json!({"name": tool, "arguments": arguments, "requestState": state}),
        )
    }

    /// Repeats a call until its rounds come to an end, as clients do.
    pub fn finish_rounds(&mut self, tool: &str, arguments: &Value, prompt: &Prompt) -> Answer {
        let mut id = self.begin_round(tool, arguments, prompt, "accept");
        loop {
            match self.end(id) {
                Answer::Waiting(state) => id = self.begin_waiting_round(tool, arguments, &state),
                other => return other,
            }
        }
    }

    /// Waits for the notice that an elicitation is over; returns its position.
    pub fn completion(&mut self, elicitation: &str) -> usize {
        self.until("a completion notice", |message| {
            message["method"] == "notifications/elicitation/complete"
                && message["params"]["elicitationId"] == elicitation
        })
    }
}

fn is_json_rpc(message: &Value) -> bool {
    let Some(object) = message.as_object() else { return false };
    let outcomes = ["result", "error"].iter().filter(|key| object.contains_key(**key)).count();
    object.get("jsonrpc").is_some_and(|version| version == "2.0")
        && match object.get("method") {
            Some(method) => method.is_string() && outcomes == 0,
            // A message that could not be read has no id to be answered under.
            None => outcomes == 1 && (object.contains_key("id") || object.contains_key("error")),
        }
}
