//! Programs that wait for their users' consents: long polls of Arcade's clients and polls of
//! Portia's, beside calls over MCP. The times of those calls with and without them are of one run.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::{Either, join_all, select, try_join, try_join_all};
use memchr::memmem;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::time::{Instant, interval, sleep};

use super::{APP_KEY, IN_FLIGHT, home, start, user, who};
use crate::harness::{is_long, report, times, wait_until};
use crate::load::api::{Api, mark};
use crate::load::figures::{Figures, millis, number};
use crate::load::process::Process;
use crate::load::session::{Expected, Session, Way};
use crate::load::wire::Connection;

/// Size of a run.
struct Scale {
    /// Users whose programs wait in a long poll.
    waiting: usize,
    /// Users whose programs poll every two seconds.
    polling: usize,
    /// Duration of each measurement: without them, with them, and without them again.
    length: Duration,
    /// Polls of one connection, of which the processor time is measured.
    polls: usize,
}

/// Less than a minute by default; of full size in `./tests/run long`.
fn scale() -> Scale {
    if is_long() {
        let length = Duration::from_secs(20) * times();
        Scale { waiting: 2000, polling: 1000, length, polls: 100_000 }
    } else {
        Scale { waiting: 200, polling: 100, length: Duration::from_secs(8), polls: 2000 }
    }
}

/// Users with a consent, who call.
const CALLERS: usize = 64;
/// Seconds that a client waits at most for an answer. Arcade's ask for 45 and then again.
const WAIT: &str = "45";
/// How often Portia's clients poll.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Writes a request with the application's key.
fn request(at: SocketAddr, method: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {at}\r\nauthorization: {APP_KEY}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends a request and returns its answer, which must contain `mark`.
async fn ask(connection: &mut Connection, request: &[u8], mark: &str) -> io::Result<String> {
    let reply = connection.exchange(request).await?;
    let text = String::from_utf8_lossy(reply.body).into_owned();
    if reply.status == 200 && memmem::find(reply.body, mark.as_bytes()).is_some() {
        return Ok(text);
    }
    Err(io::Error::other(format!("status {}, without {mark}: {text}", reply.status)))
}

/// Writes a question about a tool that lacks its user's consent.
fn readiness(at: SocketAddr, user: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"tool_ids":["countersign:never:connected"],"execution_context":{{"end_user_id":"{user}","plan_run_id":"prun-6989f1aa-f910-4c53-b3c5-69d1aa4ebf42"}}}}"#
    );
    request(at, "POST", "/api/v0/tools/batch/ready/", &body)
}

/// Programs that wait.
struct Waiting {
    at: SocketAddr,
    /// Programs whose first request is answered or on its way.
    begun: Cell<usize>,
    polls: Cell<usize>,
    /// Connections that have no answer yet. Of too many from one address, the server closes the
    /// oldest.
    new: Semaphore,
}

/// Most connections without an answer at once.
const MAX_NEW: usize = 100;

impl Waiting {
    fn has_begun(&self) {
        self.begun.set(self.begun.get() + 1);
    }

