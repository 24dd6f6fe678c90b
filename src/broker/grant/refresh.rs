//! Renews grants: once for all calls and processes, and without ever losing one.
//!
//! Providers that rotate refresh tokens end the whole grant when one is sent twice (RFC 9700
//! §4.14.2), so the sender is settled before the token is sent. Within a process, the calls that
//! find a stale token share one refresh. Across processes, the grant itself is the lease: a process
//! swaps an [`Attempt`] into it, which only one can do, and makes it durable before the refresh
//! token leaves. If that process dies before it has stored the answer, the mark tells the next one.
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
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

use super::Grants;
use super::access::{AccessError, Judgement};
use crate::broker::client::resend::Tries;
use crate::broker::client::token_endpoints::{
    Admission, REST, RefusalKey, TROUBLE_PATIENCE, is_ahead,
};
use crate::broker::{Connection, MAX_WRITE_ATTEMPTS};
use crate::model::consent_plan::ClientRegistration;
use crate::model::event::{EndedBy, EventKind, RenewalOutcome};
use crate::model::grant::{Attempt, MAX_UNCLEAR_REFUSALS};
use crate::model::reason::{GrantEnd, LostAnswer};
use crate::model::{AccountName, Caller, Grant, ProviderId, Scopes, Time, TokenSet, secret};
use crate::oauth::{Issued, TokenError, Verdict};
use crate::store::{Held, StoreError};

/// How long an attempt of another process counts while that process lives. It may hold tokens that
/// a full disk keeps it from storing; sending the spent refresh token would end the grant.
const LEASE: Duration = Duration::from_mins(10);
/// How long a call waits for another process's renewal; then it fails.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Poll interval while another process renews a grant. A store does not notify.
const LOOK: Duration = Duration::from_millis(25);

/// Pause between background retries of the store for tokens that it could not keep.
const SAVE_PAUSE: Duration = Duration::from_secs(2);
/// Failed saves after which the background retries stop.
const MOST_SAVES: u32 = 300;

type SharedResult = Shared<BoxFuture<'static, Result<(), AccessError>>>;

/// Renewals in progress: one at a time for each grant. All waiters share its outcome, good or bad.
#[derive(Default)]
pub(super) struct Refreshes(Mutex<HashMap<String, Refresh>>);

pub(super) enum Refresh {
    Running(SharedResult),
    /// The token endpoint had trouble; until then, a live token is used without asking again.
    CoolingDown(Time),
    /// Tokens that the provider has issued and the store could not keep. The refresh token that
    /// bought them may be spent, so this is the only copy of the consent.
    Unsaved(Box<Unsaved>),
}

