//! A server over HTTP, and its use of the machine.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to end after it was asked to.
const LAST_WORDS: Duration = Duration::from_secs(30);

pub struct Process {
    child: Child,
    pub address: SocketAddr,
    /// Its log from the start line on, once it has ended.
    said: Receiver<String>,
}

impl Process {
    /// Starts `countersign serve --http …` and waits until it listens.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let address = address(&mut log);
        let (to, said) = channel();
        std::thread::spawn(move || {
            let mut said = Vec::new();
            let _ = log.read_to_end(&mut said);
            to.send(String::from_utf8_lossy(&said).into_owned())
        });
        Self { child, address, said }
    }

    /// Returns a value of `/proc/…/status`, in KiB.
    pub fn memory(&self, name: &str) -> f64 {
        let status = fs::read_to_string(self.file("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Processor time of all threads so far, in user and system mode, to a hundredth of a second.
    pub fn processor(&self) -> Duration {
        let stat = fs::read_to_string(self.file("stat")).unwrap();
        // The name in parentheses may contain any character.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    pub fn descriptors(&self) -> usize {
        fs::read_dir(self.file("fd")).unwrap().count()
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.child.id())
    }

    /// Asks the process to end; returns how it ended, and its log since it began to listen.
    pub fn end(mut self) -> (ExitStatus, String) {
        let pid = self.child.id().try_into().ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, Signal::TERM).expect("it runs until it is asked to end");
        let said = self.said.recv_timeout(LAST_WORDS).expect("it ends when it is asked to");
        (self.child.wait().expect("a child can be waited for"), said)
    }
}

/// Returns the address of the start line, e.g. "listening on http://127.0.0.1:40001/mcp".
fn address(log: &mut BufReader<ChildStderr>) -> SocketAddr {
    let (mut before, mut line) = (String::new(), String::new());
    while log.read_line(&mut line).is_ok_and(|read| read > 0) {
        let address =
            line.split_once("listening on http://").and_then(|(_, rest)| rest.split_once('/'));
        if let Some(address) = address.and_then(|(address, _)| address.parse().ok()) {
            return address;
        }
        before.push_str(&std::mem::take(&mut line));
    }
    panic!("the server ended before it listened:\n{before}");
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
