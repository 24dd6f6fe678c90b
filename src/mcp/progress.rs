//! Progress of one call on its way to the client: what the tool's code reports, and signs of life
//! in between.

use tokio::sync::watch;
use tokio::time::{Instant, Interval};

use crate::broker::code::{Progress, ProgressSink};

/// Message of a sign of life.
const STILL_RUNNING: &str = "still running";
/// Growth of the progress by a sign of life after the tool has reported its own.
const SIGN_STEP: f64 = 1e-6;

/// Passes the progress of one call from its tool to the transport. If the tool is faster than the
/// client, only the last report counts.
#[derive(Clone)]
pub(super) struct ProgressChannel(watch::Sender<Option<Progress>>);

impl ProgressChannel {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// The end that the tool reports to.
    pub(super) fn sink(&self) -> ProgressSink {
        let sender = self.0.clone();
        ProgressSink::new(move |progress| drop(sender.send_replace(Some(progress))))
    }

    /// The end that the transport reads.
    pub(super) fn reports(&self) -> ProgressReports {
        ProgressReports {
            reports: self.0.subscribe(),
            began_at: Instant::now(),
            base: None,
            last: 0.0,
            total: None,
        }
    }
}

/// The progress to send. Its value grows from one to the next, as clients expect
/// (basic/utilities/progress).
pub(super) struct ProgressReports {
    reports: watch::Receiver<Option<Progress>>,
    began_at: Instant,
    /// Value that was sent before the tool's first report; its values are added to it.
    base: Option<f64>,
    last: f64,
    total: Option<f64>,
}

impl ProgressReports {
    /// Returns once the tool has reported.
    pub(super) async fn changed(&mut self) {
        if self.reports.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits for a report of the tool, or for the next sign of life.
    pub(super) async fn next(&mut self, signs: &mut Interval) -> Progress {
        loop {
            tokio::select! {
                biased;
                () = self.changed() => {
                    if let Some(progress) = self.take() {
                        return progress;
                    }
                }
                _ = signs.tick() => return self.sign(),
            }
        }
    }

    /// Returns the last report, if it has not been sent.
    pub(super) fn take(&mut self) -> Option<Progress> {
        let Progress { done, total, message } = self.reports.borrow_and_update().clone()?;
        let base = *self.base.get_or_insert(self.last);
        self.total = total.map(|total| base + total);
        if base + done <= self.last && self.last > 0.0 {
            return None;
        }
        self.last = base + done;
        Some(Progress { done: self.last, total: self.total, message })
    }

    /// Returns a sign of life: the elapsed seconds, or a trifle more than the tool has reported.
    fn sign(&mut self) -> Progress {
        let seconds = self.began_at.elapsed().as_secs_f64().round();
        let step = SIGN_STEP * self.last.abs().max(1.0);
        self.last =
            if self.base.is_none() { seconds.max(self.last + step) } else { self.last + step };
        Progress { done: self.last, total: self.total, message: STILL_RUNNING.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn reports_and_signs_of_life_grow_together() {
        let channel = ProgressChannel::new();
        let (sink, mut reports) = (channel.sink(), channel.reports());
        let mut signs = tokio::time::interval(Duration::from_millis(5));
        let first = reports.next(&mut signs).await;
        assert!(first.done > 0.0 && first.message == STILL_RUNNING, "{first:?}");
        sink.report(1.0, Some(4.0), "one");
        let second = reports.next(&mut signs).await;
        let (base, total) = (first.done, second.total.expect("a total"));
        assert!(second.message == "one" && second.done >= base + 1.0, "{second:?}");
        let third = reports.next(&mut signs).await;
        let is_trifle = third.done > second.done && third.done < second.done + 0.1;
        assert!(is_trifle && third.total == Some(total), "{third:?}");
        // Only the last one of several reports counts.
        sink.report(2.0, Some(4.0), "two");
        sink.report(3.0, Some(4.0), "three");
        sink.report(3.0, Some(4.0), "again");
        assert_eq!(reports.next(&mut signs).await.message, "three");
    }
}
