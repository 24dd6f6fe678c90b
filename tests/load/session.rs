//! An MCP client over HTTP, in each of the three ways to connect.

use std::io;
use std::net::SocketAddr;

use memchr::memmem;

use super::wire::{Connection, data, header};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `/mcp` as of 2026-07-28: every request is self-contained.
    Stateless,
    /// `/mcp` up to 2025-11-25: a session, opened by `initialize`.
    Session,
    /// `/sse` and `/messages`: requests to the latter are answered on the former.
    Sse,
}

/// A client's side of a session. Requests may use any connection.
pub struct Session {
    pub way: Way,
    /// `/mcp`, or the address for messages that `/sse` has named.
    path: String,
    /// Header lines of every request.
    headers: String,
    /// The stream for the server's messages: `GET /sse`, or `GET /mcp` after [`Self::listen`].
    stream: Option<Connection>,
    last_id: u32,
}

/// A request that can be sent repeatedly, each time under another id.
pub struct Request {
    bytes: Vec<u8>,
    /// Offset of the id's digits.
    id: usize,
}

/// Conditions for an answer.
pub struct Expected {
    mark: memmem::Finder<'static>,
    is_error: bool,
}

/// Number of digits of every id.
const DIGITS: usize = 8;
const FIRST_ID: u32 = 10_000_000;

impl Way {
    pub const ALL: [Self; 3] = [Self::Stateless, Self::Session, Self::Sse];

    pub fn name(self) -> &'static str {
        match self {
            Self::Stateless => "/mcp, 2026-07-28",
            Self::Session => "/mcp, a session of 2025-11-25",
            Self::Sse => "/sse",
        }
    }
}

impl Session {
    /// Performs the handshake, if the way has one. `who`: header lines that identify the caller,
    /// each with its line end.
    pub async fn open(
        way: Way,
        at: SocketAddr,
        who: &str,
        connection: &mut Connection,
    ) -> io::Result<Self> {
        let mut session = Self {
            way,
            path: "/mcp".into(),
            headers: format!(
                "host: {at}\r\n{who}content-type: application/json\r\naccept: application/json, text/event-stream\r\n"
            ),
            stream: None,
            last_id: FIRST_ID,
        };
        match way {
            Way::Stateless => {}
            Way::Session => {
                let mut hello = session.initialize();
                session.sign(&mut hello);
                let reply = connection.exchange(&hello.bytes).await?;
                let id = header(&reply.head, "mcp-session-id");
                let Some(id) = id else { return Err(refused(reply.status, reply.body)) };
                session.headers = format!(
                    "{}mcp-session-id: {id}\r\nmcp-protocol-version: 2025-11-25\r\n",
                    session.headers
                );
                session.initialized(connection).await?;
            }
            Way::Sse => {
                let mut stream = Connection::open(at).await?;
                let get = format!("GET /sse HTTP/1.1\r\n{}\r\n", session.headers);
                match stream.begin(get.as_bytes()).await? {
                    200 => {}
                    status => return Err(refused(status, b"")),
                }
                let endpoint = stream.event().await?;
                session.path = String::from_utf8_lossy(&endpoint).into_owned();
                session.stream = Some(stream);
                let mut hello = session.initialize();
                session.ask(&mut hello, connection).await?;
                session.initialized(connection).await?;
            }
        }
        Ok(session)
    }

    fn initialize(&self) -> Request {
        self.request(
            "initialize",
            "",
            r#""protocolVersion":"2025-11-25","capabilities":{"elicitation":{"form":{},"url":{}}},"clientInfo":{"name":"load","version":"1"}"#,
        )
    }

    async fn initialized(&self, connection: &mut Connection) -> io::Result<()> {
        let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let reply = connection.exchange(&self.post("", note)).await?;
        if reply.status == 202 { Ok(()) } else { Err(refused(reply.status, reply.body)) }
    }

    /// Opens the stream of a `/mcp` session, as clients do that expect messages from the server.
    pub async fn listen(&mut self, at: SocketAddr) -> io::Result<()> {
        let mut stream = Connection::open(at).await?;
        let get = format!("GET /mcp HTTP/1.1\r\n{}\r\n", self.headers);
        match stream.begin(get.as_bytes()).await? {
            200 => self.stream = Some(stream),
            status => return Err(refused(status, b"")),
        }
        Ok(())
    }

