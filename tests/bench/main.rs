//! Benchmarks of speed and memory: `cargo bench`, or one part: `cargo bench -- stdio` or `-- http`.
//!
//! It needs one command and no script: Cargo builds the optimized binary and this program together
//! and tells the program where the binary is. Everything stays on loopback. Each figure of a call
//! stands beside the same request made with reqwest alone, in the same run and in turns, so that a
//! busy machine slows both.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and one that cannot go on says where"
)]
#![expect(unreachable_pub, reason = "a benchmark exports nothing; `pub` means: for other files")]

mod direct;
mod host;
mod http;
#[allow(dead_code, reason = "some of it is there for the tests under load alone")]
#[path = "../load/mod.rs"]
mod load;
mod machine;

use std::cell::RefCell;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use direct::Direct;
use host::{Era, Host};
use load::api::Api;
use load::figures::{self, Figures, mib, millis};
use machine::Machine;
use tokio::time::Instant;

const STARTS: usize = 40;
/// Number of turns. In each, direct calls and calls through Countersign alternate.
const TURNS: usize = 10;
const ONE_BY_ONE: usize = 200;
const AT_ONCE: usize = 2000;
pub const IN_FLIGHT: usize = 64;

/// The tools that are called: without and with `select`.
const PLAIN: &str = "read_0";
const SELECT: &str = "select_0";

const TOOLS: usize = 10;
const MANY_TOOLS: usize = 10_000;
const MANY_GRANTS: usize = 100_000;

/// Time limit for a whole run. A run that takes longer hangs, and is aborted.
const LIMIT: Duration = Duration::from_mins(20);

fn main() {
    let (done, watched) = channel::<()>();
    std::thread::spawn(move || {
        if watched.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            eprintln!("no end after {LIMIT:?}");
            std::process::exit(1);
        }
    });
    let api = Api::start();
    println!("{} processors, load {}\n", processors(), machine::load());
    if is_wanted("stdio") {
        stdio(&api);
    }
    if is_wanted("http") {
        http::calls(&api);
    }
    println!("\nload at the end {}", machine::load());
    drop(done);
}

/// Whether this part runs: each one without arguments, otherwise only the named ones.
fn is_wanted(part: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|word| !word.starts_with("--")).peekable();
    named.peek().is_none() || named.any(|word| word == part)
}

fn stdio(api: &Api) {
    let ordinary = Machine::new(api, TOOLS, 1);
    let wide = Machine::new(api, MANY_TOOLS, 1);
    let began = Instant::now();
    let full = Machine::new(api, TOOLS, MANY_GRANTS);
    eprintln!("{MANY_GRANTS} grants were written in {:?}", began.elapsed());
    let machines =
        [("10 tools, 1 grant", &ordinary), ("10,000 tools", &wide), ("100,000 grants", &full)];
    starts(&machines);
    calls(api, &machines);
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

fn starts(machines: &[(&str, &Machine)]) {
    println!("process start to the first tools/list answer, {STARTS} starts each\n");
    println!("| | first request | min ms | p50 ms | p99 ms | resident MiB |");
    println!("|---|---|--:|--:|--:|--:|");
    for (name, machine) in machines {
        for (era, first) in [(Era::Initialize, "initialize"), (Era::Discover, "server/discover")] {
            let mut resident = Figures::default();
            let mut times = Figures::default();
            for _ in 0..STARTS {
                let began = Instant::now();
                let mut host = Host::start(machine, era);
                host.list_tools();
                times.add(began.elapsed());
                resident.add_number(host.memory("VmRSS"));
            }
            println!(
                "| {name} | {first} | {} | {} | {} | {} |",
                millis(times.min()),
                millis(times.at(50)),
                millis(times.at(99)),
                mib(resident.at(50)),
            );
        }
    }
}

/// The figures of one way to reach the API.
#[derive(Default)]
struct Way {
    single: Figures,
    /// Calls per second, one number for each turn.
    rate: Figures,
    rate_at_once: Figures,
}

fn calls(api: &Api, machines: &[(&str, &Machine)]) {
    println!("\ntools/call of an authorized tool, {} calls one by one", TURNS * ONE_BY_ONE);
    println!("and {} with {IN_FLIGHT} in flight\n", TURNS * AT_ONCE);
    println!(
        "| | p50 ms | p99 ms | calls/s | calls/s, {IN_FLIGHT} in flight | over direct, p50 ms | \
         p50 against 10 tools | peak MiB |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    let requests = Direct::new(api);
    let mut direct = Way::default();
    requests.one_by_one(ONE_BY_ONE, &mut Figures::default());
    // The first process on a data folder owns it; a later one is its peer.
    let peer = ("10 tools, a peer of the first", machines[0].1);
    let machines: Vec<_> = machines.iter().copied().chain([peer]).collect();
    let mut lanes: Vec<Lane> = machines.iter().map(|(_, machine)| Lane::new(machine)).collect();
    let mut pings = Figures::default();
    // Take turns, so that other load on the machine slows all lanes alike.
    for _ in 0..TURNS {
        direct.turn(|all| requests.one_by_one(ONE_BY_ONE, all), || requests.at_once(AT_ONCE));
        lanes[0].host.ping(ONE_BY_ONE, &mut pings);
        for lane in &mut lanes {
            lane.turn();
        }
    }
    let base = lanes[0].plain.single.at(50);
    let over = |way: &Way| millis(way.single.at(50) - direct.single.at(50));
    direct.row("reqwest alone", "", "", "");
    println!(
        "| an MCP ping alone | {} | {} | | | | | |",
        millis(pings.at(50)),
        millis(pings.at(99))
    );
    for ((name, _), Lane { host, plain, select }) in machines.iter().zip(&lanes) {
        let against = format!("{:.2}", plain.single.at(50) / base);
        plain.row(name, &over(plain), &against, &mib(host.memory("VmHWM")));
        select.row(&format!("{name}, with select"), &over(select), "", "");
    }
}

/// A server under measurement.
struct Lane {
    host: Host,
    plain: Way,
    select: Way,
}

impl Lane {
    fn new(machine: &Machine) -> Self {
        let mut host = Host::start(machine, Era::Initialize);
        host.list_tools();
        for tool in [PLAIN, SELECT] {
            host.one_by_one(tool, ONE_BY_ONE, &mut Figures::default());
        }
        Self { host, plain: Way::default(), select: Way::default() }
    }

    fn turn(&mut self) {
        for (way, tool) in [(&mut self.plain, PLAIN), (&mut self.select, SELECT)] {
            let host = RefCell::new(&mut self.host);
            way.turn(
                |all| host.borrow_mut().one_by_one(tool, ONE_BY_ONE, all),
                || host.borrow_mut().at_once(tool, AT_ONCE),
            );
        }
    }
}

impl Way {
    fn turn(&mut self, single: impl FnOnce(&mut Figures), at_once: impl FnOnce()) {
        let began = Instant::now();
        single(&mut self.single);
        self.rate.add_number(per_second(ONE_BY_ONE, began));
        let began = Instant::now();
        at_once();
        self.rate_at_once.add_number(per_second(AT_ONCE, began));
    }

    fn row(&self, name: &str, over: &str, against: &str, peak: &str) {
        println!(
            "| {name} | {} | {} | {:.0} | {:.0} | {over} | {against} | {peak} |",
            millis(self.single.at(50)),
            millis(self.single.at(99)),
            self.rate.at(50),
            self.rate_at_once.at(50),
        );
    }
}

fn per_second(calls: usize, began: Instant) -> f64 {
    figures::number(calls) / began.elapsed().as_secs_f64()
}
