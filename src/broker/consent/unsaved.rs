//! Consents that a provider has granted and the store could not keep, because its disk was full.
//!
//! The code that bought them is spent (RFC 6749 §4.1.2), so these tokens are the only copy of the
//! consent. Like renewed tokens, they stay in memory until there is room: the store is tried again
//! periodically, at the next call, and when the server ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Consents;
use crate::broker::grant::put::{AccountChange, Put, Replaces};
use crate::broker::grant::refresh;
use crate::model::authorization::ConnectLink;
use crate::model::consent_plan::ConsentMethod;
use crate::model::event::ConsentOutcome;
use crate::model::{Authorization, Grant};
use crate::store::StoreError;

/// Pause between retries of the store. They run in the background: the next call may be a long time
/// coming.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Background retries per consent; after that, only a call or the end of the process tries again.
const MAX_RETRIES: u32 = 300;
/// How long the ending process waits for room. Container runtimes kill it ten seconds after the
/// signal.
const FINAL_SAVE_TIMEOUT: Duration = Duration::from_secs(6);
/// Pause between retries while the process ends.
const FINAL_RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// A consent that the provider has granted, to be made durable.
pub(super) struct Granted {
    pub(super) authorization: Authorization,
    pub(super) grant: Grant,
    pub(super) change: AccountChange,
    /// Fingerprint of the browser that brought it, if the application must confirm that browser
    /// first.
    pub(super) unclaimed_by: Option<String>,
}

/// Consents held in memory.
#[derive(Default)]
pub(in crate::broker) struct Unsaved {
    /// By the account that they are for. A consent is locked while it is being stored, so that a
    /// call at that moment does not ask for another one.
    consents: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Granted>>>>>,
    /// Number of consents held in memory, new and renewed ones, that the log last reported.
    logged: AtomicUsize,
}

impl Unsaved {
    /// Logs what a restart would cost, with this many renewals held in memory besides: an operator
    /// may restart precisely because the store fails.
    pub(in crate::broker) fn log(&self, renewals: usize) {
        let held = self.consents.lock().len() + renewals;
        if held > 0 && self.logged.swap(held, Ordering::Relaxed) < held {
            tracing::error!(
                held,
                "consents are held in memory until the store has room; do not end this process before: their users would have to consent again"
            );
        }
    }
}

impl Consents {
    /// Makes a consent durable and only then notifies its waiters. Returns false if it has not
    /// become an account: the user or the application must confirm it first, or the user's access
    /// was ended.
    pub(super) async fn write_down(&self, granted: &Granted) -> Result<bool, StoreError> {
        self.write(granted, Replaces::Any).await
    }

    /// Holds a consent in memory that the store could not keep, and retries in the background.
    pub(super) fn save_later(&self, granted: Granted) {
        let name = granted.name();
        tracing::error!(provider = %granted.grant.provider, "a consent is held until the store has room");
        self.record(&granted.authorization, ConsentOutcome::Unsaved);
        let held = Arc::new(tokio::sync::Mutex::new(Some(granted)));
        self.0.unsaved.consents.lock().insert(name.clone(), held);
        self.0.unsaved.log(self.0.grants.unsaved());
        let consents = self.clone();
        tokio::spawn(async move {
            for _ in 0..MAX_RETRIES {
                tokio::time::sleep(RETRY_INTERVAL).await;
                if consents.retry_save(&name).await.is_ok() {
                    return;
                }
            }
        });
    }

    /// Stores the consent held for an account, if there is one.
    pub(in crate::broker) async fn retry_save(&self, name: &str) -> Result<(), StoreError> {
        let Some(held) = self.0.unsaved.consents.lock().get(name).cloned() else { return Ok(()) };
        let mut consent = held.lock().await;
        if let Some(found) = &*consent {
            // The failed write may have reached the store, and the grant may have been renewed
            // since.
            self.write(found, Replaces::Older).await?;
            *consent = None;
        }
        self.0.unsaved.consents.lock().retain(|_, other| !Arc::ptr_eq(other, &held));
        Ok(())
    }

    /// Tries again to store the held consents; stops at the first failure.
    async fn retry_all_saves(&self) {
        let names: Vec<String> = self.0.unsaved.consents.lock().keys().cloned().collect();
        for name in names {
            if self.retry_save(&name).await.is_err() {
                break;
            }
        }
    }

    /// Whether a consent waits for room in the store.
    pub(in crate::broker) fn has_unsaved(&self) -> bool {
        !self.0.unsaved.consents.lock().is_empty()
    }

