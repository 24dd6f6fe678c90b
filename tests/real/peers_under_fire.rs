//! Three copies on one data folder: two servers that are called without a pause, and commands in a
//! loop. Tokens live two seconds, at a provider that ends the whole grant when a refresh token
//! comes twice.
//!
//! The provider records every refresh token, with the time at which it came.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::Instant;

use crate::harness::{
    Answer, Dialect, Home, PATIENCE, Server, Visit, World, report, times, wait_until,
};
use crate::kills::BROKEN_OFF;

/// How long the calls continue.
const LENGTH: Duration = Duration::from_mins(1);
/// How often the owner of the folder is killed.
const KILL_EVERY: Duration = Duration::from_secs(5);
/// Limit for a call, even when an owner is killed and another takes over on a busy machine.
const LONGEST_CALL: Duration = Duration::from_secs(10);

/// A caller's report.
enum Told {
    Ran {
        took: Duration,
    },
    /// The caller waits for `go_on` before it calls again.
    Asked {
        begun: Instant,
        link: Option<String>,
        go_on: Sender<()>,
    },
    Failed(String),
    /// The caller makes no more calls. Holds the server's place if its process was killed.
    Over(Option<usize>),
}

#[derive(Default)]
struct Figures {
    calls: u64,
    longest: Duration,
    failures: Vec<String>,
    /// Times before and after each kill, by the provider's clock.
    kills: Vec<(u64, u64)>,
    /// The reason that `auth status` gave for each repeated consent.
    reasons: Vec<String>,
}

/// The three copies, their callers, and the callers' reports.
struct Fire {
    world: World,
    home: Arc<Home>,
    told: Receiver<Told>,
    tell: Sender<Told>,
    stop: Arc<AtomicBool>,
    /// Process id in each of the two places.
    pids: [u32; 2],
    callers: Vec<JoinHandle<()>>,
    /// Number of callers that have not ended.
    calling: usize,
    consented: Instant,
    figures: Figures,
}

impl Fire {
    fn kindle(world: World) -> Self {
        let home = Arc::new(Home::new(&world.tools()));
        let (tell, told) = channel();
        let mut first = Server::start(&home, Dialect::PLAIN);
        let prompt = first.call("whoami", &json!({})).asked();
        Visit::to(&prompt.url).approves();
        let mut fire = Self {
            world,
            home,
            told,
            tell,
            stop: Arc::default(),
            pids: [0; 2],
            callers: Vec::new(),
            calling: 0,
            consented: Instant::now(),
            figures: Figures::default(),
        };
        fire.seat(0, first);
        fire.seat(1, Server::start(&fire.home, Dialect::PLAIN));
        let (home, tell, stop) = fire.shared();
        fire.begin(move || run_commands(&home, &tell, &stop));
        fire
    }

    fn shared(&self) -> (Arc<Home>, Sender<Told>, Arc<AtomicBool>) {
        (Arc::clone(&self.home), self.tell.clone(), Arc::clone(&self.stop))
    }

    fn seat(&mut self, place: usize, server: Server) {
        self.pids[place] = server.pid();
        let (_, tell, stop) = self.shared();
        self.begin(move || call(server, place, &tell, &stop));
    }

    fn begin(&mut self, caller: impl FnOnce() + Send + 'static) {
        self.callers.push(spawn(caller));
        self.calling += 1;
    }

    /// Handles the callers' reports until the time is over; also kills the owners if `kills` is
    /// set.
    fn burn(mut self, kills: bool) -> (World, Figures) {
        let end = Instant::now() + LENGTH * times();
        let mut next_kill = if kills { Instant::now() + KILL_EVERY } else { end };
        loop {
            let until = next_kill.min(end);
            match self.told.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(told) => self.hear(told),
                Err(_) if Instant::now() >= end => break,
                Err(_) => {
                    self.kill_the_owner();
                    next_kill += KILL_EVERY;
                }
            }
        }
        self.stop.store(true, Ordering::SeqCst);
        while self.calling > 0 {
            let told = self.told.recv_timeout(PATIENCE).expect("every caller comes to its end");
            self.hear(told);
        }
        self.callers.into_iter().for_each(|caller| caller.join().unwrap());
        (self.world, self.figures)
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Ran { took } => {
                self.figures.calls += 1;
                self.figures.longest = self.figures.longest.max(took);
            }
            Told::Failed(text) => self.figures.failures.push(text),
            Told::Over(killed) => {
                self.calling -= 1;
                if let Some(place) = killed {
                    let server = Server::start(&self.home, Dialect::PLAIN);
                    self.seat(place, server);
                }
            }
            Told::Asked { begun, link, go_on } => {
                // A caller that began before the last consent asked for that one.
                if let Some(link) = link.filter(|_| begun > self.consented) {
                    self.figures.reasons.push(reason(&self.home));
                    Visit::to(&link).approves();
                    self.consented = Instant::now();
                }
                let _ = go_on.send(());
            }
        }
    }

    fn kill_the_owner(&mut self) {
        let mut owned = None;
        // A command may own the folder while it runs.
        wait_until("a server that owns the folder", || {
            owned = owner(&self.home).filter(|pid| self.pids.contains(pid));
            owned.is_some()
        });
        let pid = owned.unwrap();
        let before = self.world.now();
        // Its caller reports the end before it reaps the process: the id is still the process's
        // own.
        kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
        self.figures.kills.push((before, self.world.now()));
        // Until its caller reports, and the process is replaced.
        let killed = self.pids.iter().position(|one| *one == pid).unwrap();
        self.pids[killed] = 0;
    }
}

