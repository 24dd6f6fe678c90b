//! HTTP+SSE, the transport of 2024-11-05: all messages come on one GET, whose first event says
//! where to POST.

use std::net::{Shutdown, TcpStream};

use serde_json::Value;

use super::Wire;
use super::events::events;
use super::sender::Sender;
use crate::support::http::Response;
use crate::support::lines::Lines;

pub struct Sse {
    messages: String,
    sender: Sender,
    connection: TcpStream,
    output: Lines,
}

impl Sse {
    /// Connects to the server at `origin`, and waits for the endpoint.
    pub fn to(origin: &str, sender: Sender) -> Self {
        let response = sender.send("GET", &format!("{origin}/sse"), None).response();
        let response = response.expect("an answer to a GET");
        assert_eq!(response.status, 200);
        let (connection, body) = response.stream().expect("a stream");
        let (to, output) = Lines::fed();
        std::thread::spawn(move || {
            for event in events(body) {
                let _ = match event.name.as_str() {
                    "endpoint" | "message" => to.send(event.data.into_bytes()),
                    other => to.send(format!("an event `{other}`").into_bytes()),
                };
            }
        });
        let endpoint = output.next("an endpoint").expect("an endpoint");
        let endpoint = String::from_utf8(endpoint).expect("an endpoint is text");
        assert!(endpoint.starts_with("/messages?"), "{endpoint}");
        Self { messages: format!("{origin}{endpoint}"), sender, connection, output }
    }
}

impl Wire for Sse {
    fn say(&mut self, message: &Value) {
        let sent = self.sender.send("POST", &self.messages, Some(message));
        let reply = sent.response().and_then(Response::whole).expect("an answer to a POST");
        assert_eq!(reply.status, 202, "{message}: {}", reply.body);
    }

    fn output(&self) -> &Lines {
        &self.output
    }
}

impl Drop for Sse {
    fn drop(&mut self) {
        let _ = self.connection.shutdown(Shutdown::Both);
    }
}