    /// Number of consents held in memory, new and renewed ones.
    fn unsaved_count(&self) -> usize {
        self.0.unsaved.consents.lock().len() + self.0.grants.unsaved()
    }

    /// Tries for [`FINAL_SAVE_TIMEOUT`] to store what is held in memory, in the space that the reserve
    /// frees.
    pub(in crate::broker) async fn save_before_the_end(&self) {
        self.0.grants.save_the_unsaved().await;
        self.retry_all_saves().await;
        let held = self.unsaved_count();
        if held == 0 {
            return;
        }
        tracing::error!(
            held,
            "consents are held in memory and the store has no room for them; trying for {FINAL_SAVE_TIMEOUT:?}: free some space now, or their users must consent again"
        );
        if let Ok(store) = self.store().await {
            store.release_reserve().await;
        }
        let end = tokio::time::Instant::now() + FINAL_SAVE_TIMEOUT;
        loop {
            self.0.grants.save_the_unsaved().await;
            self.retry_all_saves().await;
            if self.unsaved_count() == 0 {
                tracing::info!("all consents that were held in memory are kept");
                return;
            }
            if tokio::time::Instant::now() >= end {
                break;
            }
            tokio::time::sleep(FINAL_RETRY_INTERVAL).await;
        }
        self.0.grants.lose_the_unsaved();
        let lost: Vec<_> = self.0.unsaved.consents.lock().drain().map(|(_, held)| held).collect();
        for held in lost {
            if let Some(granted) = &*held.lock().await {
                self.record(&granted.authorization, ConsentOutcome::Lost);
                tracing::error!(provider = %granted.grant.provider, "a consent is lost");
            }
        }
    }

    /// Writes the grant over the present one, and concludes the authorization.
    async fn write(
        &self,
        Granted { authorization, grant, change, unclaimed_by }: &Granted,
        replaces: Replaces,
    ) -> Result<bool, StoreError> {
        if let Some(browser) = unclaimed_by {
            Box::pin(self.write_unclaimed(authorization, grant, browser)).await?;
            return Ok(false);
        }
        let link = authorization.link();
        let (caller, begun_at) = (&link.caller, link.created_at);
        let put = self.0.grants.put(caller, grant, *change, replaces).await?;
        if Box::pin(self.drop_if_cut_off(caller, grant, begun_at)).await? {
            if matches!(put, Put::OtherAccount(_)) {
                self.end_candidate(authorization, grant).await;
            }
            return Ok(false);
        }
        let now = self.now();
        let before = match put {
            Put::OtherAccount(before) => before,
            Put::Kept(kept) => {
                // A later grant is there, and stays: no record will hold this one.
                if kept.connected_at > grant.connected_at {
                    self.discard(authorization, grant);
                }
                let connected = self.told(&kept, &link.plan.token_facts());
                let complete = |it: Authorization| it.complete(connected.clone(), now);
                self.conclude(authorization, complete).await?;
                self.record(authorization, ConsentOutcome::Connected);
                return Ok(true);
            }
        };
        let ask = |it: Authorization| it.ask_about_account(before.clone(), grant.clone(), now);
        let is_asked = self.conclude(authorization, ask).await?;
        // Checked after the candidate is written to the link: either this sees that the user's
        // access has ended, or ending the access sees the candidate. Also where it was not written:
        // the end of a user's access deletes the link.
        if self.has_ended(caller, &link.provider, begun_at).await? {
            self.end_candidate(authorization, grant).await;
            return Ok(false);
        }
        if !is_asked {
            // The link has connected an account meanwhile, or a newer link has replaced it.
            self.discard(authorization, grant);
            self.record(authorization, ConsentOutcome::PreviousAccountKept);
            return Ok(false);
        }
        self.record(authorization, ConsentOutcome::OtherAccount);
        Ok(false)
    }

    /// Ends the consent for another account than before at the provider.
    async fn end_candidate(&self, authorization: &Authorization, candidate: &Grant) {
        if let ConsentMethod::Code(flow) = &authorization.link().plan.method {
            Box::pin(self.0.clients.revoke(&flow.client, candidate)).await;
        }
    }
}

impl Granted {
    fn name(&self) -> String {
        let ConnectLink { caller, provider, account, binding, .. } = self.authorization.link();
        let name = refresh::name(caller, provider, &binding.fingerprint(), account);
        match &self.unclaimed_by {
            Some(browser) => format!("{name} {browser}"),
            None => name,
        }
    }
}
