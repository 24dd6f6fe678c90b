//! Consents that a provider has granted and the store could not keep, because its disk was full.
//!
//! The code that bought them is spent (RFC 6749 §4.1.2), so the tokens here are all there is of the
//! consent. They are held until there is room, as renewed tokens are: the store is tried again now
//! and then, at the next call, and when the server ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use super::connect::End;
use super::keeping::Put;
use super::{Broker, renewal};
use crate::model::authorization::Way;
use crate::model::event::ConsentOutcome;
use crate::model::{Authorization, Grant};
use crate::store::StoreError;

/// How often the store is tried again: a call may be a long time coming.
const PAUSE: Duration = Duration::from_secs(2);
const MOST_TRIES_LATER: u32 = 300;
/// How long the end of the process waits for room, and how often it looks. Container runtimes kill ten
/// seconds after the signal.
const LAST_SAVES: Duration = Duration::from_secs(6);
const LAST_PAUSE: Duration = Duration::from_millis(250);

/// What came of an authorization.
pub(super) struct Granted {
    pub(super) authorization: Authorization,
    pub(super) grant: Grant,
    /// Whether the person has said that they mean this account, if it is another one than before.
    pub(super) is_meant: bool,
    /// Fingerprint of the browser that brought it, where the application has to confirm that first.
    pub(super) unclaimed_by: Option<String>,
}

/// The consents held, by the account that they are for. Whoever keeps one has it locked, so that a
/// call that comes meanwhile does not ask for another.
#[derive(Default)]
pub(super) struct Unkept(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Granted>>>>>);

