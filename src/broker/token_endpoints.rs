//! What is known of providers' token endpoints in this process: which are in trouble and which refuse
//! us, so that neither calls nor people ask them more often than does any good.
//!
//! | the token endpoint | how often it is asked |
//! |---|---|
//! | answers | whenever a token is needed |
//! | in trouble (5xx, 429, no answer, …) | by one call at a time, after a pause that grows to [`MAX_PAUSE`]; the others wait for [`TROUBLE_PATIENCE`], share that call's failure, and go on once it succeeds |
//! | says `Retry-After` | not before that, up to [`MAX_RETRY_AFTER`] |
//! | refuses our client | not at all for [`CLIENT_REFUSAL_PAUSE`] |
//!
//! Pauses run on the monotonic clock, as calls wait for their end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::model::{ProviderId, Scopes, Time};
use crate::oauth::{TokenError, Verdict};

/// How long a provider that refuses our client is not asked at all: every call would only be refused
/// again, and some providers lock clients out that insist.
pub(super) const CLIENT_REFUSAL_PAUSE: Duration = Duration::from_mins(1);
/// How long an endpoint in trouble is not asked while the old access token still works.
pub(super) const REST: Duration = Duration::from_secs(15);
/// The pause after the first failure; that much longer after each further one.
const PAUSE_STEP: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The longest `Retry-After` that is remembered: one answer must not keep everybody out for an hour.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);
/// How long a call waits for an endpoint that is known to be in trouble.
pub(super) const TROUBLE_PATIENCE: Duration = Duration::from_secs(6);
/// How often the same failure of the same provider is logged; in between it is counted.
const LOG_PAUSE: Duration = Duration::from_mins(1);
/// Kinds of failure that are told apart for the log.
const MAX_LOGGED: usize = 1000;

#[derive(Default)]
pub(super) struct TokenEndpoints {
    /// Who is not asked: until when, and what it said.
    refusing: Mutex<HashMap<RefusalKey, (Time, Arc<TokenError>)>>,
    troubled: Mutex<HashMap<ProviderId, Trouble>>,
    /// Some trouble has ended, or an attempt to find out.
    changed: Notify,
    logged: Mutex<HashMap<(ProviderId, String), Logged>>,
}

/// What a refusal is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum RefusalKey {
    /// Our client, at this provider.
    Client(ProviderId),
    /// These scopes, for our client.
    Scopes(ProviderId, Scopes),
    /// One person's account, by the name of its connection.
    Account(String),
}

struct Trouble {
    source: Arc<TokenError>,
    /// Since the endpoint last answered.
    failures: u32,
    /// How many of them were met by the one call that found out whether it answers again.
    failed_probes: u32,
    /// When the last one was, by the wall clock.
    failed_at: Time,
    /// Not asked before.
    until: Instant,
    /// Whether a call is finding out whether it answers again.
    is_probed: bool,
}

struct Logged {
    at: Instant,
    suppressed: u32,
}

/// Leave to ask a token endpoint.
pub(super) struct Admission<'a> {
    endpoints: &'a TokenEndpoints,
    provider: ProviderId,
    /// Whether the endpoint is known to be in trouble, so that this is the one call that asks it.
    pub(super) is_probe: bool,
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
    /// Leave to ask this provider's token endpoint, as soon as that makes sense.
    ///
    /// # Errors
    /// The trouble that it is in, where it is not to be asked within [`TROUBLE_PATIENCE`] or another
    /// call has just found it unchanged.
    pub(super) async fn admitted(
        &self,
        provider: &ProviderId,
    ) -> Result<Admission<'_>, Arc<TokenError>> {
        let give_up = Instant::now() + TROUBLE_PATIENCE;
        let admission =
            |is_probe| Ok(Admission { endpoints: self, provider: provider.clone(), is_probe });
        let mut seen = None;
        loop {
            // Before looking, so that a change in between is not missed.
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

    /// The trouble that this provider's token endpoint is known to be in.
    pub(super) fn trouble(&self, provider: &ProviderId) -> Option<Arc<TokenError>> {
        self.troubled.lock().get(provider).map(|trouble| Arc::clone(&trouble.source))
    }

    /// The same, if it showed within [`REST`]: then a token that still lives is used as it is.
    pub(super) fn late_trouble(&self, provider: &ProviderId, now: Time) -> Option<Arc<TokenError>> {
        let troubled = self.troubled.lock();
        let trouble = troubled.get(provider)?;
        let until = trouble.failed_at.after(REST);
        is_ahead(until, now, REST).then(|| Arc::clone(&trouble.source))
    }

    /// Notes how asking went, and writes a failure to the log as `what`: once a minute, with how
    /// often it was seen since.
    pub(super) fn failed(
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
            let pause = (PAUSE_STEP * trouble.failures).min(MAX_PAUSE);
            let asked = error.retry_after().map(|wait| wait.min(MAX_RETRY_AFTER));
            let until = Instant::now() + asked.unwrap_or(pause);
            trouble.until = trouble.until.max(until);
        } else {
            self.answered(provider);
        }
        match self.line_of(provider, error.to_string(), Instant::now()) {
            None => {}
            Some(0) => tracing::warn!(%provider, %error, "{what}"),
            Some(repeated) => tracing::warn!(%provider, %error, repeated, "{what}"),
        }
    }

    /// How often this failure was seen since its last line in the log, if it is time for another one.
    fn line_of(&self, provider: &ProviderId, error: String, now: Instant) -> Option<u32> {
        let mut logged = self.logged.lock();
        if logged.len() > MAX_LOGGED {
            logged.clear();
        }
        let key = (provider.clone(), error);
        match logged.get_mut(&key) {
            Some(line) if now.duration_since(line.at) < LOG_PAUSE => {
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

    /// It answers, whatever it says.
    pub(super) fn answered(&self, provider: &ProviderId) {
        let ended = self.troubled.lock().remove(provider);
        if let Some(Trouble { failures, .. }) = ended {
            tracing::warn!(%provider, failures, "the token endpoint answers again");
            self.changed.notify_waiters();
        }
    }

    /// What a provider that refuses one of these would only say again.
    pub(super) fn refusal(&self, about: &[RefusalKey], now: Time) -> Option<Arc<TokenError>> {
        let mut refusing = self.refusing.lock();
        refusing.retain(|_, (until, _)| is_ahead(*until, now, CLIENT_REFUSAL_PAUSE));
        about.iter().find_map(|key| refusing.get(key)).map(|(_, source)| Arc::clone(source))
    }

    /// Does not ask about this for [`CLIENT_REFUSAL_PAUSE`].
    pub(super) fn leave_alone(&self, about: RefusalKey, source: Arc<TokenError>, now: Time) {
        let until = now.after(CLIENT_REFUSAL_PAUSE);
        self.refusing.lock().insert(about, (until, source));
    }
}

/// Whether a pause goes on. One that ends later than it can have been meant to was begun before the
/// clock was set back.
pub(super) fn is_ahead(until: Time, now: Time, pause: Duration) -> bool {
    now < until && until.since(now) <= pause
}

#[cfg(test)]
mod tests {
    use super::*;

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
