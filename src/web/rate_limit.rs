//! How often something may be tried, from one address and from all together.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;

use crate::model::{Clock, Time};

/// Addresses beyond which those are forgotten that have their whole allowance again.
const MANY: usize = 1024;
/// After which nothing is held against anybody.
const A_WHILE: Duration = Duration::from_mins(1);

/// Each allowance is a leaky bucket: so many at once, and as many per minute after that. What is
/// refused costs nobody anything, so that one address cannot use up what all have together.
pub(super) struct RateLimit {
    clock: Clock,
    of_one: Allowance,
    of_all: Allowance,
    used: Mutex<Used>,
}

#[derive(Clone, Copy)]
struct Allowance {
    /// The time that one try takes to be forgotten.
    each: Duration,
}

#[derive(Default)]
struct Used {
    /// When all that was tried from there is forgotten. No more than what `of_all` lets in within a
    /// minute, and what was there before the last look.
    by_address: HashMap<IpAddr, Time>,
    by_all: Option<Time>,
}

impl RateLimit {
    pub(super) fn per_minute(clock: Clock, of_one: u32, of_all: u32) -> Self {
        let (of_one, of_all) = (Allowance::per_minute(of_one), Allowance::per_minute(of_all));
        Self { clock, of_one, of_all, used: Mutex::default() }
    }

    /// Whether one more try is within both allowances; counts it if so.
    pub(super) fn admits(&self, from: IpAddr) -> bool {
        let (now, from) = (self.clock.now(), network(from));
        let mut used = self.used.lock();
        let one = self.of_one.after_one_more(used.by_address.get(&from).copied(), now);
        let all = self.of_all.after_one_more(used.by_all, now);
        let (Some(one), Some(all)) = (one, all) else { return false };
        if used.by_address.len() >= MANY {
            used.by_address.retain(|_, used| !is_forgotten(*used, now));
        }
        used.by_address.insert(from, one);
        used.by_all = Some(all);
        true
    }
}

impl Allowance {
    fn per_minute(tries: u32) -> Self {
        Self { each: A_WHILE / tries.max(1) }
    }

    fn after_one_more(self, used: Option<Time>, now: Time) -> Option<Time> {
        let used = used.filter(|used| !is_forgotten(*used, now)).unwrap_or(now);
        let after = used.after(self.each);
        (after <= now.after(A_WHILE)).then_some(after)
    }
}

/// Also what is not forgotten for longer than ever: the clock was set back, which must keep nobody out.
fn is_forgotten(used: Time, now: Time) -> bool {
    used <= now || used > now.after(A_WHILE)
}

/// One network of IPv6 has more addresses than anybody could count.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_is_stopped_and_the_others_are_not() {
        let now = Arc::new(AtomicI64::new(0));
        let limit = RateLimit::per_minute(Clock::manual(Arc::clone(&now)), 3, 10);
        let (ana, bob) = (address("192.0.2.1"), address("192.0.2.2"));
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
        let limit = RateLimit::per_minute(Clock::manual(Arc::clone(&now)), 3, 600);
        for round in 0..10u32 {
            let from = |n: u32| IpAddr::V4((round << 16 | n).into());
            let admitted = (0..2_000).filter(|n| limit.admits(from(*n))).count();
            assert_eq!(admitted, 600);
            now.fetch_add(60_000, Ordering::SeqCst);
        }
        assert!(limit.used.lock().by_address.len() <= MANY + 600);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        assert_eq!(network(address("2001:db8::1:2:3:4")), address("2001:db8::"));
        assert_ne!(network(address("2001:db8:0:1::")), network(address("2001:db8:0:2::")));
    }
}
