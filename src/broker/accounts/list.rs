//! The accounts that a user has connected.

use std::sync::Arc;

use super::Accounts;
use crate::broker::ConnectError;
use crate::model::deposit::{Deposit, Proof};
use crate::model::lifetime::KnownEnd;
use crate::model::scope::Implied;
use crate::model::{
    AccountName, Caller, Grant, Provider, Scopes, Standing, Time, connection_id, secret,
};
use crate::store::{Held, StoreError};

/// A connected account, as its user sees it.
#[derive(Clone, Debug)]
pub struct Account {
    pub provider: String,
    pub title: String,
    /// Its name among the user's accounts there.
    pub account: AccountName,
    /// Label that the provider gives it.
    pub label: Option<String>,
    pub scopes: Scopes,
    pub connected_at: Time,
    pub refreshed_at: Option<Time>,
    /// When a call last received one of its tokens; to the hour if that was in another process.
    pub last_used: Option<Time>,
    pub expires_at: Option<Time>,
    /// Whether it is renewed when its access token expires.
    pub renews: bool,
    /// When it ends, as far as that is known.
    pub ends: Option<KnownEnd>,
    /// Scopes that were asked for and not granted.
    pub ungranted: Scopes,
    /// The application that gets its access token itself, if one does.
    pub hands_out_to: Option<String>,
    /// Origin, if its user consented elsewhere.
    pub moved_in: Option<MovedIn>,
    /// Whether it is the server's own grant, which no user has connected.
    pub is_of_the_server: bool,
    pub source: AccountSource,
    pub state: AccountState,
    /// Whether its owner can connect it again.
    pub reconnects: bool,
    /// Digest of the consent described here. A form sends it back, so an action applies only to
    /// what the user saw.
    pub digest: String,
}

/// Origin of an account whose user consented elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedIn {
    /// The application that moved it in; `None`: the operator.
    pub by: Option<String>,
    pub at: Time,
    /// Whether the provider has honoured its tokens.
    pub is_proven: bool,
    /// Whether the depositor says that the user has agreed to calls while they are away.
    pub away: bool,
}

impl MovedIn {
    fn of(grant: &Grant) -> Option<Self> {
        let Deposit { by, at, proof, .. } = grant.deposit.clone()?;
        Some(Self { by, at, is_proven: proof == Proof::Proven, away: grant.away })
    }
}

/// Kind of secret that gives the access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountSource {
    /// A token that the provider issued to us.
    Token,
    /// A key or password that the user pasted.
    Pasted,
}

/// Whether an account works, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountState {
    Connected,
    /// A new consent is needed. Holds the reason, as a fragment with its verb:
    /// `expired 14:58 UTC; Acme gave no refresh token`.
    Ended(String),
    /// Given for a `tools.toml` that means another provider by this name.
    OtherConfiguration,
    /// Unknown: the provider's settings refer to what does not exist; holds the error.
    NotSetUp(String),
}

