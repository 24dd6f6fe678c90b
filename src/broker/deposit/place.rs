//! The place of a deposit in the store: what is there, and whether the deposit may take it.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::error::MAX_ACCOUNTS;
use super::moving::{Moving, check_claim};
use super::{DepositError, ForeignTokens};
use crate::broker::Connection;
use crate::broker::client::registration::settings;
use crate::broker::consent::provider_account::TokenOwner;
use crate::model::Grant;
use crate::model::consent_plan::ConsentPlan;
use crate::model::deposit::Deposit;
use crate::model::grant::AccountIdentity;
use crate::store::Held;

/// Longest token in bytes: it must fit into a header.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// How long an unproven deposit keeps another one from its place: its process may hold tokens that it
/// could not store yet.
const MAX_PROOF_TIME: Duration = Duration::from_mins(10);

/// State of a deposit's place in the store.
pub(super) enum Place {
    /// It is there already.
    Done(Box<Held<Grant>>),
    /// It was stored before and is not proven yet.
    Begun(Box<Held<Grant>>),
    /// Another deposit is there whose refresh token was renewed, and which is not proven yet. The only
    /// live token may be its own.
    Renewed(Box<Held<Grant>>),
    /// It takes the place of this record, or of none.
    Free(Option<Box<Held<Grant>>>),
}

/// Whether the provider may be shown a token to tell whose it is.
#[derive(Clone, Copy)]
pub(super) enum Asking<'a> {
    Provider(&'a ConsentPlan),
    Never,
}

impl Moving {
    /// Checks what needs no look at the store.
    pub(super) fn check(&self) -> Result<(), DepositError> {
        let ForeignTokens { access, refresh, name, .. } = &self.tokens;
        settings(&self.provider)?;
        for (token, what) in [(refresh, "refresh token"), (access, "access token")] {
            let is_fit = |token: &SecretString| {
                let token = token.expose_secret();
                (1..=MAX_TOKEN_BYTES).contains(&token.len())
                    && token.bytes().all(|byte| byte.is_ascii_graphic())
            };
            if !token.as_ref().is_none_or(is_fit) {
                return Err(DepositError::BadToken(what));
            }
        }
        if !self.provider.takes(name) {
            return Err(DepositError::OneAccount(self.provider.id.clone()));
        }
        if self.refresh().is_some() {
            return Ok(());
        }
        match access {
            Some(_) if self.is_expired() => Err(DepositError::Expired),
            Some(_) => Ok(()),
            None if refresh.is_some() => Err(DepositError::NotKept(self.provider.id.clone())),
            None => Err(DepositError::NoToken),
        }
    }

    /// Looks what is in the place of this deposit.
    pub(super) async fn place(
        &self,
        connection: &Connection,
        asking: Asking<'_>,
    ) -> Result<Place, DepositError> {
        let grants = &self.broker.0.grants;
        let held = grants.in_place(connection).await?;
        let there = held.as_ref().map(|held| &held.value);
        if there.is_none_or(|there| there.ended.is_some()) {
            let connected_at = there.map(|there| there.connected_at);
            if grants.keeps_out(&self.fingerprint(), connected_at, connection).await? {
                return Err(DepositError::Disconnected);
            }
        }
        let Some(held) = held else {
            let store = self.broker.store().await?;
            if store.grants(&self.caller).await?.len() >= MAX_ACCOUNTS {
                return Err(DepositError::TooMany);
            }
            self.check_owner(connection, asking, None).await?;
            return Ok(Place::Free(None));
        };
        let there = &held.value;
        let is_same = self.is_of_this(there);
        if there.ended.is_some() {
            if is_same {
                return Err(self.dead(there));
            }
            self.check_owner(connection, asking, there.identity.as_ref()).await?;
            return Ok(Place::Free(Some(Box::new(held))));
        }
        if !there.is_pending() {
            if is_same {
                return Ok(Place::Done(Box::new(held)));
            }
            return Err(self.occupied(there));
        }
        if there.refreshed_at.is_none() && !there.binding.covers(&connection.bound.binding) {
            // Never renewed, and for fewer hosts than the provider has now: no call could use it.
            self.check_waiting(connection, there)?;
            return Ok(Place::Free(Some(Box::new(held))));
        }
        if is_same {
            return Ok(Place::Begun(Box::new(held)));
        }
        self.check_waiting(connection, there)?;
        if there.refreshed_at.is_some() {
            return Ok(Place::Renewed(Box::new(held)));
        }
        self.check_owner(connection, asking, there.identity.as_ref()).await?;
        Ok(Place::Free(Some(Box::new(held))))
    }

    /// Refuses a deposit while another one in its place may be under way, here or in another process.
    fn check_waiting(&self, connection: &Connection, there: &Grant) -> Result<(), DepositError> {
        let attempt = there.attempt.as_ref().filter(|attempt| !attempt.is_over);
        let begun_at = attempt.map_or(there.connected_at, |it| it.begun_at.max(there.connected_at));
        if self.begun_at.since(begun_at) < MAX_PROOF_TIME
            || self.broker.0.grants.is_renewing(connection)
        {
            return Err(DepositError::UnderWay);
        }
        Ok(())
    }

    /// Records where the tokens are deposited, before any is stored or sent.
    pub(super) async fn claim_tokens(&self, connection: &Connection) -> Result<(), DepositError> {
        let ForeignTokens { access, refresh, .. } = &self.tokens;
        for token in [refresh, access].into_iter().flatten() {
            let token = Deposit::fingerprint(token);
            if !self.broker.0.grants.claim_token(&token, connection).await? {
                return Err(DepositError::UsedElsewhere);
            }
        }
        Ok(())
    }

    /// Refuses a deposit for another account than claimed, or than the ended consent `before` was for,
    /// before its refresh token is sent: the provider may rotate it, and then it is of no use to its
    /// depositor any more.
    async fn check_owner(
        &self,
        connection: &Connection,
        asking: Asking<'_>,
        before: Option<&AccountIdentity>,
    ) -> Result<(), DepositError> {
        let live = self.tokens.access.as_ref().filter(|_| !self.is_expired());
        let owner = match (live, asking) {
            (Some(access), Asking::Provider(plan))
                if self.tokens.account.is_some() || before.is_some() =>
            {
                self.owner(connection, plan, access).await
            }
            _ => TokenOwner::Untold,
        };
        let owner = match owner {
            TokenOwner::Account(owner) => Some(owner),
            _ => None,
        };
        if let Some(owner) = &owner {
            check_claim(self.tokens.account.as_deref(), owner)?;
        }
        match before {
            Some(before) if owner.is_none_or(|owner| owner.id != before.id) => {
                Err(DepositError::OtherBefore { label: before.words() })
            }
            _ => Ok(()),
        }
    }
}
