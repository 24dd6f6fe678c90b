//! Grants: stored consents, and how usable they are at a given moment.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::deposit::{Deposit, Proof};
use super::hosts::Hosts;
use super::oauth::Revocation;
use super::reason::GrantEnd;
use super::retention::Retention;
use super::scope::{Implied, OFFLINE_ACCESS};
use super::{AccountName, InstanceId, ProviderId, Scopes, Time};

/// The client, endpoints and hosts that a grant was given for. A `tools.toml` in which the same
/// provider name means another client, other endpoints or more hosts cannot use the grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// For a service account, which is not a client: its e-mail address.
    pub client_id: String,
    /// As configured, or the issuer whose discovery document names it. Bound because the page that
    /// the browser visits decides whose account comes back. A grant of the server itself has no
    /// such endpoint; instead this is a fingerprint of what decides there: the grant type, who
    /// asserts on whose behalf, and the extra parameters.
    pub authorize_endpoint: String,
    /// As configured, or the issuer whose discovery document names it.
    pub token_endpoint: String,
    /// Endpoint for refreshes, if not the token endpoint; it receives the refresh token.
    #[serde(default)]
    pub refresh_endpoint: Option<String>,
    pub hosts: Hosts,
}

impl Binding {
    /// Binding of a secret that its owner pasted: it is for these hosts, and no provider issued it
    /// to us.
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

    /// Whether it binds a key or password that its owner pasted.
    pub fn is_pasted(&self) -> bool {
        self.client_id.is_empty() && self.token_endpoint.is_empty()
    }

    /// Digest of everything but the hosts, which keeps grants apart in the store. The hosts may
    /// shrink without a new consent.
    pub fn fingerprint(&self) -> String {
        let mut written = String::new();
        let parts = [&self.client_id, &self.authorize_endpoint, &self.token_endpoint];
        for part in parts.into_iter().chain(&self.refresh_endpoint) {
            // The length keeps two different bindings from being written alike.
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

/// Tokens of one token endpoint response (RFC 6749 §5.1), normalized.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenSet {
    /// User name for a pasted password, if the user typed one.
    #[serde(default)]
    pub user: Option<String>,
    /// The access token, or the pasted key or password.
    #[serde(with = "super::secret::exposed")]
    pub access: SecretString,
    #[serde(with = "super::secret::exposed_option")]
    pub refresh: Option<SecretString>,
    /// `None`: the provider did not say; the token is used until it is refused.
    pub expires_at: Option<Time>,
    /// End of the refresh token, if the provider states it.
    #[serde(default)]
    pub refresh_expires_at: Option<Time>,
    /// Arrival of the response; the early-refresh margin is computed from it.
    pub received_at: Time,
}

/// A consent that a user gave, as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    pub provider: ProviderId,
    #[serde(default)]
    pub account: AccountName,
    pub binding: Binding,
    pub tokens: TokenSet,
    pub scopes: Scopes,
    /// Needed scopes that were not granted the last time. The user is told their names, instead of
    /// being asked for them again and again without a word.
    pub refused: Scopes,
    /// Requested scopes that were not granted: [`Self::refused`], and scopes that no tool needs.
    #[serde(default)]
    pub ungranted: Scopes,
    pub connected_at: Time,
    pub refreshed_at: Option<Time>,
    /// How to revoke it, as configured when the user consented.
    pub revocation: Option<Revocation>,
    /// Why the grant has ended. The record stays, so that the user sees what happened.
    pub ended: Option<GrantEnd>,
    /// When the end was noticed. Without [`Self::ended`]: when it was noticed that the access token
    /// has expired and cannot be renewed.
    #[serde(default)]
    pub ended_at: Option<Time>,
    /// Consecutive calls that failed because the provider refused the refresh token in words that
    /// do not say whether the grant has ended; counted up to [`MAX_UNCLEAR_REFUSALS`].
    #[serde(default)]
    pub unclear_refusals: u32,
    /// The account, as the provider identifies it.
    #[serde(default)]
    pub identity: Option<AccountIdentity>,
    /// How long the user agreed to have it kept.
    #[serde(default)]
    pub retention: Retention,
    /// Whether the user's consent also covers calls that run while they are away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub away: bool,
    /// Whether the user has agreed that the application gets the access token itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hands_out: bool,
    /// Set if the user consented elsewhere, and the tokens were moved in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deposit: Option<Deposit>,
    /// A refresh in flight, or one whose answer was lost.
    #[serde(default)]
    pub attempt: Option<Attempt>,
    /// Id of the webhook event that reports the last change of this consent. Written with the
    /// change, so that after a crash it shows whether the change has happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event: Option<String>,
}

/// An account as its provider knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountIdentity {
    /// Stable id.
    pub id: String,
    /// Label for people, e.g. a login or an e-mail address.
    pub label: Option<String>,
}

