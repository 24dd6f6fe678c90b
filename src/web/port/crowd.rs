//! Closes connections that have shown no credentials when there are too many of them.
//!
//! | a connection | when there are too many |
//! |---|---|
//! | has been authenticated | stays |
//! | has sent a request | is closed, the oldest first, if no other of its address is silent |
//! | is silent | is closed first |
//!
//! Each address has a share, so that silent connections from one place do not fill the port; within
//! the share the oldest makes room. A client that sends a request at once is never the oldest
//! silent one for long, so it gets its answer beside thousands of silent connections.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The connections of a port that have shown no credentials.
#[derive(Clone)]
pub(in crate::web) struct Crowd(Arc<Inner>);

struct Inner {
    share: usize,
    unproven: Mutex<Unproven>,
}

#[derive(Default)]
struct Unproven {
    /// In order of arrival.
    by_age: BTreeMap<u64, Arc<Known>>,
    by_address: HashMap<IpAddr, usize>,
    next: u64,
}

struct Known {
    address: IpAddr,
    has_asked: AtomicBool,
    is_proven: AtomicBool,
    evicted: CancellationToken,
}

/// One connection. Dropping this removes it from the crowd.
pub(in crate::web) struct Member {
    id: u64,
    known: Arc<Known>,
    crowd: Crowd,
}

/// In a request's extensions: lets the handler mark the connection as authenticated.
#[derive(Clone)]
pub(in crate::web) struct Proof {
    id: u64,
    known: Arc<Known>,
    crowd: Crowd,
}

impl Crowd {
    /// Creates a crowd in which each address may have `share` connections without credentials.
    pub(in crate::web) fn new(share: usize) -> Self {
        Self(Arc::new(Inner { share: share.max(1), unproven: Mutex::default() }))
    }

    /// Adds a connection. If its address has its share already, an older one makes room.
    pub(in crate::web) fn enter(&self, address: IpAddr) -> Member {
        let mut unproven = self.0.unproven.lock();
        let count = unproven.by_address.get(&address).copied().unwrap_or(0);
        if count >= self.0.share {
            unproven.evict(Some(address));
        }
        let id = unproven.next;
        unproven.next += 1;
        let known = Arc::new(Known {
            address,
            has_asked: AtomicBool::new(false),
            is_proven: AtomicBool::new(false),
            evicted: CancellationToken::new(),
        });
        unproven.by_age.insert(id, Arc::clone(&known));
        *unproven.by_address.entry(address).or_default() += 1;
        Member { id, known, crowd: self.clone() }
    }

    /// Makes room for a connection that waits to be accepted, at the cost of the address that has
    /// the most connections.
    pub(in crate::web) fn make_room(&self) {
        let mut unproven = self.0.unproven.lock();
        let most = unproven.by_address.iter().max_by_key(|(_, count)| **count);
        let most = most.map(|(address, _)| *address);
        unproven.evict(most);
    }

    fn leave(&self, id: u64) {
        self.0.unproven.lock().remove(id);
    }
}

impl Unproven {
    fn evict(&mut self, address: Option<IpAddr>) {
        let of_it = || self.by_age.iter().filter(|(_, known)| Some(known.address) == address);
        let silent = of_it().find(|(_, known)| !known.has_asked.load(Ordering::Relaxed));
        let Some(id) = silent.or_else(|| of_it().next()).map(|(id, _)| *id) else { return };
        if let Some(known) = self.remove(id) {
            known.evicted.cancel();
        }
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Known>> {
        let known = self.by_age.remove(&id)?;
        if let Some(count) = self.by_address.get_mut(&known.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&known.address);
            }
        }
        Some(known)
    }
}

impl Member {
    /// Whether the head of a request has arrived.
    pub(in crate::web) fn has_asked(&self) -> bool {
        self.known.has_asked.load(Ordering::Relaxed)
    }

    /// Resolves when the connection has to make room.
    pub(in crate::web) async fn evicted(&self) {
        self.known.evicted.cancelled().await;
    }

    /// Notes a request, and returns the handle with which its handler marks the connection.
    pub(in crate::web) fn asks(&self) -> Proof {
        self.known.has_asked.store(true, Ordering::Relaxed);
        Proof { id: self.id, known: Arc::clone(&self.known), crowd: self.crowd.clone() }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.crowd.leave(self.id);
    }
}

impl Proof {
    /// Marks the connection as authenticated: it stays.
    pub(in crate::web) fn accept(&self) {
        if !self.known.is_proven.swap(true, Ordering::Relaxed) {
            self.crowd.leave(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn is_evicted(member: &Member) -> bool {
        member.known.evicted.is_cancelled()
    }

    #[test]
    fn an_address_beyond_its_share_loses_its_oldest_silent_connection() {
        let crowd = Crowd::new(3);
        let other = crowd.enter(address(2));
        let asking = crowd.enter(address(1));
        asking.asks();
        let (older, newer) = (crowd.enter(address(1)), crowd.enter(address(1)));
        let newest = crowd.enter(address(1));
        assert!(is_evicted(&older));
        for open in [&other, &asking, &newer, &newest] {
            assert!(!is_evicted(open));
        }
        newer.asks();
        newest.asks();
        let last = crowd.enter(address(1));
        assert!(is_evicted(&asking) && !is_evicted(&last));
    }

    #[test]
    fn an_authenticated_connection_is_not_closed() {
        let crowd = Crowd::new(1);
        let known = crowd.enter(address(1));
        known.asks().accept();
        let silent = crowd.enter(address(1));
        let _next = crowd.enter(address(1));
        assert!(!is_evicted(&known) && is_evicted(&silent));
        crowd.make_room();
        crowd.make_room();
        assert!(!is_evicted(&known));
    }

    #[test]
    fn a_full_port_closes_a_connection_of_the_address_with_the_most() {
        let crowd = Crowd::new(10);
        let one = crowd.enter(address(1));
        let many: Vec<Member> = (0..3).map(|_| crowd.enter(address(2))).collect();
        crowd.make_room();
        assert!(!is_evicted(&one) && is_evicted(&many[0]));
        drop(many);
        assert_eq!(crowd.0.unproven.lock().by_address.len(), 1);
        drop(one);
        assert!(crowd.0.unproven.lock().by_age.is_empty());
    }
}
