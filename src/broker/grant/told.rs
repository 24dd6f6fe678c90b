//! Writes the ends of grants that no request has caused, and tells their applications, once.

use super::Grants;
use crate::broker::Connection;
use crate::broker::webhooks::outbox::GrantChange;
use crate::model::scope::Implied;
use crate::model::webhook::ChangeReason;
use crate::model::{Caller, Grant, Scopes, Standing, Time};
use crate::store::{Held, StoreError};

impl Grants {
    /// Replaces a grant by one with which calls fail until the user consents anew. `None`: the grant
    /// has changed since it was read.
    ///
    /// # Errors
    /// The store fails.
    pub(super) async fn replace_unusable(
        &self,
        caller: &Caller,
        grant: Grant,
        held: &Held<Grant>,
        reason: ChangeReason,
    ) -> Result<Option<Held<Grant>>, StoreError> {
        let change = GrantChange::needs_consent(&grant, &held.value, reason);
        let event = self.0.outbox.prepare(caller, &change).await?;
        let grant = Grant { last_event: event.last_event(), ..grant };
        let replaced = self.0.table.replace(grant, held).await?;
        event.settle(replaced.is_some()).await;
        Ok(replaced)
    }

    /// Replaces a grant by one that counts another refusal of its refresh token. With the one from
    /// which on its user is asked for a new consent, the application is told.
    ///
    /// # Errors
    /// The store fails.
    pub(super) async fn note_refusal(
        &self,
        caller: &Caller,
        grant: Grant,
        held: &Held<Grant>,
    ) -> Result<Option<Held<Grant>>, StoreError> {
        if grant.is_refused() && !held.value.is_refused() {
            return self.replace_unusable(caller, grant, held, ChangeReason::NotRenewed).await;
        }
        self.0.table.replace(grant, held).await
    }

    /// Deletes a grant that a call uses, since the provider allows one use. False if the grant has
    /// changed since it was read.
    ///
    /// # Errors
    /// The store fails.
    pub(super) async fn use_up(
        &self,
        caller: &Caller,
        held: &Held<Grant>,
    ) -> Result<bool, StoreError> {
        let change = GrantChange::gone(&held.value, ChangeReason::UsedOnce);
        let event = self.0.outbox.prepare(caller, &change).await?;
        let is_deleted = self.0.table.delete(held).await?;
        event.settle(is_deleted).await;
        Ok(is_deleted)
    }

    /// Tells the application of a connection, once, that its access token has expired and cannot be
    /// renewed. The grant records it in [`Grant::ended_at`].
    ///
    /// # Errors
    /// The store fails.
    pub(super) async fn tell_of_expiry(
        &self,
        connection: &Connection,
        held: Option<&Held<Grant>>,
    ) -> Result<(), StoreError> {
        let Connection { caller, provider, bound, account } = connection;
        let now = self.0.clock.now();
        let Some(held) = held.filter(|held| is_newly_expired(&held.value, now)) else {
            return Ok(());
        };
        if !self.0.outbox.has_webhook_of(caller) {
            return Ok(());
        }
        // Read anew: the caller's copy lacks a refresh token that `tools.toml` forbids to use now.
        let store = self.0.store.get().await?;
        let there = store.grant(caller, &provider.id, &bound.fingerprint, account).await?;
        // A consent or a renewal of another process in between has not expired.
        let is_same = |there: &Held<Grant>| {
            there.value.ended_at.is_none()
                && there.value.connected_at == held.value.connected_at
                && there.value.tokens.has_access_token_of(&held.value.tokens)
        };
        let Some(there) = there.filter(is_same) else { return Ok(()) };
        let noticed = Grant { ended_at: Some(now), ..there.value.clone() };
        // `None`: changed since, and the next call looks again.
        self.replace_unusable(caller, noticed, &there, ChangeReason::Expired).await.map(drop)
    }

    /// Deletes grants that are no longer usable, see
    /// [`Store::sweep_grants`](crate::store::Store::sweep_grants), and tells their applications
    /// of those that expired without a call.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(in crate::broker) async fn sweep(&self, now: Time) -> Result<(), StoreError> {
        let store = self.0.store.get().await?;
        let is_told = |caller: &Caller, grant: &Grant| {
            self.0.outbox.has_webhook_of(caller) && is_newly_expired(grant, now)
        };
        // One user's failure must not keep the grants of the others.
        let mut failed = None;
        for (caller, held) in store.grants_of_users(is_told).await? {
            if let Err(error) = self.sweep_expired(&caller, &held).await {
                failed.get_or_insert(error);
            }
        }
        store.sweep_grants(now).await?;
        failed.map_or(Ok(()), Err)
    }
}

/// # Errors
/// The store fails.
impl Grants {
    async fn sweep_expired(&self, caller: &Caller, held: &Held<Grant>) -> Result<(), StoreError> {
        let change = GrantChange::gone(&held.value, ChangeReason::Expired);
        let event = self.0.outbox.prepare(caller, &change).await?;
        let is_deleted = self.0.table.delete_with_use(held).await?;
        event.settle(is_deleted).await;
        Ok(())
    }
}

/// Whether a grant has expired and cannot be renewed, which no call has noticed so far.
fn is_newly_expired(grant: &Grant, now: Time) -> bool {
    let standing = grant.standing(&Scopes::default(), &Implied::new(), now);
    standing == Standing::Gone && grant.ended.is_none() && grant.ended_at.is_none()
}
