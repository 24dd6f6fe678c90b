//! Webhooks: the receivers of an application, and the events that they are sent.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use super::event::EndedBy;
use super::reason::GrantEnd;
use super::secret_ref::SecretRef;
use super::time::utc;
use super::{AccountName, Caller, ProviderId, Scopes, Time, UserId};

/// A receiver, from `[webhooks.NAME]`.
#[derive(Clone, Debug)]
pub struct Webhook {
    pub name: String,
    pub url: Url,
    /// Leads to the keys that sign its requests.
    pub secret: SecretRef,
    /// Name of the application's key. The receiver is sent events of that key's users only.
    pub key: String,
    /// The events that it is sent.
    pub events: BTreeSet<ConnectionChange>,
}

impl Webhook {
    /// Whether events of this user are for this receiver's application.
    pub fn is_for(&self, caller: &Caller) -> bool {
        caller.namespace == Caller::namespace_of_key(&self.key)
    }
}

/// A change of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionChange {
    /// A user has connected an account, for the first time or anew.
    Created,
    /// A user has consented to more for the same account.
    Widened,
    /// Calls fail until the user consents anew.
    NeedsConsent,
    /// The user has ended it.
    Disconnected,
    /// The operator or the application has ended it.
    Revoked,
}

impl ConnectionChange {
    /// Every change.
    pub const ALL: [Self; 5] =
        [Self::Created, Self::Widened, Self::NeedsConsent, Self::Disconnected, Self::Revoked];

    /// Name of the event, e.g. `connection.created`.
    pub fn event(self) -> &'static str {
        match self {
            Self::Created => "connection.created",
            Self::Widened => "connection.widened",
            Self::NeedsConsent => "connection.needs_consent",
            Self::Disconnected => "connection.disconnected",
            Self::Revoked => "connection.revoked",
        }
    }
}

/// Why a connection needs a consent, or was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeReason {
    /// The provider does not honour the refresh token any more: it has expired, or access was ended
    /// at the provider.
    RefreshTokenRefused,
    /// The API refuses the access token, and there is no refresh token.
    AccessTokenRefused,
    /// The provider keeps refusing to renew the access token, without a clear reason.
    NotRenewed,
    /// The access token has expired, and there is no refresh token.
    Expired,
    /// The provider allows one use of a consent, and a call has used it.
    UsedOnce,
    User,
    Operator,
    Application,
}

impl ChangeReason {
    /// Stable word for programs, in snake case.
    pub fn word(self) -> &'static str {
        match self {
            Self::RefreshTokenRefused => "refresh_token_refused",
            Self::AccessTokenRefused => "access_token_refused",
            Self::NotRenewed => "not_renewed",
            Self::Expired => "expired",
            Self::UsedOnce => "used_once",
            Self::User => "user",
            Self::Operator => "operator",
            Self::Application => "application",
        }
    }
}

impl From<&GrantEnd> for ChangeReason {
    fn from(end: &GrantEnd) -> Self {
        match end {
            GrantEnd::AccessTokenRefused => Self::AccessTokenRefused,
            GrantEnd::RefreshTokenRefused { .. } | GrantEnd::Other(_) => Self::RefreshTokenRefused,
        }
    }
}

impl From<EndedBy> for (ConnectionChange, ChangeReason) {
    fn from(by: EndedBy) -> Self {
        match by {
            EndedBy::User => (ConnectionChange::Disconnected, ChangeReason::User),
            EndedBy::Operator => (ConnectionChange::Revoked, ChangeReason::Operator),
            EndedBy::Application => (ConnectionChange::Revoked, ChangeReason::Application),
        }
    }
}

/// Content of an event. Holds no secret, and no label that the provider gives the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionFacts {
    /// Id of the connection ([`connection_id`](super::connection_id::connection_id)).
    pub id: String,
    pub provider: ProviderId,
    pub account: AccountName,
    pub scopes: Scopes,
    pub reason: Option<ChangeReason>,
    /// Id of the connection in whose place this one stands.
    pub replaces: Option<String>,
}

