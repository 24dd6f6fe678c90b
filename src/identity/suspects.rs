//! How much each address may cost the issuer by tokens that only the issuer can judge.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::{Clock, Time};

/// Questions that one address may have running; others of its own wait, those of other addresses do
/// not.
const QUESTIONS_OF_ONE: usize = 8;
/// Refused tokens of one address in [`SPAN`], after which it is asked about no more.
const MOST_FAILURES: u32 = 20;
const SPAN: Duration = Duration::from_mins(1);
/// From this size on, addresses without a question and a recent failure are dropped.
const SWEEP_SIZE: usize = 1024;

/// What addresses have cost.
pub(super) struct Suspects {
    clock: Clock,
    known: Mutex<HashMap<IpAddr, Arc<Inner>>>,
}

/// One address.
pub(super) struct Suspect {
    clock: Clock,
    inner: Arc<Inner>,
}

struct Inner {
    turns: Arc<Semaphore>,
    failures: Mutex<Failures>,
}

#[derive(Default)]
struct Failures {
    since: Option<Time>,
    count: u32,
}

impl Suspects {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, known: Mutex::default() }
    }

    pub(super) fn of(&self, address: IpAddr) -> Suspect {
        let mut known = self.known.lock();
        if known.len() >= SWEEP_SIZE {
            let now = self.clock.now();
            known.retain(|_, inner| {
                Arc::strong_count(inner) > 1 || inner.failures.lock().in_span(now) > 0
            });
        }
        let inner = known.entry(address).or_insert_with(|| {
            let turns = Arc::new(Semaphore::new(QUESTIONS_OF_ONE));
            Arc::new(Inner { turns, failures: Mutex::default() })
        });
        Suspect { clock: self.clock.clone(), inner: Arc::clone(inner) }
    }
}

impl Suspect {
    /// Waits until this address may ask. `None`: it has had too many refused.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        if self.has_failed_often() {
            return None;
        }
        let turn = Arc::clone(&self.inner.turns).acquire_owned().await.ok()?;
        // Those before it in the queue may have been refused.
        (!self.has_failed_often()).then_some(turn)
    }

    pub(super) fn failed(&self) {
        let now = self.clock.now();
        let mut failures = self.inner.failures.lock();
        let count = failures.in_span(now);
        if count == 0 {
            failures.since = Some(now);
        }
        failures.count = count + 1;
    }

    fn has_failed_often(&self) -> bool {
        self.inner.failures.lock().in_span(self.clock.now()) >= MOST_FAILURES
    }
}

impl Failures {
    /// A clock that was set back must not make the span last longer.
    fn in_span(&self, now: Time) -> u32 {
        let is_within = |since: Time| since <= now && now.since(since) < SPAN;
        if self.since.is_some_and(is_within) { self.count } else { 0 }
    }
}
