//! How long a grant is kept, as the user agreed.

use serde::{Deserialize, Serialize};

/// How long a user's grant is kept, from the least to the most strict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Retention {
    /// Until it ends or is revoked, refreshed where possible.
    #[default]
    Refresh,
    /// The refresh token is not kept: the user consents again when the access token ends.
    NoRefresh,
    /// Deleted after the first call that used it.
    UseOnce,
}
