//! Shutdown: running calls get their answers, and open streams are closed.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use super::wire::{Answer, POST, Served, initialize};
use crate::support::wait_until;

/// An API that withholds its answer to one request until the test releases it.
pub(super) struct Held(TcpListener);

impl Held {
    pub(super) fn new() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        (
            Self(listener),
            format!("[tools.wait]\ndescription = \"x\"\nrequest = \"GET {origin}/x\"\n"),
        )
    }

    /// Waits until the request has arrived.
    pub(super) fn arrived(&self) -> TcpStream {
        let (mut stream, _) = self.0.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream
    }
}

pub(super) fn let_go(mut stream: TcpStream) {
    stream
        .write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"ok\": 1}",
        )
        .unwrap();
}

fn call() -> Value {
    json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": { "name": "wait", "arguments": {} } })
}

/// Waits until the server accepts no more connections.
fn closes(served: &Served) {
    wait_until("a closed port", || TcpStream::connect(&served.address).is_err());
}

#[test]
fn a_call_that_runs_when_the_end_comes_gets_its_answer() {
    let (api, tools) = Held::new();
    let served = Served::over(&tools);
    let session = served.session(&[]);
    let id = ("Mcp-Session-Id", session.as_str());
    let modern = super::direct::headers("wait");
    let modern_call = super::direct::call("wait", &json!({})).to_string();
    // In a session, without one, and over a stream.
    let body = call().to_string();
    let first = served.open("POST /mcp", &[&POST[..], &[id]].concat(), body.as_bytes());
    let first_request = api.arrived();
    let second = served.open("POST /mcp", &modern, modern_call.as_bytes());
    let second_request = api.arrived();
    let mut events = served.events("GET /sse", &[]);
    let endpoint = format!("POST {}", events.next().unwrap());
    served.ask(&endpoint, &POST, initialize().to_string().as_bytes());
    events.next().unwrap();
    let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    served.ask(&endpoint, &POST, ready.to_string().as_bytes());
    served.ask(&endpoint, &POST, body.as_bytes());
    let third_request = api.arrived();
    let mut standing = served.events("GET /mcp", &[id, ("Accept", "text/event-stream")]);

    served.terminate();
    closes(&served);
    for request in [first_request, second_request, third_request] {
        let_go(request);
    }
    for answer in [first, second] {
        let answer = Answer::read(answer);
        assert!(answer.status == 200 && answer.body.contains("\"id\":7"), "{answer:?}");
        assert!(answer.body.contains("\\\"ok\\\""), "{answer:?}");
    }
    let third: Value = serde_json::from_str(&events.next().unwrap()).unwrap();
    assert_eq!(third["id"], 7, "{third}");
    assert_eq!(events.next(), None);
    assert_eq!(standing.next(), None);
    served.end();
}

#[test]
fn a_client_that_hangs_up_takes_its_call_with_it() {
    let (api, tools) = Held::new();
    let served = Served::over(&tools);
    let body = super::direct::call("wait", &json!({})).to_string();
    let client = served.open("POST /mcp", &super::direct::headers("wait"), body.as_bytes());
    let mut request = api.arrived();
    drop(client);
    // The server closes the connection of a request that it no longer needs.
    assert_eq!(request.read(&mut [0; 16]).unwrap_or(0), 0);
    served.end();
}

/// Closing a terminal sends SIGHUP.
#[cfg(target_os = "linux")]
#[test]
fn a_hangup_lets_calls_end_as_a_termination_does() {
    let (api, tools) = Held::new();
    let served = Served::over(&tools);
    let body = super::direct::call("wait", &json!({})).to_string();
    let client = served.open("POST /mcp", &super::direct::headers("wait"), body.as_bytes());
    let request = api.arrived();
    served.signal(rustix::process::Signal::HUP);
    closes(&served);
    let_go(request);
    let answer = Answer::read(client);
    assert_eq!(answer.status, 200, "{answer:?}");
    served.end();
}
