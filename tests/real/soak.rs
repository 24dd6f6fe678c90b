//! Thousands of users at once, in all the ways in which clients connect, until any growth of memory
//! would show.
//!
//! Each answer names the user whose token reached the API, and so shows whether it went to the
//! right user.

mod polls;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use countersign::model::{Caller, UserId};
use futures_util::future::{join, try_join_all};
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::harness::{Home, is_long, report, times, wait_until};
use crate::load::api::{Api, HOSTILE_KINDS, mark};
use crate::load::figures::{Figures, mib, millis, number};
use crate::load::grants::{self, KEY};
use crate::load::process::Process;
use crate::load::session::{Expected, Request, Session, Way};
use crate::load::wire::Connection;

/// Size of a run.
struct Scale {
    users: usize,
    /// Half of them at `/mcp`, half at `/sse`; stateless clients come in addition.
    sessions: usize,
    /// Minimum warm-up. After it, every user has come twice, so that everything kept per user is in
    /// memory and in the store's cache, and ended sessions are released as fast as new ones come.
    warm_up: Duration,
    /// Time after the warm-up.
    length: Duration,
    /// How long hostile answers come.
    hostile: Duration,
    /// Factor by which resident memory may grow. After a short warm-up it is still growing.
    growth: f64,
}

/// Less than a minute for each test by default; thousands of users, for as long as requested, in
/// `./tests/run long`.
fn scale() -> Scale {
    if is_long() {
        Scale {
            users: 5000,
            sessions: 500,
            warm_up: Duration::from_secs(45),
            length: Duration::from_mins(1) * times(),
            hostile: Duration::from_mins(1) * times(),
            growth: MOST_GROWTH,
        }
    } else {
        Scale {
            users: 1000,
            sessions: 100,
            warm_up: Duration::from_secs(15),
            length: Duration::from_secs(20),
            hostile: Duration::from_secs(30),
            growth: 1.25,
        }
    }
}

/// Calls in flight for each way: enough to keep both processors busy. More would measure the length
/// of the queue, and an unoptimized build is ten times slower.
const IN_FLIGHT: usize = if cfg!(debug_assertions) { 2 } else { 16 };
/// Calls after which a session ends and another user comes.
const CALLS_OF_A_SESSION: usize = 30;
/// Limit for the warm-up; a longer one fails the test.
const LONGEST_WARM_UP: Duration = Duration::from_mins(5);
/// Interval between memory samples. `LOOKS` samples at either end make a figure.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOKS: usize = 20;

const LONGEST_P99: Duration = Duration::from_millis(100);
/// Factor by which resident memory may grow from the first to the last samples, once everything is
/// warm.
const MOST_GROWTH: f64 = 1.10;

const APP_KEY: &str = "soak-application-key-0123456789";

fn tools(api: &Api) -> String {
    let provider = grants::provider(api);
    let address = api.address();
    format!(
        r#"
[server.auth]
[[server.auth.api_keys]]
name         = "app"
key          = "env:APP_KEY"
verifier_url = "http://{address}/verify"
{provider}
[providers.other]
base_url      = "http://{address}"
client_id     = "soak"
[providers.other.oauth]
authorize_url = "http://{address}/authorize"
token_url     = "http://{address}/token"

[tools.notes]
description  = "List notes."
provider     = "notes"
scopes       = ["notes:read"]
request      = "GET /notes"
params.limit = {{ type = "integer", default = 10, max = 50, description = "How many" }}

[tools.titles]
description = "List titles of notes."
provider    = "notes"
scopes      = ["notes:read"]
request     = "GET /notes"
select      = "[.title, (.notes[] | .title)]"

[tools.archive]
description = "List all notes ever."
provider    = "notes"
scopes      = ["notes:read"]
request     = "GET /archive"

[tools.open]
description = "What everybody may read."
request     = "GET http://{address}/open"

[tools.hostile]
description = "What no API should answer."
request     = "GET http://{address}/hostile/{{kind}}"
params.kind = {{ description = "Which of them" }}

[tools.never_connected]
description = "Something of somebody else's."
provider    = "other"
request     = "GET /notes"
"#
    )
}

