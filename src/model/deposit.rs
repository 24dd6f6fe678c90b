//! Deposits: tokens that were obtained elsewhere and moved in.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::scope::Implied;
use super::{Scopes, Time, secret};

/// Origin of a grant whose user consented elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// Name of the key whose application deposited it; `None`: the operator of this server.
    pub by: Option<String>,
    pub at: Time,
    /// Fingerprint of the deposited token: of the refresh token, if there was one. A repeated deposit
    /// is recognized by it, also after the provider has rotated the token.
    pub token: String,
    /// Scopes that the depositor named. A renewal does not widen the grant beyond them: the
    /// depositor vouches for no more. `None`: those that the provider names count.
    pub scopes: Option<Scopes>,
    pub proof: Proof,
    /// Id or label of the account as the depositor names it, for a proof that another deposit
    /// completes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// Place that a token was deposited in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenClaim {
    /// Key of the grant's record.
    pub place: String,
    pub at: Time,
}

/// Time for which a claim counts. Providers that do not rotate honour a refresh token for long.
const CLAIM_LIFETIME: Duration = Duration::from_hours(365 * 24);
impl TokenClaim {
    /// Whether the record can be dropped.
    pub fn is_forgettable(&self, now: Time) -> bool {
        now.is_past(self.at, CLAIM_LIFETIME)
    }
}

/// Whether the provider has honoured a deposited token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Not asked yet. No call uses the grant.
    Pending,
    /// It could not be asked: there is no refresh token, and it does not say whose token it is. The
    /// first call shows whether the token works.
    Unproven,
    Proven,
}

impl Deposit {
    /// Fingerprint of a deposited token.
    pub fn fingerprint(token: &SecretString) -> String {
        secret::fingerprint(token.expose_secret())
    }

    /// Scopes of the grant after the provider has named those of the token: those that the
    /// depositor has vouched for.
    #[must_use]
    pub fn vouched(&self, granted: Scopes, implied: &Implied) -> Scopes {
        match &self.scopes {
            Some(named) => named.covered_by(&granted, implied),
            None => granted,
        }
    }
}
