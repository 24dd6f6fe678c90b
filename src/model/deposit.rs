//! Deposits: tokens that were obtained elsewhere and moved in.

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
    /// Scopes that the depositor named. A renewal does not widen the grant beyond them: nobody has
    /// vouched that the user consented to more. `None`: those that the provider names count.
    pub scopes: Option<Scopes>,
    pub proof: Proof,
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
