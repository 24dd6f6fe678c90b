//! Documents that clients of Portia's contract store here: plans, their runs, reported tool calls,
//! outputs, and facts about end users.
//!
//! - [`memory`]: outputs that are too large for their run, and the links to them
//! - [`quota`]: how much is stored for a user, and with a key
//!
//! Nothing of it is used in a decision. Every method takes the space of the client's key
//! ([`RestCaller::space`](crate::identity::RestCaller::space)), and finds nothing of another one.

pub mod memory;
mod quota;

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio_util::task::TaskTracker;

use self::quota::{Change, Quota, Whose};
use super::{MAX_WRITE_ATTEMPTS, Parts};
use crate::model::run::{
    DeletedDocuments, EndUserFacts, MAX_DOCUMENT_BYTES, PlanRun, ReportedCall, Stored, StoredPlan,
    clarification_id,
};
use crate::model::{Caller, Clock, RateLimit, Time};
use crate::store::{RunTables, Store, StoreError};

/// Writes per hour for one user; beyond, [`RunError::TooMany`].
const MAX_WRITES_OF_USER: u32 = 2_000;
/// Writes per hour for all users of one key; beyond, [`RunError::TooMany`].
const MAX_WRITES_OF_KEY: u32 = 20_000;
/// Writes per hour of all keys together; beyond, [`RunError::TooMany`].
const MAX_WRITES: u32 = 200_000;
/// Time between two deletions of what has expired.
const SWEEP_INTERVAL: Duration = Duration::from_hours(24);
/// Runs of one page of [`Runs::page`].
pub const RUNS_PER_PAGE: usize = 20;

/// Why something is not stored.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("it has more than {0} bytes")]
    TooLarge(usize),
    #[error("too much was stored within the last hour")]
    TooMany,
    #[error(
        "no more fits for {whose}: at most {} documents of {} bytes together are kept; older ones expire after `[store] keep_runs` days, and those of a user are deleted with the user",
        .most.documents, .most.bytes
    )]
    Full { whose: &'static str, most: Stored },
    /// The id is in use for another user, or the user's access has ended since the write began.
    #[error("there is no such run of this user")]
    NotTheirs,
}

/// A page of a key's runs.
#[derive(Debug)]
pub struct RunPage {
    /// The runs that were changed last come first.
    pub runs: Vec<PlanRun>,
    /// Number of runs on all pages.
    pub total: usize,
}

/// The documents that clients of Portia's contract have stored. No other module can write one. Cheap
/// to clone.
#[derive(Clone)]
pub struct Runs(Arc<Inner>);

struct Inner {
    parts: Arc<Parts>,
    tables: RunTables,
    by_user: RateLimit<Caller>,
    by_key: RateLimit<String>,
    quota: Quota,
    tasks: TaskTracker,
    /// When expired records were last deleted.
    swept: Mutex<Option<Time>>,
}

impl Runs {
    pub(super) fn new(parts: Arc<Parts>, tables: RunTables, tasks: TaskTracker) -> Self {
        let by_user = per_hour(&parts.clock, MAX_WRITES_OF_USER);
        let by_key = per_hour(&parts.clock, MAX_WRITES_OF_KEY);
        let quota = Quota::new(parts.document_limits);
        let swept = Mutex::default();
        Self(Arc::new(Inner { parts, tables, by_user, by_key, quota, tasks, swept }))
    }

