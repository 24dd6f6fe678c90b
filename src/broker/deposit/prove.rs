//! One deposit: asks its provider, and stores what the provider honours.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::error::MAX_ACCOUNTS;
use super::{DepositError, DepositOutlook, Deposited, ForeignTokens};
use crate::broker::client::registration::settings;
use crate::broker::consent::ConnectError;
use crate::broker::consent::discard::Unnamed;
use crate::broker::consent::provider_account::TokenOwner;
use crate::broker::{Broker, Connection, MAX_WRITE_ATTEMPTS};
use crate::model::consent_plan::{ConsentMethod, ConsentPlan};
use crate::model::deposit::{Deposit, Proof};
use crate::model::event::EndedBy;
use crate::model::grant::AccountIdentity;
use crate::model::retention::Retention;
use crate::model::scope::OFFLINE_ACCESS;
use crate::model::{Caller, Grant, Provider, Scopes, Time, TokenSet};
use crate::store::{Held, StoreError};

/// Longest token in bytes: it must fit into a header.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// How long an unproven deposit keeps another one from its place: its process may hold tokens that it
/// could not store yet.
const MAX_PROOF_TIME: Duration = Duration::from_mins(10);

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

/// State of a deposit's place in the store.
enum Place {
    /// It is there already.
    Done(Deposited),
    /// It was stored before and is not proven yet.
    Begun,
    /// It takes the place of this record, or of none.
    Free(Option<Box<Held<Grant>>>),
}

/// Whether the provider may be shown a token to tell whose it is.
#[derive(Clone, Copy)]
enum Asking<'a> {
    Provider(&'a ConsentPlan),
    Nobody,
}

