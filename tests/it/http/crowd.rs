//! Many connections that never identify themselves.

use std::io::Write as _;
use std::net::TcpStream;

use super::wire::{Served, initialize, ping};

fn half_open(served: &Served, count: usize) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = TcpStream::connect(&served.address).unwrap();
        stream.write_all(b"POST /mcp HTTP/1.1\r\nHost: ").unwrap();
        stream
    };
    (0..count).map(open).collect()
}

/// Clients that open connections and send nothing do not block other clients, however few
/// descriptors there are.
#[cfg(unix)]
#[test]
fn half_open_connections_do_not_use_up_the_descriptors() {
    let served = Served::with_descriptors(64, "");
    let open = half_open(&served, 100);
    let session = served.session(&[]);
    for _ in 0..10 {
        let answer = served.post(&[("Mcp-Session-Id", &session)], &ping());
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    drop(open);
    served.end();
}

#[test]
fn a_session_outlives_a_crowd_of_silent_connections() {
    let served = Served::over("");
    let session = served.session(&[]);
    let id = ("Mcp-Session-Id", session.as_str());
    let mut events = served.events("GET /mcp", &[id, ("Accept", "text/event-stream")]);
    let open = half_open(&served, 300);
    assert_eq!(served.post(&[id], &ping()).status, 200);
    assert_eq!(served.post(&[], &initialize()).status, 200);
    drop(open);
    served.terminate();
    assert_eq!(events.next(), None, "the stream ends with the server and not before");
    served.end();
}
