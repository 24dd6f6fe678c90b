//! A Node program of `world/` that listens: its ready line is awaited, and closing its stdin ends it.

use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;

use super::lines::Lines;
use super::part;

pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    output: Lines,
    /// What it said when it was ready.
    pub ready: Value,
}

impl Program {
    pub fn start(file: &str, options: &Value) -> Self {
        let mut child = Command::new(part("COUNTERSIGN_REAL_NODE"))
            .arg(part("COUNTERSIGN_REAL_DIR").join("world").join(file))
            .arg(options.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{file} does not start: {error}"));
        let stdin = child.stdin.take();
        let output = Lines::of(child.stdout.take().expect("stdout is piped"));
        let line = output.next(&format!("a ready line of {file}"));
        let line = line.unwrap_or_else(|| panic!("{file} ended before it was ready"));
        let ready = serde_json::from_slice(&line).expect("a ready line is JSON");
        Self { child, stdin, output, ready }
    }

    /// Where it listens, e.g. `http://127.0.0.1:40001`.
    pub fn url(&self) -> &str {
        self.ready["listening"].as_str().expect("a ready line says where")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.stdin.take());
        if !self.output.ended() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