    /// Asks for a user's consent, and waits for it in long polls.
    async fn wait(&self, user: String) -> io::Result<()> {
        let is_new = self.new.acquire().await;
        let mut connection = Connection::open(self.at).await?;
        let asked = format!(r#"{{"tool_name":"Never.Connected","user_id":"{user}"}}"#);
        let asked = request(self.at, "POST", "/v1/tools/authorize", &asked);
        let answer = ask(&mut connection, &asked, r#""status":"pending""#).await?;
        drop(is_new);
        let id = answer.split(r#""id":""#).nth(1).and_then(|rest| rest.split('"').next());
        let id = id.ok_or_else(|| io::Error::other(answer.clone()))?;
        let poll = request(self.at, "GET", &format!("/v1/auth/status?id={id}&wait={WAIT}"), "");
        self.has_begun();
        loop {
            ask(&mut connection, &poll, r#""status":"pending""#).await?;
            self.polls.set(self.polls.get() + 1);
        }
    }

    /// Asks every two seconds whether a user's tool is ready. `share` of them pass first, so that
    /// not all programs ask at once.
    async fn poll(&self, user: String, share: Duration) -> io::Result<()> {
        let is_new = self.new.acquire().await;
        let mut connection = Connection::open(self.at).await?;
        let poll = readiness(self.at, &user);
        ask(&mut connection, &poll, r#""ready":false"#).await?;
        drop(is_new);
        self.has_begun();
        sleep(share).await;
        let mut ticks = interval(POLL_INTERVAL);
        loop {
            ticks.tick().await;
            ask(&mut connection, &poll, r#""ready":false"#).await?;
            self.polls.set(self.polls.get() + 1);
        }
    }

    async fn all(&self, scale: &Scale) -> io::Result<()> {
        let waiting = (0..scale.waiting).map(|at| self.wait(format!("waiting-{at}")));
        let polling = (0..scale.polling).map(|at| {
            let share = POLL_INTERVAL.mul_f64(number(at) / number(scale.polling));
            self.poll(format!("polling-{at}"), share)
        });
        // None of them ends but by a fault.
        try_join(try_join_all(waiting), try_join_all(polling)).await.map(|_| ())
    }
}

/// Calls over MCP without a pause, for a while; returns the times.
async fn calls(at: SocketAddr, length: Duration) -> io::Result<Figures> {
    let end = Instant::now() + length;
    let callers = (0..IN_FLIGHT).map(async |caller| {
        let (mut figures, user) = (Figures::default(), user(caller % CALLERS));
        let mut connection = Connection::open(at).await?;
        let mut session = Session::open(Way::Stateless, at, &who(&user), &mut connection).await?;
        let mut request = session.call("notes", r#""limit":10"#);
        let expected = Expected::result(&mark(&user));
        while Instant::now() < end {
            let began = Instant::now();
            expected.check(&session.ask(&mut request, &mut connection).await?)?;
            figures.add(began.elapsed());
        }
        io::Result::Ok(figures)
    });
    let mut all = Figures::default();
    for figures in join_all(callers).await {
        all.join(figures?);
    }
    Ok(all)
}

/// Measures calls while the programs wait.
async fn calls_beside(at: SocketAddr, scale: &Scale) -> io::Result<(Figures, usize)> {
    let waiting =
        Waiting { at, begun: Cell::new(0), polls: Cell::new(0), new: Semaphore::new(MAX_NEW) };
    let measured = Box::pin(async {
        while waiting.begun.get() < scale.waiting + scale.polling {
            sleep(Duration::from_millis(50)).await;
        }
        let before = waiting.polls.get();
        let figures = calls(at, scale.length).await?;
        Ok((figures, waiting.polls.get() - before))
    });
    match select(measured, Box::pin(waiting.all(scale))).await {
        Either::Left((measured, _)) => measured,
        Either::Right((ended, _)) => Err(ended.expect_err("they wait until they are dropped")),
    }
}

/// Microseconds of the server's processor time for one of many equal requests on one connection.
async fn cost(process: &Process, request: &[u8], mark: &str, count: usize) -> io::Result<f64> {
    let mut connection = Connection::open(process.address).await?;
    ask(&mut connection, request, mark).await?;
    let before = process.processor();
    for _ in 0..count {
        ask(&mut connection, request, mark).await?;
    }
    Ok(process.processor().saturating_sub(before).as_secs_f64() * 1e6 / number(count))
}

#[test]
fn programs_that_wait_leave_room_for_calls() {
    let api = Api::start();
    let scale = scale();
    let home = home(&api, CALLERS);
    let process = start(&home);
    let at = process.address;
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(calls(at, scale.length / 4)).unwrap();
    let open = process.descriptors();
    let mut without = runtime.block_on(calls(at, scale.length)).unwrap();
    let (with, polls) = runtime.block_on(calls_beside(at, &scale)).unwrap();
    wait_until("the end of the polls' connections", || process.descriptors() <= open + IN_FLIGHT);
    without.join(runtime.block_on(calls(at, scale.length)).unwrap());
    let Scale { waiting, polling, length, .. } = scale;
    for (what, figures, times) in [("without", &without, 2.0), ("with", &with, 1.0)] {
        let rate = number(figures.len()) / length.as_secs_f64() / times;
        let (middle, high) = (millis(figures.at(50)), millis(figures.at(99)));
        report(&format!("/mcp {what} polls: {rate:.0} calls/s, p50 {middle} ms, p99 {high} ms"));
    }
    let worse = with.at(99) / without.at(99) * 100.0 - 100.0;
    report(&format!(
        "{waiting} waiting and {polling} polling programs, {polls} polls: p99 {worse:+.0} %"
    ));

    let cost =
        async |request: &[u8], mark| cost(&process, request, mark, scale.polls).await.unwrap();
    let (least, poll) = runtime.block_on(async {
        let least = cost(&request(at, "GET", "/health/live", ""), "").await;
        (least, cost(&readiness(at, "polling-0"), r#""ready":false"#).await)
    });
    report(&format!(
        "processor time of one of {} requests: readiness {poll:.1} µs, /health/live {least:.1} µs",
        scale.polls
    ));
    let (status, said) = process.end();
    assert!(status.success(), "{status}: {said}");
    assert!(!said.contains("panicked") && !said.contains("ERROR"), "{said}");
    assert!(polls > polling, "{polls}");
}
