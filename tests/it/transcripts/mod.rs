//! What clients of every protocol revision are sent, whole, over every transport.
//!
//! Each conversation is a [`Snapshot`]: a change of one word that a client sees shows here.

mod connections;
mod consents;
mod failures;
mod heads;
mod world;

use serde_json::{Value, json};

use crate::snapshot::Snapshot;
use crate::support::host::{Host, Prompt, Wire};

/// A host whose conversation is written down.
struct Recorded<W> {
    host: Host<W>,
    snapshot: Snapshot,
    /// Messages that are written down.
    written: usize,
}

impl<W: Wire> Recorded<W> {
    /// A host that has just connected, with its first answer.
    fn new(host: Host<W>, snapshot: Snapshot) -> Self {
        let mut recorded = Self { host, snapshot, written: 0 };
        let hello = recorded.host.heard()[0].clone();
        recorded.write(&hello);
        recorded
    }

    /// Ends the conversation, in which no message may have come unasked.
    fn end(self) -> Snapshot {
        let heard = self.host.heard();
        assert_eq!(heard.len(), self.written, "a message that nothing asked for: {heard:#?}");
        self.snapshot
    }

    fn write(&mut self, message: &Value) {
        self.written += 1;
        self.snapshot.add(&format!("{message:#}"));
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.sent(method, params);
        self.answered(id)
    }

    fn sent(&mut self, method: &str, params: Value) -> u64 {
        self.snapshot.part(&format!("{method} {params:#}"));
        self.host.send(method, params)
    }

    fn answered(&mut self, id: u64) -> Value {
        let answer = self.host.wait(id);
        self.write(&answer);
        answer
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// Repeats a call, with the user's action on its question.
    fn next_round(&mut self, tool: &str, prompt: &Prompt, action: &str, state: &str) -> u64 {
        let request = prompt.request.as_deref().expect("the prompt of a round");
        let params = json!({
            "name": tool, "arguments": {},
            "inputResponses": { request: { "action": action } },
            "requestState": state,
        });
        self.sent("tools/call", params)
    }

    /// Waits for the notice that an elicitation is over.
    fn completed(&mut self, elicitation: &str) {
        let at = self.host.completion(elicitation);
        let notice = self.host.heard()[at].clone();
        self.snapshot.part("a notice");
        self.write(&notice);
    }
}
