//! One HTTP request, written out by hand: tests send what no well-behaved client would.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;
use tokio::time::Instant;

use super::PATIENCE;

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error} in an answer {}: {}", self.status, self.body))
    }
}

/// Sends a request to `http://host:port/…`. A `host` among the headers replaces the true one.
pub fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let (authority, path) = split(url);
    let answer = exchange(authority, &message(method, authority, path, headers, body))
        .unwrap_or_else(|error| panic!("{method} {authority}{path}: {error}"));
    parse(&answer, method == "HEAD")
}

/// Asks somebody who may be killed meanwhile for a page; `None` without a whole answer.
pub fn page_while_it_lives(url: &str, headers: &[(&str, &str)]) -> Option<Reply> {
    let (authority, path) = split(url);
    let answer = exchange(authority, &message("GET", authority, path, headers, "")).ok()?;
    let is_whole = answer.windows(4).any(|four| four == b"\r\n\r\n");
    is_whole.then(|| parse(&answer, true))
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

/// Waits until somebody listens where a URL points to: a server that was started again opens the
/// ports of its links beside everything else.
pub fn listening(url: &str) {
    let (authority, _) = split(url);
    let began = Instant::now();
    while TcpStream::connect(authority).is_err() {
        assert!(began.elapsed() < PATIENCE, "nobody listens at {authority}");
        std::thread::yield_now();
    }
}

fn split(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("not http: {url}"));
    match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    }
}

fn exchange(authority: &str, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect(authority)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(request)?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    Ok(answer)
}

fn parse(answer: &[u8], no_body: bool) -> Reply {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an HTTP answer");
    let head = String::from_utf8_lossy(&answer[..end]);
    let mut lines = head.split("\r\n");
    let status =
        lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked =
        headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = match &answer[end + 4..] {
        _ if no_body => Vec::new(),
        body if chunked => without_chunks(body),
        body => body.to_vec(),
    };
    Reply {
        status: status.expect("a status line"),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

fn without_chunks(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n").expect("a chunk's size");
        let size = std::str::from_utf8(&body[..end])
            .ok()
            .and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let size = size.expect("a chunk's size in hex");
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
    }
}
