//! A clock that stands still until a test moves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use countersign::model::{Clock, Time};

/// The clock of a world and of everything beside it; clones are the same clock.
#[derive(Clone)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    /// A clock that shows some day in January 2027.
    pub fn new() -> Self {
        Self::at(1_800_000_000_000)
    }

    /// A clock that shows this time in milliseconds since 1970.
    pub fn at(millis: i64) -> Self {
        Self(Arc::new(AtomicI64::new(millis)))
    }

    /// The clock as the product reads it.
    pub fn clock(&self) -> Clock {
        Clock::manual(Arc::clone(&self.0))
    }

    pub fn time(&self) -> Time {
        Time::from_millis(self.0.load(Ordering::SeqCst))
    }

    /// Seconds since 1970, as tokens have them.
    pub fn seconds(&self) -> i64 {
        self.time().millis() / 1000
    }

    /// Lets time pass.
    pub fn pass(&self, span: Duration) {
        self.0.fetch_add(millis(span), Ordering::SeqCst);
    }

    /// Sets the clock back.
    pub fn set_back(&self, span: Duration) {
        self.0.fetch_sub(millis(span), Ordering::SeqCst);
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).expect("a span of less than an age")
}
