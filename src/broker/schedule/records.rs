//! The records of scheduled calls, and the end of those whose consent ends before their time.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::broker::events::Events;
use crate::model::event::{CallOutcome, Event, EventKind};
use crate::model::scheduled::{NotRun, ScheduledCall, ScheduledEnd};
use crate::model::{AccountName, Caller, ProviderId, Time};
use crate::store::{Held, Store, StoreError, Table};

/// The scheduled calls. No other module can write their records. Cheap to clone.
#[derive(Clone)]
pub(in crate::broker) struct ScheduledCalls(Arc<Inner>);

struct Inner {
    table: Table<ScheduledCall>,
    events: Events,
    /// Notified with each new call of this process.
    changed: Notify,
}

/// # Errors
/// The store cannot be read or written.
impl ScheduledCalls {
    pub(in crate::broker) fn new(table: Table<ScheduledCall>, events: Events) -> Self {
        Self(Arc::new(Inner { table, events, changed: Notify::new() }))
    }

    /// The right to write the records.
    pub(super) fn table(&self) -> &Table<ScheduledCall> {
        &self.0.table
    }

    /// Notified with each new call of this process.
    pub(super) fn changed(&self) -> &Notify {
        &self.0.changed
    }

    /// Deletes the calls of a user, in every state. Returns their number.
    pub(in crate::broker) async fn delete_of(&self, caller: &Caller) -> Result<usize, StoreError> {
        self.0.table.delete_of(caller).await
    }

    /// Ends the waiting calls of a user that were scheduled with a consent which ends. Without that,
    /// a later consent to something else would let them run.
    pub(in crate::broker) async fn end_with_consent(
        &self,
        store: &Store,
        caller: &Caller,
        (provider, account): (&ProviderId, &AccountName),
        now: Time,
    ) -> Result<(), StoreError> {
        let is_meant = |call: &ScheduledCall| {
            call.is_waiting() && call.caller == *caller && call.uses(provider, account)
        };
        for space in caller.spaces() {
            let mut ids = Vec::new();
            let look = |call: &ScheduledCall| ids.extend(is_meant(call).then(|| call.id.clone()));
            store.for_each_scheduled(Some(&space), look).await?;
            for id in ids {
                let Some(held) = store.scheduled(&space, &id).await? else { continue };
                if held.value.is_waiting() {
                    let end = ScheduledEnd::NotRun(NotRun::Disconnected);
                    self.end_unrun(&held, end, CallOutcome::Disconnected, now).await?;
                }
            }
        }
        Ok(())
    }

    /// Ends a call that this process does not run, unless it has changed since it was read.
    pub(super) async fn end_unrun(
        &self,
        held: &Held<ScheduledCall>,
        end: ScheduledEnd,
        outcome: CallOutcome,
        now: Time,
    ) -> Result<(), StoreError> {
        if self.0.table.replace(held.value.ended(now, end), held).await?.is_some() {
            self.record_unrun(&held.value, outcome);
        }
        Ok(())
    }

    /// Records a call that was not run. One that was run has recorded itself.
    pub(super) fn record_unrun(&self, call: &ScheduledCall, outcome: CallOutcome) {
        let event = Event::new(EventKind::Call(outcome)).of(&call.caller);
        self.0.events.record(&Event { tool: Some(call.tool.clone()), ..event });
    }
}
