//! Cached publications of an issuer: its endpoints (RFC 8414) and its keys (RFC 7517).
//!
//! | | |
//! |---|---|
//! | fresh | for the key set's `max-age`, between 5 minutes and 24 hours |
//! | fetched early | for an unknown key of a token, every ten seconds at most |
//! | being fetched | callers wait: at the start, and for an unknown key of a token |
//! | the issuer does not answer | the old keys last 24 hours; without any, no caller is accepted |
//!
//! One fetch runs at a time, and it goes on when the client that caused it disconnects: neither
//! many tokens with invented keys nor many calls at the first start cause more than one. A pause
//! counts from the end of a fetch, so a caller who comes during it gets its answer like the one who
//! caused it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::watch;
use url::Url;

use super::issuer_error::IssuerError;
use super::jwks::KeySet;
use crate::model::{Clock, Time};
use crate::net::{self, Net, Trust};
use crate::oauth::{Metadata, OAuthClient};

/// Maximum bytes of a key set; a larger one is refused.
const MAX_KEY_SET_BYTES: usize = 256 * 1024;
/// Time limit for both requests together.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);
/// Minimum lifetime of keys; a shorter `max-age` counts as this.
const MIN_KEY_LIFETIME: Duration = Duration::from_mins(5);
/// Maximum lifetime of keys, also while the issuer does not answer; a longer `max-age` counts as
/// this.
const MAX_KEY_LIFETIME: Duration = Duration::from_hours(24);
/// Lifetime of keys for which the issuer states none.
const DEFAULT_KEY_LIFETIME: Duration = Duration::from_mins(15);
/// Pause between two fetches while there are keys that have become old.
const OLD_KEYS_FETCH_INTERVAL: Duration = Duration::from_mins(1);
/// Pause between two fetches for an unknown key. Limits the fetches that tokens with invented keys
/// cause, and the time for which a token of a newer key is refused.
const UNKNOWN_KEY_FETCH_INTERVAL: Duration = Duration::from_secs(10);
/// Pause between two fetches while there are no keys, and every caller waits for them.
const NO_KEYS_FETCH_INTERVAL: Duration = Duration::from_secs(5);

/// One state of the issuer's publications.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) metadata: Metadata,
    pub(super) keys: KeySet,
    since: Time,
    life: Duration,
}

/// The issuer's current publications.
#[derive(Clone)]
pub(super) struct Publication(Arc<Inner>);

struct Inner {
    issuer: Url,
    net: Net,
    oauth: OAuthClient,
    clock: Clock,
    kept: RwLock<Kept>,
}

#[derive(Default)]
struct Kept {
    published: Option<Arc<Published>>,
    /// End of the last fetch.
    answered_at: Option<Time>,
    /// Error of the last fetch, if it failed.
    failed: Option<Arc<IssuerError>>,
    /// The last fetch that began. It is running as long as its sender lives; a panic or an abort
    /// drops the sender.
    question: Option<Question>,
}

type Question = watch::Receiver<()>;

impl Publication {
    pub(super) fn new(issuer: Url, net: Net, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            issuer,
            oauth: OAuthClient::new(net.clone(), clock.clone()),
            net,
            clock,
            kept: RwLock::default(),
        }))
    }

    /// Returns the result of the last successful fetch, of any age.
    pub(super) fn last(&self) -> Option<Arc<Published>> {
        self.0.kept.read().published.clone()
    }

    /// Returns what is published.
    ///
    /// # Errors
    /// [`IssuerError`] if the issuer does not answer and its last answer is too old.
    pub(super) async fn current(&self) -> Result<Arc<Published>, Arc<IssuerError>> {
        let now = self.0.clock.now();
        let (last, is_failing) = {
            let kept = self.0.kept.read();
            (kept.published.clone(), kept.failed.is_some())
        };
        match last {
            Some(last) if last.is_within(last.life, now) => Ok(last),
            Some(last) if last.is_within(MAX_KEY_LIFETIME, now) => {
                if is_failing {
                    // The issuer is known to be in trouble: no caller waits for it while the old
                    // keys are good.
                    self.ask_aside(OLD_KEYS_FETCH_INTERVAL);
                    return Ok(last);
                }
                self.ask(OLD_KEYS_FETCH_INTERVAL).await;
                Ok(self.last().unwrap_or(last))
            }
            Some(_) | None => {
                self.ask(NO_KEYS_FETCH_INTERVAL).await;
                self.0.outcome()
            }
        }
    }

    /// Fetches again and returns a newer state than `known`; `None` if there is none, or if the
    /// last fetch was a moment ago.
    ///
    /// # Errors
    /// [`IssuerError`] if the issuer did not answer, so that it is unknown whether there is one.
    pub(super) async fn newer(
        &self,
        known: &Arc<Published>,
    ) -> Result<Option<Arc<Published>>, Arc<IssuerError>> {
        self.ask(UNKNOWN_KEY_FETCH_INTERVAL).await;
        let kept = self.0.kept.read();
        match (&kept.published, &kept.failed) {
            (Some(last), _) if !Arc::ptr_eq(last, known) => Ok(Some(Arc::clone(last))),
            (_, Some(error)) => Err(Arc::clone(error)),
            (_, None) => Ok(None),
        }
    }

    /// Waits for the running fetch, or starts one, unless the last one ended within `pause`.
    async fn ask(&self, pause: Duration) {
        if let Some(mut question) = self.ask_aside(pause) {
            // No value is sent: the sender is dropped when the fetch has ended.
            let _ = question.changed().await;
        }
    }

    /// Like [`Self::ask`], without waiting.
    fn ask_aside(&self, pause: Duration) -> Option<Question> {
        let mut kept = self.0.kept.write();
        if let Some(running) = kept.running() {
            return Some(running);
        }
        let now = self.0.clock.now();
        // After a clock was set back, do not wait until it has caught up.
        if kept.answered_at.is_some_and(|at| at <= now && now.since(at) < pause) {
            return None;
        }
        let (running, question) = watch::channel(());
        kept.question = Some(question.clone());
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            inner.ask().await;
            drop(running);
        });
        Some(question)
    }
}

