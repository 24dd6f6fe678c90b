//! A deposit that is being made, and the grant that it becomes.

use std::sync::Arc;

use secrecy::SecretString;

use super::{DepositError, ForeignTokens};
use crate::broker::consent::provider_account::TokenOwner;
use crate::broker::{Broker, Connection};
use crate::model::consent_plan::ConsentPlan;
use crate::model::deposit::{Deposit, Proof};
use crate::model::grant::AccountIdentity;
use crate::model::retention::Retention;
use crate::model::{Caller, Grant, Provider, Scopes, Time, TokenSet};
use crate::store::StoreError;

/// A running deposit.
pub(super) struct Moving {
    pub(super) broker: Broker,
    pub(super) caller: Caller,
    pub(super) provider: Arc<Provider>,
    pub(super) tokens: ForeignTokens,
    /// Name of the application's key; `None`: the operator.
    pub(super) by: Option<String>,
    pub(super) hands_out: bool,
    pub(super) begun_at: Time,
}

impl Moving {
    /// Whether a stored grant is this deposit.
    pub(super) fn is_of_this(&self, there: &Grant) -> bool {
        there.deposit.as_ref().is_some_and(|it| it.token == self.fingerprint())
    }

    pub(super) fn fingerprint(&self) -> String {
        let ForeignTokens { access, refresh, .. } = &self.tokens;
        refresh.as_ref().or(access.as_ref()).map(Deposit::fingerprint).unwrap_or_default()
    }

    pub(super) fn is_expired(&self) -> bool {
        self.tokens.expires_at.is_some_and(|end| end <= self.begun_at)
    }

    /// The refresh token, if this server may keep it.
    pub(super) fn refresh(&self) -> Option<&SecretString> {
        let is_kept = self.provider.retention == Retention::Refresh;
        self.tokens.refresh.as_ref().filter(|_| is_kept)
    }

    /// Whether nothing may be deposited for this user: all of their access was ended not long ago, or
    /// the provider is being deleted. No act of the user stands behind a deposit, so it must not bring
    /// back what the operator or the application has ended.
    pub(super) async fn has_ended(&self) -> Result<bool, StoreError> {
        let dawn = Time::from_millis(0);
        self.broker.0.consents.has_ended(&self.caller, &self.provider.id, dawn).await
    }

    pub(super) fn occupied(&self, there: &Grant) -> DepositError {
        let label = there.identity.as_ref().map(AccountIdentity::words);
        DepositError::Occupied { provider: self.provider.id.clone(), label }
    }

    pub(super) fn dead(&self, there: &Grant) -> DepositError {
        let (at, why) = there.past_end(&self.provider.token_facts());
        DepositError::Dead(why.past_words(&self.provider.title, at, self.broker.now()))
    }

    /// Asks the provider whose token this is.
    pub(super) async fn owner(
        &self,
        Connection { provider, bound, .. }: &Connection,
        plan: &ConsentPlan,
        access: &SecretString,
    ) -> TokenOwner {
        let consents = &self.broker.0.consents;
        consents.owner_of(&provider.id, &bound.binding, plan, access).await
    }

    /// The grant before the provider was asked. No call uses it. `before` is the account of the ended
    /// consent in its place.
    pub(super) fn pending(
        &self,
        Connection { provider, bound, account, .. }: &Connection,
        plan: &ConsentPlan,
        before: Option<AccountIdentity>,
    ) -> Grant {
        let ForeignTokens { scopes, away, access, .. } = &self.tokens;
        let tokens = match self.refresh() {
            // Expired: it counts only once it is renewed, also if the clock is set back.
            Some(refresh) => TokenSet {
                refresh: Some(refresh.clone()),
                expires_at: Some(Time::from_millis(0)),
                ..self.token_set(SecretString::default())
            },
            None => self.token_set(access.clone().unwrap_or_default()),
        };
        Grant {
            provider: provider.id.clone(),
            account: account.clone(),
            binding: bound.binding.clone(),
            tokens,
            // Until the provider names them, the depositor's word (RFC 6749 §6).
            scopes: scopes.clone().unwrap_or_default(),
            refused: Scopes::none(),
            ungranted: Scopes::none(),
            connected_at: self.begun_at,
            refreshed_at: None,
            revocation: plan.revocation().cloned(),
            ended: None,
            ended_at: None,
            unclear_refusals: 0,
            attempt: None,
            identity: before,
            retention: plan.retention,
            away: *away,
            hands_out: self.hands_out,
            deposit: Some(Deposit {
                by: self.by.clone(),
                at: self.begun_at,
                token: self.fingerprint(),
                scopes: scopes.clone(),
                proof: Proof::Pending,
                account: self.tokens.account.clone(),
            }),
            last_event: None,
        }
    }

    fn token_set(&self, access: SecretString) -> TokenSet {
        TokenSet {
            user: None,
            access,
            refresh: None,
            expires_at: self.tokens.expires_at,
            refresh_expires_at: None,
            received_at: self.begun_at,
        }
    }

    /// The grant after the same deposit was repeated: what it says now narrows the grant, and widens
    /// nothing. `None`: nothing changes.
    pub(super) fn narrowed(&self, there: &Grant) -> Option<Grant> {
        let (implied, mut grant) = (self.provider.implied(), there.clone());
        grant.away &= self.tokens.away;
        if let (Some(deposit), Some(now)) = (&mut grant.deposit, &self.tokens.scopes) {
            let named = match &deposit.scopes {
                Some(before) => now.covered_by(before, implied),
                None => now.clone(),
            };
            deposit.scopes = Some(named);
            grant.scopes = deposit.vouched(there.scopes.clone(), implied);
        }
        let is_same = grant.away == there.away
            && grant.scopes == there.scopes
            && grant.deposit == there.deposit;
        (!is_same).then_some(grant)
    }
}

/// Compares the provider's word with the depositor's.
pub(super) fn check_claim(
    claimed: Option<&str>,
    owner: &AccountIdentity,
) -> Result<(), DepositError> {
    let Some(claimed) = claimed else { return Ok(()) };
    let is_label = |label: &String| label.eq_ignore_ascii_case(claimed);
    if owner.id == claimed || owner.label.as_ref().is_some_and(is_label) {
        return Ok(());
    }
    Err(DepositError::OtherAccount(owner.words()))
}