    /// Stores a plan, in place of one with the same id.
    ///
    /// # Errors
    /// [`RunError`]; never [`RunError::NotTheirs`].
    pub async fn put_plan(
        &self,
        space: &str,
        id: &str,
        document: Map<String, Value>,
    ) -> Result<(), RunError> {
        let bytes = self.check(space, None, &document)?;
        let (store, whose) = (self.store().await?, Whose { space, caller: None });
        let plan = StoredPlan { id: id.to_owned(), document, stored_at: self.now() };
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let held = store.plan(space, id).await?;
            let change = Change::new(held.as_ref().map(|it| size(&it.value.document)), bytes);
            self.0.quota.check(store, whose, change).await?;
            if self.0.tables.plans.put(space, &plan, held.as_ref()).await? {
                self.0.quota.note(store, whose, change).await;
                return Ok(());
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Returns a plan.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn plan(&self, space: &str, id: &str) -> Result<Option<StoredPlan>, StoreError> {
        Ok(self.store().await?.plan(space, id).await?.map(|held| held.value))
    }

    /// Stores a run, in place of one with the same id, and keeps what was resolved here in that.
    /// Returns the run as it is stored.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn put_run(&self, space: &str, run: PlanRun) -> Result<PlanRun, RunError> {
        let bytes = self.check(space, Some(&run.caller), &run.document)?;
        let (store, caller) = (self.store().await?, run.caller.clone());
        let began_at = self.now();
        let whose = Whose { space, caller: Some(&caller) };
        let mut run = PlanRun { changed_at: began_at, ..run };
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let held = store.plan_run(space, &run.id).await?;
            if let Some(held) = &held {
                if held.value.caller != caller {
                    return Err(RunError::NotTheirs);
                }
                run = run.over(held.value.clone());
            }
            let change = Change::new(held.as_ref().map(|it| size(&it.value.document)), bytes);
            self.0.quota.check(store, whose, change).await?;
            if self.0.tables.runs.put(space, &run, held.as_ref()).await? {
                self.0.quota.note(store, whose, change).await;
                self.undo_if_cut_off(store, &caller, began_at).await?;
                return Ok(run);
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Returns a run.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn run(&self, space: &str, id: &str) -> Result<Option<PlanRun>, StoreError> {
        Ok(self.store().await?.plan_run(space, id).await?.map(|held| held.value))
    }

    /// Returns a page of the runs in a space, in one state if one is given. `page` counts from 0.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn page(
        &self,
        space: &str,
        state: Option<&str>,
        page: usize,
    ) -> Result<RunPage, StoreError> {
        let store = self.store().await?;
        let mut found: Vec<(Time, String)> = Vec::new();
        store
            .for_each_run(space, |run| {
                if state.is_none_or(|state| run.state == state) {
                    found.push((run.changed_at, run.id.clone()));
                }
            })
            .await?;
        found.sort_by(|a, b| b.cmp(a));
        let total = found.len();
        let mut runs = Vec::new();
        let first = page.saturating_mul(RUNS_PER_PAGE);
        for (_, id) in found.into_iter().skip(first).take(RUNS_PER_PAGE) {
            runs.extend(store.plan_run(space, &id).await?.map(|held| held.value));
        }
        Ok(RunPage { runs, total })
    }

    /// Stores a tool call that a client reports.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn add_call(
        &self,
        space: &str,
        caller: &Caller,
        document: Map<String, Value>,
    ) -> Result<(), RunError> {
        let bytes = self.check(space, Some(caller), &document)?;
        let (store, began_at) = (self.store().await?, self.now());
        let (whose, change) = (Whose { space, caller: Some(caller) }, Change::new(None, bytes));
        self.0.quota.check(store, whose, change).await?;
        let call = ReportedCall { caller: caller.clone(), document, stored_at: began_at };
        self.0.tables.calls.add(&call).await?;
        self.0.quota.note(store, whose, change).await;
        self.undo_if_cut_off(store, caller, began_at).await
    }

    /// Returns what is stored of an end user.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn end_user(&self, caller: &Caller) -> Result<Option<EndUserFacts>, StoreError> {
        Ok(self.store().await?.end_user(caller).await?.map(|held| held.value))
    }

