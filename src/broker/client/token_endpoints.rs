//! State of the providers' token endpoints in this process: which are in trouble and which refuse
//! us, so that neither calls nor users ask them more often than is useful.
//!
//! | the token endpoint | how often it is asked |
//! |---|---|
//! | answers | whenever a token is needed |
//! | in trouble (5xx, 429, no answer, …) | by one call at a time, after a pause that grows to [`MAX_RETRY_DELAY`]; the other calls wait up to [`MAX_WAIT_FOR_FAILING_ENDPOINT`], share that call's failure, and continue once it succeeds |
//! | says `Retry-After` | not before that, up to [`MAX_RETRY_AFTER`] |
//! | refuses our client | not at all for [`CLIENT_REFUSAL_TTL`] |
//!
//! Pauses use the monotonic clock, because calls wait for their end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::model::{ProviderId, Scopes, Time};
use crate::oauth::{TokenError, Verdict};

/// How long a provider that refuses our client is not asked at all: every request would be refused
/// again, and some providers lock out clients that keep asking.
pub(in crate::broker) const CLIENT_REFUSAL_TTL: Duration = Duration::from_mins(1);
/// How long after a failure the endpoint is not asked while the old access token still works.
pub(in crate::broker) const FAILURE_COOL_DOWN: Duration = Duration::from_secs(15);
/// Pause after the first failure; grows by this much per further failure, up to
/// [`MAX_RETRY_DELAY`].
const RETRY_DELAY_STEP: Duration = Duration::from_secs(1);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);
/// Longest `Retry-After` honoured; a longer one is cut to it, so that one answer cannot lock all
/// users out for an hour.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);
/// How long a call waits for an endpoint that is known to be in trouble; then it gets that error.
pub(in crate::broker) const MAX_WAIT_FOR_FAILING_ENDPOINT: Duration = Duration::from_secs(6);
/// Interval between log lines for the same failure of the same provider; those in between are
/// counted.
const LOG_INTERVAL: Duration = Duration::from_mins(1);
/// Distinct failures counted for the log; above this number, all counts are dropped.
const MAX_COUNTED_FAILURES: usize = 1000;

#[derive(Default)]
pub(in crate::broker) struct TokenEndpoints {
    /// Cached refusals: valid until when, and the provider's error.
    refusing: Mutex<HashMap<RefusalKey, (Time, Arc<TokenError>)>>,
    troubled: Mutex<HashMap<ProviderId, Trouble>>,
    /// Notified when an endpoint's trouble ends, or a probe of it.
    changed: Notify,
    logged: Mutex<HashMap<(ProviderId, String), Logged>>,
}

/// Subject of a refusal. A client is named by its provider, whose table has its secret, and by the
/// fingerprint of its [`Binding`](crate::model::grant::Binding): another catalogue may have another
/// client at the same provider, which was not refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::broker) enum RefusalKey {
    /// Our client.
    Client(ProviderId, String),
    /// These scopes, for our client.
    Scopes(ProviderId, String, Scopes),
    /// One user's account, by the name of its connection.
    Account(String),
}

struct Trouble {
    source: Arc<TokenError>,
    /// Failures since the endpoint last answered.
    failures: u32,
    /// Failures of probes, that is, of the one call at a time that tests whether the endpoint
    /// answers.
    failed_probes: u32,
    /// When the last failure occurred, by the wall clock.
    failed_at: Time,
    /// The endpoint is not asked before this time.
    until: Instant,
    /// Whether a probe is running.
    is_probed: bool,
}

struct Logged {
    at: Instant,
    suppressed: u32,
}

/// Permission to ask a token endpoint.
pub(in crate::broker) struct Admission<'a> {
    endpoints: &'a TokenEndpoints,
    provider: ProviderId,
    /// Whether the endpoint is in trouble and this is the one call that tests it.
    pub(in crate::broker) is_probe: bool,
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            if let Some(trouble) = self.endpoints.troubled.lock().get_mut(&self.provider) {
                trouble.is_probed = false;
            }
            self.endpoints.changed.notify_waiters();
        }
    }
}

