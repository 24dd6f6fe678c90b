//! Rate limits: how often an action is allowed, per key and in total.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Clock, Time};

/// Number of remembered keys at which the first clean-up drops keys with a full allowance.
const FIRST_PRUNE_SIZE: usize = 1024;

/// Limits attempts, per key and in total. Each allowance is a leaky bucket: a number of attempts at
/// once, and as many per span after that. A refused attempt does not count, so one key cannot use
/// up the total.
pub struct RateLimit<K> {
    clock: Clock,
    of_one: Allowance,
    of_all: Allowance,
    used: Mutex<Used<K>>,
}

#[derive(Clone, Copy)]
struct Allowance {
    /// Time after which no attempt counts any more.
    span: Duration,
    /// Time in which one attempt leaks out of the bucket.
    each: Duration,
}

struct Used<K> {
    /// Per key, the time at which its attempts no longer count.
    by_one: HashMap<K, Time>,
    by_all: Option<Time>,
    /// Number of remembered keys at which the next clean-up runs.
    many: usize,
}

impl<K: Eq + Hash> RateLimit<K> {
    /// Allows `of_one` attempts per key and `of_all` in total, per span.
    pub fn per(span: Duration, clock: Clock, of_one: u32, of_all: u32) -> Self {
        let (of_one, of_all) = (Allowance::per(span, of_one), Allowance::per(span, of_all));
        let used = Used { by_one: HashMap::new(), by_all: None, many: FIRST_PRUNE_SIZE };
        Self { clock, of_one, of_all, used: Mutex::new(used) }
    }

    /// Whether one more attempt is within both allowances; counts it if so.
    pub fn admits(&self, who: K) -> bool {
        self.admits_many(who, 1)
    }

    /// Whether this many attempts at once are within both allowances; counts them if so.
    pub fn admits_many(&self, who: K, times: u32) -> bool {
        let now = self.clock.now();
        let mut used = self.used.lock();
        let one = self.of_one.after_more(used.by_one.get(&who).copied(), times, now);
        let all = self.of_all.after_more(used.by_all, times, now);
        let (Some(one), Some(all)) = (one, all) else { return false };
        if used.by_one.len() >= used.many {
            used.by_one.retain(|_, used| !self.of_one.is_forgotten(*used, now));
            // Doubled, so that it does not run for each new key while most keys still count.
            used.many = FIRST_PRUNE_SIZE.max(2 * used.by_one.len());
        }
        used.by_one.insert(who, one);
        used.by_all = Some(all);
        true
    }
}

impl Allowance {
    fn per(span: Duration, times: u32) -> Self {
        Self { span, each: span / times.max(1) }
    }

    fn after_more(self, used: Option<Time>, times: u32, now: Time) -> Option<Time> {
        let used = used.filter(|used| !self.is_forgotten(*used, now)).unwrap_or(now);
        let after = used.after(self.each.saturating_mul(times));
        (after <= now.after(self.span)).then_some(after)
    }

    /// Whether no attempt counts any more. Also true if `used` lies beyond `span`: the clock went
    /// back, and that must not block the key.
    fn is_forgotten(self, used: Time, now: Time) -> bool {
        used <= now || used > now.after(self.span)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn one_is_stopped_and_the_others_are_not() {
        let now = Arc::new(AtomicI64::new(0));
        let limit = RateLimit::per(MINUTE, Clock::manual(Arc::clone(&now)), 3, 10);
        let (ana, bob) = ("ana", "bob");
        let admitted = (0..100).filter(|_| limit.admits(ana)).count();
        assert_eq!(admitted, 3);
        assert!(limit.admits(bob), "what was refused has cost nobody anything");
        now.fetch_add(20_000, Ordering::SeqCst);
        assert!(limit.admits(ana));
        assert!(!limit.admits(ana));
        now.fetch_sub(3_600_000, Ordering::SeqCst);
        assert!(limit.admits(ana), "a clock that was set back keeps nobody out");
    }

    #[test]
    fn all_together_are_stopped_and_few_are_remembered() {
        let now = Arc::new(AtomicI64::new(0));
        let limit = RateLimit::per(MINUTE, Clock::manual(Arc::clone(&now)), 3, 600);
        for round in 0..10u32 {
            let from = |n: u32| round << 16 | n;
            let admitted = (0..2_000).filter(|n| limit.admits(from(*n))).count();
            assert_eq!(admitted, 600);
            now.fetch_add(60_000, Ordering::SeqCst);
        }
        assert!(limit.used.lock().by_one.len() <= FIRST_PRUNE_SIZE + 600);
    }
}