impl Moving {
    pub(super) async fn run(self) -> Result<Deposited, DepositError> {
        let (connection, plan) = self.prepared().await?;
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let over = match self.place(&connection, Asking::Provider(&plan)).await? {
                Place::Done(there) => return Ok(there),
                Place::Begun => return self.proven_by_renewal(&connection, &plan).await,
                Place::Free(over) => over,
            };
            let done = match self.refresh() {
                Some(refresh) => {
                    let grant = self.pending(&connection, &plan, refresh);
                    if !self.put(&grant, over.as_deref()).await? {
                        continue;
                    }
                    return self.proven_by_renewal(&connection, &plan).await;
                }
                None => self.kept_without_renewal(&connection, &plan, over.as_deref()).await?,
            };
            if let Some(done) = done {
                return Ok(done);
            }
        }
        Err(StoreError::Contended.into())
    }

    /// The effect of [`Self::run`], without a request that holds a token.
    pub(super) async fn look(self) -> Result<DepositOutlook, DepositError> {
        let (connection, _) = self.prepared().await?;
        Ok(match self.place(&connection, Asking::Nobody).await? {
            Place::Done(there) => DepositOutlook::There(there),
            Place::Begun => DepositOutlook::Begun,
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

    /// Checks what needs no look at the store.
    fn check(&self) -> Result<(), DepositError> {
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

    fn is_expired(&self) -> bool {
        self.tokens.expires_at.is_some_and(|end| end <= self.begun_at)
    }

    /// The refresh token, if this server may keep it.
    fn refresh(&self) -> Option<&SecretString> {
        let is_kept = self.provider.retention == Retention::Refresh;
        self.tokens.refresh.as_ref().filter(|_| is_kept)
    }

    /// Whether nothing may be deposited for this user: all of their access was ended not long ago, or
    /// the provider is being deleted. No act of the user stands behind a deposit, so it must not bring
    /// back what the operator or the application has ended.
    async fn has_ended(&self) -> Result<bool, StoreError> {
        let dawn = Time::from_millis(0);
        self.broker.0.consents.has_ended(&self.caller, &self.provider.id, dawn).await
    }

    /// Looks what is in the place of this deposit.
    async fn place(
        &self,
        connection: &Connection,
        asking: Asking<'_>,
    ) -> Result<Place, DepositError> {
        let Some(held) = self.broker.0.grants.in_place(connection).await? else {
            let store = self.broker.store().await?;
            if store.grants(&self.caller).await?.len() >= MAX_ACCOUNTS {
                return Err(DepositError::TooMany);
            }
            self.check_owner(connection, asking, None).await?;
            return Ok(Place::Free(None));
        };
        let there = &held.value;
        let is_same = there.deposit.as_ref().is_some_and(|it| it.token == self.fingerprint());
        if there.ended.is_some() {
            if is_same {
                return Err(self.dead(there));
            }
            self.check_owner(connection, asking, there.identity.as_ref()).await?;
            return Ok(Place::Free(Some(Box::new(held))));
        }
        match (is_same, there.is_pending()) {
            (true, true) => Ok(Place::Begun),
            (true, false) => Ok(Place::Done(Deposited::of(there, false))),
            (false, true) if self.begun_at.since(there.connected_at) < MAX_PROOF_TIME => {
                Err(DepositError::UnderWay)
            }
            (false, true) => Ok(Place::Free(Some(Box::new(held)))),
            (false, false) => Err(self.occupied(there)),
        }
    }

    fn occupied(&self, there: &Grant) -> DepositError {
        let label = there.identity.as_ref().map(AccountIdentity::words);
        DepositError::Occupied { provider: self.provider.id.clone(), label }
    }

    fn dead(&self, there: &Grant) -> DepositError {
        let (at, why) = there.past_end(&self.provider.token_facts());
        DepositError::Dead(why.past_words(&self.provider.title, at, self.broker.now()))
    }

    fn fingerprint(&self) -> String {
        let ForeignTokens { access, refresh, .. } = &self.tokens;
        refresh.as_ref().or(access.as_ref()).map(Deposit::fingerprint).unwrap_or_default()
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
            self.check_claim(owner)?;
        }
        match before {
            Some(before) if owner.is_none_or(|owner| owner.id != before.id) => {
                Err(DepositError::OtherBefore { label: before.words() })
            }
            _ => Ok(()),
        }
    }

    async fn owner(
        &self,
        Connection { provider, bound, .. }: &Connection,
        plan: &ConsentPlan,
        access: &SecretString,
    ) -> TokenOwner {
        let consents = &self.broker.0.consents;
        consents.owner_of(&provider.id, &bound.binding, plan, access).await
    }

    /// Compares the provider's word with the depositor's.
    fn check_claim(&self, owner: &AccountIdentity) -> Result<(), DepositError> {
        let Some(claimed) = &self.tokens.account else { return Ok(()) };
        let is_label = |label: &String| label.eq_ignore_ascii_case(claimed);
        if owner.id == *claimed || owner.label.as_ref().is_some_and(is_label) {
            return Ok(());
        }
        Err(DepositError::OtherAccount(owner.words()))
    }

    /// The grant before the provider was asked. No call uses it.
    fn pending(
        &self,
        connection: &Connection,
        plan: &ConsentPlan,
        refresh: &SecretString,
    ) -> Grant {
        // Expired: it counts only once it is renewed.
        let tokens = TokenSet {
            user: None,
            access: SecretString::default(),
            refresh: Some(refresh.clone()),
            expires_at: Some(self.begun_at),
            refresh_expires_at: None,
            received_at: self.begun_at,
        };
        self.grant(connection, plan, tokens, Proof::Pending)
    }

    fn grant(
        &self,
        Connection { provider, bound, account, .. }: &Connection,
        plan: &ConsentPlan,
        tokens: TokenSet,
        proof: Proof,
    ) -> Grant {
        let ForeignTokens { scopes, away, .. } = &self.tokens;
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
            identity: None,
            retention: plan.retention,
            away: *away,
            hands_out: self.hands_out,
            deposit: Some(Deposit {
                by: self.by.clone(),
                at: self.begun_at,
                token: self.fingerprint(),
                scopes: scopes.clone(),
                proof,
            }),
            last_event: None,
        }
    }

    async fn put(&self, grant: &Grant, over: Option<&Held<Grant>>) -> Result<bool, StoreError> {
        self.broker.0.grants.put_deposit(&self.caller, grant, over).await
    }

    /// Asks the provider by renewing the stored deposit, and makes it a grant.
    async fn proven_by_renewal(
        &self,
        connection: &Connection,
        plan: &ConsentPlan,
    ) -> Result<Deposited, DepositError> {
        let grants = &self.broker.0.grants;
        grants.renew_deposit(connection).await?;
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let held = grants.in_place(connection).await?.ok_or(DepositError::Disconnected)?;
            let there = &held.value;
            if there.deposit.as_ref().is_none_or(|it| it.token != self.fingerprint()) {
                // The user has consented on our page in the meantime, and that counts.
                return Err(self.occupied(there));
            }
            if there.ended.is_some() {
                return Err(self.dead(there));
            }
            if !there.is_pending() {
                return Ok(Deposited::of(there, false));
            }
            let identity = match self.owner(connection, plan, &there.tokens.access).await {
                TokenOwner::Account(owner) => Some(owner),
                // Kept as it is: the repeat asks again.
                TokenOwner::NoAnswer if self.tokens.account.is_some() => {
                    return Err(DepositError::NoOwner);
                }
                TokenOwner::Untold | TokenOwner::Refused | TokenOwner::NoAnswer => None,
            };
            if let Some(owner) = &identity
                && let Err(error) = self.check_claim(owner)
            {
                self.drop_other(plan, held, identity.as_ref()).await?;
                return Err(error);
            }
            let proven = self.proven(there, identity);
            if let Some(kept) = grants.replace_deposit(&self.caller, proven, &held).await? {
                return self.unless_ended(&kept.value).await;
            }
        }
        Err(StoreError::Contended.into())
    }

    /// A deposit that the provider has honoured, for the account that it has named.
    fn proven(&self, there: &Grant, identity: Option<AccountIdentity>) -> Grant {
        let mut grant = Grant { identity, ..there.clone() };
        if let Some(deposit) = &mut grant.deposit {
            deposit.proof = Proof::Proven;
            if let Some(named) = &deposit.scopes {
                let missing = named.missing_from(&grant.scopes, self.provider.implied());
                grant.ungranted = missing.without(OFFLINE_ACCESS);
            }
        }
        grant
    }

    /// Stores an access token alone; `None` if another writer was faster.
    async fn kept_without_renewal(
        &self,
        connection: &Connection,
        plan: &ConsentPlan,
        over: Option<&Held<Grant>>,
    ) -> Result<Option<Deposited>, DepositError> {
        let access = self.tokens.access.clone().ok_or(DepositError::NoToken)?;
        let (identity, proof) = match self.owner(connection, plan, &access).await {
            TokenOwner::Account(owner) => (Some(owner), Proof::Proven),
            TokenOwner::Untold => (None, Proof::Unproven),
            TokenOwner::NoAnswer => return Err(DepositError::NoOwner),
            TokenOwner::Refused => {
                let said = format!("{} answered 401 to the access token", self.provider.title);
                return Err(DepositError::Dead(said));
            }
        };
        if let Some(owner) = &identity {
            self.check_claim(owner)?;
        }
        let tokens = TokenSet {
            user: None,
            access,
            refresh: None,
            expires_at: self.tokens.expires_at,
            refresh_expires_at: None,
            received_at: self.begun_at,
        };
        let grant = Grant { identity, ..self.grant(connection, plan, tokens, proof) };
        if !self.put(&grant, over).await? {
            return Ok(None);
        }
        self.unless_ended(&grant).await.map(Some)
    }

    /// Deletes a deposit that is for another account than claimed, and ends its tokens at the provider
    /// unless the account may be in use.
    async fn drop_other(
        &self,
        plan: &ConsentPlan,
        held: Held<Grant>,
        identity: Option<&AccountIdentity>,
    ) -> Result<(), StoreError> {
        if self.broker.0.grants.delete(&self.caller, &held, EndedBy::Application).await?
            && let ConsentMethod::Code(flow) = &plan.method
        {
            let grant = Grant { identity: identity.cloned(), ..held.value };
            self.broker.0.consents.discard_of(&flow.client, &grant, Unnamed::IsAnother);
        }
        Ok(())
    }

    /// Returns the kept deposit, unless the user's access was ended while it was made: either this
    /// sees the end, or the end sees the grant.
    async fn unless_ended(&self, grant: &Grant) -> Result<Deposited, DepositError> {
        if !self.has_ended().await? {
            return Ok(Deposited::of(grant, true));
        }
        let is_it = |there: &Grant| there.connected_at == grant.connected_at;
        let ended = self.broker.0.consents.disconnect(
            &self.caller,
            grant.clone(),
            EndedBy::Operator,
            is_it,
        );
        match Box::pin(ended).await {
            Err(ConnectError::Store(error)) => Err(error.into()),
            Ok(_) | Err(_) => Err(DepositError::AccessEnded),
        }
    }
}