impl Kept {
    fn running(&self) -> Option<Question> {
        self.question.clone().filter(|question| question.has_changed().is_ok())
    }
}

impl Inner {
    async fn ask(&self) {
        let asked = tokio::time::timeout(FETCH_TIMEOUT, self.fetch()).await;
        let asked =
            asked.unwrap_or_else(|_| Err(IssuerError::Slow { issuer: self.issuer.to_string() }));
        let mut kept = self.kept.write();
        kept.answered_at = Some(self.clock.now());
        match asked {
            Ok(published) => {
                kept.published = Some(Arc::new(published));
                kept.failed = None;
            }
            Err(error) => {
                tracing::warn!(
                    error = crate::model::chain(&error),
                    hint = error.hint(),
                    "the issuer's keys were not got"
                );
                kept.failed = Some(Arc::new(error));
            }
        }
    }

    fn outcome(&self) -> Result<Arc<Published>, Arc<IssuerError>> {
        let (now, kept) = (self.clock.now(), self.kept.read());
        match (&kept.published, &kept.failed) {
            (Some(last), _) if last.is_within(MAX_KEY_LIFETIME, now) => Ok(Arc::clone(last)),
            (_, Some(error)) => Err(Arc::clone(error)),
            (_, None) => Err(Arc::new(IssuerError::Slow { issuer: self.issuer.to_string() })),
        }
    }

    async fn fetch(&self) -> Result<Published, IssuerError> {
        let metadata = self.oauth.discover(&self.issuer).await?;
        let (keys, life) = match &metadata.jwks_uri {
            Some(url) => self.keys(url).await?,
            // An issuer that issues only opaque tokens has no keys.
            None => (KeySet::default(), DEFAULT_KEY_LIFETIME),
        };
        Ok(Published { metadata, keys, since: self.clock.now(), life })
    }

    async fn keys(&self, url: &Url) -> Result<(KeySet, Duration), IssuerError> {
        // A URL on another origin is not trusted like the issuer's own.
        let is_own = url.origin() == self.issuer.origin();
        let trust = if is_own { Trust::Written } else { Trust::Learnt };
        let mut request = reqwest::Request::new(reqwest::Method::GET, url.clone());
        *request.timeout_mut() = Some(FETCH_TIMEOUT);
        request.headers_mut().insert(
            http::header::ACCEPT,
            http::HeaderValue::from_static("application/jwk-set+json, application/json"),
        );
        let response = self.net.send_read(request, trust).await.map_err(IssuerError::Keys)?;
        let status = response.status();
        if !status.is_success() {
            return Err(IssuerError::NoKeys { status: status.as_u16() });
        }
        let life = life(response.headers());
        let body = net::read(response, MAX_KEY_SET_BYTES).await.map_err(IssuerError::Keys)?;
        Ok((KeySet::read(&body).map_err(IssuerError::BadKeys)?, life))
    }
}

impl Published {
    /// Whether it is younger than `life`. A time in the future, after a clock was set back, means
    /// an unknown age.
    fn is_within(&self, life: Duration, now: Time) -> bool {
        self.since <= now && now.since(self.since) < life
    }
}

/// `Cache-Control: max-age` (RFC 9111 §5.2.2.1) within our bounds.
fn life(headers: &http::HeaderMap) -> Duration {
    let said = headers.get_all(http::header::CACHE_CONTROL).iter().find_map(|value| {
        value.to_str().ok()?.split(',').find_map(|directive| {
            let (name, seconds) = directive.trim().split_once('=')?;
            let seconds = seconds.trim_matches('"').parse().ok()?;
            name.eq_ignore_ascii_case("max-age").then(|| Duration::from_secs(seconds))
        })
    });
    said.unwrap_or(DEFAULT_KEY_LIFETIME).clamp(MIN_KEY_LIFETIME, MAX_KEY_LIFETIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_decides_how_long_its_keys_are_kept_within_bounds() {
        let life = |value: &'static str| {
            let mut headers = http::HeaderMap::new();
            headers.insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static(value));
            life(&headers).as_secs()
        };
        assert_eq!(life("public, max-age=3600, must-revalidate"), 3600);
        assert_eq!(life("Max-Age=\"7200\""), 7200);
        assert_eq!(life("max-age=0"), 300);
        assert_eq!(life("max-age=99999999"), 86400);
        for unsaid in ["no-cache", "max-age=-1", "max-age=soon", "s-maxage=60"] {
            assert_eq!(life(unsaid), 900, "{unsaid}");
        }
    }
}
