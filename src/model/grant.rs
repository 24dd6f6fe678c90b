//! A kept consent, and what it is worth at a given moment.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::credential::Retention;
use super::lifetime::OFFLINE_ACCESS;
use super::provider::{Hosts, Revocation};
use super::scope::Implied;
use super::{AccountName, InstanceId, ProviderId, Scopes, Time};

/// What a grant is good for. A `tools.toml` in which the same provider name means another client,
/// other endpoints or more hosts does not get to use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Of a service account, which is no client: its e-mail address.
    pub client_id: String,
    /// As configured, or the issuer that names it by discovery. Bound because whoever chooses where
    /// the browser goes chooses whose account comes back. A grant of the server itself has no such
    /// endpoint; in its place stands a fingerprint of what chooses there: the grant type, who asserts
    /// on whose behalf, and the extra parameters.
    pub authorize_endpoint: String,
    /// As configured, or the issuer that names it by discovery.
    pub token_endpoint: String,
    /// Where tokens are refreshed, if not at the token endpoint: it is sent the refresh token.
    #[serde(default)]
    pub refresh_endpoint: Option<String>,
    pub hosts: Hosts,
}

impl Binding {
    /// Of a key that its owner pasted: it is for these hosts, and nobody issued it to us.
    pub fn pasted(hosts: Hosts) -> Self {
        let none = String::new;
        Self {
            client_id: none(),
            authorize_endpoint: none(),
            token_endpoint: none(),
            refresh_endpoint: None,
            hosts,
        }
    }

    /// Whether it is of a key or password that its owner pasted.
    pub fn is_pasted(&self) -> bool {
        self.client_id.is_empty() && self.token_endpoint.is_empty()
    }

    /// The part that keeps grants apart in the store; hosts may shrink without a new consent.
    pub fn fingerprint(&self) -> String {
        let mut written = String::new();
        let parts = [&self.client_id, &self.authorize_endpoint, &self.token_endpoint];
        for part in parts.into_iter().chain(&self.refresh_endpoint) {
            // With its length, so that no two different bindings are written alike.
            written.push_str(&part.len().to_string());
            written.push(':');
            written.push_str(part);
        }
        super::secret::fingerprint(&written)
    }

    /// Whether a grant bound by `self` may be used under `configured`.
    pub fn covers(&self, configured: &Binding) -> bool {
        self.client_id == configured.client_id
            && self.authorize_endpoint == configured.authorize_endpoint
            && self.token_endpoint == configured.token_endpoint
            && self.refresh_endpoint == configured.refresh_endpoint
            && configured.hosts.is_subset(&self.hosts)
    }
}

/// The tokens of one answer of a token endpoint (RFC 6749 §5.1), normalized.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenSet {
    /// The user that belongs to a pasted password, where the person typed one.
    #[serde(default)]
    pub user: Option<String>,
    /// The access token; of what was pasted, the key or the password.
    #[serde(with = "super::secret::exposed")]
    pub access: SecretString,
    #[serde(with = "super::secret::exposed_option")]
    pub refresh: Option<SecretString>,
    /// `None`: the provider did not say; used until it is refused.
    pub expires_at: Option<Time>,
    /// When the refresh token ends, where the provider says so.
    #[serde(default)]
    pub refresh_expires_at: Option<Time>,
    /// When the answer came, from which the early-refresh margin is reckoned.
    pub received_at: Time,
}

/// A consent that a person gave and that we keep.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    pub provider: ProviderId,
    #[serde(default)]
    pub account: AccountName,
    pub binding: Binding,
    pub tokens: TokenSet,
    pub scopes: Scopes,
    /// Needed and not granted the last time; named to the person instead of asked for again
    /// and again without a word.
    pub refused: Scopes,
    /// Asked for and not granted: what [`Self::refused`] names, and what no tool needs.
    #[serde(default)]
    pub ungranted: Scopes,
    pub connected_at: Time,
    pub refreshed_at: Option<Time>,
    /// How to end it, as it was when the person consented.
    pub revocation: Option<Revocation>,
    /// Why the grant is of no use any more. The record stays, so that people see what happened.
    pub ended: Option<String>,
    /// When that was noticed.
    #[serde(default)]
    pub ended_at: Option<Time>,
    /// How many calls in a row came to nothing because the refresh token was refused in words that
    /// do not say whether the grant has ended; counted up to [`MAX_UNCLEAR_REFUSALS`].
    #[serde(default)]
    pub unclear_refusals: u32,
    /// Whose account it is, as the provider tells it.
    #[serde(default)]
    pub identity: Option<AccountIdentity>,
    /// What the person agreed to have kept.
    #[serde(default)]
    pub retention: Retention,
    /// A renewal under way, or one whose answer nobody has seen.
    #[serde(default)]
    pub attempt: Option<Attempt>,
}

