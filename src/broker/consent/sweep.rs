//! Deletes what has expired, at once or in the background.

use std::time::Duration;

use parking_lot::Mutex;

use super::Consents;
use crate::model::Time;
use crate::model::authorization::LINK_LIFETIME;
use crate::store::StoreError;

impl Consents {
    /// Deletes what has expired, except grants: see [`Store::sweep`](crate::store::Store::sweep).
    /// Consents that were not claimed in time, or whose question about another account was not
    /// answered in time, also end at the provider.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn delete_expired(&self) -> Result<(), StoreError> {
        let store = self.store().await?;
        let now = self.now();
        *self.0.swept.lock() = Some(now);
        for held in store.forgettable_questions(now).await? {
            if let Some(unanswered) = held.value.state().unanswered()
                && self.0.tables.authorizations.delete(&held).await?
            {
                self.discard(&held.value, unanswered);
            }
        }
        store.sweep(now).await?;
        self.end_unclaimed(now).await
    }

    /// Deletes what has expired in the background: links once per [`LINK_LIFETIME`], grants once a day.
    /// A server that runs for months must not keep every link that was never opened.
    pub(in crate::broker) fn sweep_in_time(&self) {
        let now = self.now();
        let is_due = |swept: &Mutex<Option<Time>>, every| {
            let mut swept = swept.lock();
            let is_due = swept.is_none_or(|last| now.since(last) >= every);
            if is_due {
                *swept = Some(now);
            }
            is_due
        };
        self.0.runs.sweep_in_time();
        let links = is_due(&self.0.swept, LINK_LIFETIME);
        let grants = is_due(&self.0.swept_grants, Duration::from_hours(24));
        if !links && !grants {
            return;
        }
        let consents = self.clone();
        self.0.tasks.spawn(async move {
            let swept = async {
                if links {
                    consents.delete_expired().await?;
                }
                if grants {
                    consents.0.grants.sweep(now).await?;
                }
                Ok::<_, StoreError>(())
            };
            if let Err(error) = swept.await {
                tracing::warn!(%error, "what has expired was not cleared away");
            }
        });
    }
}
