//! The users of this server: what they have connected, and ending it on behalf of the operator or
//! of the application that the users belong to.
//!
//! Ending all of a user's access also ends what is only begun: open links, redirects to a provider,
//! unconfirmed consents, browser sessions. The cutoff finds a consent whose code is being exchanged
//! at that moment: it is written before the grants are looked up and read after a grant is written,
//! so that one of the two sees the other.

use super::Broker;
use super::accounts::disconnect::{Disconnected, Ended};
use super::accounts::list::{Account, meant};
use super::consent::ConnectError;
use crate::model::consent_plan::{ClientRegistration, ConsentMethod};
use crate::model::event::{EndedBy, EventKind};
use crate::model::{AccountName, Caller, Grant, ProviderId, Time};
use crate::store::{Cutoff, StoreError, StoredUser, Table};

/// Result of ending a user's access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedAccess {
    /// Includes consents that were not kept as accounts yet: those that the application had to
    /// confirm, and those of another account than before.
    pub accounts: Vec<Ended>,
    /// Number of links that could still be answered.
    pub links: usize,
    /// Number of signed-in browsers.
    pub sessions: usize,
}

impl EndedAccess {
    /// Whether there was nothing to end.
    pub fn is_nothing(&self) -> bool {
        self.accounts.is_empty() && self.links == 0 && self.sessions == 0
    }
}

/// When each user's access was last ended. Only this module can write it.
pub(super) struct AccessEnds {
    cutoffs: Table<Cutoff>,
}

impl AccessEnds {
    pub(super) fn new(cutoffs: Table<Cutoff>) -> Self {
        Self { cutoffs }
    }
}

impl Broker {
    /// All users who have connected an account here, in all namespaces, sorted. `known` names users
    /// whose records come from a version that did not note the user.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn users(&self, known: &[Caller]) -> Result<Vec<StoredUser>, StoreError> {
        let mut users = self.store().await?.users(known).await?;
        users.retain(|user| user.caller.as_ref() != Some(&Caller::server()));
        users.sort_by_cached_key(|user| {
            let caller = user.caller.as_ref();
            caller.map(|caller| (caller.namespace.clone(), caller.user.clone()))
        });
        Ok(users)
    }

    /// Users who have an open link, a redirect under way, an unclaimed consent or a browser
    /// session.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn users_who_began(&self) -> Result<Vec<Caller>, StoreError> {
        let mut callers = self.store().await?.users_who_began(self.0.parts.clock.now()).await?;
        callers.retain(|caller| *caller != Caller::server());
        Ok(callers)
    }

    /// The accounts that this user has connected, without the server's own grants.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn accounts_of(&self, caller: &Caller) -> Result<Vec<Account>, StoreError> {
        let mut accounts = Vec::new();
        for held in self.store().await?.grants(caller).await? {
            accounts.push(self.account(held, false).await);
        }
        accounts.sort_by_cached_key(|it| {
            (it.provider.clone(), !it.account.is_default(), it.account.to_string())
        });
        Ok(accounts)
    }

    /// Ends this user's accounts at one provider (all of them, or the one of this name), at the
    /// provider and here. Returns how each one ended.
    ///
    /// # Errors
    /// [`ConnectError::Store`] if the store cannot be read or written.
    pub async fn end_accounts(
        &self,
        caller: &Caller,
        provider: &ProviderId,
        account: Option<&AccountName>,
        by: EndedBy,
    ) -> Result<Vec<Ended>, ConnectError> {
        let grants = self.store().await?.grants(caller).await?;
        let there = grants.into_iter().map(|held| held.value);
        let there = there.filter(|grant| grant.provider == *provider).collect();
        let mut ends = Vec::new();
        for grant in meant(there, account) {
            ends.extend(self.disconnect(caller, grant, by, |_| true).await?);
        }
        Ok(ends)
    }

    /// Ends the account of this [`Account::digest`] on behalf of the application that its user
    /// belongs to.
    ///
    /// # Errors
    /// [`ConnectError::Changed`] if there is none, or it has been consented to anew.
    pub async fn end_as_application(
        &self,
        caller: &Caller,
        digest: &str,
    ) -> Result<Ended, ConnectError> {
        self.end_shown(caller, digest, EndedBy::Application).await
    }

    /// Ends all access of this user, at each provider and here, and everything that the user has
    /// begun.
    ///
    /// # Errors
    /// [`ConnectError::Store`] if the store cannot be read or written.
    pub async fn end_access(
        &self,
        caller: &Caller,
        by: EndedBy,
    ) -> Result<EndedAccess, ConnectError> {
        let store = self.store().await?;
        let now = self.0.parts.clock.now();
        self.0.access_ends.cutoffs.cut_off(caller, now).await?;
        let sessions = self.0.access_ends.cutoffs.delete_begun(caller).await?;
        let mut accounts = self.end_unclaimed_of(caller).await?;
        let mut links = 0;
        for held in store.authorizations_of(caller).await? {
            let Some(held) = self.0.consents.delete(held).await? else {
                continue;
            };
            links += usize::from(held.value.is_undecided(now));
            if let (ConsentMethod::Code(flow), Some(candidate)) =
                (&held.value.link().plan.method, held.value.state().candidate())
            {
                accounts.push(self.end_unkept(&flow.client, candidate).await);
            }
        }
        for Ended { provider, how, .. } in &accounts {
            self.record(caller, provider, EventKind::End { by, outcome: how.outcome() });
        }
        for held in store.grants(caller).await? {
            accounts.extend(self.disconnect(caller, held.value, by, |_| true).await?);
        }
        Ok(EndedAccess { accounts, links, sessions })
    }

    /// Ends at the provider a consent that was not kept as an account.
    pub(super) async fn end_unkept(&self, client: &ClientRegistration, grant: &Grant) -> Ended {
        Ended {
            provider: grant.provider.clone(),
            title: self.title(&grant.provider),
            account: grant.account.clone(),
            label: grant.label().map(str::to_owned),
            how: Disconnected::AtProvider(self.0.clients.revoke(client, grant).await),
        }
    }

    /// Records that all access of this user ends now: consents begun before are not kept.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn cut_off(&self, caller: &Caller) -> Result<(), StoreError> {
        self.0.access_ends.cutoffs.cut_off(caller, self.0.parts.clock.now()).await
    }

    /// Deletes a grant again if it was written while its user's access was being ended. Returns
    /// whether that was so.
    pub(super) async fn drop_if_cut_off(
        &self,
        caller: &Caller,
        grant: &Grant,
        begun_at: Time,
    ) -> Result<bool, StoreError> {
        if !self.store().await?.is_cut_off(caller, begun_at).await? {
            return Ok(false);
        }
        let is_it = |there: &Grant| there.connected_at == grant.connected_at;
        match self.disconnect(caller, grant.clone(), EndedBy::Operator, is_it).await {
            Err(ConnectError::Store(error)) => Err(error),
            Ok(_) | Err(_) => Ok(true),
        }
    }
}
