//! Makes one deposit: stores it, asks its provider, and keeps what the provider honours.

use super::moving::{Moving, check_claim};
use super::place::{Asking, Place};
use super::{DepositError, DepositOutlook, Deposited};
use crate::broker::consent::ConnectError;
use crate::broker::consent::provider_account::TokenOwner;
use crate::broker::{Connection, MAX_WRITE_ATTEMPTS};
use crate::model::Grant;
use crate::model::consent_plan::ConsentPlan;
use crate::model::deposit::Proof;
use crate::model::event::EndedBy;
use crate::model::grant::AccountIdentity;
use crate::model::reason::GrantEnd;
use crate::model::retention::Retention;
use crate::model::scope::OFFLINE_ACCESS;
use crate::store::{Held, StoreError};

/// A stored deposit that is to be proven: this one, or an earlier one in its place.
struct Subject<'a> {
    /// Fingerprint of its token.
    token: String,
    /// The account that its depositor names.
    account: Option<&'a str>,
}

impl Moving {
    pub(super) async fn run(self) -> Result<Deposited, DepositError> {
        let (connection, plan) = self.prepared().await?;
        let own = Subject { token: self.fingerprint(), account: self.tokens.account.as_deref() };
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let over = match self.place(&connection, Asking::Provider(&plan)).await? {
                Place::Done(held) => {
                    self.check_kept(&held.value)?;
                    if self.narrow(&held).await? {
                        return Ok(Deposited::of(&held.value, false));
                    }
                    continue;
                }
                Place::Begun(held) => {
                    if self.narrow(&held).await? {
                        return self.proven_by_renewal(&connection, &plan, &own).await;
                    }
                    continue;
                }
                Place::Renewed(held) => {
                    self.settle(&connection, &plan, &held.value).await?;
                    continue;
                }
                Place::Free(over) => over,
            };
            self.claim_tokens(&connection).await?;
            let before = over.as_ref().and_then(|held| held.value.identity.clone());
            let grant = self.pending(&connection, &plan, before);
            let is_renewed = grant.tokens.refresh.is_some();
            if !is_renewed {
                // Before it is stored: an access token that is refused leaves nothing behind.
                let owner = self.owner(&connection, &plan, &grant.tokens.access).await;
                self.judged(&grant, owner, &own)?;
            }
            if !self.broker.0.grants.put_deposit(&self.caller, &grant, over.as_deref()).await? {
                continue;
            }
            // Either this sees the end of the user's access, or the end sees the grant.
            if self.has_ended().await? {
                return Err(self.withdrawn(&grant).await?);
            }
            return self.proven_by_renewal(&connection, &plan, &own).await;
        }
        Err(StoreError::Contended.into())
    }

    /// The effect of [`Self::run`], without a request that holds a token.
    pub(super) async fn look(self) -> Result<DepositOutlook, DepositError> {
        let (connection, _) = self.prepared().await?;
        Ok(match self.place(&connection, Asking::Never).await? {
            Place::Done(held) => {
                self.check_kept(&held.value)?;
                DepositOutlook::There(Deposited::of(&held.value, false))
            }
            Place::Begun(_) => DepositOutlook::Begun,
            Place::Renewed(_) => return Err(DepositError::Unfinished),
            Place::Free(_) => DepositOutlook::New,
        })
    }

    /// Checks the deposit as far as nothing has to be sent, and resolves the provider's setup.
    async fn prepared(&self) -> Result<(Connection, ConsentPlan), DepositError> {
        self.check()?;
        let parts = &self.broker.0;
        let connection = parts.accounts.exactly(&self.caller, &self.provider, &self.tokens.name);
        let connection = connection.await?;
        let bound = &connection.bound.binding;
        if self.tokens.client_id != bound.client_id {
            let (provider, client_id) = (self.provider.id.clone(), bound.client_id.clone());
            return Err(DepositError::OtherClient { provider, client_id });
        }
        let plan = parts.deposits.clients.consent_plan(&self.provider, None).await?;
        // A consent that is held in memory counts like a stored one.
        parts.consents.retry_save(&connection.name()).await?;
        if self.has_ended().await? {
            return Err(DepositError::AccessEnded);
        }
        Ok((connection, plan))
    }

    /// Compares the account that the repeat of a kept deposit names with the one that it is for.
    fn check_kept(&self, there: &Grant) -> Result<(), DepositError> {
        let claimed = self.tokens.account.as_deref();
        match &there.identity {
            Some(owner) => check_claim(claimed, owner),
            None if claimed.is_some() => Err(DepositError::NotTold),
            None => Ok(()),
        }
    }

    /// Narrows a stored deposit to what its repeat says. False: it was changed, and has to be read
    /// anew.
    async fn narrow(&self, held: &Held<Grant>) -> Result<bool, StoreError> {
        let Some(narrowed) = self.narrowed(&held.value) else { return Ok(true) };
        self.broker.0.grants.replace_deposit(&self.caller, narrowed, held).await?;
        Ok(false)
    }

    /// Proves an earlier deposit in the place of this one: the only live refresh token may be its own.
    async fn settle(
        &self,
        connection: &Connection,
        plan: &ConsentPlan,
        there: &Grant,
    ) -> Result<(), DepositError> {
        let Some(deposit) = &there.deposit else { return Ok(()) };
        let earlier = Subject { token: deposit.token.clone(), account: deposit.account.as_deref() };
        match self.proven_by_renewal(connection, plan, &earlier).await {
            // It may also have ended: the place is looked at again.
            Ok(_) | Err(DepositError::Dead(_) | DepositError::Disconnected) => Ok(()),
            Err(DepositError::Store(error)) => Err(DepositError::Store(error)),
            Err(_) => Err(DepositError::Unfinished),
        }
    }

    /// Asks the provider by renewing the stored deposit, and makes it a grant.
    async fn proven_by_renewal(
        &self,
        connection: &Connection,
        plan: &ConsentPlan,
        subject: &Subject<'_>,
    ) -> Result<Deposited, DepositError> {
        let grants = &self.broker.0.grants;
        grants.renew_deposit(connection).await?;
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let held = grants.in_place(connection).await?.ok_or(DepositError::Disconnected)?;
            let there = &held.value;
            if there.deposit.as_ref().is_none_or(|it| it.token != subject.token) {
                // The user has consented on our page in the meantime, and that counts.
                return Err(self.occupied(there));
            }
            if there.ended.is_some() {
                return Err(self.dead(there));
            }
            if !there.is_pending() {
                return Ok(Deposited::of(there, false));
            }
            if there.tokens.refresh.is_some() && there.refreshed_at.is_none() {
                return Err(self.not_sent());
            }
            let owner = self.owner(connection, plan, &there.tokens.access).await;
            let (identity, proof) = match self.judged(there, owner, subject) {
                Ok(judged) => judged,
                Err(DepositError::Dead(said)) => {
                    let ended = there.ended(GrantEnd::AccessTokenRefused, self.broker.now());
                    grants.replace_deposit(&self.caller, ended, &held).await?;
                    return Err(DepositError::Dead(said));
                }
                // The deposit stays as it is: its refresh token may be the only live one.
                Err(error) => return Err(error),
            };
            let proven = self.proven(there, identity, proof);
            if let Some(kept) = grants.replace_deposit(&self.caller, proven, &held).await? {
                return Ok(Deposited::of(&kept.value, true));
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Why a refresh token was not sent, although there is a reason to.
    fn not_sent(&self) -> DepositError {
        if self.provider.retention == Retention::Refresh {
            DepositError::Undecided("the refresh token was not sent".into())
        } else {
            DepositError::NotKept(self.provider.id.clone())
        }
    }

    /// The account of a deposit and how far it is proven, after the provider has said whose its token
    /// is.
    fn judged(
        &self,
        there: &Grant,
        owner: TokenOwner,
        subject: &Subject<'_>,
    ) -> Result<(Option<AccountIdentity>, Proof), DepositError> {
        let (is_renewed, before) = (there.refreshed_at.is_some(), &there.identity);
        let is_compared = subject.account.is_some() || before.is_some();
        let title = &self.provider.title;
        match owner {
            TokenOwner::Account(owner) => {
                check_claim(subject.account, &owner)?;
                // The access token that was shown before may have been another account's.
                match before {
                    Some(before) if before.id != owner.id => {
                        Err(DepositError::OtherBefore { label: before.words() })
                    }
                    _ => Ok((Some(owner), Proof::Proven)),
                }
            }
            TokenOwner::NoAnswer if is_compared || !is_renewed => Err(DepositError::NoOwner),
            TokenOwner::Refused if !is_renewed => {
                Err(DepositError::Dead(format!("{title} answered 401 to the access token")))
            }
            TokenOwner::Refused if is_compared => {
                let said = format!("{title} answered 401 to the access token that it has issued");
                Err(DepositError::Undecided(said))
            }
            TokenOwner::Untold | TokenOwner::Refused | TokenOwner::NoAnswer => {
                if subject.account.is_some() {
                    return Err(DepositError::NotTold);
                }
                if let Some(before) = before {
                    return Err(DepositError::OtherBefore { label: before.words() });
                }
                Ok((None, if is_renewed { Proof::Proven } else { Proof::Unproven }))
            }
        }
    }

    /// A deposit that the provider has honoured, for the account that it has named.
    fn proven(&self, there: &Grant, identity: Option<AccountIdentity>, proof: Proof) -> Grant {
        let mut grant = Grant { identity, ..there.clone() };
        if let Some(deposit) = &mut grant.deposit {
            deposit.proof = proof;
            if let Some(named) = &deposit.scopes {
                let missing = named.missing_from(&grant.scopes, self.provider.implied());
                grant.ungranted = missing.without(OFFLINE_ACCESS);
            }
        }
        grant
    }

    /// Ends a deposit that was stored after the user's access had ended, before anything was sent.
    async fn withdrawn(&self, grant: &Grant) -> Result<DepositError, StoreError> {
        let is_it = |there: &Grant| there.connected_at == grant.connected_at;
        let ended = self.broker.0.consents.disconnect(
            &self.caller,
            grant.clone(),
            EndedBy::Operator,
            is_it,
        );
        match Box::pin(ended).await {
            Err(ConnectError::Store(error)) => Err(error),
            Ok(_) | Err(_) => Ok(DepositError::AccessEnded),
        }
    }
}