impl TokenEndpoints {
    /// Waits for permission to ask this provider's token endpoint.
    ///
    /// # Errors
    /// The endpoint's trouble, if it may not be asked within [`MAX_WAIT_FOR_FAILING_ENDPOINT`] or
    /// another call has just found it unchanged.
    pub(in crate::broker) async fn admitted(
        &self,
        provider: &ProviderId,
    ) -> Result<Admission<'_>, Arc<TokenError>> {
        let give_up = Instant::now() + MAX_WAIT_FOR_FAILING_ENDPOINT;
        let admission =
            |is_probe| Ok(Admission { endpoints: self, provider: provider.clone(), is_probe });
        let mut seen = None;
        loop {
            // Subscribed before the check, so that a change in between is not missed.
            let changed = self.changed.notified();
            let look = {
                let mut troubled = self.troubled.lock();
                let Some(trouble) = troubled.get_mut(provider) else { return admission(false) };
                let now = Instant::now();
                if *seen.get_or_insert(trouble.failed_probes) != trouble.failed_probes
                    || now >= give_up
                    || trouble.until > give_up
                {
                    return Err(Arc::clone(&trouble.source));
                }
                if now >= trouble.until && !trouble.is_probed {
                    trouble.is_probed = true;
                    return admission(true);
                }
                if trouble.is_probed { give_up } else { trouble.until }
            };
            let _ = tokio::time::timeout_at(look, changed).await;
        }
    }

    /// Returns the trouble that this provider's token endpoint is known to be in.
    pub(in crate::broker) fn trouble(&self, provider: &ProviderId) -> Option<Arc<TokenError>> {
        self.troubled.lock().get(provider).map(|trouble| Arc::clone(&trouble.source))
    }

    /// Like [`Self::trouble`], within [`FAILURE_COOL_DOWN`] of the last failure: a live token is
    /// then used as it is.
    pub(in crate::broker) fn late_trouble(
        &self,
        provider: &ProviderId,
        now: Time,
    ) -> Option<Arc<TokenError>> {
        let troubled = self.troubled.lock();
        let trouble = troubled.get(provider)?;
        let until = trouble.failed_at.after(FAILURE_COOL_DOWN);
        is_ahead(until, now, FAILURE_COOL_DOWN).then(|| Arc::clone(&trouble.source))
    }

    /// Records a failed request and logs it as `what`: once per [`LOG_INTERVAL`], with the number
    /// of repetitions since.
    pub(in crate::broker) fn failed(
        &self,
        provider: &ProviderId,
        error: &Arc<TokenError>,
        now: Time,
        what: &'static str,
    ) {
        if error.verdict() == Verdict::Passing {
            let mut troubled = self.troubled.lock();
            let trouble = troubled.entry(provider.clone()).or_insert_with(|| Trouble {
                source: Arc::clone(error),
                failures: 0,
                failed_probes: 0,
                failed_at: now,
                until: Instant::now(),
                is_probed: false,
            });
            trouble.failures += 1;
            trouble.failed_probes += u32::from(trouble.is_probed);
            trouble.source = Arc::clone(error);
            trouble.failed_at = now;
            let pause = (RETRY_DELAY_STEP * trouble.failures).min(MAX_RETRY_DELAY);
            let asked = error.retry_after().map(|wait| wait.min(MAX_RETRY_AFTER));
            let until = Instant::now() + asked.unwrap_or(pause);
            trouble.until = trouble.until.max(until);
        } else if !matches!(**error, TokenError::Unsigned(_)) {
            // Without a signature nothing was sent, so the endpoint has not answered.
            self.answered(provider);
        }
        match self.line_of(provider, error.to_string(), Instant::now()) {
            None => {}
            Some(0) => tracing::warn!(%provider, %error, "{what}"),
            Some(repeated) => tracing::warn!(%provider, %error, repeated, "{what}"),
        }
    }

    /// Returns how often this failure was left out of the log, if its next log line is due.
    fn line_of(&self, provider: &ProviderId, error: String, now: Instant) -> Option<u32> {
        let mut logged = self.logged.lock();
        if logged.len() > MAX_COUNTED_FAILURES {
            logged.clear();
        }
        let key = (provider.clone(), error);
        match logged.get_mut(&key) {
            Some(line) if now.duration_since(line.at) < LOG_INTERVAL => {
                line.suppressed += 1;
                None
            }
            line => {
                let repeated = line.map_or(0, |line| line.suppressed);
                logged.insert(key, Logged { at: now, suppressed: 0 });
                Some(repeated)
            }
        }
    }

    /// Records that the endpoint answers, with success or a refusal; this ends its trouble.
    pub(in crate::broker) fn answered(&self, provider: &ProviderId) {
        let ended = self.troubled.lock().remove(provider);
        if let Some(Trouble { failures, .. }) = ended {
            tracing::warn!(%provider, failures, "the token endpoint answers again");
            self.changed.notify_waiters();
        }
    }

    /// The cached refusal of one of these, valid for [`CLIENT_REFUSAL_TTL`].
    pub(in crate::broker) fn refusal(
        &self,
        about: &[RefusalKey],
        now: Time,
    ) -> Option<Arc<TokenError>> {
        let mut refusing = self.refusing.lock();
        refusing.retain(|_, (until, _)| is_ahead(*until, now, CLIENT_REFUSAL_TTL));
        about.iter().find_map(|key| refusing.get(key)).map(|(_, source)| Arc::clone(source))
    }

    /// Caches a refusal: no request about this is made for [`CLIENT_REFUSAL_TTL`].
    pub(in crate::broker) fn leave_alone(
        &self,
        about: RefusalKey,
        source: Arc<TokenError>,
        now: Time,
    ) {
        let until = now.after(CLIENT_REFUSAL_TTL);
        self.refusing.lock().insert(about, (until, source));
    }
}

