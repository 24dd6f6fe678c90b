//! One HTTP/1.1 connection, read and written by hand.

use std::io;
use std::net::SocketAddr;

use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub struct Connection {
    pub stream: TcpStream,
    /// Received bytes; those before `taken` are consumed.
    buffer: Vec<u8>,
    taken: usize,
    /// The last body read, or the part of a stream that is not consumed yet.
    body: Vec<u8>,
}

pub struct Reply<'a> {
    pub status: u16,
    pub head: Vec<u8>,
    pub body: &'a [u8],
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("an option of every socket");
        Self { stream, buffer: Vec::with_capacity(16 << 10), taken: 0, body: Vec::new() }
    }

    pub async fn open(to: SocketAddr) -> io::Result<Self> {
        Ok(Self::new(TcpStream::connect(to).await?))
    }

    /// Sends a request and reads its whole answer.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Reply<'_>> {
        self.stream.write_all(request).await?;
        let head = self.head().await?;
        self.body.clear();
        if is_chunked(&head) {
            while self.chunk().await? {}
        } else if let Some(length) = header(&head, "content-length") {
            let length = length.parse().map_err(|_| odd("a content-length"))?;
            while self.buffer.len() - self.taken < length {
                self.more().await?;
            }
            self.body.extend_from_slice(&self.buffer[self.taken..self.taken + length]);
            self.taken += length;
        }
        Ok(Reply { status: status(&head)?, head, body: &self.body })
    }

    /// Sends a request whose answer is a stream; [`Self::event`] returns its events one by one.
    pub async fn begin(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request).await?;
        let head = self.head().await?;
        self.body.clear();
        if is_chunked(&head) { status(&head) } else { Err(odd("no stream")) }
    }

    /// Returns the data of the next event that has any.
    pub async fn event(&mut self) -> io::Result<Vec<u8>> {
        loop {
            while let Some(end) = memmem::find(&self.body, b"\n\n") {
                let event = data(&self.body[..end]).to_vec();
                self.body.drain(..end + 2);
                if !event.is_empty() {
                    return Ok(event);
                }
            }
            if !self.chunk().await? {
                return Err(odd("the end of a stream"));
            }
        }
    }

    /// Reads a start line and headers, including the empty line.
    pub async fn head(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let rest = &self.buffer[self.taken..];
            if let Some(end) = memmem::find(rest, b"\r\n\r\n") {
                let head = rest[..end + 4].to_vec();
                self.taken += head.len();
                return Ok(head);
            }
            self.more().await?;
        }
    }

    /// Adds the next chunk to the body (RFC 9112 §7.1). Returns `false` if it was the last.
    async fn chunk(&mut self) -> io::Result<bool> {
        loop {
            let rest = &self.buffer[self.taken..];
            if let Some(end) = memmem::find(rest, b"\r\n") {
                let size = std::str::from_utf8(&rest[..end]).ok();
                let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
                let size = size.ok_or_else(|| odd("a chunk"))?;
                if let Some(chunk) = rest.get(end + 2..end + 2 + size + 2) {
                    self.body.extend_from_slice(&chunk[..size]);
                    self.taken += end + 2 + size + 2;
                    return Ok(size > 0);
                }
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.taken == self.buffer.len() {
            self.buffer.clear();
            self.taken = 0;
        }
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Returns the value of a header; `name` is in lower case.
pub fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let head = std::str::from_utf8(head).ok()?;
    let lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim())
}

/// Returns the data of the last event that has any: an answer comes last.
pub fn data(events: &[u8]) -> &[u8] {
    let mut lines = events.rsplit(|byte| *byte == b'\n');
    lines.find_map(|line| line.strip_prefix(b"data:")).unwrap_or_default().trim_ascii()
}

fn is_chunked(head: &[u8]) -> bool {
    header(head, "transfer-encoding").is_some_and(|value| value == "chunked")
}

fn status(head: &[u8]) -> io::Result<u16> {
    let code = head.get(9..12).and_then(|code| std::str::from_utf8(code).ok());
    code.and_then(|code| code.parse().ok()).ok_or_else(|| odd("a status line"))
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} that is not expected"))
}
