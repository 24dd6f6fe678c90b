//! Several processes on one data folder: one owns it, the others are its peers, and no client
//! notices which.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::json;

use crate::harness::{Dialect, Home, Server, Visit, World, wait_until};
use tokio::time::Instant;

/// How long a takeover may take.
const TAKEOVER: Duration = Duration::from_secs(1);

/// A server that owns the folder and has ana's consent, and one beside it.
fn two(world: &World) -> (Home, Server, Server) {
    let home = Home::new(&format!("keeper = false\n{}", world.tools()));
    let mut owner = Server::start(&home, Dialect::PLAIN);
    let prompt = owner.call("whoami", &json!({})).asked();
    Visit::to(&prompt.url).approves();
    assert_runs(&mut owner);
    let mut peer = Server::start(&home, Dialect::PLAIN);
    assert_runs(&mut peer);
    (home, owner, peer)
}

#[track_caller]
fn assert_runs(server: &mut Server) {
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
}

fn pid(server: &Server) -> Pid {
    Pid::from_raw(server.pid().try_into().unwrap()).unwrap()
}

/// Stops a process, and waits until all its threads have stopped.
fn stop(server: &Server) {
    kill_process(pid(server), Signal::STOP).unwrap();
    let (_, status) = waitpid(Some(pid(server)), WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped());
}

/// Waits until the folder's lock names this process as the owner; returns the time since `begun`.
#[track_caller]
fn wait_for_owner(home: &Home, server: &Server, begun: Instant) -> Duration {
    let lock = home.data().join("store.lock");
    let name = format!("process {},", server.pid());
    wait_until("the next owner", || {
        let text = fs::read_to_string(&lock).unwrap();
        text.starts_with(&name) && text.contains("\nlistens at ")
    });
    begun.elapsed()
}

/// Runs `takeover`, which returns its duration, until one takes less than [`TAKEOVER`]: a busy
/// machine can hold up one of them, and not three.
#[track_caller]
fn assert_fast(mut takeover: impl FnMut() -> Duration) {
    let took: Vec<Duration> = (0..3).map(|_| takeover()).take_while(|it| *it >= TAKEOVER).collect();
    assert!(took.len() < 3, "each takeover took too long: {took:?}");
}

