//! Thirty thousand garbage requests, beside clients whose valid calls must go on.
//!
//! The seed is reported; with `COUNTERSIGN_REAL_SEED` the same requests come again, though not in
//! the same order.

mod dice;
mod draft;
mod words;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{join, join_all};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::{Instant, timeout};

use crate::harness::{Home, environment, report, times, wait_until};
use crate::load::api::Api;
use crate::load::figures::number;
use crate::load::grants;
use crate::load::process::Process;
use crate::load::session::{Expected, Session, Way};
use crate::load::wire::Connection;
use dice::Dice;

const REQUESTS: usize = 30_000;
/// Memory is measured after each sixth. Allocating and freeing in all sizes and orders leaves
/// holes, and new ones become rare only after some hundred thousand requests. From the second sixth
/// on, growth is compared with the least that a leak would leave for each request: the smallest
/// task or session has more.
const PARTS: usize = 6;
const WARM: usize = 2;
/// KiB of growth that is allowed for each request.
const MOST_LEFT_KIB: f64 = 1.0;
const CONNECTIONS: usize = 96;
/// Requests one after the other on a connection, as long as the server leaves it open.
const PIPELINED: usize = 12;
/// A server that is silent for this long waits for a body that does not come, or streams.
const SILENCE: Duration = Duration::from_millis(150);
/// Sessions that garbage has opened and that are kept for more garbage. Surplus ones are closed.
const SESSIONS: usize = 32;
/// Limit for a valid call beside the garbage; a longer one fails the test.
const LONGEST_CALL: Duration = Duration::from_secs(5);

/// Results of the garbage.
#[derive(Default)]
struct Seen {
    statuses: RefCell<BTreeMap<u16, usize>>,
    /// Connections that ended without any answer.
    cut: Cell<usize>,
    sessions: RefCell<Vec<String>>,
    /// One example of each kind, by the answer's text.
    faults: RefCell<BTreeMap<String, String>>,
}

impl Seen {
    fn requests(&self) -> usize {
        self.statuses.borrow().values().sum::<usize>() + self.cut.get()
    }

    /// Takes in everything that the server said on a connection.
    fn take(&self, sent: &[u8], said: &[u8]) {
        let mut answers = 0;
        for at in memmem::find_iter(said, b"HTTP/1.") {
            let status = said.get(at + 9..at + 12).and_then(|code| std::str::from_utf8(code).ok());
            let Some(status) = status.and_then(|code| code.parse::<u16>().ok()) else { continue };
            *self.statuses.borrow_mut().entry(status).or_default() += usize::from(status != 100);
            answers += 1;
            // The server's limits are 503, and documented.
            if status >= 500 && status != 503 {
                self.fault(sent, &said[at..]);
            }
        }
        if let Some(at) = memmem::find(said, b"-32603") {
            self.fault(sent, &said[at.saturating_sub(300)..]);
        }
        if answers == 0 {
            self.cut.set(self.cut.get() + 1);
        }
        let mut sessions = self.sessions.borrow_mut();
        for name in [&b"mcp-session-id: "[..], b"sessionId="] {
            for at in memmem::find_iter(said, name) {
                let rest = &said[at + name.len()..];
                let end = rest.iter().position(|byte| !byte.is_ascii_graphic()).unwrap_or(0);
                sessions.push(String::from_utf8_lossy(&rest[..end]).into_owned());
            }
        }
    }

    fn fault(&self, sent: &[u8], said: &[u8]) {
        let text = |bytes: &[u8], most: usize| {
            String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned()
        };
        let said = text(said, 400);
        let (_, body) = said.split_once("\r\n\r\n").unwrap_or_default();
        let kind = body.split("HTTP/1.").next().unwrap_or_default().to_owned();
        let fault = || format!("{said}\n--- to one of these:\n{}", text(sent, 6000));
        self.faults.borrow_mut().entry(kind).or_insert_with(fault);
    }

    /// The sessions above the limit, which are then closed properly.
    fn surplus(&self) -> Vec<String> {
        let mut sessions = self.sessions.borrow_mut();
        let surplus = sessions.len().saturating_sub(SESSIONS);
        sessions.drain(..surplus).collect()
    }
}