impl Accounts {
    /// All accounts that this user has connected, and the server's own grants, sorted by provider,
    /// the default account first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<Account>, StoreError> {
        let mut accounts = Vec::new();
        let server = Caller::server();
        for caller in [caller, &server] {
            for held in self.store().await?.grants(caller).await? {
                accounts.push(self.account(caller, held, *caller == server).await?);
            }
        }
        accounts.sort_by_cached_key(|it| {
            (it.provider.clone(), !it.account.is_default(), it.account.to_string())
        });
        Ok(accounts)
    }

    /// The accounts that this user has connected, without the server's own grants.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list_own(&self, caller: &Caller) -> Result<Vec<Account>, StoreError> {
        let mut accounts = Vec::new();
        for held in self.store().await?.grants(caller).await? {
            accounts.push(self.account(caller, held, false).await?);
        }
        accounts.sort_by_cached_key(|it| {
            (it.provider.clone(), !it.account.is_default(), it.account.to_string())
        });
        Ok(accounts)
    }

    async fn account(
        &self,
        caller: &Caller,
        held: Held<Grant>,
        is_of_the_server: bool,
    ) -> Result<Account, StoreError> {
        let last_used = self.grants.last_use(&held).await;
        let grant = held.value;
        let digest = connection_id::digest(&grant);
        let source =
            if grant.binding.is_pasted() { AccountSource::Pasted } else { AccountSource::Token };
        let provider = self.providers.find(caller, &grant.provider).await?;
        let provider = provider.as_ref();
        let reconnects = provider.is_some_and(|it| it.is_by_consent() && it.takes(&grant.account));
        // Without regard to scopes: the ones that a tool needs are the tool's concern.
        let standing = grant.standing(&Scopes::default(), &Implied::new(), self.parts.clock.now());
        let label = grant.label().map(str::to_owned);
        let now = self.parts.clock.now();
        let title = provider
            .map_or_else(|| grant.provider.public_name().to_owned(), |found| found.title.clone());
        let facts = provider.map(|provider| provider.token_facts()).unwrap_or_default();
        let is_live = grant.tokens.is_live(now);
        let has_ended = grant.ended.is_some()
            || (!is_of_the_server && standing == Standing::Gone)
            || (grant.is_refused() && !is_live);
        let ends = grant.known_end(&facts, now).filter(|_| !has_ended && !is_of_the_server);
        let (at, why) = grant.past_end(&facts);
        let moved_in = MovedIn::of(&grant);
        let why = why.past_words(&title, at, now);
        let state = self.state(&grant, provider, has_ended, &title, why).await;
        Ok(Account {
            title,
            provider: grant.provider.to_string(),
            account: grant.account,
            label,
            scopes: grant.scopes,
            connected_at: grant.connected_at,
            refreshed_at: grant.refreshed_at,
            last_used,
            expires_at: grant.tokens.expires_at,
            renews: grant.tokens.refresh.is_some() || is_of_the_server,
            ends,
            ungranted: grant.ungranted,
            moved_in,
            hands_out_to: grant.hands_out.then(|| caller.of().to_owned()),
            is_of_the_server,
            source,
            state,
            reconnects: reconnects && !is_of_the_server,
            digest,
        })
    }

    /// Whether an account works. `why` is the reason why it does not, if it has ended.
    async fn state(
        &self,
        grant: &Grant,
        provider: Option<&Arc<Provider>>,
        has_ended: bool,
        title: &str,
        why: String,
    ) -> AccountState {
        if grant.is_pending() {
            let unproven = format!("moved in, and not usable before {title} has confirmed it");
            return AccountState::Ended(unproven);
        }
        let is_ours = match provider {
            Some(provider) => self.clients.may_use(provider, &grant.binding).await,
            None => Ok(false),
        };
        match (is_ours, has_ended) {
            (Ok(true), true) => AccountState::Ended(why),
            (Ok(true), false) => AccountState::Connected,
            _ if grant.ended.is_some() => AccountState::Ended(why),
            (Ok(false), _) => AccountState::OtherConfiguration,
            (Err(error), _) => AccountState::NotSetUp(error.to_string()),
        }
    }

    /// This user's grant that a page with this [`Account::digest`] showed.
    pub(super) async fn shown_as(
        &self,
        caller: &Caller,
        digest: &str,
    ) -> Result<Grant, ConnectError> {
        let grants = self.store().await?.grants(caller).await?;
        let mut there = grants.into_iter().map(|held| held.value);
        let found = there.find(|grant| secret::same(digest, &connection_id::digest(grant)));
        found.ok_or(ConnectError::Changed)
    }
}

/// The grants of this account name; if there are none, those that the provider labels so.
pub(super) fn meant(grants: Vec<Grant>, account: Option<&AccountName>) -> Vec<Grant> {
    let Some(account) = account else { return grants };
    let (named, others): (Vec<_>, Vec<_>) =
        grants.into_iter().partition(|grant| grant.account == *account);
    if !named.is_empty() {
        return named;
    }
    others.into_iter().filter(|grant| grant.is_labelled(account)).collect()
}
