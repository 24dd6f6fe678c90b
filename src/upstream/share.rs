//! Shares a limited resource (workers, memory) fairly between callers.
//!
//! First come, first served would put one caller's forty slow calls ahead of another's first. So
//! each caller has a queue, the queues are served in turn, and no caller holds more than its share.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::model::Caller;

/// A fixed number of units, of which each call takes some and returns them.
pub(super) struct Share(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Maximum units that one caller holds; its further calls wait.
    of_one: usize,
}

struct State {
    free: usize,
    /// Queues, in the order in which they are served.
    callers: VecDeque<Queue>,
    held: Vec<(Caller, usize)>,
    next_ticket: u64,
}

struct Queue {
    caller: Caller,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    ticket: u64,
    units: usize,
    granted: oneshot::Sender<Units>,
}

/// Units that a call holds; returned when dropped.
pub(super) struct Units {
    share: Arc<Inner>,
    caller: Caller,
    count: usize,
}

impl Share {
    /// Creates a share of `units`, of which one caller holds at most `of_one`.
    pub(super) fn new(units: usize, of_one: usize) -> Self {
        let state =
            State { free: units, callers: VecDeque::new(), held: Vec::new(), next_ticket: 0 };
        Self(Arc::new(Inner { state: Mutex::new(state), of_one: of_one.min(units) }))
    }

    /// Waits for units; a request for more than one caller may hold gets that maximum. The calling
    /// code limits the wait, and a cancelled wait leaves the queue.
    pub(super) async fn take(&self, caller: &Caller, units: usize) -> Units {
        let units = units.min(self.0.of_one);
        let (granted, grant) = oneshot::channel();
        let ticket = {
            let mut state = self.0.state.lock();
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            state.enqueue(caller, Waiting { ticket, units, granted });
            ticket
        };
        let _leave = Leave { share: &self.0, caller, ticket };
        self.0.serve();
        match grant.await {
            Ok(units) => units,
            // Never happens: the sender is dropped only by a grant or together with this future.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Leaves the queue when the wait is cancelled; does nothing after a grant.
struct Leave<'a> {
    share: &'a Arc<Inner>,
    caller: &'a Caller,
    ticket: u64,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let is_gone = self.share.state.lock().leave(self.caller, self.ticket);
        if is_gone {
            // Other calls may have waited behind this one.
            self.share.serve();
        }
    }
}

impl State {
    fn enqueue(&mut self, caller: &Caller, waiting: Waiting) {
        match self.callers.iter_mut().find(|queue| queue.caller == *caller) {
            Some(queue) => queue.waiting.push_back(waiting),
            None => self
                .callers
                .push_back(Queue { caller: caller.clone(), waiting: VecDeque::from([waiting]) }),
        }
    }

    fn leave(&mut self, caller: &Caller, ticket: u64) -> bool {
        let Some(at) = self.callers.iter().position(|queue| queue.caller == *caller) else {
            return false;
        };
        let Some(queue) = self.callers.get_mut(at) else { return false };
        let before = queue.waiting.len();
        queue.waiting.retain(|waiting| waiting.ticket != ticket);
        let is_gone = queue.waiting.len() < before;
        if queue.waiting.is_empty() {
            self.callers.remove(at);
        }
        is_gone
    }

    fn held_by(&mut self, caller: &Caller) -> Option<&mut usize> {
        self.held.iter_mut().find(|(holder, _)| holder == caller).map(|(_, units)| units)
    }

    /// Removes and returns the next request that can be served. A request for more units than are
    /// free is not overtaken, or it would wait forever; a request that waits for its own caller's
    /// other calls is.
    fn next(&mut self, of_one: usize) -> Option<(Caller, Waiting)> {
        for at in 0..self.callers.len() {
            let queue = self.callers.get(at)?;
            let (caller, units) = (queue.caller.clone(), queue.waiting.front()?.units);
            let held = self.held_by(&caller).map_or(0, |held| *held);
            if held + units > of_one {
                continue;
            }
            if units > self.free {
                return None;
            }
            let mut queue = self.callers.remove(at)?;
            let waiting = queue.waiting.pop_front()?;
            if !queue.waiting.is_empty() {
                // The caller's next turn comes after all others.
                self.callers.push_back(queue);
            }
            self.free -= units;
            match self.held_by(&caller) {
                Some(held) => *held += units,
                None => self.held.push((caller.clone(), units)),
            }
            return Some((caller, waiting));
        }
        None
    }

    fn give_back(&mut self, caller: &Caller, units: usize) {
        self.free += units;
        if let Some(held) = self.held_by(caller) {
            *held -= units;
        }
        self.held.retain(|(_, held)| *held > 0);
    }
}

impl Inner {
    fn serve(self: &Arc<Self>) {
        loop {
            let next = self.state.lock().next(self.of_one);
            let Some((caller, waiting)) = next else { return };
            let units = Units { share: Arc::clone(self), caller, count: waiting.units };
            // If the wait was cancelled, the units come back here and are dropped, outside the
            // lock.
            let _ = waiting.granted.send(units);
        }
    }
}

impl Drop for Units {
    fn drop(&mut self) {
        self.share.state.lock().give_back(&self.caller, self.count);
        self.share.serve();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::model::UserId;

    fn caller(name: &str) -> Caller {
        Caller { namespace: "test".into(), user: UserId::new(name) }
    }

    #[tokio::test]
    async fn callers_are_served_in_turn() {
        let share = Share::new(1, 1);
        let (ana, ben) = (caller("ana"), caller("ben"));
        let first = share.take(&ana, 1).await;
        let mut of_ana: Vec<_> = (0..40).map(|_| Box::pin(share.take(&ana, 1))).collect();
        for waiting in &mut of_ana {
            assert!(waiting.now_or_never().is_none());
        }
        let mut of_ben = Box::pin(share.take(&ben, 1));
        assert!((&mut of_ben).now_or_never().is_none());
        drop(first);
        // One of ana's calls is served first; ben's is next.
        let second = of_ana.iter_mut().find_map(FutureExt::now_or_never);
        assert!((&mut of_ben).now_or_never().is_none());
        drop(second);
        assert!(of_ben.now_or_never().is_some());
    }

    #[tokio::test]
    async fn one_caller_never_holds_everything() {
        let share = Share::new(4, 2);
        let (ana, ben) = (caller("ana"), caller("ben"));
        let held = (share.take(&ana, 1).await, share.take(&ana, 1).await);
        let mut third = Box::pin(share.take(&ana, 1));
        assert!((&mut third).now_or_never().is_none());
        // A request for more than one caller may hold gets that maximum, and ana's waiting call
        // does not delay it.
        let large = share.take(&ben, 100).now_or_never().expect("half of all");
        drop(held);
        assert!(third.now_or_never().is_some());
        drop(large);
        assert_eq!(share.0.state.lock().free, 4);
        assert!(share.0.state.lock().held.is_empty());
    }

    #[tokio::test]
    async fn a_large_request_is_not_overtaken_and_a_given_up_one_leaves() {
        let share = Share::new(4, 4);
        let (ana, ben, cleo) = (caller("ana"), caller("ben"), caller("cleo"));
        let held = share.take(&ana, 2).await;
        let mut large = Box::pin(share.take(&ben, 4));
        assert!((&mut large).now_or_never().is_none());
        let mut small = Box::pin(share.take(&cleo, 1));
        assert!((&mut small).now_or_never().is_none());
        drop(large);
        assert!(small.now_or_never().is_some());
        drop(held);
        assert_eq!(share.0.state.lock().free, 4);
        assert!(share.0.state.lock().callers.is_empty());
    }
}
