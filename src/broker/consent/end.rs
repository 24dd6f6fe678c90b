//! Ends a consent that was given: at the provider, if it has a way to, and here in any case.

use std::sync::Arc;

use super::{ConnectError, Consents};
use crate::broker::MAX_WRITE_ATTEMPTS;
use crate::model::consent_plan::ClientRegistration;
use crate::model::event::{EndOutcome, EndedBy, EventKind};
use crate::model::{AccountName, Caller, Grant, Provider, ProviderId, Time};
use crate::oauth::Revoked;
use crate::store::{Held, StoreError};

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
}

impl Consents {
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
        // Once: it may be exchanged meanwhile, and the provider that was compared with the binding
        // must be the one that is asked.
        let there = self.0.providers.find(caller, &provider).await?;
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let Some(held) = store.grant(caller, &provider, &identity, &account).await? else {
                return Ok(None);
            };
            if !is_meant(&held.value) {
                return Ok(None);
            }
            Box::pin(self.end_unclaimed_at(caller, &provider, &account)).await?;
            let how = self.end_at_provider(&held.value, there.as_ref()).await;
            // A concurrent refresh has stored another token, which must end as well.
            if self.delete_grant(caller, &held, by).await? {
                let kind = EventKind::End { by, outcome: how.outcome() };
                self.0.events.record_access(caller, &provider, kind);
                let (account, label) = (account, held.value.label().map(str::to_owned));
                let title = there.as_ref();
                let title =
                    title.map_or_else(|| provider.public_name().to_owned(), |it| it.title.clone());
                return Ok(Some(Ended { provider, title, account, label, how }));
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Deletes a grant that `by` ends, and ends the calls that wait to use it. Returns false if
    /// the grant has changed since it was read.
    pub(super) async fn delete_grant(
        &self,
        caller: &Caller,
        held: &Held<Grant>,
        by: EndedBy,
    ) -> Result<bool, StoreError> {
        // Before, so that a kill in between does not let a deposit bring it back.
        self.0.grants.note_disconnection(caller, held, by).await?;
        // Before, so that a kill in between leaves no call that a later consent would revive.
        self.end_scheduled(caller, &held.value).await?;
        if !self.0.grants.delete(caller, held, by).await? {
            return Ok(false);
        }
        // Again: a call may have been scheduled in between, while the grant was still there.
        self.end_scheduled(caller, &held.value).await?;
        Ok(true)
    }

    async fn end_scheduled(&self, caller: &Caller, grant: &Grant) -> Result<(), StoreError> {
        let (store, consent) = (self.store().await?, (&grant.provider, &grant.account));
        self.0.scheduled.end_with_consent(store, caller, consent, self.now()).await
    }

    async fn end_at_provider(
        &self,
        grant: &Grant,
        provider: Option<&Arc<Provider>>,
    ) -> Disconnected {
        if grant.ended.is_some() {
            return Disconnected::AtProvider(Revoked::Yes);
        }
        if grant.binding.is_pasted() {
            return Disconnected::Pasted;
        }
        let clients = &self.0.clients;
        let Some(provider) = provider else {
            return Disconnected::OtherConfiguration;
        };
        match clients.may_use(provider, &grant.binding).await {
            Ok(true) => {}
            Ok(false) => return Disconnected::OtherConfiguration,
            Err(error) => return Disconnected::NotSetUp(error.to_string()),
        }
        let registration = match clients.registration(provider).await {
            Ok(registration) => registration,
            Err(error) if error.is_passing() => {
                return Disconnected::AtProvider(Revoked::Unreachable);
            }
            Err(error) => return Disconnected::NotSetUp(error.to_string()),
        };
        Disconnected::AtProvider(clients.revoke(&registration, grant).await)
    }

    /// Ends at the provider a consent that was not kept as an account.
    pub(in crate::broker) async fn end_unkept(
        &self,
        client: &ClientRegistration,
        grant: &Grant,
    ) -> Ended {
        Ended {
            provider: grant.provider.clone(),
            title: self.0.parts.catalogue.get().title(&grant.provider),
            account: grant.account.clone(),
            label: grant.label().map(str::to_owned),
            how: Disconnected::AtProvider(self.0.clients.revoke(client, grant).await),
        }
    }

    /// Deletes a grant again if it was written while its user's access was being ended, or while its
    /// provider was being deleted. Returns whether that was so.
    pub(in crate::broker) async fn drop_if_cut_off(
        &self,
        caller: &Caller,
        grant: &Grant,
        begun_at: Time,
    ) -> Result<bool, StoreError> {
        if !self.has_ended(caller, &grant.provider, begun_at).await? {
            return Ok(false);
        }
        let is_it = |there: &Grant| there.connected_at == grant.connected_at;
        match self.disconnect(caller, grant.clone(), EndedBy::Operator, is_it).await {
            Err(ConnectError::Store(error)) => Err(error),
            Ok(_) | Err(_) => Ok(true),
        }
    }
}