/// Placeholder for the name of an account that the provider did not identify.
pub fn unnamed() -> String {
    "an account that the provider does not name".to_owned()
}

/// Maximum characters of an id that stands in for a label; the rest is cut.
const MAX_ID_CHARS: usize = 200;

impl AccountIdentity {
    /// Returns the label, or the id if there is no label.
    pub fn words(&self) -> String {
        self.label.clone().unwrap_or_else(|| super::text::shown(&self.id, MAX_ID_CHARS))
    }
}

/// Mark of a process that refreshes a grant, durable before it sends the refresh token.
///
/// One compare-and-swap writes it into the grant, so only one process sends. If that process dies
/// before it has stored the answer, the mark remains, so that the fate of a refresh token is never
/// a guess.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The process that made it.
    pub by: InstanceId,
    pub begun_at: Time,
    /// Number of times that the current refresh token was sent without a stored answer, this
    /// attempt included.
    pub unanswered: u32,
    /// Set once the process has given up on a lost answer: other processes may try.
    pub is_over: bool,
    /// Whether the process of an unanswered attempt ended in the middle of it.
    #[serde(default)]
    pub was_broken_off: bool,
}

/// Time at which a token of a grant was last handed out. A separate record, because writing it into
/// the grant would conflict with the grant's refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    pub at: Time,
}

/// How usable a grant is for a tool right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Usable,
    /// Expired or about to expire; a refresh may help.
    Stale,
    MissingScopes(Scopes),
    /// Only a new consent helps.
    Gone,
}

/// Consecutive refusals as counted by [`Grant::unclear_refusals`] after which the user is asked for
/// a new consent. The grant is kept and tried again until the new consent is there.
pub const MAX_UNCLEAR_REFUSALS: u32 = 3;

/// How long the record of an ended grant stays, for users to see; then it can be dropped.
const ENDED_GRANT_RETENTION: Duration = Duration::from_hours(30 * 24);

impl Grant {
    /// Whether the record can be dropped: the grant has ended and its last token is
    /// [`ENDED_GRANT_RETENTION`] old, or its access token has expired and there is no refresh
    /// token.
    pub fn is_spent(&self, now: Time) -> bool {
        // The depositor may come again after its process was killed, for as long as an ended grant
        // stays.
        if self.ended.is_some() || self.is_pending() {
            let last = self.refreshed_at.unwrap_or(self.connected_at).max(self.tokens.received_at);
            return now.since(last) >= ENDED_GRANT_RETENTION;
        }
        self.tokens.refresh.is_none() && !self.tokens.is_live(now)
    }

    /// Returns how usable the grant is for a tool that needs these scopes.
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
    /// Whether the provider has refused the refresh token so often that the user must consent
    /// again, although it never said that the grant has ended.
    pub fn is_refused(&self) -> bool {
        self.unclear_refusals >= MAX_UNCLEAR_REFUSALS
    }

    /// Whether it was deposited and its provider has not been asked about it yet. No call uses it.
    pub fn is_pending(&self) -> bool {
        self.deposit.as_ref().is_some_and(|deposit| deposit.proof == Proof::Pending)
    }