/// Sends the garbage that `dice` yields for one connection, and records all answers.
async fn connection(at: SocketAddr, mut dice: Dice, seen: &Seen) {
    let mut sent = Vec::new();
    let host = at.to_string();
    for id in seen.surplus() {
        sent.extend(
            format!("DELETE /mcp HTTP/1.1\r\nhost: {host}\r\nmcp-session-id: {id}\r\n\r\n")
                .into_bytes(),
        );
    }
    let known = seen.sessions.borrow().clone();
    for _ in 0..=dice.below(PIPELINED) {
        sent.extend(draft::garbage(&mut dice, &host, &known));
    }
    // A server that has understood this much closes the connection, so no further wait is needed.
    let last = "GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    sent.extend(last.as_bytes());
    let stream = TcpStream::connect(at).await.expect("the server accepts connections");
    let (mut input, mut output) = stream.into_split();
    let (mut said, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
    let read = async {
        while let Ok(Ok(read @ 1..)) = timeout(SILENCE, input.read(&mut buffer)).await {
            said.extend_from_slice(&buffer[..read]);
        }
    };
    // The server may stop reading what it does not accept.
    let _ = join(timeout(SILENCE, output.write_all(&sent)), read).await;
    seen.take(&sent, &said);
}

/// Makes valid calls in every way until the garbage ends; returns the time of the slowest.
async fn good_calls(at: SocketAddr, is_over: &Cell<bool>) -> io::Result<Duration> {
    let mut longest = Duration::ZERO;
    let mut connection = Connection::open(at).await?;
    let mut sessions = Vec::new();
    for way in Way::ALL {
        sessions.push(Session::open(way, at, "", &mut connection).await?);
    }
    let calls =
        [("open", Expected::result("to everybody")), ("connect", Expected::other("/connect/"))];
    loop {
        for session in &mut sessions {
            for (tool, expected) in &calls {
                let mut request = session.call(tool, "");
                let began = Instant::now();
                expected.check(&session.ask(&mut request, &mut connection).await?)?;
                longest = longest.max(began.elapsed());
            }
        }
        if is_over.get() {
            break;
        }
    }
    for session in sessions {
        session.close(&mut connection).await?;
    }
    Ok(longest)
}

fn seed() -> u64 {
    let given = environment("COUNTERSIGN_REAL_SEED");
    given.and_then(|seed| seed.to_str()?.parse().ok()).unwrap_or_else(|| {
        use std::hash::{BuildHasher as _, Hasher as _, RandomState};
        RandomState::new().build_hasher().finish()
    })
}

#[test]
fn thirty_thousand_requests_of_garbage_disturb_nobody() {
    let api = Api::start();
    let address = api.address();
    let home = Home::new(&format!(
        r#"{provider}
[tools.open]
description = "What everybody may read."
request     = "GET http://{address}/once"

[tools.connect]
description = "Something that nobody has consented to."
provider    = "notes"
request     = "GET /notes"
"#,
        provider = grants::provider(&api),
    ));
    let process = Process::start(home.command(&["serve", "--http", "127.0.0.1:0"]));
    let at = process.address;
    let seed = seed();
    let requests = REQUESTS * usize::try_from(times()).unwrap();
    report(&format!("seed {seed}"));
    let seen = Seen::default();
    let mut dice = Dice::new(seed);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut send = |requests: usize| {
        let is_over = Cell::new(false);
        let garbage = async {
            let rolls = std::iter::from_fn(|| (seen.requests() < requests).then(|| dice.roll()));
            futures_util::stream::iter(rolls)
                .for_each_concurrent(CONNECTIONS, |roll| connection(at, Dice::new(roll), &seen))
                .await;
            is_over.set(true);
        };
        let (longest, ()) = runtime.block_on(join(good_calls(at, &is_over), garbage));
        longest.unwrap_or_else(|error| panic!("seed {seed}: {error}"))
    };
    // The store is open now, and so is the port of the links.
    send(0);
    let descriptors = process.descriptors();
    let (mut longest, mut looks) = (Duration::ZERO, Vec::new());
    for part in 1..=PARTS {
        longest = longest.max(send(requests * part / PARTS));
        looks.push(process.memory("VmRSS"));
    }
    // The remaining sessions are closed, as all others are.
    let rest = seen.sessions.take();
    runtime.block_on(join_all(rest.iter().map(async |id| {
        let mut connection = Connection::open(at).await.unwrap();
        let delete = format!("DELETE /mcp HTTP/1.1\r\nhost: {at}\r\nmcp-session-id: {id}\r\n\r\n");
        let _ = connection.exchange(delete.as_bytes()).await;
    })));
    wait_until(&format!("at most {descriptors} descriptors"), || {
        process.descriptors() <= descriptors
    });
    let left = process.descriptors();
    let (status, said) = process.end();
    report(&format!(
        "answers {:?}, {} connections cut; the longest good call {longest:?}; resident, KiB, after each \
         sixth: {looks:?}; {descriptors} descriptors, {left} at the end; {} bytes of log",
        seen.statuses.borrow(),
        seen.cut.get(),
        said.len()
    ));
    let faults = seen.faults.take();
    let faults: Vec<String> = faults.into_values().collect();
    assert!(faults.is_empty(), "seed {seed}: {}", faults.join("\n\n=== and\n"));
    assert!(!said.contains("panicked") && !said.contains("ERROR"), "seed {seed}: {said}");
    assert!(status.success(), "seed {seed}: {status}: {said}");
    assert!(longest < LONGEST_CALL, "seed {seed}: {longest:?}");
    assert!(left <= descriptors, "seed {seed}: {left} descriptors of {descriptors}");
    let grown = looks[PARTS - 1] - looks[WARM - 1];
    let most = MOST_LEFT_KIB * number(requests * (PARTS - WARM) / PARTS);
    assert!(grown < most, "seed {seed}: memory grows: {looks:?}");
}
