//! The grant as the lease for its own refresh, across processes: the mark on it says which process
//! sends its refresh token.

use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;

use super::Grants;
use super::access::{AccessError, Judgement};
use crate::broker::Connection;
use crate::broker::client::token_endpoints::RefusalKey;
use crate::model::consent_plan::ClientRegistration;
use crate::model::grant::{Attempt, MAX_UNCLEAR_REFUSALS};
use crate::model::{Grant, InstanceId, Scopes, Time};
use crate::store::{Held, StoreError};

/// How long an attempt of another process counts while that process lives. It may hold tokens that
/// a full disk keeps it from storing; sending the spent refresh token would end the grant.
const MAX_LEASE_AGE: Duration = Duration::from_mins(10);
/// How long a call waits for another process's renewal; then it fails.
const MAX_LEASE_WAIT: Duration = Duration::from_secs(30);
/// Poll interval while another process renews a grant. A store does not notify.
const LEASE_POLL_INTERVAL: Duration = Duration::from_millis(25);

impl Grants {
    /// The grant with our attempt on it, durable. `None`: there is nothing left to renew.
    pub(super) async fn marked(
        &self,
        connection: &Connection,
        rejected: Option<&SecretString>,
        is_usable: bool,
    ) -> Result<Option<(Held<Grant>, ClientRegistration)>, AccessError> {
        let provider = &connection.provider.id;
        let store = self.0.store.get().await?;
        let give_up = Instant::now() + MAX_LEASE_WAIT;
        let is_late = || Instant::now() > give_up;
        let elsewhere = || AccessError::Elsewhere { provider: provider.clone() };
        loop {
            // Read anew each time: the grant that a waiting call has read may hold a spent token.
            let held = self.record_of(connection).await?;
            let held = match self.judge(connection, held, (&Scopes::default()).into(), rejected) {
                Judgement::Renew(held) => *held,
                Judgement::Ready(_) | Judgement::Settled(_) => return Ok(None),
            };
            if self.is_taken(&held.value).await? {
                // A call whose token still works does not wait for a better one.
                if is_usable || is_late() {
                    return Err(elsewhere());
                }
                tokio::time::sleep(LEASE_POLL_INTERVAL).await;
                continue;
            }
            let bound = connection.bound.fingerprint.clone();
            let client = RefusalKey::Client(provider.clone(), bound);
            let about = [client, RefusalKey::Account(connection.name())];
            if let Some(source) = self.0.clients.endpoints().refusal(&about, self.0.clock.now()) {
                let refusals = held.value.unclear_refusals + 1;
                if refusals <= MAX_UNCLEAR_REFUSALS {
                    let counted = Grant { unclear_refusals: refusals, ..held.value.clone() };
                    // Another process was faster, and may have renewed it.
                    let noted = self.note_refusal(&connection.caller, counted, &held);
                    if Box::pin(noted).await?.is_none() {
                        if is_late() {
                            return Err(elsewhere());
                        }
                        continue;
                    }
                }
                return Err(AccessError::Refresh { provider: provider.clone(), source, refusals });
            }
            let client = self.0.clients.registration(&connection.provider).await?;
            let before = held.value.attempt.as_ref();
            let attempt = begun(before, store.instance().await?, self.0.clock.now());
            let marked = Grant { attempt: Some(attempt), ..held.value.clone() };
            // `None`: another process, a new consent or a disconnect was faster.
            if let Some(marked) = self.0.table.replace(marked, &held).await? {
                return Ok(Some((marked, client)));
            }
            if is_late() {
                return Err(elsewhere());
            }
        }
    }

    /// Whether another process is renewing this grant.
    async fn is_taken(&self, grant: &Grant) -> Result<bool, StoreError> {
        let Some(attempt) = grant.attempt.as_ref().filter(|attempt| !attempt.is_over) else {
            return Ok(false);
        };
        let store = self.0.store.get().await?;
        // This process runs one refresh per grant, so an unfinished attempt of its own has crashed.
        if attempt.by == store.instance().await? || !store.is_alive(&attempt.by).await? {
            return Ok(false);
        }
        Ok(self.0.clock.now().since(attempt.begun_at) < MAX_LEASE_AGE)
    }

    /// Marks the grant for one more request of the same attempt. `None`: it was replaced in the
    /// meantime.
    pub(super) async fn mark_again(
        &self,
        marked: &Held<Grant>,
        is_lost: bool,
    ) -> Result<Option<Held<Grant>>, StoreError> {
        // A request that was answered does not count.
        let unanswered = unanswered(&marked.value, is_lost) + 1;
        let begun_at = self.0.clock.now();
        let attempt = marked.value.attempt.clone();
        let attempt = attempt.map(|attempt| Attempt { begun_at, unanswered, ..attempt });
        self.0.table.replace(Grant { attempt, ..marked.value.clone() }, marked).await
    }
}

/// An attempt of the process `by`, after the earlier one.
fn begun(before: Option<&Attempt>, by: InstanceId, now: Time) -> Attempt {
    Attempt {
        by,
        begun_at: now,
        unanswered: before.map_or(0, |before| before.unanswered) + 1,
        is_over: false,
        was_broken_off: before.is_some_and(|before| before.was_broken_off || !before.is_over),
    }
}

/// Number of sends of the refresh token without an answer; `is_lost` tells whether the last is one.
pub(super) fn unanswered(marked: &Grant, is_lost: bool) -> u32 {
    let counted = marked.attempt.as_ref().map_or(0, |attempt| attempt.unanswered);
    counted.saturating_sub(u32::from(!is_lost))
}
