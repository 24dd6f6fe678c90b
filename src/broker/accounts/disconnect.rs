//! Ends accounts, at the provider and here.

use std::sync::Arc;

use super::list::{self, meant};
use crate::broker::{Broker, ConnectError, MAX_WRITE_ATTEMPTS};
use crate::model::event::{EndOutcome, EndedBy, EventKind};
use crate::model::{AccountName, Caller, Grant, Provider, ProviderId, secret};
use crate::oauth::Revoked;
use crate::store::StoreError;

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

    /// Ends the account that a page with this [`Account::digest`](super::list::Account::digest) showed, like [`Self::revoke`],
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
        let is_meant = |there: &Grant| secret::same(digest, &list::digest(there));
        self.disconnect(caller, grant, by, is_meant).await?.ok_or(ConnectError::Changed)
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
        // Once: the catalogue may be exchanged meanwhile, and the provider that was compared with
        // the binding must be the one that is asked.
        let configured = self.provider(provider.as_str());
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let Some(held) = store.grant(caller, &provider, &identity, &account).await? else {
                return Ok(None);
            };
            if !is_meant(&held.value) {
                return Ok(None);
            }
            Box::pin(self.end_unclaimed_at(caller, &provider, &account)).await?;
            let how = self.end_at_provider(&held.value, configured.as_ref()).await;
            // A concurrent refresh has stored another token, which must end as well.
            if self.0.grants.delete(&held).await? {
                let outcome = how.outcome();
                self.record(caller, &provider, EventKind::End { by, outcome });
                let (account, label) = (account, held.value.label().map(str::to_owned));
                let title = list::title(configured.as_ref(), &provider);
                return Ok(Some(Ended { provider, title, account, label, how }));
            }
        }
        Err(StoreError::Contended.into())
    }

    async fn end_at_provider(
        &self,
        grant: &Grant,
        configured: Option<&Arc<Provider>>,
    ) -> Disconnected {
        if grant.ended.is_some() {
            return Disconnected::AtProvider(Revoked::Yes);
        }
        if grant.binding.is_pasted() {
            return Disconnected::Pasted;
        }
        match self.is_ours(configured, &grant.binding).await {
            Ok(true) => {}
            Ok(false) => return Disconnected::OtherConfiguration,
            Err(error) => return Disconnected::NotSetUp(error.to_string()),
        }
        let Some(provider) = configured else { return Disconnected::OtherConfiguration };
        let registration = match self.0.clients.registration(provider).await {
            Ok(registration) => registration,
            Err(error) if error.is_passing() => {
                return Disconnected::AtProvider(Revoked::Unreachable);
            }
            Err(error) => return Disconnected::NotSetUp(error.to_string()),
        };
        Disconnected::AtProvider(self.0.clients.revoke(&registration, grant).await)
    }
}
