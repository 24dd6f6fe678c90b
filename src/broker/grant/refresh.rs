//! Renews grants: once for all calls and processes, and without ever losing one.
//!
//! Providers that rotate refresh tokens end the whole grant when one is sent twice (RFC 9700
//! §4.14.2), so the sender is settled before the token is sent. Within a process, the calls that
//! find a stale token share one refresh. Across processes, the grant itself is the lease: a process
//! swaps an [`Attempt`](crate::model::grant::Attempt) into it, which only one can do, and makes it
//! durable before the refresh token leaves. If that process dies before it has stored the answer,
//! the mark tells the next one.
//!
//! Effects of an answer:
//!
//! | the token endpoint | the grant | the caller |
//! |---|---|---|
//! | issues | renewed, durable before use | runs |
//! | refuses the refresh token | ended, unless it has been renewed in the meantime | is asked for a consent |
//! | refuses our client | kept; the provider is not asked for a minute | is told that the operator must act |
//! | refuses without a clear reason | kept, and counted | is told so; the third such call in a row is asked for a consent |
//! | 5xx, 408, 429, `temporarily_unavailable`, … | kept; up to three tries, one if trouble is known ([`crate::broker::client::token_endpoints`]) | continues with a token that lives, else is told when to call again |
//! | nothing, or nothing readable, after sending | kept; the same token once more | as above |
//! | cannot be reached | kept | as above |

use std::collections::HashMap;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use secrecy::SecretString;

use super::Grants;
use super::access::AccessError;
use crate::broker::Connection;
use crate::broker::client::token_endpoints::{
    FAILURE_COOL_DOWN, MAX_WAIT_FOR_FAILING_ENDPOINT, is_ahead,
};
use crate::model::consent_plan::ClientRegistration;
use crate::model::{AccountName, Caller, Grant, ProviderId, Time};
use crate::store::Held;

type SharedResult = Shared<BoxFuture<'static, Result<(), AccessError>>>;

/// Renewals in progress: one at a time for each grant. All waiters share its outcome, good or bad.
#[derive(Default)]
pub(super) struct Refreshes(pub(super) Mutex<HashMap<String, Refresh>>);

pub(super) enum Refresh {
    Running(SharedResult),
    /// The token endpoint had trouble; until then, a live token is used without asking again.
    CoolingDown(Time),
    /// Tokens that the provider has issued and the store could not keep. The refresh token that
    /// bought them may be spent, so this is the only copy of the consent.
    Unsaved(Box<Unsaved>),
}

/// A renewal to be stored.
pub(super) struct Unsaved {
    pub(super) connection: Connection,
    pub(super) client: ClientRegistration,
    pub(super) renewed: Grant,
    /// The grant as it stood when the refresh token was sent.
    pub(super) over: Held<Grant>,
    /// Number of failed saves.
    pub(super) saves: u32,
}

/// Outcome of a refresh for its waiters, and the state that it leaves for later calls.
pub(super) type Outcome = (Result<(), AccessError>, Option<Refresh>);

impl Grants {
    /// Joins the renewal of this grant, or begins it. If the present token is good enough
    /// (`is_usable`), an endpoint that has just had trouble is not asked.
    pub(super) async fn renew(
        &self,
        connection: &Connection,
        rejected: Option<&SecretString>,
        is_usable: bool,
    ) -> Result<(), AccessError> {
        let (renewed, rejected) = (connection.clone(), rejected.cloned());
        let refresh =
            |grants: Grants| async move { grants.refresh(renewed, rejected, is_usable).await };
        let provider = &connection.provider.id;
        let trouble = self.0.clients.endpoints().trouble(provider);
        let refresh = self.join_or_start(connection, is_usable, refresh);
        let Some(known) = trouble else { return refresh.await };
        // The renewal itself continues after this timeout, and receives the answer.
        tokio::time::timeout(MAX_WAIT_FOR_FAILING_ENDPOINT, refresh).await.unwrap_or_else(|_| {
            // Other calls may have met another error meanwhile.
            let source = self.0.clients.endpoints().trouble(provider).unwrap_or(known);
            Err(AccessError::Refresh { provider: provider.clone(), source, refusals: 0 })
        })
    }