impl Unkept {
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl Broker {
    /// Makes a consent durable, and only then tells whoever waits for it. False: the person is to
    /// say first whether they mean another account than before.
    pub(super) async fn write_down(&self, granted: &Granted) -> Result<bool, StoreError> {
        self.write(granted, |_| false).await
    }

    /// Holds a consent that the store could not keep.
    pub(super) fn hold(&self, granted: Granted) {
        let name = granted.name();
        tracing::error!(provider = %granted.grant.provider, "a consent is held until the store has room");
        self.record_consent(&granted.authorization, ConsentOutcome::Unsaved);
        let held = Arc::new(tokio::sync::Mutex::new(Some(granted)));
        self.0.unkept.0.lock().insert(name.clone(), held);
        self.say_what_is_held();
        let broker = self.clone();
        tokio::spawn(async move {
            for _ in 0..MOST_TRIES_LATER {
                tokio::time::sleep(PAUSE).await;
                if broker.keep_held(&name).await.is_ok() {
                    return;
                }
            }
        });
    }

    /// Keeps what is held for an account, if anything is.
    pub(super) async fn keep_held(&self, name: &str) -> Result<(), StoreError> {
        let Some(held) = self.0.unkept.0.lock().get(name).cloned() else { return Ok(()) };
        let mut consent = held.lock().await;
        if let Some(found) = &*consent {
            // It may have been written just before that failed, and renewed since; and whoever has
            // consented once more has done so knowing of this one's failure.
            let is_settled = |there: &Grant| there.connected_at >= found.grant.connected_at;
            self.write(found, is_settled).await?;
            *consent = None;
        }
        self.0.unkept.0.lock().retain(|_, other| !Arc::ptr_eq(other, &held));
        Ok(())
    }

    /// Tries once more to keep what is held, up to the first that fails again.
    async fn keep_all_held(&self) {
        let names: Vec<String> = self.0.unkept.0.lock().keys().cloned().collect();
        for name in names {
            if self.keep_held(&name).await.is_err() {
                break;
            }
        }
    }

    /// Consents that are held in memory, new and renewed ones.
    fn held(&self) -> usize {
        self.0.unkept.0.lock().len() + self.unsaved()
    }

    /// Says what a restart would cost, since an operator may restart precisely because the store fails.
    pub(super) fn say_what_is_held(&self) {
        let held = self.held();
        if held > 0 && self.0.held_said.swap(held, Ordering::Relaxed) < held {
            tracing::error!(
                held,
                "consents are held in memory until the store has room; do not end this process before: their users would have to consent again"
            );
        }
    }

    /// Tries for [`LAST_SAVES`] to keep what is held in memory, with the room that the reserve gives.
    pub(super) async fn save_before_the_end(&self) {
        self.save_the_unsaved().await;
        self.keep_all_held().await;
        let held = self.held();
        if held == 0 {
            return;
        }
        tracing::error!(
            held,
            "consents are held in memory and the store has no room for them; trying for {LAST_SAVES:?}: free some space now, or their users must consent again"
        );
        if let Ok(store) = self.store().await {
            store.release_reserve().await;
        }
        let end = tokio::time::Instant::now() + LAST_SAVES;
        loop {
            self.save_the_unsaved().await;
            self.keep_all_held().await;
            if self.held() == 0 {
                tracing::info!("all consents that were held in memory are kept");
                return;
            }
            if tokio::time::Instant::now() >= end {
                break;
            }
            tokio::time::sleep(LAST_PAUSE).await;
        }
        self.lose_the_unsaved();
        let lost: Vec<_> = self.0.unkept.0.lock().drain().map(|(_, held)| held).collect();
        for held in lost {
            if let Some(granted) = &*held.lock().await {
                self.record_consent(&granted.authorization, ConsentOutcome::Lost);
                tracing::error!(provider = %granted.grant.provider, "a consent is lost");
            }
        }
    }

    /// Writes the grant over whatever stands there, unless that `is_settled`: a renewal of the old
    /// grant may come in between, and the new consent is the one that counts.
    async fn write(
        &self,
        Granted { authorization, grant, is_meant, unclaimed_by }: &Granted,
        is_settled: impl Fn(&Grant) -> bool,
    ) -> Result<bool, StoreError> {
        if let Some(browser) = unclaimed_by {
            Box::pin(self.write_unclaimed(authorization, grant, browser)).await?;
            return Ok(false);
        }
        let caller = &authorization.caller;
        let put = self.put_unless(caller, grant, *is_meant, is_settled).await?;
        let begun_at = authorization.created_at;
        if Box::pin(self.drop_if_cut_off(caller, grant, begun_at)).await? {
            if matches!(put, Put::OtherAccount(_)) {
                self.end_candidate(authorization, grant).await;
            }
            return Ok(false);
        }
        let end = match put {
            Put::OtherAccount(before) => {
                End::OtherAccount { before, candidate: Box::new(grant.clone()) }
            }
            Put::Kept(kept) => End::Completed(self.told(&kept, &authorization.trip.token_facts())),
        };
        let is_kept = matches!(end, End::Completed(_));
        self.conclude(authorization, end).await?;
        // After it is written beside the link, so that either this finds the end of the user's access or
        // that finds the candidate.
        if !is_kept && self.store().await?.is_cut_off(caller, begun_at).await? {
            self.end_candidate(authorization, grant).await;
            return Ok(false);
        }
        let outcome =
            if is_kept { ConsentOutcome::Connected } else { ConsentOutcome::OtherAccount };
        self.record_consent(authorization, outcome);
        Ok(is_kept)
    }

    /// Ends the consent of another account than before at the provider.
    async fn end_candidate(&self, authorization: &Authorization, candidate: &Grant) {
        if let Way::Code(trip) = &authorization.trip.way {
            Box::pin(self.end_there(&trip.client, candidate)).await;
        }
    }
}

impl Granted {
    fn name(&self) -> String {
        let Authorization { caller, provider, account, binding, .. } = &self.authorization;
        let name = renewal::name(caller, provider, &binding.fingerprint(), account);
        match &self.unclaimed_by {
            Some(browser) => format!("{name} {browser}"),
            None => name,
        }
    }
}
