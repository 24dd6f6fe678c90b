//! Limits per address for tokens that only the issuer can judge.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::{Clock, Time};

/// Maximum concurrent introspections of one address; its further ones wait, other addresses do not.
const MAX_INTROSPECTIONS_PER_ADDRESS: usize = 8;
/// Refused tokens of one address within [`FAILURE_WINDOW`] after which its tokens are not
/// introspected any more.
const MAX_FAILURES_PER_ADDRESS: u32 = 20;
/// Time span of [`MAX_FAILURES_PER_ADDRESS`].
const FAILURE_WINDOW: Duration = Duration::from_mins(1);
/// At this size, addresses with neither a running introspection nor a recent failure are dropped.
const SWEEP_SIZE: usize = 1024;

/// Known addresses and their failures.
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

    /// Returns the state of an address.
    pub(super) fn of(&self, address: IpAddr) -> Suspect {
        let mut known = self.known.lock();
        if known.len() >= SWEEP_SIZE {
            let now = self.clock.now();
            known.retain(|_, inner| {
                Arc::strong_count(inner) > 1 || inner.failures.lock().in_span(now) > 0
            });
        }
        let inner = known.entry(address).or_insert_with(|| {
            let turns = Arc::new(Semaphore::new(MAX_INTROSPECTIONS_PER_ADDRESS));
            Arc::new(Inner { turns, failures: Mutex::default() })
        });
        Suspect { clock: self.clock.clone(), inner: Arc::clone(inner) }
    }
}

impl Suspect {
    /// Waits until this address may introspect; `None` if too many of its tokens were refused.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        if self.has_failed_often() {
            return None;
        }
        let turn = Arc::clone(&self.inner.turns).acquire_owned().await.ok()?;
        // Tokens ahead of it in the queue may have been refused.
        (!self.has_failed_often()).then_some(turn)
    }

    /// Counts a refused token.
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
        self.inner.failures.lock().in_span(self.clock.now()) >= MAX_FAILURES_PER_ADDRESS
    }
}

impl Failures {
    /// Returns the failures within the span. After a clock was set back, the span must not last
    /// longer.
    fn in_span(&self, now: Time) -> u32 {
        let is_within = |since: Time| since <= now && now.since(since) < FAILURE_WINDOW;
        if self.since.is_some_and(is_within) { self.count } else { 0 }
    }
}
