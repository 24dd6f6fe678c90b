//! A program of `world/` or `clients/`: it says when it is ready, and closing its stdin ends it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;

use super::part;
use crate::support::lines::Lines;

pub struct Program {
    file: String,
    child: Child,
    stdin: Option<ChildStdin>,
    output: Lines,
    /// Its ready line.
    pub ready: Value,
}

impl Program {
    /// Starts e.g. `world/upstream.mjs`.
    pub fn start(file: &str, options: &Value) -> Self {
        Self::starting(file, options, None)
    }

    /// Starts a Python program that also finds the packages in this folder.
    pub fn with_packages(file: &str, options: &Value, packages: &Path) -> Self {
        Self::starting(file, options, Some(packages))
    }

    fn starting(file: &str, options: &Value, packages: Option<&Path>) -> Self {
        let is_python = Path::new(file).extension().is_some_and(|kind| kind == "py");
        let language = match is_python {
            // The frameworks need another major version of MCP's SDK than the clients.
            true if file.starts_with("agents/mcp1/") || packages.is_some() => {
                "COUNTERSIGN_REAL_AGENTS_PYTHON"
            }
            true if file.starts_with("arcade/") => "COUNTERSIGN_REAL_ARCADE_PYTHON",
            true => "COUNTERSIGN_REAL_PYTHON",
            false => "COUNTERSIGN_REAL_NODE",
        };
        let agents = part("COUNTERSIGN_REAL_DIR").join("agents");
        let path = std::env::join_paths(packages.into_iter().chain([agents.as_path()]));
        let mut child = Command::new(part(language))
            .arg(part("COUNTERSIGN_REAL_DIR").join(file))
            .arg(options.to_string())
            .env("PYTHONPATH", path.expect("folders without a separator in their names"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{file} does not start: {error}"));
        let stdin = child.stdin.take();
        let output = Lines::of(child.stdout.take().expect("stdout is piped"));
        let mut program = Self { file: file.into(), child, stdin, output, ready: Value::Null };
        program.ready = program.line();
        program
    }

    /// Reads its next line: the answer to [`Self::say`].
    pub fn line(&self) -> Value {
        let line = self.output.next(&format!("a line of {}", self.file));
        let line = line.unwrap_or_else(|| panic!("{} has ended", self.file));
        serde_json::from_slice(&line).expect("a line is JSON")
    }

    /// Sends a message and does not wait.
    pub fn say(&mut self, what: &Value) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(format!("{what}\n").as_bytes()).expect("it reads");
    }

    /// Sends a message and waits for the answer.
    pub fn ask(&mut self, what: &Value) -> Value {
        self.say(what);
        self.line()
    }

    /// Its address, e.g. `http://127.0.0.1:40001`.
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
