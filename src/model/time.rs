//! The only place that reads the system clock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Maximum step back when a running clock is corrected; a bigger step means that the clock was
/// wrong.
const MAX_CLOCK_CORRECTION: Duration = Duration::from_mins(1);

/// A wall-clock instant in milliseconds since the Unix epoch.
///
/// Wall clock, not monotonic: a laptop that slept for a night must find its tokens expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(i64);

impl Time {
    /// Creates a time from milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The time `span` later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// The time `span` earlier.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// Whether a life of `span` from `start` has ended by now. Also true if `start` lies more than
    /// [`MAX_CLOCK_CORRECTION`] ahead: the clock went back, and that must not prolong a life.
    pub fn is_past(self, start: Time, span: Duration) -> bool {
        self >= start.after(span) || start > self.after(MAX_CLOCK_CORRECTION)
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later, e.g. because the clock was set
    /// back.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Source of the current time. Tests hold the other end of [`Clock::manual`]; the binary always
/// uses [`Clock::system`] and has no switch that changes it.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The system clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still at the value of `millis`.
    pub fn manual(millis: Arc<AtomicI64>) -> Self {
        Self(Some(millis))
    }

    /// Returns the current time.
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

/// Reads a time as `2026-11-21T09:30:00Z`, with another offset, or without one: then it is in UTC.
pub fn parse(text: &str) -> Option<Time> {
    let at = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        // A date alone is no time.
        let date_time = text.contains(':').then(|| text.parse::<jiff::civil::DateTime>());
        jiff::tz::Offset::UTC.to_timestamp(date_time?.ok()?).ok()
    })?;
    Some(Time(at.as_millisecond()))
}

/// Formats a time as `2026-11-21T09:30:00Z`, for people.
pub fn utc(time: Time) -> String {
    jiff::Timestamp::from_millisecond(time.0 / 1000 * 1000)
        .map_or_else(|_| "an unknown time".into(), |at| at.to_string())
}

/// Formats a time as `21 November 2026, 09:30 UTC`, for pages.
pub fn date(time: Time) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or_else(
        |_| "an unknown time".into(),
        |at| at.strftime("%-d %B %Y, %H:%M UTC").to_string(),
    )
}

/// Formats a time near `now`: `14:58 UTC` within a day, else as [`date`].
pub fn moment(time: Time, now: Time) -> String {
    const DAY: Duration = Duration::from_hours(24);
    if time.since(now).max(now.since(time)) >= DAY {
        return date(time);
    }
    jiff::Timestamp::from_millisecond(time.0)
        .map_or_else(|_| date(time), |at| at.strftime("%H:%M UTC").to_string())
}

/// Formats an age in whole hours or days: `3 hours ago`.
pub fn ago(past: Duration) -> String {
    const SECONDS_PER_HOUR: u64 = 60 * 60;
    let (count, unit) = match past.as_secs() / SECONDS_PER_HOUR {
        0 => return "within the last hour".into(),
        hours @ 1..48 => (hours, "hour"),
        hours => (hours / 24, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_goes_back_makes_no_life_longer() {
        let at = |minutes: i64| Time::from_millis(minutes * 60_000);
        let (start, span) = (at(100), Duration::from_mins(15));
        for (now, is_past) in [(99, false), (100, false), (114, false), (115, true), (98, true)] {
            assert_eq!(at(now).is_past(start, span), is_past, "{now}");
        }
        assert!(at(-600).is_past(start, span));
    }

    #[test]
    fn a_time_is_read_with_and_without_an_offset() {
        let at = Some(Time::from_millis(1_795_253_400_000));
        for written in [
            "2026-11-21T09:30:00Z",
            "2026-11-21T09:30:00",
            "2026-11-21 09:30:00",
            "2026-11-21T09:30",
            "2026-11-21T09:30:00.000+00:00",
            "2026-11-21T10:30:00+01:00",
        ] {
            assert_eq!(parse(written), at, "{written}");
        }
        for bad in ["", "2026-11-21", "09:30:00", "tomorrow", "1795253400", "2026-13-21T09:30:00Z"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse(&utc(Time::from_millis(1_000))), Some(Time::from_millis(1_000)));
    }

    #[test]
    fn times_are_words() {
        assert_eq!(date(Time::from_millis(1_795_253_400_000)), "21 November 2026, 09:30 UTC");
        assert_eq!(date(Time::from_millis(i64::MAX)), "an unknown time");
        let noon = Time::from_millis(1_795_253_400_000);
        assert_eq!(moment(noon.after(Duration::from_hours(23)), noon), "08:30 UTC");
        assert_eq!(moment(noon.before(Duration::from_mins(1)), noon), "09:29 UTC");
        assert_eq!(
            moment(noon.after(Duration::from_hours(24)), noon),
            "22 November 2026, 09:30 UTC"
        );
        for (minutes, words) in [
            (0, "within the last hour"),
            (59, "within the last hour"),
            (60, "1 hour ago"),
            (24 * 60, "24 hours ago"),
            (48 * 60, "2 days ago"),
            (400 * 24 * 60, "400 days ago"),
        ] {
            assert_eq!(ago(Duration::from_mins(minutes)), words);
        }
    }
}
