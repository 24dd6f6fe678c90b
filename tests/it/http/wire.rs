//! A server process and raw requests to it, with no HTTP library in between.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::command::countersign;
use crate::support::PATIENCE;
use crate::support::lines::Lines;

/// A running `countersign serve --sse`.
pub(crate) struct Served {
    child: Child,
    pub(crate) folder: tempfile::TempDir,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    /// Its log until it was ready.
    pub(crate) said: String,
    stderr: Lines,
}

impl Served {
    /// Serves this `tools.toml` on a free port.
    pub(crate) fn over(tools: &str) -> Self {
        Self::start(tools, |command| command)
    }

    pub(crate) fn start(tools: &str, with: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        Self::run(countersign(), tools, with)
    }

    /// Like [`Self::over`], for a process that may open `count` descriptors.
    #[cfg(unix)]
    pub(crate) fn with_descriptors(count: u32, tools: &str) -> Self {
        let mut shell = Command::new("/bin/sh");
        let script = format!("ulimit -n {count}; exec \"$0\" \"$@\"");
        shell.env_clear().args(["-c", &script]).arg(countersign().get_program());
        Self::run(shell, tools, |command| command)
    }

    fn run(
        mut command: Command,
        tools: &str,
        with: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tools.toml"), tools).unwrap();
        command.current_dir(&folder).env("HOME", folder.path());
        with(command.args(["serve", "--sse", "127.0.0.1:0"]));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = Lines::of(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let line = stderr.next("the address it listens at");
            let line = line.unwrap_or_else(|| panic!("it did not start: {said}"));
            let line = String::from_utf8(line).unwrap() + "\n";
            said.push_str(&line);
            if let Some(rest) = line.strip_prefix("listening on http://") {
                break rest.split('/').next().unwrap().to_owned();
            }
        };
        Self { child, folder, address, said, stderr }
    }

    pub(crate) fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
    }

    /// See [`open`].
    pub(crate) fn open(&self, target: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
        open(&self.address, target, headers, body)
    }

    /// Opens an event stream.
    pub(crate) fn events(&self, target: &str, headers: &[(&str, &str)]) -> Events {
        // The connection ends with the stream.
        let headers = [headers, &[("Connection", "close")]].concat();
        Events::of(self.open(target, &headers, b""))
    }

    /// Sends a request and reads the whole answer.
    pub(crate) fn ask(&self, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let headers = [headers, &[("Connection", "close")]].concat();
        Answer::read(self.open(target, &headers, body))
    }

    /// Sends `POST /mcp` as an SDK of the older revisions does.
    pub(crate) fn post(&self, more: &[(&str, &str)], body: &Value) -> Answer {
        let headers = [&POST[..], more].concat();
        self.ask("POST /mcp", &headers, body.to_string().as_bytes())
    }

    /// Begins a 2025-11-25 session; returns its id.
    pub(crate) fn session(&self, more: &[(&str, &str)]) -> String {
        let answer = self.post(more, &initialize());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("mcp-session-id").expect("a session").to_owned()
    }

    /// Asks the process to end, and waits until it has ended successfully without breaking calls
    /// off. Returns its log.
    pub(crate) fn end(mut self) -> String {
        self.terminate();
        let mut rest = String::new();
        while let Some(line) = self.stderr.next("the end of the log") {
            rest.push_str(&String::from_utf8(line).unwrap());
            rest.push('\n');
        }
        assert!(!rest.contains("were cancelled"), "{rest}");
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{rest}");
        std::mem::take(&mut self.said) + &rest
    }

    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }
}

/// Opens a connection and sends this request. Adds `Host` unless it is given.
pub(crate) fn open(
    address: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = format!("{target} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        let _ = write!(head, "Host: {address}\r\n");
    }
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if target.starts_with("POST") {
        let _ = write!(head, "Content-Length: {}\r\n", body.len());
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    // A server that refuses early may hang up on the rest.
    let _ = stream.write_all(body);
    stream
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) const POST: [(&str, &str); 2] =
    [("Accept", "application/json, text/event-stream"), ("Content-Type", "application/json")];

pub(crate) fn initialize() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "it", "version": "1" },
    }})
}

pub(crate) fn ping() -> Value {
    json!({ "jsonrpc": "2.0", "id": 2, "method": "ping" })
}

/// An HTTP response, read to the end of its connection.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A server that refuses early may reset the connection after its answer.
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Self { status, headers: headers.collect(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// All headers except the date.
    pub(crate) fn lasting_headers(&self) -> Vec<(String, String)> {
        self.headers.iter().filter(|(name, _)| name != "date").cloned().collect()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The code of a JSON-RPC error.
    pub(crate) fn code(&self) -> i64 {
        let answer = self.json();
        assert_eq!(answer["jsonrpc"], "2.0", "{self:?}");
        answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("{self:?}"))
    }
}

/// The events of a stream, one after the other.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    /// Reads past the head, whose status must be 200.
    pub(crate) fn of(stream: TcpStream) -> Self {
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "{head:?}");
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        Self(lines)
    }

    /// Returns the next line that is neither empty nor a chunk's length; `None` when the stream
    /// ends.
    pub(crate) fn line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).expect("more, or an end, in time") == 0 {
                return None;
            }
            let line = line.trim_end_matches(['\r', '\n']);
            if line.contains(':') {
                return Some(line.to_owned());
            }
        }
    }

    /// Returns the data of the next event that has any; `None` when the stream ends.
    pub(crate) fn next(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).expect("more, or an end, in time") == 0 {
                return None;
            }
            if let Some(data) = line.trim_end().strip_prefix("data: ")
                && !data.is_empty()
            {
                return Some(data.to_owned());
            }
        }
    }
}