    /// A `tools/call` request. `arguments`: the text between the braces.
    pub fn call(&self, tool: &str, arguments: &str) -> Request {
        let params = format!(r#""name":"{tool}","arguments":{{{arguments}}}"#);
        self.request("tools/call", tool, &params)
    }

    pub fn list(&self) -> Request {
        self.request("tools/list", "", "")
    }

    fn request(&self, method: &str, name: &str, params: &str) -> Request {
        let (mut headers, mut meta) = (String::new(), "");
        if self.way == Way::Stateless {
            headers = format!("mcp-protocol-version: 2026-07-28\r\nmcp-method: {method}\r\n");
            if !name.is_empty() {
                headers = format!("{headers}mcp-name: {name}\r\n");
            }
            meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"load","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{},"url":{}}}}"#;
        }
        let comma = if params.is_empty() || meta.is_empty() { "" } else { "," };
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{FIRST_ID},"method":"{method}","params":{{{params}{comma}{meta}}}}}"#
        );
        let bytes = self.post(&headers, &body);
        let id = bytes.len() - body.len() + r#"{"jsonrpc":"2.0","id":"#.len();
        Request { bytes, id }
    }

    fn post(&self, headers: &str, body: &str) -> Vec<u8> {
        let Self { path, headers: always, .. } = self;
        let length = body.len();
        format!("POST {path} HTTP/1.1\r\n{always}{headers}content-length: {length}\r\n\r\n{body}")
            .into_bytes()
    }

    /// Writes the next id into the request; returns its digits.
    fn sign<'a>(&mut self, request: &'a mut Request) -> &'a [u8] {
        self.last_id += 1;
        let place = &mut request.bytes[request.id..request.id + DIGITS];
        place.copy_from_slice(self.last_id.to_string().as_bytes());
        &request.bytes[request.id..request.id + DIGITS]
    }

    /// Sends a request and returns its answer, one JSON-RPC message.
    pub async fn ask(
        &mut self,
        request: &mut Request,
        connection: &mut Connection,
    ) -> io::Result<Vec<u8>> {
        let id = self.sign(request).to_vec();
        let reply = connection.exchange(&request.bytes).await?;
        if self.way == Way::Sse {
            if reply.status != 202 {
                return Err(refused(reply.status, reply.body));
            }
            let stream = self.stream.as_mut().expect("a stream, as long as the session is open");
            loop {
                let message = stream.event().await?;
                // The stream also carries notices.
                if has_id(&message, &id) {
                    return Ok(message);
                }
            }
        }
        if reply.status != 200 {
            return Err(refused(reply.status, reply.body));
        }
        let message = if reply.body.starts_with(b"{") { reply.body } else { data(reply.body) };
        if has_id(message, &id) { Ok(message.to_vec()) } else { Err(unexpected("", message)) }
    }

    /// Ends the session, if the way has a request for that.
    pub async fn close(self, connection: &mut Connection) -> io::Result<()> {
        if self.way == Way::Session {
            let delete = format!("DELETE /mcp HTTP/1.1\r\n{}\r\n", self.headers);
            let reply = connection.exchange(delete.as_bytes()).await?;
            if !(200..300).contains(&reply.status) {
                return Err(refused(reply.status, reply.body));
            }
        }
        Ok(())
    }
}

impl Expected {
    /// Expects an answer that contains `mark` and is no tool error.
    pub fn result(mark: &str) -> Self {
        Self { mark: memmem::Finder::new(mark).into_owned(), is_error: false }
    }

    /// Also accepts an `isError` or a request of the server, if it contains `mark`: an answer that
    /// is no result yet.
    pub fn other(mark: &str) -> Self {
        Self { is_error: true, ..Self::result(mark) }
    }

    pub fn check(&self, message: &[u8]) -> io::Result<()> {
        let failed = memmem::find(message, br#""isError":true"#).is_some()
            || memmem::find(message, br#""result":"#).is_none();
        if (!failed || self.is_error) && self.mark.find(message).is_some() {
            return Ok(());
        }
        Err(unexpected(&String::from_utf8_lossy(self.mark.needle()), message))
    }
}

fn has_id(message: &[u8], id: &[u8]) -> bool {
    memmem::find(message, br#""id":"#).is_some_and(|at| message[at + 5..].starts_with(id))
}

fn refused(status: u16, body: &[u8]) -> io::Error {
    io::Error::other(format!("status {status}: {}", String::from_utf8_lossy(body)))
}

fn unexpected(mark: &str, message: &[u8]) -> io::Error {
    let message = String::from_utf8_lossy(&message[..message.len().min(400)]);
    io::Error::other(format!("not the answer that was expected ({mark}): {message}"))
}
