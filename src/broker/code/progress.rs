//! Progress of a call, from the code of its tool to the client.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

/// How far a call is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    pub done: f64,
    /// Value of `done` at the end, if it is known.
    pub total: Option<f64>,
    pub message: String,
}

/// Takes the progress of one call. Cheap to clone.
#[derive(Clone)]
pub struct ProgressSink(Arc<Inner>);

struct Inner {
    /// The last progress that was taken.
    last: Mutex<Option<f64>>,
    take: Box<dyn Fn(Progress) + Send + Sync>,
}

impl ProgressSink {
    /// Creates a sink that passes each report on.
    pub fn new(take: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { last: Mutex::new(None), take: Box::new(take) }))
    }

    /// Passes a report on, unless its progress is not larger than the last one: clients count on
    /// that (MCP, basic/utilities/progress).
    pub fn report(&self, done: f64, total: Option<f64>, message: &str) {
        let mut last = self.0.last.lock();
        if !done.is_finite() || last.is_some_and(|last| done <= last) {
            return;
        }
        *last = Some(done);
        (self.0.take)(Progress { done, total, message: message.to_owned() });
    }
}

impl fmt::Debug for ProgressSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressSink")
    }
}
