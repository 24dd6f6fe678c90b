//! What a person has connected, and ending it.

use super::connect::ConnectError;
use super::{Broker, MOST_TRIES, SetupError};
use crate::model::authorization::ClientRegistration;
use crate::model::event::{EndOutcome, EndedBy, EventKind};
use crate::model::grant::Binding;
use crate::model::lifetime::KnownEnd;
use crate::model::scope::Implied;
use crate::model::secret;
use crate::model::{AccountName, Caller, Grant, ProviderId, Scopes, Standing, Time};
use crate::oauth::Revoked;
use crate::store::{Held, StoreError};

/// A connected account, for people.
#[derive(Clone, Debug)]
pub struct Account {
    pub provider: String,
    pub title: String,
    /// Which of the person's accounts there.
    pub account: AccountName,
    /// What the provider calls it.
    pub label: Option<String>,
    pub scopes: Scopes,
    pub connected_at: Time,
    pub refreshed_at: Option<Time>,
    /// When a token of it was last handed out to a call; to the hour where another process did.
    pub last_used: Option<Time>,
    pub expires_at: Option<Time>,
    /// Whether it goes on by itself when its access token expires.
    pub renews: bool,
    /// When it ends, as far as that is known.
    pub ends: Option<KnownEnd>,
    /// Asked for and not granted.
    pub ungranted: Scopes,
    /// Whether it is the server's own, which nobody has connected.
    pub is_of_the_server: bool,
    pub source: AccountSource,
    pub state: AccountState,
    /// Whether its owner can connect it again.
    pub reconnects: bool,
    /// Names what is said here of what was consented to; whoever acts on it wants it back, so that
    /// they act on nothing else.
    pub digest: String,
}

/// What the access consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountSource {
    /// A token that the provider issued to us.
    Token,
    /// A key or password that the user pasted.
    Pasted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountState {
    Connected,
    /// A new consent is needed; why, as a fragment with its verb:
    /// `expired 14:58 UTC; Acme gave no refresh token`.
    Ended(String),
    /// Kept for a `tools.toml` that means something else by this provider's name.
    OtherConfiguration,
    /// Nothing can be said: the provider's settings name something that is not there; what.
    NotSetUp(String),
}

/// A consent that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub provider: ProviderId,
    /// The provider's.
    pub title: String,
    pub account: AccountName,
    /// What the provider called the account.
    pub label: Option<String>,
    pub how: Disconnected,
}

/// How a kept consent was ended. Here it is forgotten in every case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disconnected {
    /// The provider was asked, or had ended it before.
    AtProvider(Revoked),
    /// A key or password that its owner pasted: it goes on working at the provider.
    Pasted,
    /// Given for a `tools.toml` that means something else by this provider's name, which is not to
    /// be told of its tokens.
    OtherConfiguration,
    /// The provider could not be asked: its settings name something that is not there; what.
    NotSetUp(String),
}

impl Revoked {
    /// For the record.
    pub(super) fn outcome(self) -> EndOutcome {
        match self {
            Self::Yes => EndOutcome::Ended,
            Self::NoWay => EndOutcome::NoRevocation,
            Self::Failed => EndOutcome::RevocationFailed,
            Self::Unreachable => EndOutcome::Unreachable,
        }
    }
}

impl Disconnected {
    /// For the record.
    pub fn outcome(&self) -> EndOutcome {
        match self {
            Self::AtProvider(revoked) => revoked.outcome(),
            Self::Pasted => EndOutcome::NoRevocation,
            Self::OtherConfiguration => EndOutcome::OtherConfiguration,
            Self::NotSetUp(_) => EndOutcome::NotSetUp,
        }
    }

    /// Why the consent may still stand at the provider, which then has to be told by the person.
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
    /// Everything that this person has connected, and what the server has for everybody, sorted by
    /// provider, the default account first.
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

