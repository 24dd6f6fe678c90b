//! Retry schedule of one renewal at a token endpoint in trouble.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::secret;
use crate::oauth::TokenError;

/// Requests per renewal; after the last one the renewal fails.
const MAX_SENDS: u32 = 3;
/// Pause before the second request, without jitter; four times as long before the third.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(500);
/// Latest start of a request, counted from the first one: a host waits a minute for a tool.
const MAX_SEND_DELAY: Duration = Duration::from_secs(10);

/// The requests of one renewal so far.
pub(in crate::broker) struct Tries {
    began: Instant,
    sends: u32,
    pause: Duration,
}

impl Tries {
    /// Starts with the first request, which is made now.
    pub(in crate::broker) fn new() -> Self {
        Self { began: Instant::now(), sends: 1, pause: FIRST_RETRY_DELAY }
    }

    /// How long to wait before the next request after this trouble; `None`: no further request.
    pub(in crate::broker) fn again(&mut self, trouble: &TokenError) -> Option<Duration> {
        let wait = trouble.retry_after().unwrap_or_else(|| with_jitter(self.pause));
        if self.sends >= MAX_SENDS || self.began.elapsed() + wait > MAX_SEND_DELAY {
            return None;
        }
        (self.sends, self.pause) = (self.sends + 1, self.pause * 4);
        Some(wait)
    }
}

/// Adds up to half of the pause, so that processes that failed together do not retry together.
fn with_jitter(pause: Duration) -> Duration {
    let [byte] = secret::random_bytes::<1>();
    pause + pause * u32::from(byte) / 512
}
