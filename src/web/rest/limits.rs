//! Limits on running REST requests and long polls; also lets them end before the server does.
//!
//! Each key has a share, since one that took every slot would make all the others wait.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::identity::RestCaller;
use crate::model::shares::{Share, Shares};

/// Most requests at once; further ones are refused. A request that waits takes some kilobytes.
const MAX_REQUESTS: u32 = 6144;
/// Most requests of one key at once; further ones are refused. More than [`MAX_POLLS_PER_KEY`], so
/// that a key whose users all wait for a consent can still call.
const MAX_REQUESTS_PER_KEY: usize = 4096;
/// Most long polls at once; further ones wait briefly.
const MAX_POLLS: usize = 3000;
/// Most long polls of one key at once; further ones wait briefly.
const MAX_POLLS_PER_KEY: usize = 2048;

/// Running requests and long polls of a server. Clones share their counts.
#[derive(Clone)]
pub struct RestLimits {
    all: Arc<Semaphore>,
    requests: Arc<Shares>,
    polls: Arc<Shares>,
    ending: CancellationToken,
}

/// A running request.
pub(in crate::web) struct RunningRequest {
    _place: OwnedSemaphorePermit,
    _share: Share,
}

impl Default for RestLimits {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(MAX_REQUESTS as usize)),
            requests: Shares::new(MAX_REQUESTS as usize, MAX_REQUESTS_PER_KEY),
            polls: Shares::new(MAX_POLLS, MAX_POLLS_PER_KEY),
            ending: CancellationToken::new(),
        }
    }
}

impl RestLimits {
    /// Starts a request. `None` if too many run already, of this key or in total, or if the server
    /// is shutting down.
    pub(in crate::web) fn begin(&self, caller: &RestCaller) -> Option<RunningRequest> {
        let share = self.requests.take(&caller.space(), 1).ok()?;
        let place = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(RunningRequest { _place: place, _share: share })
    }

    /// Takes a slot for a long poll; `None` if there are too many.
    pub(in crate::web) fn poll(&self, caller: &RestCaller) -> Option<Share> {
        self.polls.take(&caller.space(), 1).ok()
    }

    /// Returns when the server is about to end: long polls then answer at once.
    pub(in crate::web) async fn ending(&self) {
        self.ending.cancelled().await;
    }

    /// Refuses new requests, and returns when the last running one has ended.
    pub async fn drain(&self) {
        self.ending.cancel();
        // Tokio serves waiters in order, so from now on every slot that becomes free is ours.
        if let Ok(all) = self.all.acquire_many(MAX_REQUESTS).await {
            all.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::identity::RestPerson;
    use crate::model::{Caller, Principal, UserId};

    fn person(name: &str) -> RestCaller {
        let caller = Caller { namespace: "https://a.example".into(), user: UserId::new(name) };
        let principal = Arc::new(Principal::signed_in(caller, [].into()));
        RestCaller::Person(RestPerson { principal, key: None })
    }

    #[tokio::test]
    async fn the_end_waits_for_what_runs_and_lets_nothing_begin() {
        let (limits, ana) = (RestLimits::default(), person("ana"));
        let running = limits.begin(&ana).unwrap();
        assert!(limits.ending().now_or_never().is_none());
        let mut drained = Box::pin(limits.drain());
        assert!(drained.as_mut().now_or_never().is_none());
        assert!(limits.ending().now_or_never().is_some());
        assert!(limits.begin(&ana).is_none());
        drop(running);
        drained.await;
    }

    #[test]
    fn one_key_leaves_room_for_the_others() {
        let limits = RestLimits::default();
        let mut all: Vec<_> =
            (0..MAX_REQUESTS_PER_KEY).map(|_| limits.begin(&person("ana")).unwrap()).collect();
        assert!(limits.begin(&person("ana")).is_none());
        assert!(limits.begin(&person("bob")).is_some());
        all.pop();
        assert!(limits.begin(&person("ana")).is_some());
        let polls: Vec<_> =
            (0..MAX_POLLS_PER_KEY).map(|_| limits.poll(&person("ana")).unwrap()).collect();
        assert!(limits.poll(&person("ana")).is_none());
        let others: Vec<_> = std::iter::from_fn(|| limits.poll(&person("bob"))).collect();
        assert_eq!(others.len(), MAX_POLLS - MAX_POLLS_PER_KEY);
        drop((all, polls, others));
        for shares in [&limits.requests, &limits.polls] {
            assert!(shares.is_untouched());
        }
    }
}