/// Frames content as processes send it to one another.
fn framed(content: &[u8]) -> Vec<u8> {
    [&u32::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
}

fn hello(protocol: u8) -> Vec<u8> {
    let about = json!({"version": "9.8.7", "pid": 4711, "purpose": "serve --stdio"}).to_string();
    framed(&[b"countersign peer ", &[protocol][..], about.as_bytes()].concat())
}

/// The protocol version in the hello that a Countersign process sent.
#[track_caller]
fn protocol_of(sent: &[u8]) -> u8 {
    let (Some(magic), Some(&protocol), Some(b'{')) = (sent.get(4..21), sent.get(21), sent.get(22))
    else {
        panic!("no hello: {sent:?}");
    };
    assert_eq!(magic, b"countersign peer ");
    assert_ne!(protocol, 200, "the version of the foreign process in these tests");
    protocol
}

#[test]
fn a_consent_given_through_one_process_is_good_in_all() {
    let world = World::start();
    let (home, mut owner, mut peer) = two(&world);
    let status = || home.run(&["auth", "status", "--json", "--user", "ana"]);
    let found = status();
    assert_eq!(found.json()["accounts"][0]["state"], "connected", "{found:?}");
    let called = home.run(&["tools", "call", "whoami", "--user", "ana"]);
    assert_eq!(called.code, Some(0), "{called:?}");
    let revoked = home.run(&["auth", "revoke", "notes", "--user", "ana"]);
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    assert_eq!(status().json()["accounts"], json!([]));
    owner.call("whoami", &json!({})).asked();
    peer.call("whoami", &json!({})).asked();
}

#[test]
fn when_the_owner_is_killed_another_takes_over_and_calls_go_on() {
    let world = World::start();
    assert_fast(|| one_after_the_other_is_killed(&world));
}

/// Returns how long the calls took that were under way when the first owner was killed.
fn one_after_the_other_is_killed(world: &World) -> Duration {
    let (home, owner, mut peer) = two(world);
    let mut third = Server::start(&home, Dialect::PLAIN);
    assert_runs(&mut third);
    let begun = Instant::now();
    let [under_way, other] = [&mut peer, &mut third].map(|one| one.begin("whoami", &json!({})));
    owner.kill();
    assert!(peer.end(under_way).ran().contains("\"ana\""));
    assert!(third.end(other).ran().contains("\"ana\""));
    let took = begun.elapsed();
    assert_runs(&mut peer);
    // A new process joins, and then all are killed, down to the last one.
    let mut fourth = Server::start(&home, Dialect::PLAIN);
    assert_runs(&mut fourth);
    peer.kill();
    assert_runs(&mut third);
    third.kill();
    assert_runs(&mut fourth);
    fourth.kill();
    assert!(home.data().join("store.sock").exists(), "left behind");
    assert_runs(&mut Server::start(&home, Dialect::PLAIN));
    took
}

#[test]
fn the_folder_passes_on_though_nobody_calls() {
    let world = World::start();
    assert_fast(|| the_folder_passes_on(&world));
}

/// Returns the longer one of two takeovers.
fn the_folder_passes_on(world: &World) -> Duration {
    let (home, owner, peer) = two(world);
    let begun = Instant::now();
    owner.kill();
    let killed = wait_for_owner(&home, &peer, begun);
    let mut third = Server::start(&home, Dialect::PLAIN);
    assert_runs(&mut third);
    // An owner that exits normally hands over at once, and leaves nothing behind.
    let begun = Instant::now();
    peer.close();
    let closed = wait_for_owner(&home, &third, begun);
    assert_runs(&mut third);
    third.close();
    assert!(!home.data().join("store.sock").exists());
    killed.max(closed)
}

#[test]
fn a_stopped_owner_is_named_and_nobody_hangs() {
    let world = World::start();
    let (home, owner, mut peer) = two(&world);
    stop(&owner);
    let begun = Instant::now();
    let text = peer.call("whoami", &json!({})).failed();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let told = format!("kill -CONT {}", owner.pid());
    assert!(text.contains(&told), "{text}");
    // A process that has never met the owner does not hang, either.
    let status = home.run(&["auth", "status", "--user", "ana"]);
    assert_eq!(status.code, Some(1), "{status:?}");
    home.log_with(&told);
    kill_process(pid(&owner), Signal::CONT).unwrap();
    assert_runs(&mut peer);
    let status = home.run(&["auth", "status", "--user", "ana"]);
    assert_eq!(status.code, Some(0), "{status:?}");
    // Stopped and then killed: the lock ends with the process.
    stop(&owner);
    owner.kill();
    assert_runs(&mut peer);
}

#[test]
fn an_owner_of_another_version_is_named_until_it_ends() {
    let world = World::start();
    let (home, owner, peer) = two(&world);
    owner.close();
    peer.close();
    let mut lock = File::options().write(true).open(home.data().join("store.lock")).unwrap();
    lock.try_lock().unwrap();
    lock.set_len(0).unwrap();
    lock.write_all(b"process 4711, `serve --stdio`\nlistens at store.sock\n").unwrap();
    let listener = UnixListener::bind(home.data().join("store.sock")).unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&hello(200)).unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        said
    });
    let mut server = Server::start(&home, Dialect::PLAIN);
    let ours = protocol_of(&answering.join().unwrap());
    // The store was opened ahead of the first call; by now no process listens for this one.
    let text = server.call("whoami", &json!({})).failed();
    assert!(text.contains("4711"), "{text}");
    let ours = format!("protocol {ours}");
    for named in ["9.8.7", "protocol 200", env!("CARGO_PKG_VERSION"), &ours] {
        home.log_with(named);
    }
    drop(lock);
    assert_runs(&mut server);
}

#[test]
fn what_calls_and_is_no_peer_is_let_go() {
    let world = World::start();
    let (home, _owner, mut peer) = two(&world);
    let call = |what: &[u8]| {
        let mut stream = UnixStream::connect(home.data().join("store.sock")).unwrap();
        let mut answered = Vec::new();
        stream.write_all(what).unwrap();
        let _ = stream.read_to_end(&mut answered);
        answered
    };
    let ours = protocol_of(&call(&hello(200)));
    for named in ["9.8.7", "4711"] {
        home.log_with(named);
    }
    call(b"GET / HTTP/1.1\r\n\r\n");
    call(&[hello(ours), u32::MAX.to_be_bytes().to_vec()].concat());
    call(&[hello(ours), framed(&[0xff; 64])].concat());
    assert_runs(&mut peer);
}

#[test]
fn a_path_too_long_for_a_socket_is_shared_all_the_same() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let data = home.path(&"long/".repeat(30));
    let start = || {
        let mut command = home.command(&["serve", "--stdio", "--user", "ana", "--data"]);
        command.arg(&data);
        let mut server = Server::spawn(command, Dialect::PLAIN);
        server.shake_hands();
        server
    };
    let mut owner = start();
    let prompt = owner.call("whoami", &json!({})).asked();
    Visit::to(&prompt.url).approves();
    assert_runs(&mut owner);
    let mut peer = start();
    assert_runs(&mut peer);
    owner.kill();
    assert_runs(&mut peer);
    assert!(!data.join("store.sock").exists());
}