    /// Returns this grant with the parts of the previous grant that stay valid.
    ///
    /// Many providers issue a refresh token at the first consent only. A second consent without
    /// one, such as for more scopes, keeps the first one's token and the mark of a refresh that has
    /// sent it; unless the account may be another one, the provider keeps refusing the token, or it
    /// must not be kept. A consent that covers the user's absence still does for the same account.
    #[must_use]
    pub fn over(&self, before: &Grant) -> Grant {
        let mut grant = self.clone();
        // Without the provider's word, a deposit may be for any account: no browser of the user has
        // brought it. Its refresh token would silently take over the user's own consent.
        if before.is_pending() || (before.deposit.is_some() && !self.is_known_same_as(before)) {
            return grant;
        }
        let is_same = match (&before.identity, &self.identity) {
            (Some(before), Some(now)) => before.id == now.id,
            (None, None) => true,
            // The provider identified the account only one of the two times.
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
        // An ended grant may be one that the user has revoked at the provider.
        // To what a depositor says, the user has not agreed on this page.
        let stays =
            self.is_known_same_as(before) && before.ended.is_none() && before.deposit.is_none();
        grant.away |= before.away && stays;
        grant.hands_out |= before.hands_out && stays;
        grant
    }

    /// Returns the label of the previous grant's account if this grant is for another account, or
    /// for one that the provider did not identify.
    pub fn other_account(&self, before: &Grant) -> Option<String> {
        let before = before.identity.as_ref()?;
        let is_same = self.identity.as_ref().is_some_and(|now| now.id == before.id);
        (!is_same).then(|| before.words())
    }

    /// Whether the provider has told that the two grants are for one account.
    pub fn is_known_same_as(&self, other: &Grant) -> bool {
        match (&self.identity, &other.identity) {
            (Some(own), Some(others)) => own.id == others.id,
            _ => false,
        }
    }

    /// Whether the provider has told that the two grants are for different accounts.
    pub fn is_known_apart_from(&self, other: &Grant) -> bool {
        match (&self.identity, &other.identity) {
            (Some(own), Some(others)) => own.id != others.id,
            _ => false,
        }
    }

    /// Returns this grant without its tokens, so that the user sees what ended and why.
    #[must_use]
    pub fn ended(&self, why: GrantEnd, now: Time) -> Grant {
        let mut ended = Grant { ended: Some(why), ended_at: Some(now), ..self.clone() };
        ended.tokens.access = SecretString::default();
        ended.tokens.refresh = None;
        ended
    }
}

impl TokenSet {
    /// Whether both hold the same access token.
    pub fn has_access_token_of(&self, other: &Self) -> bool {
        super::secret::same(self.access.expose_secret(), other.access.expose_secret())
    }

    /// Whether the token lives long enough that a call with it will not run into its end. The
    /// margin is five minutes, or a tenth of a short life, plus up to a quarter of that, so that a
    /// thousand grants of the same minute are not all refreshed in the same minute.
    pub fn is_fresh(&self, now: Time) -> bool {
        self.expires_at.is_none_or(|end| {
            let life = end.since(self.received_at);
            let margin = (life / 10).min(Duration::from_mins(5));
            let spread = u32::try_from(self.received_at.millis().rem_euclid(256)).unwrap_or(0);
            now < end.before(margin + margin * spread / 1024)
        })
    }

    /// Whether the access token has not expired.
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
            away: false,
            hands_out: false,
            deposit: None,
            last_event: None,
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
    fn a_consent_takes_nothing_from_a_deposit_that_is_not_proven() {
        let deposit = Deposit {
            by: None,
            at: Time::from_millis(0),
            token: "fingerprint".into(),
            scopes: None,
            proof: Proof::Pending,
            account: None,
        };
        let with = |proof| Grant {
            deposit: Some(Deposit { proof, ..deposit.clone() }),
            ..grant(true, None)
        };
        let consent = grant(false, None);
        assert!(consent.over(&with(Proof::Pending)).tokens.refresh.is_none());
        // A provider that does not tell whose account it is.
        assert!(consent.over(&with(Proof::Proven)).tokens.refresh.is_none());
        assert!(consent.over(&grant(true, None)).tokens.refresh.is_some());
        let of = |id: &str, grant: Grant| Grant {
            identity: Some(AccountIdentity { id: id.into(), label: None }),
            away: grant.deposit.is_some(),
            ..grant
        };
        let deposit = of("ana", with(Proof::Proven));
        let same = of("ana", consent.clone()).over(&deposit);
        assert!(same.tokens.refresh.is_some() && !same.away);
        assert!(of("eve", consent).over(&deposit).tokens.refresh.is_none());
    }

    #[test]
    fn a_record_without_a_deposit_is_read_and_one_with_it_keeps_its_form() {
        let before = serde_json::to_value(grant(true, None)).unwrap();
        assert!(before.get("deposit").is_none());
        let stored = serde_json::json!({
            "by": "shop", "at": 7, "token": "fingerprint", "scopes": ["a"], "proof": "unproven",
        });
        let mut after = before;
        after["deposit"] = stored.clone();
        let read: Grant = serde_json::from_value(after).unwrap();
        assert_eq!(serde_json::to_value(&read.deposit).unwrap(), stored);
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
