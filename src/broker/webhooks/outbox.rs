//! Events, stored before the change that causes them.
//!
//! 1. The grant is read.
//! 2. [`Outbox::prepare`] appends the event to each queue of the user's application.
//! 3. The grant that was read is replaced, in one compare-and-swap, by one that names the event.
//! 4. [`Prepared::confirm`] marks the event as ready; [`Prepared::withdraw`] removes it if another
//!    writer was faster, and all begins again.
//!
//! Since a change is prepared after the grant was read that it replaces, the order of a queue is the
//! order of the changes of each grant.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use secrecy::ExposeSecret as _;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::broker::{MAX_WRITE_ATTEMPTS, Parts};
use crate::model::connection_id::{connection_id, digest};
use crate::model::event::EndedBy;
use crate::model::grant::Standing;
use crate::model::scope::Implied;
use crate::model::secret::random_ticket;
use crate::model::webhook::{ChangeReason, ConnectionChange, ConnectionFacts, Webhook};
use crate::model::webhook_queue::{EventState, GrantWrite, QueuedEvent, WebhookQueue};
use crate::model::{Caller, Clock, Grant, Scopes, Time};
use crate::store::{LazyStore, StoreError, Table};

/// Most queues of one webhook, which is the number of users whose events wait. At this limit, no
/// events of further users are stored, which the log says.
const MAX_QUEUES: usize = 50_000;
/// Shortest time between two log lines about a limit.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// The queues of all webhooks. No other module can write them. Cheap to clone.
#[derive(Clone)]
pub(in crate::broker) struct Outbox(Arc<Inner>);

struct Inner {
    table: Table<WebhookQueue>,
    store: Arc<LazyStore>,
    parts: Arc<Parts>,
    clock: Clock,
    /// Ids of events whose change this process is making.
    in_progress: Mutex<HashSet<String>>,
    /// Number of queues of each webhook, as last counted and with those that were added since.
    counts: Mutex<HashMap<String, usize>>,
    logged: Mutex<Option<Instant>>,
    /// Notified when a queue of this process may have something to send.
    changed: Notify,
}

/// A change of a grant, as an application is told of it.
pub(in crate::broker) struct GrantChange<'a> {
    change: ConnectionChange,
    reason: Option<ChangeReason>,
    /// The grant after the change, or the one that is deleted.
    grant: &'a Grant,
    before: Option<&'a Grant>,
    write: GrantWrite,
}

impl<'a> GrantChange<'a> {
    /// A consent is stored in place of `before`.
    pub(in crate::broker) fn stored(
        grant: &'a Grant,
        before: Option<&'a Grant>,
        now: Time,
    ) -> Self {
        let is_wider = before.is_some_and(|before| is_wider(grant, before, now));
        let change = if is_wider { ConnectionChange::Widened } else { ConnectionChange::Created };
        Self { change, reason: None, grant, before, write: GrantWrite::Put }
    }

    /// A grant stays, but calls fail until its user consents anew.
    pub(in crate::broker) fn needs_consent(
        grant: &'a Grant,
        before: &'a Grant,
        reason: ChangeReason,
    ) -> Self {
        let (change, write) = (ConnectionChange::NeedsConsent, GrantWrite::Put);
        Self { change, reason: Some(reason), grant, before: Some(before), write }
    }

    /// A grant is deleted on request.
    pub(in crate::broker) fn ended(grant: &'a Grant, by: EndedBy) -> Self {
        let (change, reason) = by.into();
        Self { change, ..Self::gone(grant, reason) }
    }

    /// A grant is deleted because it is of no use any more.
    pub(in crate::broker) fn gone(grant: &'a Grant, reason: ChangeReason) -> Self {
        Self {
            change: ConnectionChange::NeedsConsent,
            reason: Some(reason),
            grant,
            before: Some(grant),
            write: GrantWrite::Delete { connected_at: grant.connected_at },
        }
    }

    /// Whether it concerns a deposit whose provider has not been asked about it yet. The application
    /// is told of that one by the answer to its deposit, and of the connection once there is one.
    fn is_silent(&self) -> bool {
        let was_pending = self.before.is_some_and(Grant::is_pending);
        self.grant.is_pending() || (was_pending && self.change == ConnectionChange::NeedsConsent)
    }

    fn facts(&self, caller: &Caller) -> ConnectionFacts {
        let id = |grant: &Grant| connection_id(caller, &digest(grant));
        let before = self.before.filter(|before| !before.is_pending());
        let (own, before) = (id(self.grant), before.map(id));
        ConnectionFacts {
            provider: self.grant.provider.clone(),
            account: self.grant.account.clone(),
            scopes: self.grant.scopes.clone(),
            reason: self.reason,
            replaces: before.filter(|before| *before != own),
            id: own,
        }
    }
}

