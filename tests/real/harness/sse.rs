//! HTTP+SSE, the transport of 2024-11-05: everything comes on one GET, whose first event says where to POST.

use std::net::{Shutdown, TcpStream};

use serde_json::Value;

use super::Dialect;
use super::events::events;
use super::host::Wire;
use super::http::{Sent, request};
use super::lines::Lines;

pub struct Sse {
    messages: String,
    dialect: Dialect,
    connection: TcpStream,
    output: Lines,
}

impl Sse {
    /// Connects to the server at `origin`, and waits for the endpoint.
    pub fn to(origin: &str, dialect: Dialect) -> Self {
        let response =
            Sent::to(&format!("{origin}/sse"), "GET", &[("accept", "text/event-stream")], "")
                .and_then(Sent::response)
                .expect("an answer to a GET");
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
        Self { messages: format!("{origin}{endpoint}"), dialect, connection, output }
    }
}

impl Wire for Sse {
    fn say(&mut self, message: &Value) {
        let signed = self.dialect.headers(Some(message));
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(signed.iter().map(|(name, value)| (*name, value.as_str())));
        let reply = request("POST", &self.messages, &headers, &message.to_string());
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
