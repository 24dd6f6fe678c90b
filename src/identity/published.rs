//! What an issuer publishes, kept for a while: its endpoints (RFC 8414) and its keys (RFC 7517).
//!
//! | | |
//! |---|---|
//! | fresh | as long as the key set's `max-age` says, between 5 minutes and 24 hours |
//! | asked again early | when a token's key is not found, every ten seconds at most |
//! | being asked | callers who need the answer wait for it: at the start, and when a token's key is not found |
//! | the issuer does not answer | the old keys go on for 24 hours; without any, nobody is let in |
//!
//! There is one question at a time, and it goes on when the client that caused it hangs up: neither
//! many tokens with invented keys nor many calls at the first start make more than one. A pause counts
//! from the end of a question: a caller who comes while it is asked has the same claim to its answer
//! as the one who caused it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::watch;
use url::Url;

use super::issuer::IssuerError;
use super::jwks::KeySet;
use crate::model::{Clock, Time};
use crate::net::{self, Net, Trust};
use crate::oauth::{Metadata, OAuthClient};

const LARGEST: usize = 256 * 1024;
/// For the whole of both questions.
const TIME_LIMIT: Duration = Duration::from_secs(15);
const SHORTEST_LIFE: Duration = Duration::from_mins(5);
const LONGEST_LIFE: Duration = Duration::from_hours(24);
/// Where the issuer says nothing.
const USUAL_LIFE: Duration = Duration::from_mins(15);
/// Between two questions while there are keys that have become old.
const PAUSE: Duration = Duration::from_mins(1);
/// Between two questions for a key that is not found. Tokens with invented keys cause no more, and a
/// token of a key that is newer than the last answer is refused for no longer.
const KEY_PAUSE: Duration = Duration::from_secs(10);
/// Between two questions while there are none, and everybody waits for them.
const SHORT_PAUSE: Duration = Duration::from_secs(5);

/// One state of what the issuer publishes.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) metadata: Metadata,
    pub(super) keys: KeySet,
    since: Time,
    life: Duration,
}

/// What an issuer publishes, now.
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
    /// When the last question ended.
    answered_at: Option<Time>,
    /// What the last question came to, if to nothing.
    failed: Option<Arc<IssuerError>>,
    /// The last question that began. It is running as long as its sender lives, which no panic and no
    /// abort outlives.
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

    /// What was published when it was asked last, however long ago.
    pub(super) fn last(&self) -> Option<Arc<Published>> {
        self.0.kept.read().published.clone()
    }

    /// What is published.
    ///
    /// # Errors
    /// The issuer does not answer, and what it said before is no longer good.
    pub(super) async fn current(&self) -> Result<Arc<Published>, Arc<IssuerError>> {
        let now = self.0.clock.now();
        let (last, is_failing) = {
            let kept = self.0.kept.read();
            (kept.published.clone(), kept.failed.is_some())
        };
        match last {
            Some(last) if last.is_within(last.life, now) => Ok(last),
            Some(last) if last.is_within(LONGEST_LIFE, now) => {
                if is_failing {
                    // Known to be in trouble: nobody waits for it while the old keys are good.
                    self.ask_aside(PAUSE);
                    return Ok(last);
                }
                self.ask(PAUSE).await;
                Ok(self.last().unwrap_or(last))
            }
            Some(_) | None => {
                self.ask(SHORT_PAUSE).await;
                self.0.outcome()
            }
        }
    }

    /// What is published since `known`; `None` if nothing, or if it was asked a moment ago.
    ///
    /// # Errors
    /// The issuer did not answer, so that it is not known.
    pub(super) async fn newer(
        &self,
        known: &Arc<Published>,
    ) -> Result<Option<Arc<Published>>, Arc<IssuerError>> {
        self.ask(KEY_PAUSE).await;
        let kept = self.0.kept.read();
        match (&kept.published, &kept.failed) {
            (Some(last), _) if !Arc::ptr_eq(last, known) => Ok(Some(Arc::clone(last))),
            (_, Some(error)) => Err(Arc::clone(error)),
            (_, None) => Ok(None),
        }
    }

    /// Waits for the running question, or asks one, unless the last one ended within `pause`.
    async fn ask(&self, pause: Duration) {
        if let Some(mut question) = self.ask_aside(pause) {
            // Nothing is sent: the sender goes when the question has ended.
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
        // A clock that was set back must not make us wait for it.
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
        let asked = tokio::time::timeout(TIME_LIMIT, self.fetch()).await;
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
            (Some(last), _) if last.is_within(LONGEST_LIFE, now) => Ok(Arc::clone(last)),
            (_, Some(error)) => Err(Arc::clone(error)),
            (_, None) => Err(Arc::new(IssuerError::Slow { issuer: self.issuer.to_string() })),
        }
    }

    async fn fetch(&self) -> Result<Published, IssuerError> {
        let metadata = self.oauth.discover(&self.issuer).await?;
        let (keys, life) = match &metadata.jwks_uri {
            Some(url) => self.keys(url).await?,
            // An issuer of nothing but opaque tokens has none.
            None => (KeySet::default(), USUAL_LIFE),
        };
        Ok(Published { metadata, keys, since: self.clock.now(), life })
    }

    async fn keys(&self, url: &Url) -> Result<(KeySet, Duration), IssuerError> {
        // What a document names on another origin is a stranger's word.
        let is_own = url.origin() == self.issuer.origin();
        let trust = if is_own { Trust::Written } else { Trust::Learnt };
        let mut request = reqwest::Request::new(reqwest::Method::GET, url.clone());
        *request.timeout_mut() = Some(TIME_LIMIT);
        request.headers_mut().insert(
            http::header::ACCEPT,
            http::HeaderValue::from_static("application/jwk-set+json, application/json"),
        );
        let response = self.net.send(request, trust).await.map_err(IssuerError::Keys)?;
        let status = response.status();
        if !status.is_success() {
            return Err(IssuerError::NoKeys { status: status.as_u16() });
        }
        let life = life(response.headers());
        let body = net::read(response, LARGEST).await.map_err(IssuerError::Keys)?;
        Ok((KeySet::read(&body).map_err(IssuerError::BadKeys)?, life))
    }
}

impl Published {
    /// Whether it is not older than that. What comes from the future, by a clock that was set back,
    /// is of unknown age.
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
    said.unwrap_or(USUAL_LIFE).clamp(SHORTEST_LIFE, LONGEST_LIFE)
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