/// Returns the body of a request: `type`, `timestamp` and `data` (Standard Webhooks, "Payload
/// structure"). The keys of `data` are those of `/v1/admin/user_connections`.
pub fn payload(
    change: ConnectionChange,
    at: Time,
    user: &UserId,
    facts: &ConnectionFacts,
) -> Value {
    let ConnectionFacts { id, provider, account, scopes, reason, replaces } = facts;
    let mut data = json!({
        "id": id,
        "user_id": user,
        "provider_id": provider.public_name(),
        "connection_id": account,
        "scopes": scopes,
    });
    if let Some(data) = data.as_object_mut() {
        data.extend(reason.map(|reason| ("reason".to_owned(), reason.word().into())));
        data.extend(replaces.clone().map(|id| ("replaces".to_owned(), id.into())));
    }
    json!({ "type": change.event(), "timestamp": utc(at), "data": data })
}

/// Waits between the attempts to deliver an event (Standard Webhooks, "Deliverability and
/// reliability"). After the last attempt the event is parked.
const RETRY_WAITS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];

/// Returns the wait after this many failed attempts, a fifth shorter or longer by `jitter`, so that
/// the events of an outage do not come back together. `None`: there are no more attempts.
pub fn retry_wait(failed_attempts: u32, jitter: u8) -> Option<Duration> {
    let index = usize::try_from(failed_attempts.checked_sub(1)?).ok()?;
    let wait = *RETRY_WAITS.get(index)?;
    Some(wait * 4 / 5 + wait * 2 / 5 * u32::from(jitter) / u32::from(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_day_and_end_after_three_days() {
        let waits: Vec<_> = (1..).map_while(|failed| retry_wait(failed, 128)).collect();
        assert_eq!(waits.len(), 9);
        assert!(waits.is_sorted());
        let all: Duration = waits.iter().sum();
        assert!(all > Duration::from_hours(72) && all < Duration::from_hours(80), "{all:?}");
        assert_eq!(retry_wait(1, 0), Some(Duration::from_secs(4)));
        assert_eq!(retry_wait(1, u8::MAX), Some(Duration::from_secs(6)));
        assert_eq!(retry_wait(0, 0), None);
    }

    #[test]
    fn only_users_of_the_applications_key_are_a_receivers_concern() {
        let webhook = Webhook {
            name: "main".into(),
            url: "https://app.example.com/".parse().unwrap(),
            secret: SecretRef::Env("SECRET".into()),
            key: "app".into(),
            events: ConnectionChange::ALL.into(),
        };
        let is_for = |namespace: &str| {
            webhook.is_for(&Caller { namespace: namespace.into(), user: UserId::new("bob") })
        };
        assert!(is_for("key:app"));
        for other in ["key:other", "key:APP", "local", "app", "https://login.example.com"] {
            assert!(!is_for(other), "{other}");
        }
        assert!(!webhook.is_for(&Caller::server()));
    }

    #[test]
    fn a_payload_has_the_keys_of_the_rest_api_and_nothing_else() {
        let facts = ConnectionFacts {
            id: "uc_YW5h.x".into(),
            provider: ProviderId::new("github"),
            account: AccountName::default(),
            scopes: Scopes::new(["repo", "gist"]),
            reason: Some(ChangeReason::User),
            replaces: None,
        };
        let at = Time::from_millis(1_800_000_000_123);
        let change = ConnectionChange::Disconnected;
        assert_eq!(
            payload(change, at, &UserId::new("ana"), &facts),
            json!({
                "type": "connection.disconnected",
                "timestamp": "2027-01-15T08:00:00Z",
                "data": {
                    "id": "uc_YW5h.x", "user_id": "ana", "provider_id": "github",
                    "connection_id": "default", "scopes": ["gist", "repo"], "reason": "user",
                },
            })
        );
    }
}
