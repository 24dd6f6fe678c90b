//! Takes a queue for this process, so that of several processes one sends its events, and finds out
//! whether the changes happened whose process has ended between preparing and confirming them.

use std::time::Duration;

use super::Webhooks;
use crate::broker::MAX_WRITE_ATTEMPTS;
use crate::model::webhook_queue::{Claim, EventState, QueuedEvent, WebhookQueue};
use crate::model::{Caller, InstanceId, Time};
use crate::store::{Held, Store, StoreError};

/// How long a claim counts while its process lives: longer than one request and its writes take. A
/// process that was suspended for longer has lost it.
const MAX_CLAIM_AGE: Duration = Duration::from_mins(5);
/// How long a prepared change of a living process is waited for. A task that was cancelled after it
/// prepared a change leaves it behind.
const MAX_PREPARED_AGE: Duration = Duration::from_mins(10);
/// How long a change that is not visible is not given up: the write of a process that has just
/// been killed may still be on its way in the process that owns the store.
const WRITE_GRACE: Duration = Duration::from_mins(1);

/// Whether a prepared change has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Happened,
    HasNot,
    /// Its process may still make it.
    Open,
}

impl Webhooks {
    /// Claims a queue whose first event may be sent at `now`; `None` if there is nothing to send, or
    /// another process is sending. `is_due` says whether a queue is due.
    pub(super) async fn claim(
        &self,
        webhook: &str,
        caller: &Caller,
        is_due: impl Fn(&WebhookQueue, Time) -> bool,
    ) -> Result<Option<WebhookQueue>, StoreError> {
        let store = self.0.parts.store.get().await?;
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let Some(held) = store.webhook_queue(webhook, caller).await? else { return Ok(None) };
            let now = self.0.parts.clock.now();
            if let Some(claim) = &held.value.claim
                && self.is_taken(store, claim, now).await?
            {
                return Ok(None);
            }
            let mut queue = held.value.clone();
            self.settle(store, &mut queue, now).await?;
            queue.claim = None;
            let is_claimed = queue.next().is_some() && is_due(&queue, now);
            if is_claimed {
                queue.claim = Some(Claim { by: store.instance().await?, since: now });
            }
            if self.is_written(&held, &queue).await? {
                return Ok(is_claimed.then_some(queue));
            }
        }
        Err(StoreError::Contended)
    }

    async fn is_written(
        &self,
        held: &Held<WebhookQueue>,
        queue: &WebhookQueue,
    ) -> Result<bool, StoreError> {
        if *queue == held.value {
            return Ok(true);
        }
        let table = self.0.outbox.table();
        if queue.is_empty() { table.delete(held).await } else { table.put(queue, Some(held)).await }
    }

    /// Whether another process is sending events of the queue. A process sends those of one webhook
    /// in one task, so a claim of its own is one that a task has left behind.
    async fn is_taken(&self, store: &Store, claim: &Claim, now: Time) -> Result<bool, StoreError> {
        let is_others = claim.by != store.instance().await?;
        Ok(is_others
            && !now.is_past(claim.since, MAX_CLAIM_AGE)
            && store.is_alive(&claim.by).await?)
    }

    /// Marks the prepared events of a queue whose change has happened as ready, and removes those
    /// whose change has not. Stops at the first one that is still open, since the order counts.
    async fn settle(
        &self,
        store: &Store,
        queue: &mut WebhookQueue,
        now: Time,
    ) -> Result<(), StoreError> {
        let prepared = queue.events.iter().filter(|event| !event.is_ready());
        for event in prepared.cloned().collect::<Vec<_>>() {
            match self.verdict(store, queue, &event, now).await? {
                Verdict::Happened => queue.confirm(&event),
                Verdict::HasNot => queue.remove(&event.id),
                Verdict::Open => break,
            }
        }
        Ok(())
    }

    async fn verdict(
        &self,
        store: &Store,
        queue: &WebhookQueue,
        event: &QueuedEvent,
        now: Time,
    ) -> Result<Verdict, StoreError> {
        let EventState::Prepared { by, binding, write } = &event.state else {
            return Ok(Verdict::Happened);
        };
        if self.may_still_change(store, by, event, now).await? {
            return Ok(Verdict::Open);
        }
        let (provider, account) = (&event.facts.provider, &event.facts.account);
        let there = store.grant(&queue.caller, provider, binding, account).await?;
        if queue.has_happened(event, *write, there.as_ref().map(|held| &held.value)) {
            Ok(Verdict::Happened)
        } else if now.is_past(event.at, WRITE_GRACE) {
            Ok(Verdict::HasNot)
        } else {
            Ok(Verdict::Open)
        }
    }

    /// Whether the task that prepared a change may still make it.
    async fn may_still_change(
        &self,
        store: &Store,
        by: &InstanceId,
        event: &QueuedEvent,
        now: Time,
    ) -> Result<bool, StoreError> {
        if *by == store.instance().await? {
            return Ok(self.0.outbox.is_in_progress(&event.id));
        }
        Ok(!now.is_past(event.at, MAX_PREPARED_AGE) && store.is_alive(by).await?)
    }
}
