//! The accounts that a user has connected, and ending them.

use crate::broker::{Broker, ConnectError, MAX_WRITE_ATTEMPTS, SetupError};
use crate::model::consent_plan::ClientRegistration;
use crate::model::event::{EndOutcome, EndedBy, EventKind};
use crate::model::grant::Binding;
use crate::model::lifetime::KnownEnd;
use crate::model::scope::Implied;
use crate::model::{AccountName, Caller, Grant, ProviderId, Scopes, Standing, Time, secret};
use crate::oauth::Revoked;
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

/// A consent that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub provider: ProviderId,
    /// Title of the provider.
    pub title: String,
    pub account: AccountName,
    /// Label that the provider gave the account.
    pub label: Option<String>,
    pub how: Disconnected,
}

/// How a stored consent was ended. It is deleted here in every case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disconnected {
    /// The provider was asked, or had ended it before.
    AtProvider(Revoked),
    /// A key or password that its user pasted: it still works at the provider.
    Pasted,
    /// Given for a `tools.toml` that means another provider by this name. The present one must not
    /// learn its tokens.
    OtherConfiguration,
    /// The provider could not be asked: its settings refer to what does not exist; holds the error.
    NotSetUp(String),
}

impl Revoked {
    /// Outcome for the event record.
    pub(in crate::broker) fn outcome(self) -> EndOutcome {
        match self {
            Self::Yes => EndOutcome::Ended,
            Self::NoWay => EndOutcome::NoRevocation,
            Self::Failed => EndOutcome::RevocationFailed,
            Self::Unreachable => EndOutcome::Unreachable,
        }
    }
}

impl Disconnected {
    /// Outcome for the event record.
    pub fn outcome(&self) -> EndOutcome {
        match self {
            Self::AtProvider(revoked) => revoked.outcome(),
            Self::Pasted => EndOutcome::NoRevocation,
            Self::OtherConfiguration => EndOutcome::OtherConfiguration,
            Self::NotSetUp(_) => EndOutcome::NotSetUp,
        }
    }

    /// Why the consent may still stand at the provider, where the user must then end it.
    pub fn leaves(&self) -> Option<String> {
        Some(match self {
            Self::AtProvider(Revoked::Yes) => return None,
            Self::Pasted => "the key goes on working there".into(),
            Self::AtProvider(Revoked::NoWay) => {
                "it has no way for us to end the consent there".into()
            }
            Self::AtProvider(Revoked::Failed) => "it did not confirm the end of the consent".into(),
            Self::AtProvider(Revoked::Unreachable) => "it could not be reached".into(),
            Self::OtherConfiguration => {
                "the consent was given for another tools.toml, so it was not ended there".into()
            }
            Self::NotSetUp(why) => format!("the consent could not be ended there: {why}"),
        })
    }
}