/// An account as its provider knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountIdentity {
    /// What never changes about it.
    pub id: String,
    /// What people know it by, e.g. a login or an e-mail address.
    pub label: Option<String>,
}

/// In the place of an account's name, where the provider did not tell it.
pub fn unnamed() -> String {
    "an account that the provider does not name".to_owned()
}

/// Of a text from outside that stands in for a label.
const LONGEST_ID: usize = 200;

impl AccountIdentity {
    /// What people know it by; its id where there is nothing better.
    pub fn words(&self) -> String {
        self.label.clone().unwrap_or_else(|| super::text::shown(&self.id, LONGEST_ID))
    }
}

/// The mark of a process that renews a grant, durable before the refresh token is sent.
///
/// It is written over the grant by one compare-and-swap, so of all processes one sends; and it stays
/// where the process dies before the answer is kept, so that what happened to a refresh token is
/// never a guess.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The process that made it.
    pub by: InstanceId,
    pub begun_at: Time,
    /// How often the grant's present refresh token was sent without an answer that we have kept,
    /// this attempt included.
    pub unanswered: u32,
    /// Set once the process has given up on an answer that was lost: others may try.
    pub is_over: bool,
    /// Among those that went unanswered is one whose process ended in the middle of it.
    #[serde(default)]
    pub was_broken_off: bool,
}

/// When a token of a grant was last handed out. A record of its own: to write it into the grant would
/// get in the way of the grant's renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    pub at: Time,
}

/// What a grant is worth for a tool right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Usable,
    /// Expired or about to; a refresh may mend it.
    Stale,
    MissingScopes(Scopes),
    /// Only a new consent helps.
    Gone,
}

/// After so many calls that ended with such a refusal, a new consent is asked for. The grant is kept
/// until that one stands, and tried again meanwhile.
pub const MAX_UNCLEAR_REFUSALS: u32 = 3;

/// How long people see what became of a grant that has ended.
const REMEMBERED: Duration = Duration::from_hours(30 * 24);

impl Grant {
    /// Whether nothing is left of it that is of use to anybody.
    pub fn is_spent(&self, now: Time) -> bool {
        if self.ended.is_some() {
            let last = self.refreshed_at.unwrap_or(self.connected_at).max(self.tokens.received_at);
            return now.since(last) >= REMEMBERED;
        }
        self.tokens.refresh.is_none() && !self.tokens.is_live(now)
    }

    pub fn standing(&self, needed: &Scopes, implied: &Implied, now: Time) -> Standing {
        if self.ended.is_some() {
            return Standing::Gone;
        }
        let missing = needed.missing_from(&self.scopes, implied).without(OFFLINE_ACCESS);
        if !missing.is_empty() {
            return Standing::MissingScopes(missing);
        }
        if self.tokens.is_fresh(now) {
            return Standing::Usable;
        }
        match self.tokens.refresh {
            Some(_) => Standing::Stale,
            None if self.tokens.is_live(now) => Standing::Usable,
            None => Standing::Gone,
        }
    }
}

impl Grant {
    /// Whether the refresh token was refused so often that a person has to be asked, although the
    /// provider never said that the grant has ended.
    pub fn is_refused(&self) -> bool {
        self.unclear_refusals >= MAX_UNCLEAR_REFUSALS
    }

    /// This grant, with what of the one `before` goes on beside it.
    ///
    /// Many providers hand out a refresh token at the first consent only. A second consent without
    /// one, such as for more scopes, keeps the first one's, together with the mark of a renewal that
    /// has sent it; unless the account may be another one, or none is to be kept.
    #[must_use]
    pub fn over(&self, before: &Grant) -> Grant {
        let mut grant = self.clone();
        let is_same = match (&before.identity, &self.identity) {
            (Some(before), Some(now)) => before.id == now.id,
            (None, None) => true,
            // The provider tells whose account it is, and told it once only.
            (Some(_), None) | (None, Some(_)) => false,
        };
        if grant.tokens.refresh.is_none()
            && grant.retention == Retention::Refresh
            && grant.ended.is_none()
            && is_same
            && !before.is_refused()
            && let Some(refresh) = &before.tokens.refresh
        {
            grant.tokens.refresh = Some(refresh.clone());
            grant.tokens.refresh_expires_at = before.tokens.refresh_expires_at;
            grant.attempt.clone_from(&before.attempt);
        }
        grant
    }

