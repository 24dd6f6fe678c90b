//! Ends of connections, which keep deposits from bringing them back.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::EndedBy;
use super::{Grant, Time};

/// End of a connection by its user, the application or the operator. No act of the user stands behind
/// a deposit, so it does not bring back what was ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Disconnection {
    pub at: Time,
    /// Fingerprint of the token, if the connection was deposited.
    pub token: Option<String>,
    /// Whether no other token may be deposited in its place either. Not if it was of no use: it had
    /// ended before, or the application or the operator ended a deposit that was not proven.
    pub is_for_all: bool,
}

/// Time for which the end of a connection keeps deposits out. The user can consent anew at any time.
const DISCONNECTION_LIFETIME: Duration = Duration::from_hours(30 * 24);

impl Disconnection {
    /// The end of this grant.
    pub fn of(grant: &Grant, by: EndedBy, at: Time) -> Self {
        let is_of_use = grant.ended.is_none() && (by == EndedBy::User || !grant.is_pending());
        let token = grant.deposit.as_ref().map(|deposit| deposit.token.clone());
        Self { at, token, is_for_all: is_of_use }
    }

    /// Whether a deposit of this token must not take the place, where `connected_at` is the
    /// beginning of an ended connection that is there.
    pub fn keeps_out(&self, token: &str, connected_at: Option<Time>, now: Time) -> bool {
        // The user has consented since.
        let is_older = connected_at.is_some_and(|at| at > self.at);
        let is_meant = self.is_for_all || self.token.as_deref() == Some(token);
        !is_older && is_meant && !self.is_forgettable(now)
    }

    /// Whether the record can be dropped.
    pub fn is_forgettable(&self, now: Time) -> bool {
        now.is_past(self.at, DISCONNECTION_LIFETIME)
    }
}
