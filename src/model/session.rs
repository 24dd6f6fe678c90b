//! Sessions of browsers that have signed in here, and sign-ins in progress.

use std::collections::BTreeSet;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{Caller, Time};

/// Idle limit: a session without a request for this long has ended.
pub const SESSION_IDLE_LIMIT: Duration = Duration::from_mins(30);
/// Maximum lifetime of a session; after it the user has to sign in again.
pub const MAX_SESSION_LIFETIME: Duration = Duration::from_hours(12);
/// Maximum lag of [`Session::seen_at`], so that not every click writes to the store.
const MAX_SEEN_LAG: Duration = Duration::from_mins(3);
/// Time limit for a sign-in at the issuer; after it the sign-in has expired.
pub const SIGN_IN_LIFETIME: Duration = Duration::from_mins(10);

/// A browser that is signed in. Its key in the store is a keyed hash of the browser's cookie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub caller: Caller,
    /// The user's groups, as stated by the issuer.
    pub groups: BTreeSet<String>,
    /// Fingerprint of the key that the user signed in with, or that their application confirmed
    /// them with; `None`: the user signed in at the issuer.
    #[serde(default)]
    pub key: Option<String>,
    /// Fingerprint of the cookie that this session's cookie has replaced in the same browser.
    #[serde(default)]
    pub follows: Option<String>,
    pub began_at: Time,
    /// Time of the browser's last request, or at most a few minutes before it.
    pub seen_at: Time,
}

impl Session {
    /// Whether the session has ended: it is idle or too old.
    pub fn is_expired(&self, now: Time) -> bool {
        now.is_past(self.seen_at, SESSION_IDLE_LIMIT)
            || now.is_past(self.began_at, MAX_SESSION_LIFETIME)
    }

    /// Returns the session to store after a new request; `None` if the stored one is recent enough.
    #[must_use]
    pub fn seen(&self, now: Time) -> Option<Self> {
        let is_news = now.since(self.seen_at) >= MAX_SEEN_LAG;
        is_news.then(|| Self { seen_at: now, ..self.clone() })
    }
}

/// A sign-in in progress at the issuer. Its key in the store is a keyed hash of its `state`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoginAttempt {
    /// Fingerprint of the cookie of the redirected browser.
    pub browser: String,
    /// PKCE verifier (RFC 7636 §4.1).
    #[serde(with = "super::secret::exposed")]
    pub verifier: SecretString,
    /// Value that the ID token must repeat (OpenID Connect Core §3.1.2.1).
    #[serde(with = "super::secret::exposed")]
    pub nonce: SecretString,
    /// Page that the browser asked for.
    pub to: Destination,
    pub started_at: Time,
}

impl LoginAttempt {
    /// Whether the sign-in has expired.
    pub fn is_expired(&self, now: Time) -> bool {
        now.is_past(self.started_at, SIGN_IN_LIFETIME)
    }
}

/// Path of the page behind a link to a consent, without its ticket.
const CONNECT: &str = "/connect/";
/// Path of the page on which a call is confirmed, without its ticket.
const CONFIRM: &str = "/confirm/";

/// Page to which a browser goes once it has signed in. Only a page of this server: with an
/// arbitrary address, this server would serve phishing as an open redirect (RFC 9700 §4.11).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination(String);

impl Destination {
    /// Reads `/connections`, `/connect/{ticket}` or `/confirm/{ticket}`; `None` for any other path.
    pub fn parse(path: &str) -> Option<Self> {
        if let Some(ticket) = path.strip_prefix(CONNECT) {
            return Self::link(ticket);
        }
        match path.strip_prefix(CONFIRM) {
            Some(ticket) => Self::confirmation(ticket),
            None => (path == "/connections").then(Self::default),
        }
    }

    /// The page behind a link; `None` if the text is not a
    /// [`ticket`](super::secret::random_ticket).
    pub fn link(ticket: &str) -> Option<Self> {
        Self::of(CONNECT, ticket)
    }

    /// The page on which a call is confirmed; `None` if the text is not a ticket.
    pub fn confirmation(ticket: &str) -> Option<Self> {
        Self::of(CONFIRM, ticket)
    }

    fn of(page: &str, ticket: &str) -> Option<Self> {
        let is_ticket = (1..=64).contains(&ticket.len())
            && ticket.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        is_ticket.then(|| Self(format!("{page}{ticket}")))
    }

    /// Whether it is the page behind a link.
    pub fn is_link(&self) -> bool {
        *self != Self::default()
    }

    /// The ticket of the link to a consent, if it is one.
    pub fn ticket(&self) -> Option<&str> {
        self.0.strip_prefix(CONNECT)
    }

    /// The ticket of the link to the confirmation of a call, if it is one.
    pub fn confirmation_ticket(&self) -> Option<&str> {
        self.0.strip_prefix(CONFIRM)
    }

    /// A path of this server.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Destination {
    fn default() -> Self {
        Self("/connections".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UserId;

    #[test]
    fn a_session_ends_when_it_is_left_and_when_it_is_old() {
        let at = |minutes: u64| Time::from_millis(0).after(Duration::from_mins(minutes));
        let caller = Caller::local(UserId::new("ana"));
        let session = |seen_at| Session {
            caller: caller.clone(),
            groups: BTreeSet::new(),
            key: None,
            follows: None,
            began_at: at(0),
            seen_at,
        };
        assert!(!session(at(0)).is_expired(at(29)));
        assert!(session(at(0)).is_expired(at(30)));
        assert!(session(at(30)).is_expired(at(0)), "a clock that was set back prolongs nothing");
        assert!(!session(at(719)).is_expired(at(719)));
        assert!(session(at(719)).is_expired(at(720)));
        assert_eq!(session(at(0)).seen(at(1)), None);
        assert_eq!(session(at(0)).seen(at(4)), Some(session(at(4))));
    }

    #[test]
    fn a_destination_is_a_page_of_ours() {
        for good in [
            "/connections",
            "/connect/0123456789abcdefghjkmnpqrs",
            "/confirm/0123456789abcdefghjkmnpqrs",
        ] {
            assert_eq!(Destination::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "/",
            "//evil.example",
            "https://evil.example/connections",
            "/\\evil.example",
            "/connect/",
            "/confirm/",
            "/confirm/../signout",
            "/connect/..",
            "/connect/../signout",
            "/connect/a%2f..",
            "/connect/a?b",
            "/connect/a\r\nSet-Cookie: x",
            "/connections/",
            "/connections?to=x",
            "/signout",
        ] {
            assert_eq!(Destination::parse(bad), None, "{bad}");
        }
    }
}
