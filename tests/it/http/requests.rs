//! Malformed requests: each gets a clear answer, and the server goes on.

use std::io::Write as _;

use serde_json::json;

use super::wire::{Answer, POST, Served, initialize, ping};
use crate::support::wait_until;

#[test]
fn what_is_no_message_is_answered_as_json_rpc_says() {
    let served = Served::over("");
    let session = served.session(&[]);
    let in_session = [("Mcp-Session-Id", session.as_str())];
    for (body, code) in [
        (&b""[..], -32700),
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}}", -32700),
        (b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", -32600),
        (b"[]", -32600),
        (b"5", -32600),
        (b"{}", -32600),
        (b"{\"id\":1,\"method\":\"ping\"}", -32600),
        (b"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}", -32600),
    ] {
        for more in [&[][..], &in_session] {
            let answer = served.ask("POST /mcp", &[&POST[..], more].concat(), body);
            let shown = String::from_utf8_lossy(body);
            assert_eq!((answer.status, answer.code()), (400, code), "{shown}: {answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
    }
    let deep = "[".repeat(100_000);
    let answer = served.ask("POST /mcp", &POST, deep.as_bytes());
    assert_eq!((answer.status, answer.code()), (400, -32700));
    assert_eq!(served.post(&in_session, &ping()).status, 200);
}

#[test]
fn a_body_of_another_kind_or_size_is_refused() {
    let served = Served::over("");
    let accept = POST[0];
    let ask = |headers: &[(&str, &str)], body: &[u8]| served.ask("POST /mcp", headers, body);
    let plain = initialize().to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
        let answer = ask(&[accept, ("Content-Type", kind)], plain.as_bytes());
        assert_eq!(answer.status, 415, "{kind}");
    }
    assert_eq!(ask(&[accept], plain.as_bytes()).status, 415);
    // A proxy may believe the second `Content-Type`.
    let two = [accept, POST[1], ("Content-Type", "text/plain")];
    assert_eq!(ask(&two, plain.as_bytes()).status, 415);
    for coding in ["gzip", "br", "identity, gzip"] {
        let answer = ask(&[&POST[..], &[("Content-Encoding", coding)]].concat(), b"\x1f\x8b");
        assert_eq!(answer.status, 415, "{coding}");
        assert_eq!(answer.header("accept-encoding"), Some("identity"));
    }
    assert_eq!(ask(&[("Accept", "text/html"), POST[1]], plain.as_bytes()).status, 406);

    let mut large = initialize();
    large["params"]["clientInfo"]["title"] = "x".repeat(1 << 20).into();
    let answer = ask(&POST, large.to_string().as_bytes());
    assert_eq!((answer.status, answer.code()), (413, -32000));
    // In chunks that do not announce the total size, and without an end.
    let mut stream = std::net::TcpStream::connect(&served.address).unwrap();
    let (accept, kind) = (POST[0].1, POST[1].1);
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {}\r\nAccept: {accept}\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n",
        served.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    let piece = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let sent = (0..1000).take_while(|_| stream.write_all(piece.as_bytes()).is_ok()).count();
    assert!(sent < 1000, "64 MiB were taken");
}

#[test]
fn the_bodies_of_one_key_have_a_bound_together() {
    let served = Served::over("");
    // Each announces the longest body of its route, and sends none of it.
    let head = format!(
        "POST /v1/tools/execute HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer x\r\nContent-Type: application/json\r\nContent-Length: 4194304\r\n\r\n",
        served.address
    );
    let slow = || {
        let mut stream = std::net::TcpStream::connect(&served.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    // Sixteen fill the room, so the first that has an answer finds it full. Nothing else is sent
    // before: a request on its way takes room, too.
    let all: Vec<_> = (0..17).map(|_| slow()).collect();
    let is_answered = |stream: &std::net::TcpStream| {
        stream.set_nonblocking(true).unwrap();
        stream.peek(&mut [0]).is_ok()
    };
    wait_until("all bodies are being read", || all.iter().any(is_answered));
    let key = [POST[1], ("Authorization", "Bearer x")];
    let execute = |bytes| served.ask("POST /v1/tools/execute", &key, &vec![b' '; bytes]);
    let refused = execute(10_000);
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.json()["name"], "rate_limited");
    let mcp = served.ask("POST /mcp", &POST, &vec![b' '; 10_000]);
    assert_eq!((mcp.status, mcp.header("retry-after")), (429, Some("1")));
    assert_eq!(mcp.json()["error"], "temporarily_unavailable");
    // Small bodies, and requests without one, need no room.
    assert_eq!(execute(10).status, 400);
    assert_eq!(served.ask("GET /v1/tools", &key, b"").status, 200);
    assert_eq!(served.post(&[], &initialize()).status, 200);
    // A client that hangs up makes room.
    drop(all);
    wait_until("there is room", || execute(10_000).status == 400);
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let served = Served::over("");
    for (name, length) in [("X-Long", 20_000), ("Mcp-Session-Id", 200_000)] {
        let answer = served.ask("GET /health", &[(name, &"x".repeat(length))], b"");
        assert_eq!(answer.status, 431, "{length}");
    }
    let many: Vec<(&str, &str)> = vec![("X-Many", "1"); 200];
    assert_eq!(served.ask("GET /health", &many, b"").status, 431);
    assert_eq!(served.ask("GET /health", &[("X-Long", &"x".repeat(8000))], b"").status, 200);
}

#[test]
fn other_methods_change_nothing_and_open_nothing() {
    let served = Served::over("");
    for (target, status) in [
        ("HEAD /mcp", 405),
        ("HEAD /sse", 405),
        ("PUT /mcp", 405),
        ("PATCH /mcp", 405),
        ("TRACE /mcp", 405),
        ("POST /sse", 405),
        ("GET /messages", 405),
        ("GET /mcp", 400),
        ("GET /nothing", 404),
    ] {
        assert_eq!(served.ask(target, &[], b"").status, status, "{target}");
    }
    let events = [("Accept", "text/event-stream")];
    assert_eq!(served.ask("GET /mcp", &events, b"").status, 400, "no session");
}

#[test]
fn an_unknown_revision_and_a_method_before_its_time_are_refused() {
    let served = Served::over("");
    let unknown = [("MCP-Protocol-Version", "2099-01-01")];
    assert_eq!(served.post(&unknown, &ping()).status, 400);
    assert_eq!(served.post(&[], &ping()).status, 400, "no session yet");
    let stray = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(served.post(&[], &stray).status, 400);
}

#[test]
fn requests_come_one_after_the_other_on_one_connection() {
    let served = Served::over("");
    let body = initialize().to_string();
    let mut stream = served.open("POST /mcp", &POST, body.as_bytes());
    let rest =
        format!("GET /health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", served.address);
    stream.write_all(rest.as_bytes()).unwrap();
    let first = Answer::read(stream);
    assert_eq!(first.status, 200);
    assert!(first.body.contains("HTTP/1.1 200 OK") && first.body.ends_with("ok\n"), "{first:?}");
}