    pub(super) async fn account(&self, held: Held<Grant>, is_of_the_server: bool) -> Account {
        let last_used = self.last_use(&held).await;
        let grant = held.value;
        let digest = digest(&grant);
        let source =
            if grant.binding.is_pasted() { AccountSource::Pasted } else { AccountSource::Token };
        let provider = self.provider(grant.provider.as_str());
        let reconnects = provider.is_some_and(|it| it.is_by_consent() && it.takes(&grant.account));
        // Whatever scopes it has: which of them a tool needs is the tool's matter.
        let standing =
            grant.standing(&Scopes::default(), &Implied::new(), self.0.parts.clock.now());
        let label = grant.label().map(str::to_owned);
        let now = self.0.parts.clock.now();
        let title = self.title(&grant.provider);
        let facts = provider.map(|provider| provider.token_facts()).unwrap_or_default();
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

    /// What people call a provider; its name where it is not configured any more.
    pub(super) fn title(&self, provider: &ProviderId) -> String {
        let found = self.provider(provider.as_str());
        found.map_or_else(|| provider.to_string(), |found| found.title.clone())
    }

    /// Whether what was given under `binding` may be used by this `tools.toml`.
    pub(super) async fn is_ours(
        &self,
        provider: &ProviderId,
        binding: &Binding,
    ) -> Result<bool, SetupError> {
        match self.provider(provider.as_str()) {
            Some(provider) => Ok(binding.covers(&self.0.clients.bound(provider).await?.binding)),
            None => Ok(false),
        }
    }

    /// Ends the consent for this account, or every one that this person gave to a provider of this
    /// name and the server's own grant there, and forgets it; says of each how it went.
    ///
    /// It is forgotten also where it was given for another `tools.toml`, where the provider has no
    /// way to end it, or does not answer: the person asked for it to be gone, and is told what they
    /// have to do at the provider themselves.
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

    /// The person ends the account that a page of this [`Account::digest`] showed them, as
    /// [`Self::revoke`] does, and no other.
    ///
    /// # Errors
    /// [`ConnectError::Changed`] if it is not there any more, or has been consented to anew.
    pub async fn end(&self, caller: &Caller, digest: &str) -> Result<Ended, ConnectError> {
        self.end_shown(caller, digest, EndedBy::User).await
    }

    pub(super) async fn end_shown(
        &self,
        caller: &Caller,
        digest: &str,
        by: EndedBy,
    ) -> Result<Ended, ConnectError> {
        let grant = self.shown_as(caller, digest).await?;
        let is_meant = |there: &Grant| secret::same(digest, &self::digest(there));
        self.disconnect(caller, grant, by, is_meant).await?.ok_or(ConnectError::Changed)
    }

    /// This person's grant that a page of this [`Account::digest`] showed.
    pub(super) async fn shown_as(
        &self,
        caller: &Caller,
        digest: &str,
    ) -> Result<Grant, ConnectError> {
        let grants = self.store().await?.grants(caller).await?;
        let mut there = grants.into_iter().map(|held| held.value);
        let found = there.find(|grant| secret::same(digest, &self::digest(grant)));
        found.ok_or(ConnectError::Changed)
    }

    /// `None`: somebody else was faster, or what stands there now is not what `is_meant`.
    pub(super) async fn disconnect(
        &self,
        caller: &Caller,
        Grant { provider, binding, account, .. }: Grant,
        by: EndedBy,
        is_meant: impl Fn(&Grant) -> bool,
    ) -> Result<Option<Ended>, ConnectError> {
        let store = self.store().await?;
        let identity = binding.fingerprint();
        for _ in 0..MOST_TRIES {
            let Some(held) = store.grant(caller, &provider, &identity, &account).await? else {
                return Ok(None);
            };
            if !is_meant(&held.value) {
                return Ok(None);
            }
            Box::pin(self.end_unclaimed_at(caller, &provider, &account)).await?;
            let how = self.end_at_provider(&held.value).await;
            // A refresh in between put another token there, which must end as well.
            if store.forget_grant(&held).await? {
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
        let registration = match self.0.clients.registration(provider).await {
            Ok(registration) => registration,
            Err(error) if error.is_passing() => {
                return Disconnected::AtProvider(Revoked::Unreachable);
            }
            Err(error) => return Disconnected::NotSetUp(error.to_string()),
        };
        Disconnected::AtProvider(self.end_there(&registration, grant).await)
    }

    /// Ends a grant at the provider. Tokens and our secret go to the endpoint that was known when the
    /// person consented, or nowhere: a tools.toml that names another is not to be trusted with either.
    pub(super) async fn end_there(&self, client: &ClientRegistration, grant: &Grant) -> Revoked {
        if client.revocation != grant.revocation {
            return Revoked::NoWay;
        }
        self.0.parts.oauth.revoke(client, &grant.tokens).await
    }
}

/// Names a consent: what was granted, when and by which account. A refresh changes nothing of that.
fn digest(grant: &Grant) -> String {
    let Grant { provider, account, binding, identity, scopes, connected_at, .. } = grant;
    // `Debug` quotes every text, so no two are written alike.
    let said = (provider, account, binding.fingerprint(), identity, scopes, connected_at);
    secret::fingerprint(&format!("{said:?}"))
}

/// Those of the account's name, else those that the provider calls so.
pub(super) fn meant(grants: Vec<Grant>, account: Option<&AccountName>) -> Vec<Grant> {
    let Some(account) = account else { return grants };
    let (named, others): (Vec<_>, Vec<_>) =
        grants.into_iter().partition(|grant| grant.account == *account);
    if !named.is_empty() {
        return named;
    }
    others.into_iter().filter(|grant| grant.is_labelled(account)).collect()
}