    /// Stores what is known of an end user, in place of what was. `additional_data` is changed key by
    /// key: one without a value is removed. Returns the facts as they are stored.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn put_end_user(
        &self,
        space: &str,
        facts: EndUserFacts,
        additional_data: &BTreeMap<String, Option<String>>,
    ) -> Result<EndUserFacts, RunError> {
        self.check(space, Some(&facts.caller), additional_data)?;
        let store = self.store().await?;
        let began_at = self.now();
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let held = store.end_user(&facts.caller).await?;
            let before = held.as_ref().map(|held| held.value.additional_data.clone());
            let additional_data = changed(before.unwrap_or_default(), additional_data);
            let facts = EndUserFacts { additional_data, stored_at: began_at, ..facts.clone() };
            let bytes = check_size(&facts)?;
            let whose = Whose { space, caller: Some(&facts.caller) };
            let change = Change::new(held.as_ref().map(|it| size(&it.value)), bytes);
            self.0.quota.check(store, whose, change).await?;
            if self.0.tables.people.put(&facts, held.as_ref()).await? {
                self.0.quota.note(store, whose, change).await;
                self.undo_if_cut_off(store, &facts.caller, began_at).await?;
                return Ok(facts);
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Deletes all that is about this user.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(super) async fn delete_of(&self, caller: &Caller) -> Result<DeletedDocuments, StoreError> {
        let deleted = self.0.tables.runs.delete_of(caller).await?;
        self.0.quota.note_deletion(self.store().await?, caller).await;
        Ok(deleted)
    }

    /// Marks the clarification of a request that this user has answered as resolved, in each of
    /// their runs that shows it. `of` is the request's id.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(super) async fn resolve(&self, caller: &Caller, of: &str) -> Result<(), StoreError> {
        let store = self.store().await?;
        for space in caller.spaces() {
            let mut shown = Vec::new();
            store
                .for_each_run(&space, |run| {
                    let clarification = clarification_id(of, &run.id);
                    if run.caller == *caller && run.open.contains(&clarification) {
                        shown.push((run.id.clone(), clarification));
                    }
                })
                .await?;
            for (run, clarification) in shown {
                self.resolve_in(store, &space, &run, &clarification).await?;
            }
        }
        Ok(())
    }

    async fn resolve_in(
        &self,
        store: &Store,
        space: &str,
        run: &str,
        clarification: &str,
    ) -> Result<(), StoreError> {
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let Some(held) = store.plan_run(space, run).await? else { return Ok(()) };
            let Some(resolved) = held.value.clone().resolve(clarification) else { return Ok(()) };
            if self.0.tables.runs.put(space, &resolved, Some(&held)).await? {
                return Ok(());
            }
        }
        Err(StoreError::Contended)
    }

    /// Checks the limits on one more write. Returns the bytes of the document.
    fn check(
        &self,
        space: &str,
        caller: Option<&Caller>,
        document: &impl serde::Serialize,
    ) -> Result<usize, RunError> {
        let bytes = check_size(document)?;
        let is_admitted = self.0.by_key.admits(space.to_owned())
            && caller.is_none_or(|caller| self.0.by_user.admits(caller.clone()));
        self.sweep_in_time();
        if is_admitted { Ok(bytes) } else { Err(RunError::TooMany) }
    }

    /// Deletes what has expired in the background, once a day.
    pub(super) fn sweep_in_time(&self) {
        let now = self.now();
        {
            let mut swept = self.0.swept.lock();
            if swept.is_some_and(|last| now.since(last) < SWEEP_INTERVAL) {
                return;
            }
            *swept = Some(now);
        }
        let runs = self.clone();
        self.0.tasks.spawn(async move {
            let swept = async { runs.store().await?.sweep_runs(now, runs.0.parts.keep_runs).await };
            if let Err(error) = swept.await {
                tracing::warn!(%error, "plan runs that have expired were not deleted");
            }
            runs.0.quota.forget().await;
        });
    }

    /// Deletes what was just stored if the user's access was ended since the write began: the
    /// deletion may have looked before the record was there. What has been stored since is of a user
    /// who has come back, and stays.
    async fn undo_if_cut_off(
        &self,
        store: &Store,
        caller: &Caller,
        began_at: Time,
    ) -> Result<(), RunError> {
        let Some(ended_at) = store.cut_off_since(caller, began_at).await? else { return Ok(()) };
        self.0.tables.runs.delete_until(caller, ended_at).await?;
        self.0.quota.forget().await;
        Err(RunError::NotTheirs)
    }

    async fn store(&self) -> Result<&Store, StoreError> {
        self.0.parts.store.get().await
    }

    fn now(&self) -> Time {
        self.0.parts.clock.now()
    }
}

fn per_hour<K: Eq + Hash>(clock: &Clock, of_one: u32) -> RateLimit<K> {
    RateLimit::per(Duration::from_hours(1), clock.clone(), of_one, MAX_WRITES)
}

/// Changes data key by key; one without a value is removed.
fn changed(
    mut data: BTreeMap<String, String>,
    changes: &BTreeMap<String, Option<String>>,
) -> BTreeMap<String, String> {
    for (key, value) in changes {
        match value {
            Some(value) => data.insert(key.clone(), value.clone()),
            None => data.remove(key),
        };
    }
    data
}

/// Returns the bytes of a document that is not too large.
fn check_size(document: &impl serde::Serialize) -> Result<usize, RunError> {
    let bytes = size(document);
    if bytes <= MAX_DOCUMENT_BYTES {
        Ok(bytes)
    } else {
        Err(RunError::TooLarge(MAX_DOCUMENT_BYTES))
    }
}

/// Bytes of a document's JSON.
fn size(document: &impl serde::Serialize) -> usize {
    serde_json::to_vec(document).map_or(usize::MAX, |json| json.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_without_a_value_is_removed() {
        let data = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
        };
        let changes = [("team", Some("eng")), ("title", None), ("none", None)];
        let changes = changes.map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
        let before = data(&[("title", "ms"), ("room", "5")]);
        let after = changed(before, &BTreeMap::from(changes));
        assert_eq!(after, data(&[("room", "5"), ("team", "eng")]));
    }
}
