//! Limits on running requests and open streams, per principal and in total; also waits for the last
//! request to end.
//!
//! Each principal has a share, since one that took every slot would make all the others wait.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::Caller;

/// Most requests at once; further ones are refused. A call takes some kilobytes and a connection to
/// its API; while it waits for a user's consent it takes only the kilobytes.
const MAX_REQUESTS: u32 = 4096;
/// Most requests of one principal at once, more than its programs make; further ones are refused.
const MAX_REQUESTS_PER_CALLER: usize = 512;
/// Most streams of one principal; further ones are refused. Each takes a connection of the port.
const MAX_STREAMS_PER_CALLER: usize = 256;

/// Running requests and open streams of a server. Clones share their counts.
#[derive(Clone)]
pub struct Running {
    all: Arc<Semaphore>,
    requests: SlotsByCaller,
    streams: SlotsByCaller,
}

/// A running request. It ends when its last clone is dropped: the handler holds one clone and the
/// response body another.
#[derive(Clone)]
pub(super) struct Run(#[expect(dead_code, reason = "held")] Arc<(OwnedSemaphorePermit, Slot)>);

impl Default for Running {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(MAX_REQUESTS as usize)),
            requests: SlotsByCaller::of(MAX_REQUESTS_PER_CALLER),
            streams: SlotsByCaller::of(MAX_STREAMS_PER_CALLER),
        }
    }
}

impl Running {
    /// Starts a request. Returns `None` if too many run already, of this caller or in total, or if
    /// the server is shutting down.
    pub(super) fn begin(&self, caller: &Caller) -> Option<Run> {
        let share = self.requests.take(caller)?;
        let place = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Run(Arc::new((place, share))))
    }

    /// Takes a slot for a stream of this caller; `None` if it has too many. [`Self::drain`] does
    /// not wait for streams.
    pub(super) fn stream(&self, caller: &Caller) -> Option<Slot> {
        self.streams.take(caller)
    }

    /// Refuses new requests, and returns when the last running one has ended.
    pub async fn drain(&self) {
        // Tokio serves waiters in order, so from now on every slot that becomes free is ours.
        if let Ok(all) = self.all.acquire_many(MAX_REQUESTS).await {
            all.forget();
        }
    }
}

/// Number of slots that each caller holds, up to a limit.
#[derive(Clone)]
struct SlotsByCaller(Arc<Limited>);

struct Limited {
    most: usize,
    held: Mutex<HashMap<Caller, usize>>,
}

/// One slot of a caller; free again when this is dropped.
pub(super) struct Slot {
    of: Arc<Limited>,
    caller: Caller,
}

impl SlotsByCaller {
    fn of(most: usize) -> Self {
        Self(Arc::new(Limited { most, held: Mutex::default() }))
    }

    fn take(&self, caller: &Caller) -> Option<Slot> {
        let mut held = self.0.held.lock();
        match held.get_mut(caller) {
            Some(own) if *own >= self.0.most => return None,
            Some(own) => *own += 1,
            None => drop(held.insert(caller.clone(), 1)),
        }
        Some(Slot { of: Arc::clone(&self.0), caller: caller.clone() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut held = self.of.held.lock();
        match held.get_mut(&self.caller) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(held.remove(&self.caller)),
        }
    }
}

/// A response body that holds a value until it has been sent: a [`Run`], or a stream's [`Slot`].
pub(super) struct HoldingBody<B, H> {
    body: B,
    _held: H,
}

impl<B, H> HoldingBody<B, H> {
    pub(super) fn holding(held: H, body: B) -> Self {
        Self { body, _held: held }
    }
}

impl<B: Body + Unpin, H: Unpin> Body for HoldingBody<B, H> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::model::UserId;

    fn caller(name: &str) -> Caller {
        Caller::local(UserId::new(name))
    }

    #[tokio::test]
    async fn the_end_waits_for_what_runs_and_lets_nothing_begin() {
        let (running, ana) = (Running::default(), caller("ana"));
        let run = running.begin(&ana).unwrap();
        let held_by_the_answer = run.clone();
        let _stream = running.stream(&ana).unwrap();
        let mut drained = Box::pin(running.drain());
        assert!(drained.as_mut().now_or_never().is_none());
        assert!(running.begin(&ana).is_none());
        drop(run);
        assert!(drained.as_mut().now_or_never().is_none());
        drop(held_by_the_answer);
        drained.await;
        assert!(running.begin(&ana).is_none());
    }

    #[test]
    fn one_caller_leaves_room_for_the_others() {
        let running = Running::default();
        let mut all: Vec<_> =
            (0..MAX_REQUESTS_PER_CALLER).map(|_| running.begin(&caller("ana")).unwrap()).collect();
        assert!(running.begin(&caller("ana")).is_none());
        assert!(running.begin(&caller("bob")).is_some());
        all.pop();
        assert!(running.begin(&caller("ana")).is_some());
        let streams: Vec<_> =
            (0..MAX_STREAMS_PER_CALLER).map(|_| running.stream(&caller("ana")).unwrap()).collect();
        assert!(running.stream(&caller("ana")).is_none());
        assert!(running.stream(&caller("bob")).is_some());
        drop((all, streams));
        assert!(running.requests.0.held.lock().is_empty());
        assert!(running.streams.0.held.lock().is_empty());
    }

    #[test]
    fn there_is_a_limit_for_all() {
        let running = Running::default();
        let others = (0..).map(|at| caller(&format!("user{}", at / 100)));
        let mut all: Vec<_> = others
            .take(MAX_REQUESTS as usize)
            .map(|caller| running.begin(&caller).unwrap())
            .collect();
        assert!(running.begin(&caller("ana")).is_none());
        all.pop();
        assert!(running.begin(&caller("ana")).is_some());
    }
}