fn owner(home: &Home) -> Option<u32> {
    let lock = fs::read_to_string(home.data().join("store.lock")).ok()?;
    lock.strip_prefix("process ")?.split(',').next()?.parse().ok()
}

/// Returns the reason for the grant's end, as an operator would find it.
fn reason(home: &Home) -> String {
    let status = home.run(&["auth", "status", "--json", "--user", "ana"]).json();
    let account = &status["accounts"][0];
    assert_eq!(account["state"], "ended", "{status}");
    account["reason"].as_str().unwrap().to_owned()
}

fn call(mut server: Server, place: usize, tell: &Sender<Told>, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let begun = Instant::now();
        let answer = server.call_while_it_lives("whoami", &json!({}));
        let took = begun.elapsed();
        let told = match answer {
            Some(Answer::Ran(_)) => Told::Ran { took },
            Some(Answer::Asked(prompt)) => {
                ask(tell, begun, Some(prompt.url));
                continue;
            }
            Some(other) => Told::Failed(format!("after {took:?}: {other:?}")),
            None => {
                let _ = tell.send(Told::Over(Some(place)));
                return;
            }
        };
        let _ = tell.send(told);
    }
    server.close();
    let _ = tell.send(Told::Over(None));
}

fn run_commands(home: &Home, tell: &Sender<Told>, stop: &AtomicBool) {
    let status: &[&str] = &["auth", "status", "--user", "ana"];
    let call: &[&str] = &["tools", "call", "whoami", "--user", "ana"];
    for arguments in [status, call].iter().cycle() {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let begun = Instant::now();
        let finished = home.run(arguments);
        let told = match finished.code {
            Some(0) => Told::Ran { took: begun.elapsed() },
            Some(4) => {
                ask(tell, begun, None);
                continue;
            }
            _ => Told::Failed(format!("{finished:?}")),
        };
        let _ = tell.send(told);
    }
    let _ = tell.send(Told::Over(None));
}

fn ask(tell: &Sender<Told>, begun: Instant, link: Option<String>) {
    let (go_on, word) = channel();
    let _ = tell.send(Told::Asked { begun, link, go_on });
    let _ = word.recv_timeout(PATIENCE);
}

#[test]
fn three_copies_renew_once_each_time_and_nobody_is_asked_again() {
    let world = World::with(&json!({"access_token_seconds": 2}), json!({}));
    let (world, figures) = Fire::kindle(world).burn(false);
    let sends = world.refresh_token_sends();
    let Figures { calls, longest, .. } = figures;
    report(&format!("{calls} calls, the longest {longest:?}; {} refresh tokens sent", sends.len()));
    assert_eq!(figures.failures, [""; 0]);
    assert_eq!(figures.reasons, [""; 0], "somebody was asked again");
    assert!(sends.iter().all(|times| times.len() == 1), "{sends:?}");
    // A token lives one to two seconds: oidc-provider counts whole seconds.
    assert!(sends.len() > 20, "{}", sends.len());
    assert!(figures.calls > 100, "{}", figures.calls);
    assert!(figures.longest < LONGEST_CALL, "{:?}", figures.longest);
    let counts = world.counts();
    assert_eq!([&counts["refresh_reuses"], &counts["grants_destroyed"]], [0, 0], "{counts}");
}

/// The provider is slow, so that some processes are killed between sending and storing.
#[test]
fn the_owner_is_killed_again_and_again_and_the_others_go_on() {
    let slow = json!({"access_token_seconds": 2, "token_delay_ms": 100});
    let (world, figures) = Fire::kindle(World::with(&slow, json!({}))).burn(true);
    let sends = world.refresh_token_sends();
    let twice: Vec<&Vec<u64>> = sends.iter().filter(|times| times.len() > 1).collect();
    let Figures { calls, longest, ref kills, ref reasons, .. } = figures;
    report(&format!(
        "{calls} calls, the longest {longest:?}; {} kills; {} refresh tokens sent, {} of them twice; {} consents given again",
        kills.len(),
        sends.len(),
        twice.len(),
        reasons.len()
    ));
    assert_eq!(figures.failures, [""; 0]);
    assert!(figures.longest < LONGEST_CALL, "{:?}", figures.longest);
    for times in &twice {
        let [first, second] = times[..] else { panic!("sent more than twice: {times:?}") };
        let is_explained =
            figures.kills.iter().any(|(before, after)| first <= *after && *before <= second);
        assert!(is_explained, "{times:?} and nobody was killed in between: {:?}", figures.kills);
    }
    for reason in &figures.reasons {
        assert!(reason.contains(BROKEN_OFF), "{reason}");
    }
    assert!(figures.reasons.len() <= twice.len(), "{:?}", figures.reasons);
    assert_eq!(world.counts()["grants_destroyed"], figures.reasons.len(), "{}", world.counts());
}
