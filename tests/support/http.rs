//! HTTP requests: written by hand, for what no well-behaved client would send, and a well-behaved
//! client ([`client`]).

use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use super::{PATIENCE, wait_until};

/// A client without proxies and root certificates: tests speak http:// to this machine, and reading
/// the machine's certificates for each client was a tenth of what the tests cost.
pub fn client() -> reqwest::ClientBuilder {
    // Installed once per process; later calls return an error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([])
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error} in an answer {}: {}", self.status, self.body))
    }
}

/// Sends a request to `http://host:port/…`. A `host` among the headers replaces the true one.
pub fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    Sent::to(url, method, headers, body)
        .and_then(Sent::response)
        .and_then(Response::whole)
        .unwrap_or_else(|error| panic!("{method} {}: {error}", without_query(url)))
}

/// Requests a page from a process that may be killed; `None` without a whole head.
pub fn page_while_it_lives(url: &str, headers: &[(&str, &str)]) -> Option<Reply> {
    let sent = Sent::to(url, "GET", headers, "").ok()?;
    let Response { status, headers, .. } = sent.response().ok()?;
    Some(Reply { status, headers, body: String::new() })
}

/// Waits until a process listens where a URL points to: a restarted server opens the ports of its
/// links in parallel with everything else.
pub fn listening(url: &str) {
    let (authority, _) = split(url);
    wait_until(&format!("a process that listens at {authority}"), || {
        TcpStream::connect(authority).is_ok()
    });
}

/// A request that has been sent.
pub struct Sent {
    connection: TcpStream,
    has_body: bool,
}

impl Sent {
    pub fn to(url: &str, method: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Self> {
        let (authority, path) = split(url);
        let mut connection = TcpStream::connect(authority)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.write_all(&message(method, authority, path, headers, body))?;
        Ok(Self { connection, has_body: method != "HEAD" })
    }

    /// Reads the answer up to its body.
    pub fn response(self) -> io::Result<Response> {
        let mut from = BufReader::new(self.connection);
        let status = line(&mut from)?.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut headers = Vec::new();
        loop {
            let line = line(&mut from)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let framing = match header(&headers, "transfer-encoding") {
            _ if !self.has_body => Framing::Over,
            Some("chunked") => Framing::Chunked { left: 0, is_first: true },
            _ => Framing::UntilTheEnd,
        };
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Response { status, headers, body: Body { from, framing } })
    }
}

/// An answer whose body is still arriving.
pub struct Response {
    pub status: u16,
    headers: Vec<(String, String)>,
    body: Body,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub fn whole(mut self) -> io::Result<Reply> {
        let mut body = Vec::new();
        self.body.read_to_end(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Reply { status: self.status, headers: self.headers, body })
    }

    /// Returns the connection, by which to end it, and the body, which is read as long as it lasts.
    pub fn stream(self) -> io::Result<(TcpStream, BufReader<Body>)> {
        let connection = self.body.from.get_ref().try_clone()?;
        connection.set_read_timeout(None)?;
        Ok((connection, BufReader::new(self.body)))
    }
}

/// The bytes after the head. Every request asks for the connection to be closed after it.
pub struct Body {
    from: BufReader<TcpStream>,
    framing: Framing,
}

enum Framing {
    Chunked { left: usize, is_first: bool },
    UntilTheEnd,
    Over,
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.framing {
            Framing::Over => Ok(0),
            Framing::UntilTheEnd => self.from.read(into),
            Framing::Chunked { left, is_first } => {
                if *left == 0 {
                    if !std::mem::take(is_first) {
                        line(&mut self.from)?;
                    }
                    *left = usize::from_str_radix(&line(&mut self.from)?, 16)
                        .map_err(|_| io::ErrorKind::InvalidData)?;
                    if *left == 0 {
                        self.framing = Framing::Over;
                        return Ok(0);
                    }
                }
                let most = into.len().min(*left);
                let read = self.from.read(&mut into[..most])?;
                *left -= read;
                if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
            }
        }
    }
}

fn line(from: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    let line = line.strip_suffix(b"\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(String::from_utf8_lossy(line).into_owned())
}

fn message(
    method: &str,
    authority: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    let mut add = |name: &str, value: &str| {
        let _ = write!(text, "{name}: {value}\r\n");
    };
    if !headers.iter().any(|(name, _)| *name == "host") {
        add("host", authority);
    }
    for (name, value) in headers {
        add(name, value);
    }
    add("content-length", &body.len().to_string());
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn split(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("not http: {url}"));
    match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    }
}

fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}
