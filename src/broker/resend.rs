//! How often, and how soon, one renewal asks a token endpoint in trouble.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::secret;
use crate::oauth::TokenError;

/// Requests of one renewal.
const MAX_SENDS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// No request begins later than this after the first: a host waits a minute for a tool.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// The requests of one renewal so far.
pub(super) struct Tries {
    began: Instant,
    sends: u32,
    pause: Duration,
}

impl Tries {
    /// The first one is made now.
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), sends: 1, pause: FIRST_PAUSE }
    }

    /// How long to wait before the next one after this trouble; `None`: it has been tried enough.
    pub(super) fn again(&mut self, trouble: &TokenError) -> Option<Duration> {
        let wait = trouble.retry_after().unwrap_or_else(|| with_jitter(self.pause));
        if self.sends >= MAX_SENDS || self.began.elapsed() + wait > MAX_WAIT {
            return None;
        }
        (self.sends, self.pause) = (self.sends + 1, self.pause * 4);
        Some(wait)
    }
}

/// Up to a half more, so that processes that failed together do not come back together.
fn with_jitter(pause: Duration) -> Duration {
    let [byte] = secret::random_bytes::<1>();
    pause + pause * u32::from(byte) / 512
}
