//! Streamable HTTP: every message is a POST of its own; messages that belong to no request come on
//! one standing GET.

use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;

use serde_json::Value;

use super::Wire;
use super::events::events;
use super::sender::Sender;
use crate::support::http::{Response, Sent};
use crate::support::lines::Lines;

pub struct Streamable {
    url: String,
    sender: Sender,
    has_session: bool,
    standing: Option<TcpStream>,
    to: mpsc::Sender<Vec<u8>>,
    output: Lines,
}

impl Streamable {
    pub fn to(url: &str, sender: Sender) -> Self {
        let (to, output) = Lines::fed();
        Self { url: url.into(), sender, has_session: false, standing: None, to, output }
    }

    fn send(&self, method: &str, message: Option<&Value>) -> Sent {
        self.sender.send(method, &self.url, message)
    }

    /// Opens the stream for messages that answer no request.
    fn listen(&mut self) {
        let response = self.send("GET", None).response().expect("an answer to a GET");
        assert_eq!(response.status, 200, "a session has a standing stream");
        let (connection, body) = response.stream().expect("a stream");
        self.standing = Some(connection);
        let to = self.to.clone();
        std::thread::spawn(move || {
            for event in events(body) {
                let _ = to.send(event.data.into_bytes());
            }
        });
    }
}

impl Wire for Streamable {
    fn say(&mut self, message: &Value) {
        let sent = self.send("POST", Some(message));
        if message.get("id").is_none() || message.get("method").is_none() {
            let reply = sent.response().and_then(Response::whole).expect("an answer");
            assert_eq!((reply.status, reply.body.as_str()), (202, ""), "{message}");
            if message["method"] == "notifications/initialized" {
                self.listen();
            }
            return;
        }
        let to = self.to.clone();
        if message["method"] == "initialize" {
            let response = sent.response().expect("an answer to initialize");
            let session = response.header("mcp-session-id");
            let session = session.unwrap_or_else(|| panic!("{}: no session", response.status));
            self.sender.add("mcp-session-id", session);
            self.has_session = true;
            std::thread::spawn(move || take_in(response, &to));
        } else {
            std::thread::spawn(move || match sent.response() {
                Ok(response) => take_in(response, &to),
                Err(error) => drop(to.send(format!("no answer: {error}").into_bytes())),
            });
        }
    }

    fn output(&self) -> &Lines {
        &self.output
    }
}

/// Passes on all that the answer to a request carries; the reader fails on content that is no
/// message.
fn take_in(response: Response, to: &mpsc::Sender<Vec<u8>>) {
    let status = response.status;
    match response.header("content-type") {
        Some(kind) if kind.starts_with("text/event-stream") => {
            let Ok((_, body)) = response.stream() else { return };
            for event in events(body) {
                let _ = to.send(event.data.into_bytes());
            }
        }
        Some(kind) if kind.starts_with("application/json") => {
            let _ = match response.whole() {
                Ok(reply) => to.send(reply.body.into_bytes()),
                Err(error) => to.send(format!("{status} and no more: {error}").into_bytes()),
            };
        }
        _ => {
            let body = response.whole().map(|reply| reply.body).unwrap_or_default();
            let _ = to.send(format!("{status}: {body}").into_bytes());
        }
    }
}

impl Drop for Streamable {
    fn drop(&mut self) {
        if let Some(standing) = &self.standing {
            let _ = standing.shutdown(Shutdown::Both);
        }
        if self.has_session && !std::thread::panicking() {
            let ended = self.send("DELETE", None).response().expect("an answer to a DELETE");
            assert!((200..300).contains(&ended.status), "a session can be ended: {}", ended.status);
        }
    }
}
