//! The API behind the tools: HTTP/1.1 by hand, with prepared answers except for the name of the
//! token's user.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::mpsc::channel;

use memchr::memmem;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use super::wire::Connection;

const TOKEN: &str = "bench-access-token-of-";

/// The access token of a user.
pub fn token(user: &str) -> String {
    format!("{TOKEN}{user}")
}

/// Text in every answer to this user's token, and in no other answer.
pub fn mark(user: &str) -> String {
    format!("notes of {user}.")
}

/// Ten notes, 600 bytes.
const NOTES: &str = r#"{"id":1,"title":"note 1","text":"some words about it"},{"id":2,"title":"note 2","text":"some words about it"},{"id":3,"title":"note 3","text":"some words about it"},{"id":4,"title":"note 4","text":"some words about it"},{"id":5,"title":"note 5","text":"some words about it"},{"id":6,"title":"note 6","text":"some words about it"},{"id":7,"title":"note 7","text":"some words about it"},{"id":8,"title":"note 8","text":"some words about it"},{"id":9,"title":"note 9","text":"some words about it"},{"id":10,"title":"note 10","text":"some words about it"}"#;
const OPEN: &str = r#"{"open":"to everybody"}"#;
/// Copies of `NOTES` in `/archive`: 56 KB, more than a tool may answer.
const ARCHIVED: usize = 100;

/// Bytes of a hostile answer, just below the read limit.
const HOSTILE: usize = 9 * 1024 * 1024;

/// Answers that cost as much memory and time as possible, and a part of what a model is told about
/// each.
pub const HOSTILE_KINDS: [(&str, &str); 6] = [
    ("ones", "values"),
    ("empties", "values"),
    ("entries", "values"),
    ("text", "characters shown"),
    ("words", "cut: the first"),
    ("escapes", "characters shown"),
];

fn hostile(kind: &str) -> String {
    let filled = |before: &str, part: &str, after: &str| {
        let count = (HOSTILE - before.len() - after.len()) / part.len();
        format!("{before}{}{after}", part.repeat(count))
    };
    match kind {
        "ones" => filled("[", "1,", "1]"),
        "empties" => filled("[", "[],", "{}]"),
        "entries" => filled("[", r#"{"a":{}},"#, "0]"),
        "text" => filled(r#"{"text":""#, "x", r#""}"#),
        "words" => filled("", "some words ", "."),
        _ => filled(r#"{"text":""#, r"\u0041%41&amp;", r#""}"#),
    }
}

pub struct Api(SocketAddr);

impl Api {
    /// Serves until the program ends, on a thread and a runtime of its own.
    ///
    /// `GET /notes` and `GET /archive` require a user's token; `GET /open`, `GET /hostile/…` and
    /// `GET /once` do not. After `/once` the connection is closed.
    pub fn start() -> Self {
        let (to, from) = channel();
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                to.send(listener.local_addr().unwrap()).unwrap();
                let archive = vec![NOTES; ARCHIVED].join(",");
                let archive: &'static str = archive.leak();
                let hostile: &'static Hostile = Box::leak(Box::default());
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, archive, hostile));
                }
            });
        });
        Self(from.recv().unwrap())
    }

    pub fn address(&self) -> SocketAddr {
        self.0
    }
}

/// Hostile answers, each built at its first request.
#[derive(Default)]
struct Hostile([OnceLock<String>; HOSTILE_KINDS.len()]);

impl Hostile {
    fn answer(&self, path: &[u8]) -> Option<&str> {
        let kind = path.strip_prefix(b"/hostile/")?.split(|byte| *byte == b' ').next()?;
        let at = HOSTILE_KINDS.iter().position(|(known, _)| known.as_bytes() == kind)?;
        let made = self.0.get(at)?.get_or_init(|| match HOSTILE_KINDS[at].0 {
            "words" => found(&hostile("words")).replacen("application/json", "text/plain", 1),
            kind => found(&hostile(kind)),
        });
        Some(made)
    }
}

/// Serves until the client hangs up.
async fn serve(stream: TcpStream, archive: &str, hostile: &Hostile) {
    let mut connection = Connection::new(stream);
    while let Ok(head) = connection.head().await {
        let answer = match hostile.answer(head.strip_prefix(b"GET ").unwrap_or_default()) {
            Some(made) => Cow::Borrowed(made),
            None => Cow::Owned(answer(&head, archive)),
        };
        let written = connection.stream.write_all(answer.as_bytes()).await;
        if written.is_err() || head.starts_with(b"GET /once") {
            return;
        }
    }
}

fn answer(head: &[u8], archive: &str) -> String {
    let path = head.strip_prefix(b"GET ").unwrap_or_default();
    let notes = if path.starts_with(b"/notes") {
        NOTES
    } else if path.starts_with(b"/archive") {
        archive
    } else if path.starts_with(b"/open") {
        return found(OPEN);
    } else if path.starts_with(b"/once") {
        return found(OPEN).replacen("\r\n", "\r\nconnection: close\r\n", 1);
    } else {
        return failure("404 Not Found");
    };
    match user(head) {
        Some(user) => found(&format!(r#"{{"title":"{}","notes":[{notes}]}}"#, mark(user))),
        None => failure("401 Unauthorized"),
    }
}

/// Returns the user of the request's token.
fn user(head: &[u8]) -> Option<&str> {
    let at = memmem::find(head, b"authorization: Bearer ")?;
    let token = head.get(at + "authorization: Bearer ".len()..)?;
    let token = token.split(|byte| *byte == b'\r').next()?;
    std::str::from_utf8(token).ok()?.strip_prefix(TOKEN)
}

fn found(body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn failure(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")
}
