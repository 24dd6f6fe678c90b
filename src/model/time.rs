//! The only place that reads the system clock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A wall-clock instant in milliseconds since the Unix epoch.
///
/// Wall clock, not monotonic: a laptop that slept for a night must find its tokens expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(i64);

impl Time {
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn millis(self) -> i64 {
        self.0
    }

    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// Time from `earlier` to `self`; zero where `earlier` is later, as after a clock was set back.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Where the present comes from. Tests hold the other end of [`Clock::manual`]; the binary always
/// uses [`Clock::system`] and has no switch that changes it.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still at the value of `millis` until somebody stores another one.
    pub fn manual(millis: Arc<AtomicI64>) -> Self {
        Self(Some(millis))
    }

    pub fn now(&self) -> Time {
        match &self.0 {
            Some(millis) => Time(millis.load(Ordering::SeqCst)),
            #[expect(clippy::disallowed_methods, reason = "this is the single owner of the clock")]
            None => Time(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Clock(manual)" } else { "Clock(system)" })
    }
}

/// `2026-11-21T09:30:00Z`, for people.
pub fn utc(time: Time) -> String {
    jiff::Timestamp::from_millisecond(time.0 / 1000 * 1000)
        .map_or_else(|_| "an unknown time".into(), |at| at.to_string())
}
