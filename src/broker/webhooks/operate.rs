//! Operators' view of webhooks: what waits, a test, and another attempt.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::time::Instant;

use super::Webhooks;
use crate::model::secret::random_ticket;
use crate::model::text::nearest;
use crate::model::time::utc;
use crate::model::webhook::Webhook;
use crate::model::webhook_queue::{LastFailure, WebhookQueue};
use crate::model::{Caller, Time, UserId};
use crate::store::StoreError;
use crate::upstream::webhook::{NotDelivered, WebhookRequest};

/// Type of the event that [`Webhooks::test`] sends.
const TEST_EVENT: &str = "webhook.test";

/// A webhook and what waits for it.
#[derive(Clone, Debug)]
pub struct WebhookStatus {
    pub name: String,
    /// `None`: `tools.toml` has no such webhook any more.
    pub webhook: Option<Webhook>,
    /// Events that wait, parked ones not included.
    pub waiting: usize,
    /// Events whose attempts are used up.
    pub parked: usize,
    /// Users whose events wait or are parked.
    pub users: usize,
    /// Users whose next event the receiver has not taken at the last attempt.
    pub failing: usize,
    /// Users whose events wait for another application: the webhook had another `key` when they
    /// were stored. They are not sent.
    pub others: usize,
    /// Time of the oldest event.
    pub oldest: Option<Time>,
    /// Earliest time of the next attempt, if an attempt has failed.
    pub next_attempt: Option<Time>,
    pub last_failure: Option<LastFailure>,
}

/// Events that are sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Events that were parked.
    pub parked: usize,
    /// Events that waited for their next attempt.
    pub waiting: usize,
}

/// Failure of [`Webhooks::test`] or [`Webhooks::replay`].
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("there is no webhook `{name}` in tools.toml")]
    Unknown { name: String, near: Option<String> },
    #[error("the requests of `{name}` cannot be signed: {problem}")]
    NoKeys { name: String, problem: String },
    #[error("`{name}` has not taken the test event: {source}")]
    NotDelivered { name: String, source: NotDelivered },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WebhookError {
    /// Advice that completes the error message, as a lower-case fragment.
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { near: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::Unknown { near: None, .. } => {
                "`countersign webhooks list` shows the names".into()
            }
            Self::NoKeys { .. } => {
                "let `secret` lead to `whsec_` followed by what `openssl rand -base64 32` prints"
                    .into()
            }
            Self::NotDelivered { source, .. } => source.hint().into(),
            Self::Store(error) => error.hint(),
        }
    }
}

impl WebhookStatus {
    fn new(name: &str, webhook: Option<&Webhook>) -> Self {
        Self {
            name: name.to_owned(),
            webhook: webhook.cloned(),
            waiting: 0,
            parked: 0,
            users: 0,
            failing: 0,
            others: 0,
            oldest: None,
            next_attempt: None,
            last_failure: None,
        }
    }

    fn add(&mut self, queue: &WebhookQueue) {
        self.waiting += queue.events.len();
        self.parked += queue.parked.len();
        self.users += 1;
        let is_others = self.webhook.as_ref().is_some_and(|it| !it.is_for(&queue.caller));
        self.others += usize::from(is_others);
        let oldest = queue.events.iter().chain(&queue.parked).map(|event| event.at).min();
        self.oldest = self.oldest.into_iter().chain(oldest).min();
        if let Some(failure) = &queue.failure {
            self.failing += 1;
            self.next_attempt = self.next_attempt.into_iter().chain([queue.due]).min();
            if self.last_failure.as_ref().is_none_or(|last| last.at < failure.at) {
                self.last_failure = Some(failure.clone());
            }
        }
    }
}

impl Webhooks {
    /// Returns every webhook of `tools.toml`, and every other one for which events wait, by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<Vec<WebhookStatus>, StoreError> {
        let all = self.all().iter();
        let mut found: BTreeMap<String, WebhookStatus> = all
            .map(|webhook| (webhook.name.clone(), WebhookStatus::new(&webhook.name, Some(webhook))))
            .collect();
        let look = |queue: &WebhookQueue| {
            let status = found.entry(queue.webhook.clone());
            status.or_insert_with_key(|name| WebhookStatus::new(name, None)).add(queue);
        };
        let looked = match self.0.parts.store.get().await {
            Ok(store) => store.for_each_webhook_queue(None, look).await,
            Err(error) => Err(error),
        };
        match looked {
            Ok(()) | Err(StoreError::Empty) => Ok(found.into_values().collect()),
            Err(error) => Err(error),
        }
    }

    /// Makes all events of a webhook due, the parked ones first; with `user`, only that user's.
    /// Another process that sends them looks at them within half a minute.
    ///
    /// # Errors
    /// [`WebhookError::Unknown`], [`WebhookError::Store`]
    pub async fn replay(
        &self,
        name: &str,
        user: Option<&UserId>,
    ) -> Result<Replayed, WebhookError> {
        let webhook = self.named(name)?;
        let mut callers: Vec<Caller> = Vec::new();
        let look = |queue: &WebhookQueue| {
            if user.is_none_or(|user| queue.caller.user == *user) {
                callers.push(queue.caller.clone());
            }
        };
        let store = self.0.parts.store.get().await?;
        store.for_each_webhook_queue(Some(&webhook.name), look).await?;
        let mut replayed = Replayed::default();
        for caller in callers {
            let updated = self.0.outbox.update(&webhook.name, &caller, |queue| {
                let waiting = queue.events.len();
                (queue.replay(), waiting)
            });
            let (parked, waiting) = updated.await?;
            replayed.parked += parked;
            replayed.waiting += waiting;
        }
        self.0.outbox.notify();
        Ok(replayed)
    }

    /// Sends a test event to the receiver, past the queues. Returns the time until its answer.
    ///
    /// # Errors
    /// [`WebhookError`]
    pub async fn test(&self, name: &str) -> Result<Duration, WebhookError> {
        let webhook = self.named(name)?;
        let keys = self.keys(webhook).await;
        let keys =
            keys.map_err(|problem| WebhookError::NoKeys { name: name.to_owned(), problem })?;
        let at = self.0.parts.clock.now();
        let body = json!({ "type": TEST_EVENT, "timestamp": utc(at), "data": {} });
        let id = format!("msg_{}", random_ticket().expose_secret());
        let body = body.to_string().into_bytes();
        let request = WebhookRequest { url: &webhook.url, id: &id, at, body, keys: &keys };
        let began = Instant::now();
        let sent = self.0.parts.upstream.send_webhook(request).await;
        sent.map_err(|source| WebhookError::NotDelivered { name: name.to_owned(), source })?;
        Ok(began.elapsed())
    }

    fn named(&self, name: &str) -> Result<&Webhook, WebhookError> {
        let found = self.all().iter().find(|webhook| webhook.name == name);
        found.ok_or_else(|| {
            let names = self.all().iter().map(|webhook| webhook.name.as_str());
            WebhookError::Unknown {
                name: name.to_owned(),
                near: nearest(name, names).map(str::to_owned),
            }
        })
    }
}
