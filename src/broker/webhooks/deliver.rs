//! Sends the events that wait.
//!
//! Webhooks are independent of each other: each has a task of its own while it has something to
//! send, and a bounded number of requests at once. The events of one user are sent in order; the
//! next one only after the one before it was delivered or parked.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Webhooks;
use crate::model::event::{Event, EventKind, WebhookOutcome};
use crate::model::secret::random_bytes;
use crate::model::signing_keys::SigningKeys;
use crate::model::webhook::{Webhook, payload};
use crate::model::webhook_queue::{Claim, LastFailure, QueuedEvent, WebhookQueue};
use crate::model::{Caller, Time};
use crate::store::StoreError;
use crate::upstream::webhook::{NotDelivered, WebhookRequest};

/// Longest time between two looks: events that other processes have stored are found this late.
const MAX_SLEEP: Duration = Duration::from_secs(30);
/// Shortest time between two looks.
const MIN_SLEEP: Duration = Duration::from_millis(10);
/// Rest after a look, in multiples of the time that it took: while a receiver is down, a look reads
/// the queues of many users, and new events must not make it continuous.
const LOOK_REST: u32 = 4;
/// Time until a queue is looked at again whose first event is not certain yet.
const UNCERTAIN_SLEEP: Duration = Duration::from_secs(1);
/// Requests to one receiver at once; further ones wait.
const MAX_REQUESTS_PER_RECEIVER: usize = 8;
/// Shortest time between two attempts of an event of which the second one is early, because the
/// receiver has taken another event.
const MIN_EARLY_RETRY: Duration = Duration::from_mins(1);
/// How long a running request may take once the process ends. Then it is given up, and the next
/// process sends the event again: a slow receiver must not keep a process from storing consents.
const END_GRACE: Duration = Duration::from_secs(2);
/// Shortest time between two log lines about a receiver that fails.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// State of a receiver in this process.
#[derive(Default)]
pub(super) struct Receiver {
    /// Whether a task is sending to it.
    is_busy: bool,
    /// Whether something was found due meanwhile.
    has_more: bool,
    /// Whether it has answered 410.
    is_gone: bool,
    last_success: Option<Time>,
    /// Events whose attempts were used up since the log last said so.
    parked: usize,
    /// When the log last said that it fails; `None`: it does not.
    logged: Option<Instant>,
}

/// Queues to look after, by the latest look.
struct Agenda {
    /// Users whose queue of a webhook may have something to send.
    due: HashMap<String, Vec<Caller>>,
    /// Time until the next look.
    wait: Duration,
}

