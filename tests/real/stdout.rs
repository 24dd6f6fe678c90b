//! stdout is the wire: even if a library in the process writes to descriptor 1, the host reads
//! JSON-RPC and nothing else. [`Server`] checks every line that it reads.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use serde_json::json;

use crate::harness::{Dialect, Home, PATIENCE, Running, Server, Visit, World, part};

#[test]
fn a_library_that_writes_to_descriptor_1_does_not_reach_the_host() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let library = home.path("garbage.so");
    compile(&library);
    for dialect in Dialect::all() {
        let socket = home.path("garbage.socket");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let user = format!("{dialect:?}");
        let mut command = home.command(&["serve", "--stdio", "--user", &user]);
        command.env("LD_PRELOAD", &library).env("GARBAGE_SOCKET", &socket);
        let mut server = Server::spawn(command, dialect);
        let mut garbage = accept(listener);
        // From its first answer on, the server protects descriptor 1.
        server.shake_hands();
        let mut calls = Vec::new();
        for _ in 0..20 {
            garbage.write_all(b"?").unwrap();
            calls.push(server.send("tools/list", json!({})));
            calls.push(server.begin("whoami", &json!({})));
            let mut done = [0];
            garbage.read_exact(&mut done).unwrap();
        }
        for call in calls {
            server.wait(call);
        }
        let prompt = server.call("whoami", &json!({})).asked();
        garbage.write_all(b"?").unwrap();
        Visit::to(&prompt.url).approves();
        assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
        let (status, _) = server.close();
        assert!(status.success(), "{dialect:?}: {status}");
    }
}

/// Shows that the test above proves its point: the library does spoil a program that does not
/// defend itself.
#[test]
fn the_library_does_spoil_a_defenceless_program() {
    let home = Home::new("");
    let library = home.path("garbage.so");
    compile(&library);
    let socket = home.path("garbage.socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut cat = Command::new("cat")
        .env("LD_PRELOAD", &library)
        .env("GARBAGE_SOCKET", &socket)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut garbage = accept(listener);
    garbage.write_all(b"?").unwrap();
    garbage.read_exact(&mut [0]).unwrap();
    drop(cat.stdin.take());
    let output = cat.wait_with_output().unwrap().stdout;
    assert!(String::from_utf8_lossy(&output).contains("a library says hello"));
}

fn compile(library: &Path) {
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-pthread", "-o"]).arg(library);
    compiler.arg(part("COUNTERSIGN_REAL_DIR").join("garbage.c"));
    assert_eq!(Running::start(compiler).end().code, Some(0), "cc compiles the library");
}

fn accept(listener: UnixListener) -> UnixStream {
    let (to, from) = channel();
    std::thread::spawn(move || to.send(listener.accept()));
    let (stream, _) = from.recv_timeout(PATIENCE).expect("the library connects").unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}
