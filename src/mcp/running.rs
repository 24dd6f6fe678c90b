//! Requests that run: how many there may be, and when the last of them has ended.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A call takes some kilobytes and a connection to its API; one that waits for a person's consent
/// takes only the kilobytes.
const MOST: u32 = 4096;

/// All requests of a server. Clones count together.
#[derive(Clone)]
pub struct Running(Arc<Semaphore>);

/// One request. It runs until its last clone is dropped: whoever works on it holds one, and whoever
/// brings the answer away another.
#[derive(Clone)]
pub(super) struct Run(#[expect(dead_code, reason = "held")] Arc<OwnedSemaphorePermit>);

impl Default for Running {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST as usize)))
    }
}

impl Running {
    /// `None` where too many run already, or the server is about to end.
    pub(super) fn begin(&self) -> Option<Run> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(|permit| Run(Arc::new(permit)))
    }

    /// Lets nothing begin any more, and returns when the last has ended.
    pub async fn drain(&self) {
        // Tokio serves in the order of asking: from now on every place that becomes free is ours.
        if let Ok(all) = self.0.acquire_many(MOST).await {
            all.forget();
        }
    }
}

impl Run {
    /// The answer, until whose end the request runs.
    pub(super) fn until_sent<B>(self, body: B) -> Sent<B> {
        Sent { body, _run: self }
    }
}

/// An answer on its way.
pub(super) struct Sent<B> {
    body: B,
    _run: Run,
}

impl<B: Body + Unpin> Body for Sent<B> {
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

    #[tokio::test]
    async fn the_end_waits_for_what_runs_and_lets_nothing_begin() {
        let running = Running::default();
        let run = running.begin().unwrap();
        let held_by_the_answer = run.clone();
        let mut drained = Box::pin(running.drain());
        assert!(drained.as_mut().now_or_never().is_none());
        assert!(running.begin().is_none());
        drop(run);
        assert!(drained.as_mut().now_or_never().is_none());
        drop(held_by_the_answer);
        drained.await;
        assert!(running.begin().is_none());
    }

    #[test]
    fn there_is_a_limit() {
        let running = Running::default();
        let mut all: Vec<_> = (0..MOST).map(|_| running.begin().unwrap()).collect();
        assert!(running.begin().is_none());
        all.pop();
        assert!(running.begin().is_some());
    }
}