pub(super) struct Unsaved {
    connection: Connection,
    client: ClientRegistration,
    renewed: Grant,
    over: Held<Grant>,
    /// Number of failed saves.
    saves: u32,
}

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
        let trouble = self.0.endpoints.trouble(provider);
        let refresh = self.join_or_start(connection, is_usable, refresh);
        let Some(source) = trouble else { return refresh.await };
        // The renewal itself continues after this timeout, and receives the answer.
        let refused = AccessError::Refresh { provider: provider.clone(), source, refusals: 0 };
        tokio::time::timeout(TROUBLE_PATIENCE, refresh).await.unwrap_or(Err(refused))
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
                Some(Refresh::CoolingDown(until)) if is_usable && is_ahead(until, now, REST) => {
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
    fn start<F: Future<Output = Outcome> + Send + 'static>(
        &self,
        name: String,
        refresh: impl FnOnce(Grants) -> F,
    ) -> SharedResult {
        let grants = self.clone();
        let refresh = refresh(self.clone());
        let task = self.0.tasks.spawn(async move {
            let (outcome, after) = refresh.await;
            let is_unsaved =
                matches!(&after, Some(Refresh::Unsaved(unsaved)) if unsaved.saves < MOST_SAVES);
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
        let admission = match grants.0.endpoints.admitted(provider).await {
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

    /// The grant with our attempt on it, durable. `None`: there is nothing left to renew.
    async fn marked(
        &self,
        connection: &Connection,
        rejected: Option<&SecretString>,
        is_usable: bool,
    ) -> Result<Option<(Held<Grant>, ClientRegistration)>, AccessError> {
        let provider = &connection.provider.id;
        let store = self.0.store.get().await?;
        let give_up = Instant::now() + LONGEST_WAIT;
        loop {
            // Read anew each time: the grant that a waiting call has read may hold a spent token.
            let held = self.grant_of(connection).await?;
            let held = match self.judge(connection, held, &Scopes::default(), rejected) {
                Judgement::Renew(held) => *held,
                Judgement::Ready(_) | Judgement::Settled(_) => return Ok(None),
            };
            if self.is_taken(&held.value).await? {
                // A call whose token still works does not wait for a better one.
                if is_usable || Instant::now() > give_up {
                    return Err(AccessError::Elsewhere { provider: provider.clone() });
                }
                tokio::time::sleep(LOOK).await;
                continue;
            }
            let about =
                [RefusalKey::Client(provider.clone()), RefusalKey::Account(connection.name())];
            if let Some(source) = self.0.endpoints.refusal(&about, self.0.clock.now()) {
                let refusals = held.value.unclear_refusals + 1;
                if refusals <= MAX_UNCLEAR_REFUSALS {
                    let counted = Grant { unclear_refusals: refusals, ..held.value.clone() };
                    // Another process was faster, and may have renewed it.
                    if self.0.table.replace(counted, &held).await?.is_none() {
                        continue;
                    }
                }
                return Err(AccessError::Refresh { provider: provider.clone(), source, refusals });
            }
            let client = self.0.clients.registration(&connection.provider).await?;
            let before = held.value.attempt.as_ref();
            let attempt = Attempt {
                by: store.instance().await?,
                begun_at: self.0.clock.now(),
                unanswered: before.map_or(0, |before| before.unanswered) + 1,
                is_over: false,
                was_broken_off: before
                    .is_some_and(|before| before.was_broken_off || !before.is_over),
            };
            let marked = Grant { attempt: Some(attempt), ..held.value.clone() };
            // `None`: another process, a new consent or a disconnect was faster.
            if let Some(marked) = self.0.table.replace(marked, &held).await? {
                return Ok(Some((marked, client)));
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
        Ok(self.0.clock.now().since(attempt.begun_at) < LEASE)
    }

    /// Asks the token endpoint, more than once if its answer allows it.
    async fn send(
        self,
        connection: Connection,
        client: ClientRegistration,
        mut marked: Held<Grant>,
        is_usable: bool,
        admission: Admission<'_>,
    ) -> Outcome {
        let provider = connection.provider.id.clone();
        let Some(refresh) = marked.value.tokens.refresh.clone() else { return (Ok(()), None) };
        let (mut tries, mut is_lost) = (Tries::new(), false);
        let is_trouble_known = admission.is_probe;
        let mut admission = Some(admission);
        let error = loop {
            let error = match self.0.oauth.refresh(&client, &refresh).await {
                Ok(issued) => {
                    self.0.endpoints.answered(&provider);
                    let renewed = self.renewed(&marked.value, issued);
                    let over = marked;
                    let unsaved = Unsaved { connection, client, renewed, over, saves: 0 };
                    return self.clone().save(unsaved).await;
                }
                Err(error) => Arc::new(error),
            };
            let now = self.0.clock.now();
            self.0.endpoints.failed(&provider, &error, now, "access token not renewed");
            let was_lost = std::mem::replace(&mut is_lost, error.is_lost());
            if error.verdict() != Verdict::Passing
                || is_usable
                || is_trouble_known
                // A lost answer may have spent the token. Providers forgive one repetition.
                || (was_lost && is_lost)
            {
                break error;
            }
            let Some(wait) = tries.again(&error) else { break error };
            // Released first: only one call at a time asks an endpoint that is in trouble.
            drop(admission.take());
            tokio::time::sleep(wait).await;
            admission = match self.0.endpoints.admitted(&provider).await {
                Ok(again) => Some(again),
                Err(_) => break error,
            };
            // A request that was answered does not count.
            let unanswered = unanswered(&marked.value, is_lost) + 1;
            let begun_at = self.0.clock.now();
            match self.mark(&marked, |attempt| Attempt { begun_at, unanswered, ..attempt }).await {
                Ok(Some(again)) => marked = again,
                Ok(None) => return (Ok(()), None),
                Err(error) => return (Err(error.into()), None),
            }
        };
        drop(admission);
        let outcome = match error.verdict() {
            Verdict::GrantEnded => RenewalOutcome::GrantEnded,
            Verdict::Operator if error.is_about_client() => RenewalOutcome::ClientRefused,
            Verdict::Operator | Verdict::Unclear | Verdict::Passing => RenewalOutcome::Failed,
        };
        self.record(&connection.caller, &provider, EventKind::Renewal(outcome));
        self.failed(&connection, &marked, error, is_lost).await
    }

    /// Records on the grant, or beside it, what a failed renewal means.
    async fn failed(
        &self,
        connection: &Connection,
        marked: &Held<Grant>,
        source: Arc<TokenError>,
        is_lost: bool,
    ) -> Outcome {
        let provider = &connection.provider.id;
        let now = self.0.clock.now();
        let verdict = source.verdict();
        let refusals = match verdict {
            Verdict::Operator | Verdict::Unclear => {
                marked.value.unclear_refusals.saturating_add(1).min(MAX_UNCLEAR_REFUSALS)
            }
            Verdict::GrantEnded | Verdict::Passing => marked.value.unclear_refusals,
        };
        let unanswered = unanswered(&marked.value, is_lost);
        let noted = if verdict == Verdict::GrantEnded {
            // Replaces only the token that was sent. If another one is stored, the grant was
            // renewed or the user has consented anew, and that counts.
            let was_broken_off =
                marked.value.attempt.as_ref().is_some_and(|attempt| attempt.was_broken_off);
            let why = end_of(&source, unanswered, was_broken_off);
            self.replace(marked, marked.value.ended(why, now)).await
        } else {
            let attempt = marked.value.attempt.clone().filter(|_| unanswered > 0);
            let attempt = attempt.map(|attempt| Attempt { unanswered, is_over: true, ..attempt });
            let unclear_refusals = refusals;
            let noted = Grant { unclear_refusals, attempt, ..marked.value.clone() };
            self.replace(marked, noted).await
        };
        match (verdict, noted) {
            (Verdict::GrantEnded, noted) => return (noted.map_err(Into::into), None),
            (_, Ok(())) => {}
            // The mark stays, and its process lives: our next refresh continues from it.
            (_, Err(error)) => {
                tracing::warn!(%provider, %error, "an attempt's end was not noted");
            }
        }
        if source.is_about_client() {
            let about = RefusalKey::Client(provider.clone());
            self.0.endpoints.leave_alone(about, Arc::clone(&source), now);
        } else if verdict == Verdict::Operator || refusals >= MAX_UNCLEAR_REFUSALS {
            let about = RefusalKey::Account(connection.name());
            self.0.endpoints.leave_alone(about, Arc::clone(&source), now);
        }
        let error = AccessError::Refresh { provider: provider.clone(), source, refusals };
        (Err(error), Some(Refresh::CoolingDown(now.after(REST))))
    }

    async fn mark(
        &self,
        marked: &Held<Grant>,
        change: impl FnOnce(Attempt) -> Attempt,
    ) -> Result<Option<Held<Grant>>, StoreError> {
        let attempt = marked.value.attempt.clone().map(change);
        self.0.table.replace(Grant { attempt, ..marked.value.clone() }, marked).await
    }

    async fn replace(&self, over: &Held<Grant>, by: Grant) -> Result<(), StoreError> {
        self.0.table.replace(by, over).await.map(|_| ())
    }

    /// Makes a renewal durable before use: a rotated refresh token that exists only in memory is
    /// lost with the process, and the consent with it.
    async fn save(self, mut unsaved: Unsaved) -> Outcome {
        let kept = async {
            let grants = &self.0.table;
            if grants.replace(unsaved.renewed.clone(), &unsaved.over).await?.is_some() {
                return Ok(false);
            }
            for _ in 0..MAX_WRITE_ATTEMPTS {
                // The present grant counts: a newer consent, or what we wrote ourselves just before
                // a flush failed. If there is none, the user has disconnected in the meantime.
                let Some(there) = self.grant_of(&unsaved.connection).await? else {
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

    fn renewed(&self, grant: &Grant, issued: Issued) -> Grant {
        let mut tokens = issued.tokens;
        let is_the_same = same_secret(tokens.refresh.as_ref(), grant.tokens.refresh.as_ref());
        if is_the_same && tokens.refresh_expires_at.is_none() {
            tokens.refresh_expires_at = grant.tokens.refresh_expires_at;
        }
        Grant {
            tokens,
            unclear_refusals: 0,
            scopes: issued.scopes.unwrap_or_else(|| grant.scopes.clone()),
            refreshed_at: Some(self.0.clock.now()),
            attempt: None,
            ..grant.clone()
        }
    }

    /// Tries the store again after a pause, since the next call may be a long time coming.
    async fn save_in_time(self, name: String) {
        tokio::time::sleep(SAVE_PAUSE).await;
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

/// Number of sends of the refresh token without an answer; `is_lost` tells whether the last is one.
fn unanswered(marked: &Grant, is_lost: bool) -> u32 {
    let counted = marked.attempt.as_ref().map_or(0, |attempt| attempt.unanswered);
    counted.saturating_sub(u32::from(!is_lost))
}

fn same_secret(one: Option<&SecretString>, other: Option<&SecretString>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => secret::same(one.expose_secret(), other.expose_secret()),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Why a refusal of the refresh token has ended a grant, after this many sends without an answer.
fn end_of(error: &TokenError, unanswered: u32, was_broken_off: bool) -> GrantEnd {
    let lost = match (unanswered, was_broken_off) {
        (0, _) => None,
        (_, false) => Some(LostAnswer::InTransit),
        (_, true) => Some(LostAnswer::ProcessEnded),
    };
    GrantEnd::RefreshTokenRefused { code: error.code().map(str::to_owned), lost }
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
