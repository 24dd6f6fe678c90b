//! Renewals that the store could not keep, because its disk was full. They stay in memory until
//! there is room: the store is tried again periodically, at the next call, and when the server ends.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::Grants;
use super::refresh::{Outcome, Refresh, Unsaved};
use crate::broker::{Connection, MAX_WRITE_ATTEMPTS};
use crate::model::event::{EndedBy, EventKind, RenewalOutcome};
use crate::model::{Grant, TokenSet, secret};
use crate::store::StoreError;

/// Pause between background retries of the store for tokens that it could not keep.
const SAVE_RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Failed saves after which the background retries stop.
const MAX_SAVES: u32 = 300;

impl Unsaved {
    /// Merges this renewal into a newer consent that kept the refresh token which the renewal has
    /// sent ([`Grant::over`]): the consent gets the refresh token that came back. `None`: the
    /// consent has another refresh token, and stays as it is.
    fn merged(&self, there: &Grant) -> Option<Grant> {
        let (sent, brought) = (&self.over.value.tokens.refresh, &self.renewed.tokens);
        let is_settled = there.attempt.is_none()
            && same_secret(there.tokens.refresh.as_ref(), brought.refresh.as_ref());
        if is_settled || !same_secret(there.tokens.refresh.as_ref(), sent.as_ref()) {
            return None;
        }
        let tokens = TokenSet {
            refresh: brought.refresh.clone(),
            refresh_expires_at: brought.refresh_expires_at,
            ..there.tokens.clone()
        };
        Some(Grant { tokens, attempt: None, ..there.clone() })
    }

    /// Whether the store is tried again in the background.
    pub(super) fn is_tried_again(&self) -> bool {
        self.saves < MAX_SAVES
    }
}

impl Grants {
    /// Makes a renewal durable before use: a rotated refresh token that exists only in memory is
    /// lost with the process, and the consent with it.
    pub(super) async fn save(self, mut unsaved: Unsaved) -> Outcome {
        let kept = async {
            let grants = &self.0.table;
            if grants.replace(unsaved.renewed.clone(), &unsaved.over).await?.is_some() {
                return Ok(false);
            }
            for _ in 0..MAX_WRITE_ATTEMPTS {
                // The present grant counts: a newer consent, or what we wrote ourselves just before
                // a flush failed. If there is none, the user has disconnected in the meantime.
                let Some(there) = self.record_of(&unsaved.connection).await? else {
                    return Ok(true);
                };
                let Some(merged) = unsaved.merged(&there.value) else { return Ok(false) };
                if grants.replace(merged, &there).await?.is_some() {
                    return Ok(false);
                }
            }
            Err::<_, StoreError>(StoreError::Contended)
        };
        let Connection { caller, provider, .. } = &unsaved.connection;
        let record = |kind| self.record(caller, &provider.id, kind);
        match kept.await {
            Ok(false) => {
                record(EventKind::Renewal(RenewalOutcome::Renewed));
                (Ok(()), None)
            }
            // The account was disconnected before the renewal was stored.
            Ok(true) => {
                let outcome =
                    self.0.clients.revoke(&unsaved.client, &unsaved.renewed).await.outcome();
                record(EventKind::End { by: EndedBy::User, outcome });
                (Ok(()), None)
            }
            Err(error) => {
                if unsaved.saves == 0 {
                    record(EventKind::Renewal(RenewalOutcome::Unsaved));
                }
                unsaved.saves += 1;
                (Err(error.into()), Some(Refresh::Unsaved(Box::new(unsaved))))
            }
        }
    }

    /// Tries the store again after a pause, since the next call may be a long time coming.
    pub(super) async fn save_in_time(self, name: String) {
        tokio::time::sleep(SAVE_RETRY_INTERVAL).await;
        let mut refreshes = self.0.refreshes.0.lock();
        match refreshes.remove(&name) {
            Some(Refresh::Unsaved(unsaved)) => {
                let result = self.start(name.clone(), |grants| grants.save(*unsaved));
                refreshes.insert(name, Refresh::Running(result));
            }
            Some(other) => {
                refreshes.insert(name, other);
            }
            None => {}
        }
    }

    /// Number of renewals held in memory.
    pub(in crate::broker) fn unsaved(&self) -> usize {
        let refreshes = self.0.refreshes.0.lock();
        refreshes.values().filter(|refresh| matches!(refresh, Refresh::Unsaved(_))).count()
    }

    fn take_unsaved(&self) -> Vec<(String, Unsaved)> {
        let mut refreshes = self.0.refreshes.0.lock();
        let (unsaved, others) = std::mem::take(&mut *refreshes)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, refresh)| matches!(refresh, Refresh::Unsaved(_)));
        refreshes.extend(others);
        unsaved
            .into_iter()
            .filter_map(|(name, refresh)| match refresh {
                Refresh::Unsaved(unsaved) => Some((name, *unsaved)),
                Refresh::Running(_) | Refresh::CoolingDown(_) => None,
            })
            .collect()
    }

    /// Tries again to store what the store could not keep; stops at the first failure.
    pub(in crate::broker) async fn save_the_unsaved(&self) {
        let mut unsaved = self.take_unsaved().into_iter();
        for (name, one) in unsaved.by_ref() {
            if let (_, Some(still)) = self.clone().save(one).await {
                self.0.refreshes.0.lock().insert(name, still);
                break;
            }
        }
        let rest = unsaved.map(|(name, one)| (name, Refresh::Unsaved(Box::new(one))));
        self.0.refreshes.0.lock().extend(rest);
    }

    /// Gives up the renewals that are still not stored, because the process ends.
    pub(in crate::broker) fn lose_the_unsaved(&self) {
        for (_, Unsaved { connection, .. }) in self.take_unsaved() {
            let Connection { caller, provider, .. } = &connection;
            self.record(caller, &provider.id, EventKind::Renewal(RenewalOutcome::Lost));
            tracing::error!(provider = %provider.id, "a renewed consent is lost");
        }
    }
}

pub(super) fn same_secret(one: Option<&SecretString>, other: Option<&SecretString>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => secret::same(one.expose_secret(), other.expose_secret()),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}
