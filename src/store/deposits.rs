//! Records of deposits beside their grants: where a token was deposited, and which connections were
//! ended.

use std::time::Duration;

use super::backend::Key;
use super::{Held, Result, Store};
use crate::model::deposit::TokenClaim;
use crate::model::disconnection::Disconnection;
use crate::model::{AccountName, Caller, Grant, ProviderId, Time};

/// Age from which a claim without a grant counts no longer: its process was killed, or the grant is
/// gone.
const MAX_CLAIM_AGE_WITHOUT_GRANT: Duration = Duration::from_mins(10);

/// # Errors
/// As the methods of [`Store`] in general.
impl Store {
    /// Records that the token of this fingerprint is deposited in the place of this account. Returns
    /// false if it is deposited in another place: one token for two accounts is a mix-up, and sent
    /// for both it ends a grant whose provider detects its reuse (RFC 9700 §4.14.2).
    pub(super) async fn claim_token(
        &self,
        token: &str,
        caller: &Caller,
        provider: &ProviderId,
        (binding, account): (&str, &AccountName),
        now: Time,
    ) -> Result<bool> {
        let place = self.grant_key(caller, provider, binding, account);
        let key = Key::new(format!("deposited/{}", self.ring.hash("deposited", &[token])));
        loop {
            let held = self.read::<TokenClaim>(key.clone()).await?;
            if let Some(Held { value: there, .. }) = &held {
                if there.place == place.as_str() {
                    return Ok(true);
                }
                if !self.is_free(there, token, &place, now).await? {
                    return Ok(false);
                }
            }
            let claim = TokenClaim { place: place.as_str().to_owned(), at: now };
            if self.write_of(&key, &claim, held.as_ref(), Some(caller)).await? {
                return Ok(true);
            }
        }
    }

    /// Whether a token that is claimed for another place may be deposited at `place`.
    async fn is_free(
        &self,
        claim: &TokenClaim,
        token: &str,
        place: &Key,
        now: Time,
    ) -> Result<bool> {
        let held = self.read::<Grant>(Key::new(claim.place.clone())).await?;
        let is_its = |grant: &Grant| grant.deposit.as_ref().is_some_and(|it| it.token == token);
        let there = held.map(|held| held.value).filter(|it| it.ended.is_none() && is_its(it));
        let (theirs, ours) = (parts(&claim.place), parts(place.as_str()));
        Ok(
            if (theirs.user, theirs.provider, theirs.account)
                == (ours.user, ours.provider, ours.account)
            {
                // Deposited before the operator changed the provider. Its refresh token is not spent
                // unless it was renewed there.
                there.is_none_or(|grant| grant.refreshed_at.is_none())
            } else {
                // The user may have ended the connection of the other name.
                theirs.user != ours.user
                    && there.is_none()
                    && now.since(claim.at) >= MAX_CLAIM_AGE_WITHOUT_GRANT
            },
        )
    }

    /// Returns when and how the connection in the place of this account was last ended.
    pub async fn disconnection(
        &self,
        caller: &Caller,
        provider: &ProviderId,
        binding: &str,
        account: &AccountName,
    ) -> Result<Option<Disconnection>> {
        let key = self.account_key(DISCONNECTED, caller, provider, binding, account);
        Ok(self.read(key).await?.map(|held| held.value))
    }

    /// Records that the grant under this key is being ended.
    pub(super) async fn note_disconnection(
        &self,
        grant: &Key,
        caller: &Caller,
        disconnection: &Disconnection,
    ) -> Result<()> {
        let key = Key::new(grant.as_str().replacen("grant", DISCONNECTED, 1));
        loop {
            let held = self.read::<Disconnection>(key.clone()).await?;
            if self.write_of(&key, disconnection, held.as_ref(), Some(caller)).await? {
                return Ok(());
            }
        }
    }
}

const DISCONNECTED: &str = "disconnected";

/// Parts of a grant's key that tell which connection it is.
#[derive(Default)]
struct GrantKeyParts<'a> {
    user: &'a str,
    provider: &'a str,
    account: &'a str,
}

fn parts(key: &str) -> GrantKeyParts<'_> {
    let mut parts = key.split('/').skip(1);
    let mut part = || parts.next().unwrap_or_default();
    let (user, provider, _binding) = (part(), part(), part());
    GrantKeyParts { user, provider, account: part() }
}
