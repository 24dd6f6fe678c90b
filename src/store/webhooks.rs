//! Events that wait for the webhooks of applications.

use super::backend::Key;
use super::{Held, Result, Store};
use crate::model::Caller;
use crate::model::webhook_queue::WebhookQueue;

const WEBHOOK: &str = "webhook/";

/// # Errors
/// As the methods of [`Store`] in general.
impl Store {
    /// Returns the queue of a user for a webhook.
    pub async fn webhook_queue(
        &self,
        webhook: &str,
        caller: &Caller,
    ) -> Result<Option<Held<WebhookQueue>>> {
        self.read(self.webhook_key(webhook, caller)).await
    }

    /// Calls `each` with every queue of a webhook, or of all.
    pub async fn for_each_webhook_queue(
        &self,
        webhook: Option<&str>,
        mut each: impl FnMut(&WebhookQueue),
    ) -> Result<()> {
        let prefix = webhook.map_or_else(|| WEBHOOK.to_owned(), |it| self.webhook_prefix(it));
        let mut pages = self.opened::<WebhookQueue>(&prefix);
        while let Some(page) = pages.next().await? {
            for held in &page {
                each(&held.value);
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Stores a queue in place of `over` (`None`: where there is none). False if another writer was
    /// faster.
    pub(super) async fn put_webhook_queue(
        &self,
        queue: &WebhookQueue,
        over: Option<&Held<WebhookQueue>>,
    ) -> Result<bool> {
        let key = self.webhook_key(&queue.webhook, &queue.caller);
        self.write_of(&key, queue, over, Some(&queue.caller)).await
    }

    fn webhook_prefix(&self, webhook: &str) -> String {
        format!("{WEBHOOK}{}/", self.ring.hash("webhook", &[webhook]))
    }

    fn webhook_key(&self, webhook: &str, caller: &Caller) -> Key {
        Key::new(format!("{}{}", self.webhook_prefix(webhook), self.user(caller)))
    }
}
