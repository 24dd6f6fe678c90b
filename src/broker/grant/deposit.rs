//! Stores tokens that were obtained elsewhere.
//!
//! A deposited refresh token is stored before it is sent, as a grant that no call uses yet. From there
//! it is renewed like every other grant: one process sends it, and the token that comes back is durable
//! before anything else is done with it. A process that is killed in between loses no consent.

use super::Grants;
use super::access::AccessError;
use super::refresh::Refresh;
use crate::broker::Connection;
use crate::model::deposit::Proof;
use crate::model::disconnection::Disconnection;
use crate::model::event::EndedBy;
use crate::model::{Caller, Grant, Time};
use crate::store::{Held, StoreError};

impl Grants {
    /// The record in the place of a connection, in every state and under every set of hosts.
    pub(in crate::broker) async fn in_place(
        &self,
        Connection { caller, provider, bound, account }: &Connection,
    ) -> Result<Option<Held<Grant>>, StoreError> {
        self.0.store.get().await?.grant(caller, &provider.id, &bound.fingerprint, account).await
    }

    /// Records that a token is deposited in the place of this connection; false if it is deposited
    /// in another place.
    pub(in crate::broker) async fn claim_token(
        &self,
        token: &str,
        Connection { caller, provider, bound, account }: &Connection,
    ) -> Result<bool, StoreError> {
        let (place, now) = ((&*bound.fingerprint, account), self.0.clock.now());
        self.0.table.claim_token(token, caller, &provider.id, place, now).await
    }

    /// Whether an end of the connection keeps a deposit of this token from its place, where
    /// `connected_at` is the beginning of an ended connection that is there.
    pub(in crate::broker) async fn keeps_out(
        &self,
        token: &str,
        connected_at: Option<Time>,
        Connection { caller, provider, bound, account }: &Connection,
    ) -> Result<bool, StoreError> {
        let store = self.0.store.get().await?;
        let end = store.disconnection(caller, &provider.id, &bound.fingerprint, account).await?;
        let now = self.0.clock.now();
        Ok(end.is_some_and(|end| end.keeps_out(token, connected_at, now)))
    }

    /// Records that a grant is being ended. A deposit does not bring it back.
    pub(in crate::broker) async fn note_disconnection(
        &self,
        caller: &Caller,
        held: &Held<Grant>,
        by: EndedBy,
    ) -> Result<(), StoreError> {
        if held.value.binding.is_pasted() {
            return Ok(());
        }
        let end = Disconnection::of(&held.value, by, self.0.clock.now());
        self.0.table.note_disconnection(caller, held, &end).await
    }

    /// Whether this process sends the refresh token of this connection now, or holds a renewed one
    /// that the store could not keep.
    pub(in crate::broker) fn is_renewing(&self, connection: &Connection) -> bool {
        let refreshes = self.0.refreshes.0.lock();
        match refreshes.get(&connection.name()) {
            Some(Refresh::Running(_) | Refresh::Unsaved(_)) => true,
            Some(Refresh::CoolingDown(_)) | None => false,
        }
    }

    /// Stores a deposited grant in place of `over`; false if another writer was faster.
    pub(in crate::broker) async fn put_deposit(
        &self,
        caller: &Caller,
        grant: &Grant,
        over: Option<&Held<Grant>>,
    ) -> Result<bool, StoreError> {
        let before = over.map(|over| &over.value);
        let event = self.prepare_stored(caller, grant, before).await?;
        let grant = Grant { last_event: event.last_event(), ..grant.clone() };
        let is_put = self.0.table.put(caller, &grant, over).await?;
        event.settle(is_put).await;
        Ok(is_put)
    }

    /// Replaces a deposited grant, unless it has changed since it was read.
    pub(in crate::broker) async fn replace_deposit(
        &self,
        caller: &Caller,
        grant: Grant,
        over: &Held<Grant>,
    ) -> Result<Option<Held<Grant>>, StoreError> {
        let event = self.prepare_stored(caller, &grant, Some(&over.value)).await?;
        let grant = Grant { last_event: event.last_event(), ..grant };
        let replaced = self.0.table.replace(grant, over).await?;
        event.settle(replaced.is_some()).await;
        Ok(replaced)
    }

    /// Renews a deposited grant whose provider has not been asked yet, unless that was done before.
    pub(in crate::broker) async fn renew_deposit(
        &self,
        connection: &Connection,
    ) -> Result<(), AccessError> {
        self.renew(connection, None, false).await
    }

    /// Notes that a call has succeeded with a token whose provider could not be asked about it.
    pub(in crate::broker) async fn note_proof(
        &self,
        connection: &Connection,
    ) -> Result<(), StoreError> {
        let Some(held) = self.grant_of(connection).await? else { return Ok(()) };
        let mut grant = held.value.clone();
        let Some(deposit) = grant.deposit.as_mut().filter(|it| it.proof == Proof::Unproven) else {
            return Ok(());
        };
        deposit.proof = Proof::Proven;
        // `None`: another call was faster.
        self.0.table.replace(grant, &held).await.map(drop)
    }
}
