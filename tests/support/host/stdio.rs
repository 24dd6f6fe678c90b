//! `countersign serve --stdio` as a host sees it: lines in, lines out.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use serde_json::{Value, json};

use super::{Answer, Dialect, Host, Wire};
use crate::support::lines::Lines;
use crate::support::process::home::Home;

pub type Server = Host<Process>;

/// A server that is the host's own child.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    output: Lines,
}

impl Wire for Process {
    fn say(&mut self, message: &Value) {
        self.write(message.to_string().as_bytes()).expect("the server reads");
    }

    fn output(&self) -> &Lines {
        &self.output
    }
}

impl Process {
    fn write(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.stdin.as_mut().expect("stdin is open").write_all(&[line, b"\n"].concat())
    }
}

impl Server {
    /// Starts a server and completes the handshake.
    pub fn start(home: &Home, dialect: Dialect) -> Self {
        Self::start_as(home, dialect, "ana")
    }

    pub fn start_as(home: &Home, dialect: Dialect, user: &str) -> Self {
        let mut server = Self::spawn(home.command(&["serve", "--stdio", "--user", user]), dialect);
        server.shake_hands();
        server
    }

    /// Starts a server and sends nothing yet.
    pub fn spawn(mut command: Command, dialect: Dialect) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdin = child.stdin.take();
        let output = Lines::of(child.stdout.take().expect("stdout is piped"));
        Self::over(Process { child, stdin, output }, dialect)
    }

    pub fn pid(&self) -> u32 {
        self.wire.child.id()
    }

    /// Writes a line with any content.
    pub fn say_bytes(&mut self, line: &[u8]) {
        self.wire.write(line).expect("the server reads");
    }

    /// Calls a process that may be killed during the call; `None` if it is.
    pub fn call_while_it_lives(&mut self, tool: &str, arguments: &Value) -> Option<Answer> {
        self.heard.clear();
        self.last_id += 1;
        let id = self.last_id;
        let params = self.dialect.sign(json!({"name": tool, "arguments": arguments}));
        let request = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        self.wire.write(request.to_string().as_bytes()).ok()?;
        while self.hear("an answer") {
            if let Some(answer) = self.heard.last().filter(|message| message["id"] == id) {
                return Some(Answer::of(answer));
            }
        }
        None
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.wire.child.kill().expect("the server can be killed");
        self.wire.child.wait().expect("a child can be waited for");
    }

    /// Closes stdin, as a host does at its end, and reads the remaining output.
    pub fn close(mut self) -> (ExitStatus, Vec<Value>) {
        drop(self.wire.stdin.take());
        while self.hear("the end after stdin was closed") {}
        let status = self.wire.child.wait().expect("a child can be waited for");
        (status, std::mem::take(&mut self.heard))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