/// A machine with a consent of every user.
fn home(api: &Api, users: usize) -> Home {
    let home = Home::new("").with("COUNTERSIGN_KEY", KEY).with("APP_KEY", APP_KEY);
    home.write_tools_only(&tools(api));
    let callers =
        (0..users).map(|at| Caller { namespace: "key:app".into(), user: UserId::new(user(at)) });
    let kept = grants::keep(home.data(), home.path("home/run"), api, callers);
    tokio::runtime::Runtime::new().unwrap().block_on(kept);
    home
}

fn user(at: usize) -> String {
    format!("user-{at}")
}

/// The header lines that name a user.
fn who(user: &str) -> String {
    format!("authorization: Bearer {APP_KEY}\r\ncountersign-user: {user}\r\n")
}

fn start(home: &Home) -> Process {
    Process::start(home.command(&["serve", "--http", "127.0.0.1:0"]))
}

/// A session and its user.
struct Seat {
    session: Session,
    user: String,
    calls: usize,
}

impl Seat {
    async fn take(
        way: Way,
        at: SocketAddr,
        user: String,
        connection: &mut Connection,
    ) -> io::Result<Self> {
        let mut session = Session::open(way, at, &who(&user), connection).await?;
        if way == Way::Session {
            session.listen(at).await?;
        }
        Ok(Self { session, user, calls: 0 })
    }

