//! Stores a grant, and deletes it.

use super::Grants;
use crate::broker::MAX_WRITE_ATTEMPTS;
use crate::broker::webhooks::outbox::{GrantChange, Prepared};
use crate::model::event::EndedBy;
use crate::model::{Caller, Grant};
use crate::store::{Held, StoreError};

/// Outcome of storing a grant.
pub(in crate::broker) enum Put {
    /// As it stands in the store now.
    Kept(Box<Grant>),
    /// Not stored: this account was connected until now, and the user has not confirmed the other
    /// one.
    OtherAccount(String),
}

/// Whether a grant may replace one of another account at the provider. A browser that is signed in
/// there as another user would otherwise silently change whose data the tools see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) enum AccountChange {
    /// Not before the user has confirmed it: [`Put::OtherAccount`].
    Ask,
    /// The user has confirmed it, or there is no user to ask.
    Confirmed,
}

/// Which present grant a new one replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Replaces {
    Any,
    /// One that was given before it. A later one is kept: the user gave it knowing that this one
    /// was not stored.
    Older,
}

impl Grants {
    /// Stores a grant over the present one. If a refresh of the old grant comes in between, the new
    /// grant wins.
    ///
    /// # Errors
    /// [`StoreError::Contended`] after [`MAX_WRITE_ATTEMPTS`] faster writers, or the store fails.
    pub(in crate::broker) async fn put(
        &self,
        caller: &Caller,
        grant: &Grant,
        change: AccountChange,
        replaces: Replaces,
    ) -> Result<Put, StoreError> {
        let store = self.0.store.get().await?;
        let binding_id = grant.binding.fingerprint();
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let held = store.grant(caller, &grant.provider, &binding_id, &grant.account).await?;
            let there = held.as_ref().map(|held| &held.value);
            if let (Some(before), AccountChange::Ask) =
                (there.and_then(|there| grant.other_account(there)), change)
            {
                return Ok(Put::OtherAccount(before));
            }
            if replaces == Replaces::Older
                && let Some(there) = there.filter(|there| there.connected_at >= grant.connected_at)
            {
                return Ok(Put::Kept(Box::new(there.clone())));
            }
            let kept = there.map_or_else(|| grant.clone(), |before| grant.over(before));
            let event = self.prepare_stored(caller, &kept, there).await?;
            let kept = Grant { last_event: event.last_event(), ..kept };
            let is_put = self.0.table.put(caller, &kept, held.as_ref()).await?;
            event.settle(is_put).await;
            if is_put {
                return Ok(Put::Kept(Box::new(kept)));
            }
        }
        Err(StoreError::Contended)
    }

    /// Deletes a grant and its last use, on behalf of `by`; false if the grant has changed since it
    /// was read.
    ///
    /// # Errors
    /// The store fails.
    pub(in crate::broker) async fn delete(
        &self,
        caller: &Caller,
        held: &Held<Grant>,
        by: EndedBy,
    ) -> Result<bool, StoreError> {
        let change = GrantChange::ended(&held.value, by);
        let event = Box::pin(self.0.outbox.prepare(caller, &change)).await?;
        let is_deleted = self.0.table.delete_with_use(held).await?;
        event.settle(is_deleted).await;
        Ok(is_deleted)
    }

    /// Prepares the event of a consent that is about to be stored in place of `before`.
    pub(super) async fn prepare_stored(
        &self,
        caller: &Caller,
        grant: &Grant,
        before: Option<&Grant>,
    ) -> Result<Prepared, StoreError> {
        let change = GrantChange::stored(grant, before, self.0.clock.now());
        Box::pin(self.0.outbox.prepare(caller, &change)).await
    }
}
