//! The binary as a host drives it: pipes, one thread, one line at a time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::IN_FLIGHT;
use crate::load::figures::Figures;
use crate::machine::Machine;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Up to 2025-11-25.
    Initialize,
    /// 2026-07-28.
    Discover,
}

pub struct Host {
    child: Child,
    /// `None` once the host has hung up.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    era: Era,
    last_id: u64,
    line: String,
}

/// Fields of an answer that the benchmark reads.
#[derive(Deserialize)]
struct Answer {
    id: u64,
    result: Value,
}

impl Host {
    /// Starts a server and completes the handshake.
    pub fn start(machine: &Machine, era: Era) -> Self {
        let mut child = machine
            .command(&["serve", "--stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(machine.log())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut host = Self { child, input, output, era, last_id: 0, line: String::new() };
        match era {
            Era::Initialize => {
                let hello = json!({
                    "protocolVersion": "2025-11-25",
                    "capabilities": {},
                    "clientInfo": {"name": "bench", "version": "1"},
                });
                host.ask("initialize", hello);
                host.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
            }
            Era::Discover => {
                host.ask("server/discover", json!({}));
            }
        }
        host
    }

    pub fn list_tools(&mut self) {
        let list = self.ask("tools/list", json!({}));
        assert!(list.result["tools"].is_array(), "{}", self.line);
    }

    /// Measures the cost of the pipes and the protocol alone.
    pub fn ping(&mut self, times: usize, all: &mut Figures) {
        for _ in 0..times {
            let began = Instant::now();
            self.ask("ping", json!({}));
            all.add(began.elapsed());
        }
    }

    pub fn one_by_one(&mut self, tool: &str, calls: usize, times: &mut Figures) {
        for _ in 0..calls {
            let began = Instant::now();
            self.call(tool);
            self.end_of_call();
            times.add(began.elapsed());
        }
    }

    pub fn at_once(&mut self, tool: &str, calls: usize) {
        for _ in 0..IN_FLIGHT {
            self.call(tool);
        }
        for ended in 0..calls {
            self.end_of_call();
            if ended + IN_FLIGHT < calls {
                self.call(tool);
            }
        }
    }

    /// Returns a value of `/proc/…/status`, in KiB.
    pub fn memory(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn call(&mut self, tool: &str) {
        self.send("tools/call", json!({"name": tool, "arguments": {"limit": 10}}));
    }

    fn end_of_call(&mut self) {
        let answer = self.hear();
        assert_ne!(answer.result["isError"], true, "{}", self.line);
        let text = answer.result["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("note 10"), "{text}");
    }

    fn ask(&mut self, method: &str, params: Value) -> Answer {
        self.send(method, params);
        let answer = self.hear();
        assert_eq!(answer.id, self.last_id);
        answer
    }

    fn send(&mut self, method: &str, mut params: Value) {
        self.last_id += 1;
        if self.era == Era::Discover {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        self.say(
            &json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}),
        );
    }

    fn say(&mut self, message: &Value) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{message}\n").as_bytes()).unwrap();
    }

    fn hear(&mut self) -> Answer {
        self.line.clear();
        assert!(self.output.read_line(&mut self.line).unwrap() > 0, "the server ended");
        serde_json::from_str(&self.line).unwrap_or_else(|error| panic!("{error}: {}", self.line))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