impl Webhooks {
    /// Sends events until `end`, then returns when the running requests have ended.
    pub async fn deliver(&self, end: CancellationToken) {
        if self.all().is_empty() {
            return;
        }
        self.warn_of_secrets().await;
        let tasks = TaskTracker::new();
        let mut is_store_failing = false;
        while !end.is_cancelled() {
            let began = Instant::now();
            let looked = self.look().await;
            let rest = began.elapsed() * LOOK_REST;
            if let (Err(error), false) = (&looked, is_store_failing) {
                tracing::warn!(%error, hint = error.hint(), "the events of webhooks cannot be looked up");
            }
            is_store_failing = looked.is_err();
            let agenda = looked.unwrap_or(Agenda { due: HashMap::new(), wait: MAX_SLEEP });
            for (name, due) in agenda.due {
                self.begin(&name, due, &tasks, &end);
            }
            tokio::select! {
                () = end.cancelled() => {}
                () = tokio::time::sleep(agenda.wait) => {}
                () = self.0.outbox.changed() => {}
            }
            tokio::select! {
                () = end.cancelled() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Logs which webhooks have no usable secret, while the operator is present.
    async fn warn_of_secrets(&self) {
        for webhook in self.all() {
            if let Err(problem) = self.keys(webhook).await {
                tracing::error!(webhook = webhook.name, "events will wait: {problem}");
            }
        }
    }

    async fn look(&self) -> Result<Agenda, StoreError> {
        let store = self.0.parts.store.get().await?;
        let mut agenda = Agenda { due: HashMap::new(), wait: MAX_SLEEP };
        for webhook in self.all() {
            let (now, mut count, mut due) = (self.0.parts.clock.now(), 0, Vec::new());
            let look = |queue: &WebhookQueue| {
                count += 1;
                // The record may be of another application, whose webhook had this name.
                if queue.events.is_empty() || !webhook.is_for(&queue.caller) {
                    return;
                }
                let wait = if !self.is_due(webhook, queue, now) {
                    queue.due.since(now)
                } else if queue.next().is_none() {
                    UNCERTAIN_SLEEP
                } else {
                    MAX_SLEEP
                };
                agenda.wait = agenda.wait.min(wait);
                if self.is_due(webhook, queue, now) {
                    due.push(queue.caller.clone());
                }
            };
            store.for_each_webhook_queue(Some(&webhook.name), look).await?;
            self.0.outbox.set_count(&webhook.name, count);
            let is_idle = self.with_receiver(webhook, |it| {
                it.has_more = it.is_busy && !due.is_empty();
                !it.is_busy && !it.is_gone
            });
            if is_idle && !due.is_empty() {
                agenda.due.insert(webhook.name.clone(), due);
            }
        }
        agenda.wait = agenda.wait.max(MIN_SLEEP);
        Ok(agenda)
    }

    /// Whether the first event of a queue may be sent. A receiver that has taken an event some time
    /// after the failure is back, and gets the others at once.
    fn is_due(&self, webhook: &Webhook, queue: &WebhookQueue, now: Time) -> bool {
        let is_back = || {
            let last_success = self.with_receiver(webhook, |it| it.last_success);
            let failure = queue.failure.as_ref().zip(last_success);
            // One in the future was noted while the clock was wrong, and would hold for as long.
            failure.is_some_and(|(failure, success)| {
                success <= now && success >= failure.at.after(MIN_EARLY_RETRY)
            })
        };
        queue.due <= now || queue.is_due_wrong(now) || is_back()
    }

    /// Begins to send to a receiver.
    fn begin(&self, name: &str, due: Vec<Caller>, tasks: &TaskTracker, end: &CancellationToken) {
        let Some(webhook) = self.all().iter().find(|webhook| webhook.name == name) else { return };
        self.with_receiver(webhook, |it| it.is_busy = true);
        let (webhooks, webhook, end) = (self.clone(), webhook.clone(), end.clone());
        tasks.spawn(async move {
            let sending = webhooks.clone();
            let of_task = webhook.clone();
            // A task of its own: after a panic, too, the receiver is not busy any more.
            let sent = tokio::spawn(async move { sending.send_due(&of_task, due, &end).await });
            let has_sent = sent.await.unwrap_or(false);
            let has_more = webhooks.with_receiver(&webhook, |it| {
                it.is_busy = false;
                std::mem::take(&mut it.has_more)
            });
            if has_sent || has_more {
                webhooks.0.outbox.notify();
            }
        });
    }

    /// Sends what is due to a receiver. Returns whether anything was sent.
    async fn send_due(&self, webhook: &Webhook, due: Vec<Caller>, end: &CancellationToken) -> bool {
        let keys = match self.keys(webhook).await {
            Ok(keys) => keys,
            Err(problem) => {
                self.log_failing(webhook, || {
                    tracing::error!(webhook = webhook.name, "events wait: {problem}");
                });
                return false;
            }
        };
        let sent = stream::iter(due).map(|caller| {
            let keys = &keys;
            async move {
                if end.is_cancelled() || self.with_receiver(webhook, |it| it.is_gone) {
                    return false;
                }
                let sent = self.send_queue(webhook, &caller, keys, end).await;
                sent.unwrap_or_else(|error| {
                    self.log_failing(webhook, || {
                        tracing::warn!(webhook = webhook.name, %error, hint = error.hint(), "an event was not sent");
                    });
                    false
                })
            }
        });
        let sent = sent.buffer_unordered(MAX_REQUESTS_PER_RECEIVER);
        let has_sent = sent.fold(false, async |any, one| any || one).await;
        self.log_parked(webhook);
        has_sent
    }

    /// Sends the events of one user until one fails. Returns whether anything was sent.
    async fn send_queue(
        &self,
        webhook: &Webhook,
        caller: &Caller,
        keys: &SigningKeys,
        end: &CancellationToken,
    ) -> Result<bool, StoreError> {
        let is_due =
            |queue: &WebhookQueue, now| webhook.is_for(caller) && self.is_due(webhook, queue, now);
        let mut queue = self.claim(&webhook.name, caller, is_due).await?;
        let mut has_sent = false;
        while let Some(event) = queue.as_ref().and_then(|queue| queue.next().cloned()) {
            let Some(claim) = queue.and_then(|queue| queue.claim) else { break };
            if end.is_cancelled() {
                self.release(webhook, caller, &claim).await?;
                break;
            }
            if !webhook.events.contains(&event.change) {
                queue = self.finish(webhook, caller, &event, &claim).await?;
                continue;
            }
            has_sent = true;
            let sent = tokio::select! {
                sent = self.send(webhook, caller, &event, keys) => sent,
                () = until_end(end) => {
                    self.release(webhook, caller, &claim).await?;
                    break;
                }
            };
            queue = self.note(webhook, caller, (&event, &claim), sent).await?;
        }
        Ok(has_sent)
    }

    async fn send(
        &self,
        webhook: &Webhook,
        caller: &Caller,
        event: &QueuedEvent,
        keys: &SigningKeys,
    ) -> Result<(), NotDelivered> {
        let body = payload(event.change, event.at, &caller.user, &event.facts);
        let request = WebhookRequest {
            url: &webhook.url,
            id: &event.id,
            at: self.0.parts.clock.now(),
            body: body.to_string().into_bytes(),
            keys,
        };
        self.0.parts.upstream.send_webhook(request).await
    }

    /// Records what an attempt came to. Returns the queue if its next event is to be sent.
    async fn note(
        &self,
        webhook: &Webhook,
        caller: &Caller,
        (event, claim): (&QueuedEvent, &Claim),
        sent: Result<(), NotDelivered>,
    ) -> Result<Option<WebhookQueue>, StoreError> {
        let now = self.0.parts.clock.now();
        let Err(error) = sent else {
            self.record(caller, event, WebhookOutcome::Delivered);
            self.log_success(webhook, now);
            return self.finish(webhook, caller, event, claim).await;
        };
        if error == NotDelivered::Gone {
            tracing::warn!(
                webhook = webhook.name,
                hint = error.hint(),
                "the receiver answered 410 (Gone), and is sent nothing more until this server is restarted"
            );
            self.with_receiver(webhook, |it| it.is_gone = true);
            self.release(webhook, caller, claim).await?;
            return Ok(None);
        }
        self.log_failing(webhook, || {
            tracing::warn!(webhook = webhook.name, %error, hint = error.hint(), "the receiver has not taken an event; it is sent again");
        });
        let failure = LastFailure { at: now, why: error.to_string() };
        let [jitter] = random_bytes::<1>();
        let updated = self.0.outbox.update(&webhook.name, caller, |queue| {
            if queue.claim.as_ref() != Some(claim) {
                return false;
            }
            queue.claim = None;
            queue.fail(&event.id, failure.clone(), error.retry_after(), jitter)
        });
        if updated.await? {
            self.record(caller, event, WebhookOutcome::Parked);
            self.with_receiver(webhook, |it| it.parked += 1);
            self.0.outbox.notify();
        }
        Ok(None)
    }

    /// Removes an event from its queue, and keeps the queue claimed if another one can be sent and
    /// the claim still holds: after a suspension, another process may be sending.
    async fn finish(
        &self,
        webhook: &Webhook,
        caller: &Caller,
        event: &QueuedEvent,
        claim: &Claim,
    ) -> Result<Option<WebhookQueue>, StoreError> {
        let since = self.0.parts.clock.now();
        self.0
            .outbox
            .update(&webhook.name, caller, |queue| {
                queue.remove(&event.id);
                if queue.claim.as_ref() != Some(claim) {
                    return None;
                }
                let next = Claim { by: claim.by.clone(), since };
                queue.claim = queue.next().is_some().then_some(next);
                queue.claim.is_some().then(|| queue.clone())
            })
            .await
    }

    async fn release(
        &self,
        webhook: &Webhook,
        caller: &Caller,
        claim: &Claim,
    ) -> Result<(), StoreError> {
        let released = self.0.outbox.update(&webhook.name, caller, |queue| {
            queue.claim.take_if(|held| held == claim);
        });
        released.await
    }

    fn record(&self, caller: &Caller, event: &QueuedEvent, outcome: WebhookOutcome) {
        let kind = EventKind::Webhook(outcome);
        self.0.events.record(&Event::new(kind).of(caller).at(&event.facts.provider));
    }

    fn with_receiver<T>(&self, webhook: &Webhook, act: impl FnOnce(&mut Receiver) -> T) -> T {
        act(self.0.receivers.lock().entry(webhook.name.clone()).or_default())
    }

    fn log_success(&self, webhook: &Webhook, now: Time) {
        let was_failing = self.with_receiver(webhook, |it| {
            it.last_success = Some(now);
            it.logged.take().is_some()
        });
        if was_failing {
            tracing::info!(webhook = webhook.name, "the receiver takes events again");
        }
    }

    /// Logs that a receiver fails, once a minute.
    fn log_failing(&self, webhook: &Webhook, log: impl FnOnce()) {
        let is_said = self.with_receiver(webhook, |it| {
            let now = Instant::now();
            let is_said = it.logged.is_none_or(|last| now.duration_since(last) >= LOG_INTERVAL);
            if is_said {
                it.logged = Some(now);
            }
            is_said
        });
        if is_said {
            log();
        }
    }

    fn log_parked(&self, webhook: &Webhook) {
        let parked = self.with_receiver(webhook, |it| std::mem::take(&mut it.parked));
        if parked > 0 {
            tracing::warn!(
                webhook = webhook.name,
                parked,
                "events were not delivered in three days and are parked; `countersign webhooks replay` sends them again"
            );
        }
    }
}

/// Returns when requests are given up because the process ends.
async fn until_end(end: &CancellationToken) {
    end.cancelled().await;
    tokio::time::sleep(END_GRACE).await;
}