    /// A call whose answer is as large as allowed, and made to cost more.
    fn hostile(&self, turn: usize) -> (Request, Expected) {
        let (kind, mark) = HOSTILE_KINDS[turn / HOSTILE_EVERY % HOSTILE_KINDS.len()];
        let call = self.session.call("hostile", &format!(r#""kind":"{kind}""#));
        (call, Expected::other(mark))
    }

    /// Returns the next call and its expected outcome.
    fn next(&self, turn: usize) -> (Request, Expected) {
        let Self { session, user, .. } = self;
        let call = |tool, arguments| session.call(tool, arguments);
        if turn % 48 == 47 {
            return (call("archive", ""), Expected::result(&mark(user)));
        }
        match turn % 12 {
            0 => (session.list(), Expected::result("never_connected")),
            1 | 2 => (call("open", ""), Expected::result("to everybody")),
            3 => (call("never_connected", ""), Expected::other("/connect/")),
            4 => (call("notes", r#""limit":"many""#), Expected::other("limit")),
            5..8 => (call("titles", ""), Expected::result(&mark(user))),
            _ => (call("notes", r#""limit":10"#), Expected::result(&mark(user))),
        }
    }
}

/// State that all callers share.
struct Soak {
    scale: Scale,
    at: SocketAddr,
    began: Instant,
    users: Cell<usize>,
    /// Whether one call in [`HOSTILE_EVERY`] gets a hostile answer, and how many did.
    has_hostile: bool,
    hostile: Cell<usize>,
    /// Set once everything is warm.
    end: Cell<Option<Instant>>,
    times: RefCell<[Figures; Way::ALL.len()]>,
}

impl Soak {
    fn next_user(&self) -> String {
        let next = self.users.get();
        self.users.set(next + 1);
        let Scale { users, warm_up, length, .. } = self.scale;
        let is_warm = next >= 2 * users && self.began.elapsed() >= warm_up;
        if is_warm && self.end.get().is_none() {
            self.end.set(Some(Instant::now() + length));
        }
        user(next % users)
    }

    fn is_over(&self) -> bool {
        self.end.get().is_some_and(|end| Instant::now() >= end)
    }

    /// Makes calls without a pause, in one session after the other.
    async fn caller(&self, way: usize, first: usize) -> io::Result<()> {
        let at = self.at;
        let (seats, life) = match Way::ALL[way] {
            Way::Stateless => (1, 1),
            Way::Session | Way::Sse => {
                (self.scale.sessions.div_ceil(2 * IN_FLIGHT), CALLS_OF_A_SESSION)
            }
        };
        let mut connection = Connection::open(at).await?;
        let mut taken = VecDeque::new();
        for _ in 0..seats {
            taken
                .push_back(Seat::take(Way::ALL[way], at, self.next_user(), &mut connection).await?);
        }
        let mut turns = first..;
        while let (Some(mut seat), false) = (taken.pop_front(), self.is_over()) {
            let turn = turns.next().unwrap_or_default();
            let is_hostile = self.has_hostile && turn % HOSTILE_EVERY == HOSTILE_EVERY - 1;
            let (mut request, expected) =
                if is_hostile { seat.hostile(turn) } else { seat.next(turn) };
            if is_hostile {
                self.hostile.set(self.hostile.get() + 1);
            }
            let began = Instant::now();
            let message = seat.session.ask(&mut request, &mut connection).await?;
            let took = began.elapsed();
            expected.check(&message)?;
            if self.end.get().is_some() {
                self.times.borrow_mut()[way].add(took);
            }
            seat.calls += 1;
            if seat.calls >= life {
                seat.session.close(&mut connection).await?;
                seat = Seat::take(Way::ALL[way], at, self.next_user(), &mut connection).await?;
            }
            taken.push_back(seat);
        }
        for seat in taken {
            seat.session.close(&mut connection).await?;
        }
        Ok(())
    }

    /// Samples resident memory repeatedly once everything is warm.
    async fn look_at(&self, process: &Process) -> Vec<f64> {
        let mut looks = Vec::new();
        while !self.is_over() {
            tokio::time::sleep(LOOK_EVERY).await;
            match self.end.get() {
                Some(_) => looks.push(process.memory("VmRSS")),
                None => assert!(
                    self.began.elapsed() < LONGEST_WARM_UP,
                    "after {LONGEST_WARM_UP:?} only {} visits",
                    self.users.get()
                ),
            }
        }
        looks
    }
}

fn median(looks: &[f64]) -> f64 {
    let mut figures = Figures::default();
    for look in looks {
        figures.add_number(*look);
    }
    figures.at(50)
}

#[test]
fn all_people_in_many_sessions_get_what_is_theirs() {
    let api = Api::start();
    let scale = scale();
    let home = home(&api, scale.users);
    let process = start(&home);
    let Scale { length, growth, .. } = scale;
    let soak = Soak {
        at: process.address,
        began: Instant::now(),
        users: Cell::new(0),
        has_hostile: false,
        hostile: Cell::new(0),
        end: Cell::new(None),
        times: RefCell::default(),
        scale,
    };
    let callers = (0..Way::ALL.len() * IN_FLIGHT)
        .map(|caller| soak.caller(caller % Way::ALL.len(), caller * 5));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let before = process.processor();
    let (called, looks) = runtime.block_on(join(try_join_all(callers), soak.look_at(&process)));
    called.unwrap_or_else(|error| panic!("{error}"));
    let processor = process.processor().saturating_sub(before);
    let (first, last) = (median(&looks[..LOOKS]), median(&looks[looks.len() - LOOKS..]));
    report(&format!(
        "{} visits, {} descriptors, {} MiB once warm, {} MiB at the end, {:.1} s of processor time",
        soak.users.get(),
        process.descriptors(),
        mib(first),
        mib(last),
        processor.as_secs_f64(),
    ));
    let times = soak.times.into_inner();
    for (way, times) in Way::ALL.iter().zip(&times) {
        let (name, rate) = (way.name(), number(times.len()) / length.as_secs_f64());
        let (middle, high) = (millis(times.at(50)), millis(times.at(99)));
        report(&format!("{name}: {rate:.0} calls/s, p50 {middle} ms, p99 {high} ms"));
    }
    let (status, said) = process.end();
    assert!(status.success(), "{status}: {said}");
    assert!(!said.contains("panicked") && !said.contains("ERROR"), "{said}");
    assert!(last < first * growth, "memory grows: {looks:?}");
    // It would mean nothing for an unoptimized build, beside other load.
    if is_long() {
        for (way, times) in Way::ALL.iter().zip(&times) {
            assert!(times.at(99) < LONGEST_P99.as_secs_f64(), "{}", way.name());
        }
    }
}

/// One call in this many has a hostile answer.
const HOSTILE_EVERY: usize = 100;
/// Least number of hostile answers; fewer fail the test.
const LEAST_HOSTILE: usize = 2 * HOSTILE_KINDS.len();
/// KiB of resident memory at any time, regardless of the APIs' answers; docs/operations.md says so.
const MAX_RESIDENT: f64 = 512.0 * 1024.0;
/// How long memory may take to be given back.
const REST: Duration = Duration::from_secs(45);
/// Share of the peak that may stay once memory has been given back; the callers' sessions are open
/// still. Without giving back, 95 of a hundred stayed.
const AT_REST: f64 = 0.85;

/// One call in a hundred is answered with 9 MiB that would become 350 MiB of values, or a second's
/// work.
#[test]
fn hostile_answers_stay_within_their_memory() {
    let api = Api::start();
    let scale = scale();
    let home = home(&api, scale.users);
    let process = start(&home);
    let soak = Soak {
        at: process.address,
        began: Instant::now(),
        users: Cell::new(0),
        has_hostile: true,
        hostile: Cell::new(0),
        end: Cell::new(Some(Instant::now() + scale.hostile)),
        times: RefCell::default(),
        scale,
    };
    let callers = (0..Way::ALL.len() * IN_FLIGHT)
        .map(|caller| soak.caller(caller % Way::ALL.len(), caller * HOSTILE_EVERY / 7));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (called, looks) = runtime.block_on(join(try_join_all(callers), soak.look_at(&process)));
    called.unwrap_or_else(|error| panic!("{error}"));
    let peak = process.memory("VmHWM");
    let calls: usize = soak.times.borrow().iter().map(Figures::len).sum();
    let idle = at_rest(&process, peak * AT_REST);
    report(&format!(
        "{calls} calls, {} hostile; resident: {} MiB in the middle, {} MiB at most, {} MiB idle",
        soak.hostile.get(),
        mib(median(&looks)),
        mib(peak),
        mib(idle),
    ));
    let (status, said) = process.end();
    assert!(status.success(), "{status}: {said}");
    assert!(!said.contains("panicked") && !said.contains("ERROR"), "{said}");
    assert!(soak.hostile.get() >= LEAST_HOSTILE, "only {} came", soak.hostile.get());
    assert!(peak < MAX_RESIDENT, "{peak} KiB");
    assert!(idle < peak * AT_REST, "{idle} of {peak} KiB stay");
}

/// KiB of resident memory, once it is less than `enough` or [`REST`] is over.
fn at_rest(process: &Process, enough: f64) -> f64 {
    let began = Instant::now();
    let mut now = process.memory("VmRSS");
    while began.elapsed() < REST && now >= enough {
        std::thread::sleep(LOOK_EVERY);
        now = process.memory("VmRSS");
    }
    now
}

/// Sessions of a round, half of each way. They take 11 MiB.
const COMING: usize = 200;

#[test]
fn sessions_that_end_leave_nothing_behind() {
    let api = Api::start();
    let scale = scale();
    // After a third of the rounds memory is warm. Sessions that stayed would double it by the last
    // one.
    let (rounds, settled) = if is_long() { (60, 20) } else { (12, 4) };
    let home = home(&api, COMING);
    let process = start(&home);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut looks = Vec::new();
    for _ in 0..rounds {
        let open = process.descriptors();
        runtime.block_on(come_and_go(process.address)).unwrap();
        // The first link opens a port.
        wait_until(&format!("at most {open} descriptors"), || {
            looks.is_empty() || process.descriptors() <= open
        });
        looks.push(process.memory("VmRSS"));
    }
    // glibc alone keeps what was freed.
    let rest = at_rest(&process, looks[settled]);
    report(&format!("resident, round by round, KiB: {looks:?}; at rest: {rest}"));
    let (status, said) = process.end();
    assert!(status.success(), "{status}: {said}");
    assert!(looks[rounds - 1] < looks[settled] * scale.growth, "memory grows: {looks:?}");
    assert!(rest < looks[settled], "{rest} KiB stay: {looks:?}");
}

async fn come_and_go(at: SocketAddr) -> io::Result<()> {
    let visits = (0..COMING).map(async |visitor| {
        let way = if visitor % 2 == 0 { Way::Session } else { Way::Sse };
        let mut connection = Connection::open(at).await?;
        let mut seat = Seat::take(way, at, user(visitor), &mut connection).await?;
        // None of these calls reaches the API, to which connections are kept: all open descriptors
        // are the sessions' own.
        for turn in [0, 3, 4] {
            let (mut request, expected) = seat.next(turn);
            expected.check(&seat.session.ask(&mut request, &mut connection).await?)?;
        }
        seat.session.close(&mut connection).await
    });
    try_join_all(visits).await.map(|_| ())
}
