//! Stores tokens that were obtained elsewhere.
//!
//! A deposited refresh token is stored before it is sent, as a grant that no call uses yet. From there
//! it is renewed like every other grant: one process sends it, and the token that comes back is durable
//! before anything else is done with it. A process that is killed in between loses no consent.

use super::Grants;
use super::access::AccessError;
use crate::broker::Connection;
use crate::model::deposit::Proof;
use crate::model::{Caller, Grant};
use crate::store::{Held, StoreError};

impl Grants {
    /// The record in the place of a connection, in every state and under every set of hosts.
    pub(in crate::broker) async fn in_place(
        &self,
        Connection { caller, provider, bound, account }: &Connection,
    ) -> Result<Option<Held<Grant>>, StoreError> {
        self.0.store.get().await?.grant(caller, &provider.id, &bound.fingerprint, account).await
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
