//! Hosts that send nonsense, hang up, or end the process.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::mpsc::{RecvTimeoutError, channel};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::harness::{Dialect, Home, PATIENCE, Server, Visit, World, wait_until};

/// A machine with a tool that takes half a minute.
fn with_slow_tool(world: &World) -> Home {
    Home::new(&format!(
        "{}\n[tools.slow]\ndescription = \"x\"\nrequest = \"GET {}/fault/slow?ms=30000\"\n",
        world.tools(),
        world.api()
    ))
}

/// Waits until the slow call has arrived at the API.
fn under_way(world: &World) {
    wait_until("the slow call at the API", || !world.api_log().is_empty());
}

#[test]
fn nonsense_on_stdin_does_not_end_the_session() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let nonsense: [&[u8]; 12] = [
        b"",
        b"not JSON",
        b"{",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe\x80",
        br#"{"jsonrpc":"1.0","id":900,"method":"ping"}"#,
        br#"{"jsonrpc":"2.0","id":901}"#,
        br#"{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}"#,
        br#"{"jsonrpc":"2.0","method":"notifications/unheard_of","params":[1,2]}"#,
        deep.as_bytes(),
    ];
    for dialect in [Dialect::PLAIN, Dialect::ERRORS, Dialect::ROUNDS] {
        let mut server = Server::start(&home, dialect);
        for line in nonsense {
            server.say_bytes(line);
        }
        let unknown = server.ask("no/such/method", json!({}));
        assert_eq!(unknown["error"]["code"], -32601, "{unknown}");
        assert!(server.tools().len() > 3);
        let unknown = server.ask("tools/call", json!({"arguments": {}}));
        assert!(unknown["error"]["code"].is_i64(), "{unknown}");
        server.call("whoami", &json!({})).asked();
        let (status, _) = server.close();
        assert!(status.success(), "{dialect:?}: {status}");
    }
}

#[test]
fn a_host_that_hangs_up_in_the_middle_of_a_call_leaves_nothing_running() {
    let world = World::start();
    let home = with_slow_tool(&world);
    let mut server = Server::start(&home, Dialect::PLAIN);
    server.begin("slow", &json!({}));
    under_way(&world);
    let (status, _) = server.close();
    assert!(status.success(), "{status}");
}

#[test]
fn a_request_to_end_is_heeded_in_the_middle_of_a_call() {
    let world = World::start();
    let home = with_slow_tool(&world);
    let mut server = Server::start(&home, Dialect::PLAIN);
    server.begin("slow", &json!({}));
    under_way(&world);
    let pid = Pid::from_raw(server.pid().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let (status, _) = server.close();
    assert_eq!(status.code(), Some(0), "{status}");
}

#[test]
fn a_host_that_no_longer_reads_is_no_reason_to_stay() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut command = home.command(&["serve", "--stdio"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    let (to, from) = channel();
    std::thread::spawn(move || to.send(child.wait()));
    // Sends requests until the pipe is gone; the answers cannot be delivered.
    let hello = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": Dialect::PLAIN.initialize(),
    });
    let hello = format!("{hello}\n");
    wait_until("the end of a server that is not read", || {
        input.write_all(hello.as_bytes()).is_err() || from.try_recv().is_ok()
    });
    drop(input);
    let ended = from.recv_timeout(PATIENCE);
    assert!(!matches!(ended, Err(RecvTimeoutError::Timeout)), "it is still there");
    assert!(!home.log().contains("panicked"), "{}", home.log());
}

/// A cancelled wait frees the client, and the consent can still be used.
#[test]
fn a_cancelled_round_is_over_and_nothing_else_is() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut server = Server::start(&home, Dialect::ROUNDS);
    let prompt = server.call("whoami", &json!({})).asked();
    let round = server.begin_round("whoami", &json!({}), &prompt, "accept");
    server.say(&json!({
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": round, "reason": "the user went away"},
    }));
    server.tools();
    Visit::to(&prompt.url).approves();
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
}
