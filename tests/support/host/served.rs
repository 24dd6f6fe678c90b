//! `countersign serve --sse`: one server for any number of hosts.

use std::fs::File;
use std::io::{Read, Write as _};
use std::process::{Child, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::sender::Sender;
use super::sse::Sse;
use super::streamable::Streamable;
use super::{Dialect, Host, Wire};
use crate::support::lines::Lines;
use crate::support::process::home::Home;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Streamable,
    Sse,
}

impl Transport {
    pub const ALL: [Self; 2] = [Self::Streamable, Self::Sse];
}

pub struct Served {
    child: Child,
    stderr: Lines,
    origin: String,
}

impl Served {
    pub fn start(home: &Home) -> Self {
        Self::with(home, &[])
    }

    /// Starts a server with further arguments, and waits until it listens.
    pub fn with(home: &Home, arguments: &[&str]) -> Self {
        let arguments = [&["serve", "--sse", "127.0.0.1:0"], arguments].concat();
        let mut child = home
            .command(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = File::options().create(true).append(true).open(home.path("stderr.log"));
        let stderr = child.stderr.take().expect("stderr is piped");
        let stderr = Lines::of(Copied { from: stderr, to: log.expect("a log file") });
        let origin = loop {
            let line = stderr.next("the address it listens at");
            let line = line.unwrap_or_else(|| panic!("it ended first: {}", home.log()));
            if let Some(origin) = origin_in(&String::from_utf8_lossy(&line)) {
                break origin;
            }
        };
        Self { child, stderr, origin }
    }

    /// E.g. `http://127.0.0.1:40003`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    pub fn url(&self, transport: Transport) -> String {
        match transport {
            Transport::Streamable => format!("{}/mcp", self.origin),
            Transport::Sse => format!("{}/sse", self.origin),
        }
    }

    /// Connects and completes the handshake.
    pub fn host(&self, transport: Transport, dialect: Dialect) -> Host<Box<dyn Wire>> {
        self.host_with(transport, dialect, &[])
    }

    /// Connects with these headers in every request, and completes the handshake.
    pub fn host_with(
        &self,
        transport: Transport,
        dialect: Dialect,
        headers: &[(&'static str, &str)],
    ) -> Host<Box<dyn Wire>> {
        let sender = Sender::new(dialect, headers);
        let wire: Box<dyn Wire> = match transport {
            Transport::Streamable => Box::new(Streamable::to(&self.url(transport), sender)),
            Transport::Sse => Box::new(Sse::to(&self.origin, sender)),
        };
        let mut host = Host::over(wire, dialect);
        host.shake_hands();
        host
    }

    /// Asks the server to end, and waits until it has ended.
    pub fn end(mut self) -> ExitStatus {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process id");
        kill_process(pid, Signal::TERM).expect("the server can be asked to end");
        assert!(self.stderr.ended(), "it does not end");
        self.child.wait().expect("a child can be waited for")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `… listening on http://127.0.0.1:40003/mcp …`
fn origin_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("listening on ")?;
    let (url, _) = rest.split_once("/mcp")?;
    Some(url.to_owned())
}

/// A reader that copies all that it reads to a file.
struct Copied<R> {
    from: R,
    to: File,
}

impl<R: Read> Read for Copied<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.from.read(into)?;
        self.to.write_all(&into[..read])?;
        Ok(read)
    }
}
