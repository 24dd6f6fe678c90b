//! A browser at an application's verifier page, from our redirect until it comes back.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{Caller, Destination, Time, UserId};

/// How long the application may take to confirm, its own sign-in included.
pub const VERIFICATION_LIFETIME: Duration = Duration::from_mins(10);
/// How long the browser may take from the confirmation to `next_uri`.
pub const NEXT_URI_LIFETIME: Duration = Duration::from_mins(5);

/// A browser that was sent to a verifier page. Its key in the store is a keyed hash of `flow_id`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verification {
    /// Name of the application's key.
    pub application: String,
    /// Fingerprint of the cookie of the browser that was sent there.
    pub browser: String,
    /// Scheme, host and port that the browser reaches this server by.
    pub origin: String,
    /// The page that the browser asked for.
    pub to: Destination,
    /// The link that `to` leads to; `None`: a page that is not for one user.
    pub link: Option<LinkOwner>,
    pub started_at: Time,
    pub confirmed: Option<ConfirmedBrowser>,
}

/// Owner of a link.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkOwner {
    /// [`ConnectLink::id`](super::authorization::ConnectLink::id), or the id of a
    /// [`CallConfirmation`](super::CallConfirmation).
    pub authorization: String,
    pub user: UserId,
}

/// The application's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfirmedBrowser {
    pub caller: Caller,
    /// Fingerprint of the key that the application confirmed with.
    pub key: String,
    /// Random, and made with the confirmation: the browser brings it back with `next_uri`.
    #[serde(with = "super::secret::exposed")]
    pub nonce: SecretString,
    pub at: Time,
    /// Whether a session has begun by it. The record stays until it expires, so that a reload leads
    /// to the page and not to an error.
    pub is_used: bool,
}

impl Verification {
    /// Whether the application is too late to confirm it.
    pub fn is_expired(&self, now: Time) -> bool {
        now.is_past(self.started_at, VERIFICATION_LIFETIME)
    }

    /// Whether neither the application nor the browser can go on with it.
    pub fn is_forgettable(&self, now: Time) -> bool {
        self.is_expired(now) && self.confirmed.as_ref().is_none_or(|it| it.is_expired(now))
    }
}

impl ConfirmedBrowser {
    /// Whether the browser is too late to use it.
    pub fn is_expired(&self, now: Time) -> bool {
        now.is_past(self.at, NEXT_URI_LIFETIME)
    }
}