/// Whether a pause is still running. If more than `pause` is left of it, the clock was set back
/// since it began, and the pause counts as over.
pub(in crate::broker) fn is_ahead(until: Time, now: Time, pause: Duration) -> bool {
    now < until && until.since(now) <= pause
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::SignError;

    #[test]
    fn a_request_that_was_not_sent_does_not_end_the_trouble() {
        let (endpoints, acme) = (TokenEndpoints::default(), ProviderId::new("acme"));
        let failed = |error| endpoints.failed(&acme, &Arc::new(error), Time::from_millis(0), "");
        failed(TokenError::Status { status: 503, retry_after: None });
        failed(TokenError::Unsigned(SignError));
        assert!(endpoints.trouble(&acme).is_some());
        failed(TokenError::Refused { code: "invalid_client".into() });
        assert!(endpoints.trouble(&acme).is_none());
    }

    /// A provider that is down must not fill the log with one line per call.
    #[test]
    fn the_same_failure_is_one_line_a_minute_with_its_count() {
        let endpoints = TokenEndpoints::default();
        let (acme, other) = (ProviderId::new("acme"), ProviderId::new("other"));
        let began = Instant::now();
        let line = |provider: &ProviderId, error: &str, seconds: u64| {
            endpoints.line_of(provider, error.into(), began + Duration::from_secs(seconds))
        };
        assert_eq!(line(&acme, "503", 0), Some(0));
        for second in 1..=59 {
            assert_eq!(line(&acme, "503", second), None, "{second}");
        }
        assert_eq!(line(&acme, "another", 59), Some(0), "another failure has its own line");
        assert_eq!(line(&other, "503", 59), Some(0), "another provider has its own line");
        assert_eq!(line(&acme, "503", 60), Some(59));
        assert_eq!(line(&acme, "503", 119), None);
        assert_eq!(line(&acme, "503", 121), Some(1));
    }
}
