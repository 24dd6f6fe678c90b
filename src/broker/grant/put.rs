//! Outcome of storing a consent.

use crate::model::Grant;

/// Outcome of storing a grant.
pub(in crate::broker) enum Put {
    /// As it stands in the store now.
    Kept(Box<Grant>),
    /// Not stored: this account was connected until now, and the user has not confirmed the other
    /// one.
    OtherAccount(String),
}