    /// The account of the grant `before`, for people, if this one is of another, or of one that the
    /// provider did not name.
    pub fn other_account(&self, before: &Grant) -> Option<String> {
        let before = before.identity.as_ref()?;
        let is_same = self.identity.as_ref().is_some_and(|now| now.id == before.id);
        (!is_same).then(|| before.words())
    }

    /// The same grant without its tokens: of no use, but people see what happened and to what.
    #[must_use]
    pub fn ended(&self, why: &str, now: Time) -> Grant {
        let (why, at) = (Some(why.to_owned()), Some(now));
        let mut ended = Grant { ended: why, ended_at: at, ..self.clone() };
        ended.tokens.access = SecretString::default();
        ended.tokens.refresh = None;
        ended
    }
}

impl TokenSet {
    /// Good for long enough that a call made with it will not run into its end: five minutes, or a
    /// tenth of a short life, and up to a quarter of that more, so that what a thousand people
    /// connected in the same minute is not renewed in the same minute.
    pub fn is_fresh(&self, now: Time) -> bool {
        self.expires_at.is_none_or(|end| {
            let life = end.since(self.received_at);
            let margin = (life / 10).min(Duration::from_mins(5));
            let spread = u32::try_from(self.received_at.millis().rem_euclid(256)).unwrap_or(0);
            now < end.before(margin + margin * spread / 1024)
        })
    }

    pub fn is_live(&self, now: Time) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(refresh: bool, life: Option<i64>) -> Grant {
        Grant {
            provider: ProviderId::new("acme"),
            account: AccountName::default(),
            binding: Binding {
                client_id: "c".into(),
                authorize_endpoint: "https://login.acme.example/authorize".into(),
                token_endpoint: "https://login.acme.example/token".into(),
                refresh_endpoint: None,
                hosts: Hosts::new(["api.acme.example"]),
            },
            tokens: TokenSet {
                user: None,
                access: "a".into(),
                refresh: refresh.then(|| "r".into()),
                expires_at: life.map(Time::from_millis),
                refresh_expires_at: None,
                received_at: Time::from_millis(0),
            },
            scopes: Scopes::new(["notes:read"]),
            refused: Scopes::default(),
            ungranted: Scopes::default(),
            connected_at: Time::from_millis(0),
            refreshed_at: None,
            revocation: None,
            ended: None,
            ended_at: None,
            unclear_refusals: 0,
            attempt: None,
            identity: None,
            retention: Retention::default(),
        }
    }

    fn standing(grant: &Grant, now: i64) -> Standing {
        grant.standing(&Scopes::new(["notes:read"]), &Implied::new(), Time::from_millis(now))
    }

    #[test]
    fn a_grant_turns_stale_shortly_before_its_end() {
        let grant = grant(true, Some(100_000));
        assert_eq!(standing(&grant, 0), Standing::Usable);
        assert_eq!(standing(&grant, 89_999), Standing::Usable);
        assert_eq!(standing(&grant, 90_000), Standing::Stale);
    }

    #[test]
    fn without_a_refresh_token_a_grant_is_used_to_its_end() {
        let grant = grant(false, Some(100_000));
        assert_eq!(standing(&grant, 99_999), Standing::Usable);
        assert_eq!(standing(&grant, 100_000), Standing::Gone);
    }

    #[test]
    fn an_unknown_end_is_no_end() {
        assert_eq!(standing(&grant(false, None), i64::MAX), Standing::Usable);
    }

    #[test]
    fn missing_scopes_come_before_freshness() {
        let needed = Scopes::new(["notes:read", "notes:write"]);
        let standing =
            grant(true, Some(1)).standing(&needed, &Implied::new(), Time::from_millis(50));
        assert_eq!(standing, Standing::MissingScopes(Scopes::new(["notes:write"])));
    }

    #[test]
    fn a_binding_covers_fewer_hosts_and_never_more() {
        let kept = grant(true, None).binding;
        let with = |hosts: &[&str]| Binding { hosts: Hosts::new(hosts), ..kept.clone() };
        assert!(kept.covers(&kept));
        assert!(kept.covers(&with(&[])));
        assert!(!kept.covers(&with(&["api.acme.example", "evil.example"])));
        let evil = || "https://evil.example/".to_owned();
        for elsewhere in [
            Binding { token_endpoint: evil(), ..kept.clone() },
            Binding { authorize_endpoint: evil(), ..kept.clone() },
            Binding { refresh_endpoint: Some(evil()), ..kept.clone() },
            Binding { client_id: "other".into(), ..kept.clone() },
        ] {
            assert!(!kept.covers(&elsewhere));
            assert_ne!(kept.fingerprint(), elsewhere.fingerprint());
        }
    }
}