impl Broker {
    /// All accounts that this user has connected, and the server's own grants, sorted by provider,
    /// the default account first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn accounts(&self, caller: &Caller) -> Result<Vec<Account>, StoreError> {
        let mut accounts = Vec::new();
        let server = Caller::server();
        for caller in [caller, &server] {
            for held in self.store().await?.grants(caller).await? {
                accounts.push(self.account(held, *caller == server).await);
            }
        }
        accounts.sort_by_cached_key(|it| {
            (it.provider.clone(), !it.account.is_default(), it.account.to_string())
        });
        Ok(accounts)
    }

    pub(in crate::broker) async fn account(
        &self,
        held: Held<Grant>,
        is_of_the_server: bool,
    ) -> Account {
        let last_used = self.last_use(&held).await;
        let grant = held.value;
        let digest = digest(&grant);
        let source =
            if grant.binding.is_pasted() { AccountSource::Pasted } else { AccountSource::Token };
        let provider = self.provider(grant.provider.as_str());
        let reconnects =
            provider.as_ref().is_some_and(|it| it.is_by_consent() && it.takes(&grant.account));
        // Without regard to scopes: the ones that a tool needs are the tool's concern.
        let standing =
            grant.standing(&Scopes::default(), &Implied::new(), self.0.parts.clock.now());
        let label = grant.label().map(str::to_owned);
        let now = self.0.parts.clock.now();
        let title = self.title(&grant.provider);
        let facts = provider.as_ref().map(|provider| provider.token_facts()).unwrap_or_default();
        let is_live = grant.tokens.is_live(now);
        let has_ended = grant.ended.is_some()
            || (!is_of_the_server && standing == Standing::Gone)
            || (grant.is_refused() && !is_live);
        let ends = grant.known_end(&facts, now).filter(|_| !has_ended && !is_of_the_server);
        let (at, why) = grant.past_end(&facts);
        let is_ours = self.is_ours(&grant.provider, &grant.binding).await;
        let state = match (is_ours, has_ended) {
            (Ok(true), true) => AccountState::Ended(why.past_words(&title, at, now)),
            (Ok(true), false) => AccountState::Connected,
            _ if grant.ended.is_some() => AccountState::Ended(why.past_words(&title, at, now)),
            (Ok(false), _) => AccountState::OtherConfiguration,
            (Err(error), _) => AccountState::NotSetUp(error.to_string()),
        };
        Account {
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
            is_of_the_server,
            source,
            state,
            reconnects: reconnects && !is_of_the_server,
            digest,
        }
    }

    /// Title of a provider; its id if it is no longer configured.
    pub(in crate::broker) fn title(&self, provider: &ProviderId) -> String {
        let found = self.provider(provider.as_str());
        found.map_or_else(|| provider.to_string(), |found| found.title.clone())
    }

    /// Whether this `tools.toml` may use what was given under `binding`.
    pub(in crate::broker) async fn is_ours(
        &self,
        provider: &ProviderId,
        binding: &Binding,
    ) -> Result<bool, SetupError> {
        match self.provider(provider.as_str()) {
            Some(provider) => Ok(binding.covers(&self.0.clients.bound(&provider).await?.binding)),
            None => Ok(false),
        }
    }

    /// Ends this user's consents at the provider of this name, and the server's own grant there,
    /// and deletes them; with `account`, only those for that account. Returns how each one ended.
    ///
    /// A consent is deleted here even if it was given for another `tools.toml`, or if the provider
    /// has no way to end it or does not answer: the user asked for it to be gone, and is told what
    /// remains to be done at the provider.
    ///
    /// # Errors
    /// [`ConnectError::Store`] if the store cannot be read or written.
    pub async fn revoke(
        &self,
        caller: &Caller,
        provider: &str,
        account: Option<&AccountName>,
    ) -> Result<Vec<Ended>, ConnectError> {
        let mut ends = Vec::new();
        for caller in [caller, &Caller::server()] {
            let grants = self.store().await?.grants(caller).await?;
            let there = grants.into_iter().map(|held| held.value);
            let there = there.filter(|grant| grant.provider.as_str() == provider).collect();
            for grant in meant(there, account) {
                ends.extend(self.disconnect(caller, grant, EndedBy::User, |_| true).await?);
            }
        }
        Ok(ends)
    }

    /// Ends the account that a page with this [`Account::digest`] showed, like [`Self::revoke`],
    /// and no other.
    ///
    /// # Errors
    /// [`ConnectError::Changed`] if it no longer exists, or has been consented to anew.
    pub async fn end(&self, caller: &Caller, digest: &str) -> Result<Ended, ConnectError> {
        self.end_shown(caller, digest, EndedBy::User).await
    }

    pub(in crate::broker) async fn end_shown(
        &self,
        caller: &Caller,
        digest: &str,
        by: EndedBy,
    ) -> Result<Ended, ConnectError> {
        let grant = self.shown_as(caller, digest).await?;
        let is_meant = |there: &Grant| secret::same(digest, &self::digest(there));
        self.disconnect(caller, grant, by, is_meant).await?.ok_or(ConnectError::Changed)
    }

    /// This user's grant that a page with this [`Account::digest`] showed.
    pub(in crate::broker) async fn shown_as(
        &self,
        caller: &Caller,
        digest: &str,
    ) -> Result<Grant, ConnectError> {
        let grants = self.store().await?.grants(caller).await?;
        let mut there = grants.into_iter().map(|held| held.value);
        let found = there.find(|grant| secret::same(digest, &self::digest(grant)));
        found.ok_or(ConnectError::Changed)
    }

    /// Ends a grant at the provider and deletes it. `None`: another request was faster, or the
    /// present grant is not the one that `is_meant`.
    pub(in crate::broker) async fn disconnect(
        &self,
        caller: &Caller,
        Grant { provider, binding, account, .. }: Grant,
        by: EndedBy,
        is_meant: impl Fn(&Grant) -> bool,
    ) -> Result<Option<Ended>, ConnectError> {
        let store = self.store().await?;
        let identity = binding.fingerprint();
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let Some(held) = store.grant(caller, &provider, &identity, &account).await? else {
                return Ok(None);
            };
            if !is_meant(&held.value) {
                return Ok(None);
            }
            Box::pin(self.end_unclaimed_at(caller, &provider, &account)).await?;
            let how = self.end_at_provider(&held.value).await;
            // A concurrent refresh has stored another token, which must end as well.
            if self.0.grants.delete(&held).await? {
                let outcome = how.outcome();
                self.record(caller, &provider, EventKind::End { by, outcome });
                let (account, label) = (account, held.value.label().map(str::to_owned));
                let title = self.title(&provider);
                return Ok(Some(Ended { provider, title, account, label, how }));
            }
        }
        Err(StoreError::Contended.into())
    }

    async fn end_at_provider(&self, grant: &Grant) -> Disconnected {
        if grant.ended.is_some() {
            return Disconnected::AtProvider(Revoked::Yes);
        }
        if grant.binding.is_pasted() {
            return Disconnected::Pasted;
        }
        match self.is_ours(&grant.provider, &grant.binding).await {
            Ok(true) => {}
            Ok(false) => return Disconnected::OtherConfiguration,
            Err(error) => return Disconnected::NotSetUp(error.to_string()),
        }
        let Some(provider) = self.provider(grant.provider.as_str()) else {
            return Disconnected::OtherConfiguration;
        };
        let registration = match self.0.clients.registration(&provider).await {
            Ok(registration) => registration,
            Err(error) if error.is_passing() => {
                return Disconnected::AtProvider(Revoked::Unreachable);
            }
            Err(error) => return Disconnected::NotSetUp(error.to_string()),
        };
        Disconnected::AtProvider(self.end_there(&registration, grant).await)
    }

    /// Ends a grant at the provider. Tokens and our secret go to the endpoint that was known when
    /// the user consented, or nowhere: a `tools.toml` that names another one must not receive
    /// either.
    pub(in crate::broker) async fn end_there(
        &self,
        client: &ClientRegistration,
        grant: &Grant,
    ) -> Revoked {
        if client.revocation != grant.revocation {
            return Revoked::NoWay;
        }
        self.0.parts.oauth.revoke(client, &grant.tokens).await
    }
}

/// Digest of a consent: what was granted, when and by which account. A refresh does not change it.
fn digest(grant: &Grant) -> String {
    let Grant { provider, account, binding, identity, scopes, connected_at, .. } = grant;
    // `Debug` quotes every text, so different consents are never written alike.
    let said = (provider, account, binding.fingerprint(), identity, scopes, connected_at);
    secret::fingerprint(&format!("{said:?}"))
}

/// The grants of this account name; if there are none, those that the provider labels so.
pub(in crate::broker) fn meant(grants: Vec<Grant>, account: Option<&AccountName>) -> Vec<Grant> {
    let Some(account) = account else { return grants };
    let (named, others): (Vec<_>, Vec<_>) =
        grants.into_iter().partition(|grant| grant.account == *account);
    if !named.is_empty() {
        return named;
    }
    others.into_iter().filter(|grant| grant.is_labelled(account)).collect()
}