    /// Joins the request that is running for this grant, or begins `refresh`. If the present token
    /// is good enough (`is_usable`), an endpoint that has just had trouble is not asked.
    pub(super) async fn join_or_start<F: Future<Output = Outcome> + Send + 'static>(
        &self,
        connection: &Connection,
        is_usable: bool,
        refresh: impl FnOnce(Grants) -> F,
    ) -> Result<(), AccessError> {
        // Counted before the check, so that the end of the process waits for what begins here. A
        // refresh that began later would use up the refresh token and have nowhere to store the
        // next one.
        let _counted = self.0.tasks.token();
        if self.0.tasks.is_closed() {
            return Err(AccessError::Ending);
        }
        let name = connection.name();
        let now = self.0.clock.now();
        let result = {
            let mut refreshes = self.0.refreshes.0.lock();
            match refreshes.remove(&name) {
                Some(Refresh::Running(result)) => {
                    refreshes.insert(name, Refresh::Running(result.clone()));
                    result
                }
                Some(Refresh::CoolingDown(until))
                    if is_usable && is_ahead(until, now, FAILURE_COOL_DOWN) =>
                {
                    refreshes.insert(name, Refresh::CoolingDown(until));
                    return Ok(());
                }
                Some(Refresh::Unsaved(unsaved)) => {
                    let result = self.start(name.clone(), |grants| grants.save(*unsaved));
                    refreshes.insert(name, Refresh::Running(result.clone()));
                    result
                }
                Some(Refresh::CoolingDown(_)) | None => {
                    let result = self.start(name.clone(), refresh);
                    refreshes.insert(name, Refresh::Running(result.clone()));
                    result
                }
            }
        };
        result.await
    }

    /// Runs `refresh` in its own task: a caller that gives up before the answer arrives must not
    /// take the new refresh token with it.
    pub(super) fn start<F: Future<Output = Outcome> + Send + 'static>(
        &self,
        name: String,
        refresh: impl FnOnce(Grants) -> F,
    ) -> SharedResult {
        let grants = self.clone();
        let refresh = refresh(self.clone());
        let task = self.0.tasks.spawn(async move {
            let (outcome, after) = refresh.await;
            let is_unsaved =
                matches!(&after, Some(Refresh::Unsaved(unsaved)) if unsaved.is_tried_again());
            {
                let mut refreshes = grants.0.refreshes.0.lock();
                match after {
                    Some(after) => refreshes.insert(name.clone(), after),
                    None => refreshes.remove(&name),
                };
            }
            if is_unsaved {
                (grants.0.log_unsaved)(grants.unsaved());
                tokio::spawn(grants.save_in_time(name));
            }
            outcome
        });
        task.map(|outcome| outcome.unwrap_or(Err(AccessError::Ending))).boxed().shared()
    }

    /// Sends the refresh token, unless another process renews or has renewed the grant.
    async fn refresh(
        self,
        connection: Connection,
        rejected: Option<SecretString>,
        is_usable: bool,
    ) -> Outcome {
        let grants = self.clone();
        let provider = &connection.provider.id;
        let admission = match grants.0.clients.endpoints().admitted(provider).await {
            Ok(admission) => admission,
            Err(source) => {
                let provider = provider.clone();
                return (Err(AccessError::Refresh { provider, source, refusals: 0 }), None);
            }
        };
        match self.marked(&connection, rejected.as_ref(), is_usable).await {
            Ok(Some((marked, client))) => {
                self.send(connection, client, marked, is_usable, admission).await
            }
            Ok(None) => (Ok(()), None),
            Err(error) => (Err(error), None),
        }
    }
}

/// Key of one account in this process. No part of it holds a NUL, so different accounts never share
/// a refresh.
pub(in crate::broker) fn name(
    caller: &Caller,
    provider: &ProviderId,
    identity: &str,
    account: &AccountName,
) -> String {
    format!("{}\0{}\0{provider}\0{identity}\0{account}", caller.namespace, caller.user)
}

impl Connection {
    pub(in crate::broker) fn name(&self) -> String {
        name(&self.caller, &self.provider.id, &self.bound.fingerprint, &self.account)
    }
}