/// Whether a consent adds to a usable one of the same account and takes nothing away.
fn is_wider(grant: &Grant, before: &Grant, now: Time) -> bool {
    let standing = before.standing(&Scopes::default(), &Implied::new(), now);
    let is_usable = standing != Standing::Gone && !before.is_refused() && !before.is_pending();
    let covers = before.scopes.is_subset(&grant.scopes)
        && grant.away >= before.away
        && grant.hands_out >= before.hands_out;
    let adds = (&grant.scopes, grant.away, grant.hands_out)
        != (&before.scopes, before.away, before.hands_out);
    is_usable && covers && adds && grant.other_account(before).is_none()
}

/// An event whose change is being made. If it is dropped without [`Self::confirm`] or
/// [`Self::withdraw`], the grant decides whether the change has happened.
pub(in crate::broker) struct Prepared {
    outbox: Outbox,
    caller: Caller,
    event: Option<QueuedEvent>,
    /// Names of the webhooks in whose queues the event is.
    webhooks: Vec<String>,
    /// See [`Grant::last_event`].
    last_event: Option<String>,
}

impl Outbox {
    pub(in crate::broker) fn new(table: Table<WebhookQueue>, parts: &Arc<Parts>) -> Self {
        Self(Arc::new(Inner {
            table,
            store: Arc::clone(&parts.store),
            parts: Arc::clone(parts),
            clock: parts.clock.clone(),
            in_progress: Mutex::default(),
            counts: Mutex::default(),
            logged: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// Whether there is a webhook for the application of this user.
    pub(in crate::broker) fn has_webhook_of(&self, caller: &Caller) -> bool {
        self.webhooks_of(caller).next().is_some()
    }

    fn webhooks_of(&self, caller: &Caller) -> impl Iterator<Item = &Webhook> {
        self.0.parts.webhooks.iter().filter(|webhook| webhook.is_for(caller))
    }

    /// Appends the event of a change to each queue of the user's application, durably. The change
    /// must be made next, and must be a swap over the grant that was read before this.
    ///
    /// # Errors
    /// The store fails. Then the change must not be made.
    pub(in crate::broker) async fn prepare(
        &self,
        caller: &Caller,
        change: &GrantChange<'_>,
    ) -> Result<Prepared, StoreError> {
        let over = change.before.and_then(|before| before.last_event.clone());
        let mut prepared = Prepared {
            outbox: self.clone(),
            caller: caller.clone(),
            event: None,
            webhooks: Vec::new(),
            last_event: over.clone(),
        };
        let of_application: Vec<&Webhook> = self.webhooks_of(caller).collect();
        if of_application.is_empty() || change.is_silent() {
            return Ok(prepared);
        }
        let id = format!("msg_{}", random_ticket().expose_secret());
        let event = QueuedEvent {
            id: id.clone(),
            change: change.change,
            at: self.0.clock.now(),
            facts: change.facts(caller),
            over,
            before: change.before.map(|before| before.connected_at),
            state: EventState::Prepared {
                by: self.0.store.get().await?.instance().await?,
                binding: change.grant.binding.fingerprint(),
                write: change.write,
            },
        };
        self.0.in_progress.lock().insert(id.clone());
        prepared.event = Some(event.clone());
        for webhook in of_application {
            if self.append(webhook, caller, &event).await? {
                prepared.webhooks.push(webhook.name.clone());
            }
        }
        // An event that no queue has must not hide the one before it, see
        // `WebhookQueue::has_happened`.
        if !prepared.webhooks.is_empty() {
            prepared.last_event = Some(id);
        }
        Ok(prepared)
    }

    /// Appends an event to a queue; false if there are too many queues, or if the queue's record
    /// cannot be used: one damaged record must not keep a user from giving or ending a consent.
    async fn append(
        &self,
        webhook: &Webhook,
        caller: &Caller,
        event: &QueuedEvent,
    ) -> Result<bool, StoreError> {
        let is_full = self.count(&webhook.name) >= MAX_QUEUES;
        let appended = self.update(&webhook.name, caller, |queue| {
            if is_full && queue.is_empty() {
                return None;
            }
            let is_new = queue.is_empty();
            Some((is_new, queue.push(event.clone())))
        });
        let appended = match appended.await {
            Err(error @ (StoreError::Contended | StoreError::Seal(_) | StoreError::Record(_))) => {
                self.log_limit(|| {
                    tracing::error!(webhook = webhook.name, %error, hint = error.hint(), "an event is lost: the queue of its user cannot be written");
                });
                return Ok(false);
            }
            appended => appended?,
        };
        match appended {
            None => {
                self.log_limit(|| {
                    tracing::error!(
                        webhook = webhook.name,
                        "events of {MAX_QUEUES} users wait, and those of further users are lost: let the receiver answer, then compare with /v1/admin/user_connections"
                    );
                });
                Ok(false)
            }
            Some((is_new, given_way)) => {
                if is_new {
                    *self.0.counts.lock().entry(webhook.name.clone()).or_default() += 1;
                }
                if given_way > 0 {
                    self.log_limit(|| {
                        tracing::warn!(
                            webhook = webhook.name,
                            given_way,
                            "too many events of one user wait; the oldest are dropped"
                        );
                    });
                }
                Ok(true)
            }
        }
    }

    /// Changes a queue, in as many attempts as other writers make necessary. An empty queue is
    /// deleted.
    ///
    /// # Errors
    /// [`StoreError::Contended`] after [`MAX_WRITE_ATTEMPTS`] faster writers, or the store fails.
    pub(super) async fn update<T>(
        &self,
        webhook: &str,
        caller: &Caller,
        change: impl Fn(&mut WebhookQueue) -> T,
    ) -> Result<T, StoreError> {
        let store = self.0.store.get().await?;
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let held = store.webhook_queue(webhook, caller).await?;
            let there = held.as_ref().map(|held| held.value.clone());
            let mut queue = there.clone().unwrap_or_else(|| WebhookQueue::new(webhook, caller));
            let result = change(&mut queue);
            let is_written = match (&held, queue.is_empty()) {
                _ if there.as_ref() == Some(&queue) => true,
                (None, true) => true,
                (Some(held), true) => self.0.table.delete(held).await?,
                (held, false) => self.0.table.put(&queue, held.as_ref()).await?,
            };
            if is_written {
                return Ok(result);
            }
        }
        Err(StoreError::Contended)
    }

    /// The right to write queues.
    pub(super) fn table(&self) -> &Table<WebhookQueue> {
        &self.0.table
    }

    /// Whether this process is making the change of this event.
    pub(super) fn is_in_progress(&self, id: &str) -> bool {
        self.0.in_progress.lock().contains(id)
    }

    /// Returns when a queue of this process may have something to send.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    pub(super) fn notify(&self) {
        self.0.changed.notify_one();
    }

    /// Records the number of queues of a webhook.
    pub(super) fn set_count(&self, webhook: &str, count: usize) {
        self.0.counts.lock().insert(webhook.to_owned(), count);
    }

    fn count(&self, webhook: &str) -> usize {
        self.0.counts.lock().get(webhook).copied().unwrap_or(0)
    }

    fn log_limit(&self, log: impl FnOnce()) {
        let now = Instant::now();
        let mut logged = self.0.logged.lock();
        if logged.is_none_or(|last| now.duration_since(last) >= LOG_INTERVAL) {
            *logged = Some(now);
            log();
        }
    }
}

impl Prepared {
    /// The [`Grant::last_event`] of the grant that is written.
    pub(in crate::broker) fn last_event(&self) -> Option<String> {
        self.last_event.clone()
    }

    /// Confirms the event if its change is made, else withdraws it.
    pub(in crate::broker) async fn settle(self, is_made: bool) {
        if is_made {
            Box::pin(self.confirm()).await;
        } else {
            Box::pin(self.withdraw()).await;
        }
    }

    /// Marks the event as ready: its change is made. A failure is logged; then the grant shows that
    /// the change has happened.
    pub(super) async fn confirm(self) {
        self.each(WebhookQueue::confirm).await;
    }

    /// Removes the event: another writer has changed the grant first.
    async fn withdraw(self) {
        self.each(|queue, event| queue.remove(&event.id)).await;
    }

    async fn each(&self, change: impl Fn(&mut WebhookQueue, &QueuedEvent)) {
        let Some(event) = &self.event else { return };
        for webhook in &self.webhooks {
            let updated =
                self.outbox.update(webhook, &self.caller, |queue| change(queue, event)).await;
            if let Err(error) = updated {
                tracing::warn!(webhook, %error, "an event was stored, but not that it is certain");
            }
        }
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(event) = &self.event {
            self.outbox.0.in_progress.lock().remove(&event.id);
            self.outbox.notify();
        }
    }
}
