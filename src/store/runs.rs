//! Documents that clients of Portia's contract store: plans, runs, reported calls, memories, end
//! users.
//!
//! `space` is the space of the key whose client stores it
//! ([`RestCaller::space`](crate::identity::RestCaller::space)); records of another space do not
//! exist for it.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::backend::Key;
use super::plan_runs::PLAN_RUN;
use super::records::Record;
use super::run_record::RunRecord;
use super::{Held, Result, Store, Table};
use crate::model::once::Once;
use crate::model::run::{DeletedDocuments, EndUserFacts, Memory, ReportedCall, StoredPlan};
use crate::model::secret::{self, ExposeSecret as _};
use crate::model::{Caller, RunNeeds, Time};

/// # Errors
/// As the methods of [`Store`] in general.
impl Store {
    /// Returns a plan.
    pub async fn plan(&self, space: &str, id: &str) -> Result<Option<Held<StoredPlan>>> {
        self.read(self.plan_key(space, id)).await
    }

    /// Returns an output of a run.
    pub async fn memory(&self, space: &str, run: &str, name: &str) -> Result<Option<Held<Memory>>> {
        self.read(self.memory_key(space, run, name)).await
    }

    /// Returns a text that names this record until a time and that only this store can make. It holds
    /// no name and no id.
    pub fn memory_ticket(&self, held: &Held<Memory>, until: Time) -> String {
        let named = URL_SAFE_NO_PAD.encode(format!("{}.{}", until.millis(), held.key.as_str()));
        let proof = self.memory_proof(&named);
        format!("{named}.{proof}")
    }

    /// Returns the output that a ticket names, unless its time is over.
    pub async fn memory_by_ticket(&self, ticket: &str, now: Time) -> Result<Option<Held<Memory>>> {
        match self.key_of_ticket(ticket, now) {
            Some(key) => self.read(key).await,
            None => Ok(None),
        }
    }

    fn key_of_ticket(&self, ticket: &str, now: Time) -> Option<Key> {
        let (named, proof) = ticket.split_once('.')?;
        if !secret::same(proof, &self.memory_proof(named)) {
            return None;
        }
        let named = String::from_utf8(URL_SAFE_NO_PAD.decode(named).ok()?).ok()?;
        let (until, key) = named.split_once('.')?;
        let until = Time::from_millis(until.parse().ok()?);
        (now < until).then(|| Key::new(key.to_owned()))
    }

    fn memory_proof(&self, named: &str) -> String {
        self.ring.hash("memory ticket", &[named])
    }

    /// Returns what a client has stored of an end user.
    pub async fn end_user(&self, caller: &Caller) -> Result<Option<Held<EndUserFacts>>> {
        self.read(self.end_user_key(caller)).await
    }

    /// Deletes plans, runs, reported calls, memories and facts of end users that were last stored
    /// longer ago than `keep`.
    pub async fn sweep_runs(&self, now: Time, keep: Duration) -> Result<()> {
        let is_over = |stored_at| now.is_past(stored_at, keep);
        self.clear::<StoredPlan>(PLAN, |it| is_over(it.stored_at)).await?;
        self.clear_runs(is_over).await?;
        self.clear::<ReportedCall>(REPORTED_CALL, |it| is_over(it.stored_at)).await?;
        self.clear::<Memory>(MEMORY, |it| is_over(it.stored_at)).await?;
        self.clear::<EndUserFacts>(END_USER, |it| is_over(it.stored_at)).await
    }

    /// Adds each user about whom a client has stored something.
    pub(super) async fn add_users_of_documents(&self, callers: &mut HashSet<Caller>) -> Result<()> {
        self.add_users_of::<RunRecord>(PLAN_RUN, callers).await?;
        self.add_users_of::<Memory>(MEMORY, callers).await?;
        self.add_users_of::<ReportedCall>(REPORTED_CALL, callers).await?;
        self.add_users_of::<EndUserFacts>(END_USER, callers).await?;
        // Calls leave records too: kept answers, and needs of plan runs.
        self.add_users_of::<Once>("once/", callers).await?;
        self.add_users_of::<RunNeeds>("needs/", callers).await
    }

    async fn add_users_of<T: Record>(
        &self,
        kind: &str,
        callers: &mut HashSet<Caller>,
    ) -> Result<()> {
        let mut all = self.opened::<T>(kind);
        while let Some(page) = all.next().await? {
            callers.extend(page.into_iter().filter_map(|held| held.of));
        }
        Ok(())
    }

    /// Deletes what is about this user and was last stored at a time that `is_meant`.
    pub(super) async fn delete_runs_of(
        &self,
        caller: &Caller,
        is_meant: &(dyn Fn(Time) -> bool + Sync),
    ) -> Result<DeletedDocuments> {
        let mut deleted = DeletedDocuments::default();
        for space in caller.spaces() {
            deleted.add(self.delete_runs_in(&space, caller, is_meant).await?);
            let is_theirs = |it: &Memory| it.caller == *caller && is_meant(it.stored_at);
            deleted.others += self.delete_all(&self.under(MEMORY, &space), is_theirs).await?;
        }
        // A plan belongs to no user, but in this space there is no other one.
        let is_plan = |it: &StoredPlan| is_meant(it.stored_at);
        deleted.others += self.delete_all(&self.under(PLAN, &caller.own_space()), is_plan).await?;
        let is_call = |it: &ReportedCall| is_meant(it.stored_at);
        let calls = format!("{REPORTED_CALL}{}/", self.user(caller));
        deleted.others += self.delete_all(&calls, is_call).await?;
        let facts = self.end_user(caller).await?.filter(|held| is_meant(held.value.stored_at));
        if let Some(held) = facts {
            deleted.others += usize::from(self.delete_last(held).await?.is_some());
        }
        Ok(deleted)
    }

    /// Deletes a user's runs in one space, and the plans of which no other run is left: a plan holds
    /// what its user asked for.
    async fn delete_runs_in(
        &self,
        space: &str,
        caller: &Caller,
        is_meant: &(dyn Fn(Time) -> bool + Sync),
    ) -> Result<DeletedDocuments> {
        let (mut theirs, mut of_others) = (BTreeSet::new(), BTreeSet::new());
        self.for_each_run(space, |run| {
            let is_theirs = run.caller == *caller && is_meant(run.changed_at);
            let plans = if is_theirs { &mut theirs } else { &mut of_others };
            plans.insert(run.plan.clone());
        })
        .await?;
        let runs = self.delete_run_records(space, caller, is_meant).await?;
        let mut others = 0;
        for plan in theirs.difference(&of_others) {
            others += usize::from(self.delete_unopened(self.plan_key(space, plan)).await?);
        }
        Ok(DeletedDocuments { runs, others })
    }

    /// Stores a record in place of `over`; false if another writer was faster.
    async fn put_of<T: Record>(
        &self,
        key: Key,
        record: &T,
        over: Option<&Held<T>>,
        of: Option<&Caller>,
    ) -> Result<bool> {
        self.write_of(&key, record, over, of).await
    }

    /// Prefix of the records of one kind in a space.
    pub(super) fn under(&self, kind: &str, space: &str) -> String {
        format!("{kind}{}/", self.ring.hash("application", &[space]))
    }

    fn plan_key(&self, space: &str, id: &str) -> Key {
        Key::new(format!("{}{}", self.under(PLAN, space), self.ring.hash("plan", &[id])))
    }

    fn memory_key(&self, space: &str, run: &str, name: &str) -> Key {
        let run = self.run_hash(run);
        let name = self.ring.hash("memory", &[name]);
        Key::new(format!("{}{run}/{name}", self.under(MEMORY, space)))
    }

    fn end_user_key(&self, caller: &Caller) -> Key {
        Key::new(format!("{END_USER}{}", self.user(caller)))
    }
}

pub(super) const PLAN: &str = "plan/";
pub(super) const REPORTED_CALL: &str = "toolcall/";
pub(super) const MEMORY: &str = "memory/";
pub(super) const END_USER: &str = "person/";

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<StoredPlan> {
    /// Stores a plan in place of `over`; false if another writer was faster.
    pub async fn put(
        &self,
        space: &str,
        plan: &StoredPlan,
        over: Option<&Held<StoredPlan>>,
    ) -> Result<bool> {
        let store = self.store().await?;
        store.put_of(store.plan_key(space, &plan.id), plan, over, None).await
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<ReportedCall> {
    /// Stores one more call.
    pub async fn add(&self, call: &ReportedCall) -> Result<()> {
        let store = self.store().await?;
        let random = secret::random();
        let (user, random) = (store.user(&call.caller), random.expose_secret());
        let key = Key::new(format!("{REPORTED_CALL}{user}/{random}"));
        store.put_of(key, call, None, Some(&call.caller)).await.map(drop)
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<Memory> {
    /// Stores an output of a run in place of `over`; false if another writer was faster.
    pub async fn put(
        &self,
        space: &str,
        memory: &Memory,
        over: Option<&Held<Memory>>,
    ) -> Result<bool> {
        let store = self.store().await?;
        let key = store.memory_key(space, &memory.run, &memory.name);
        store.put_of(key, memory, over, Some(&memory.caller)).await
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<EndUserFacts> {
    /// Stores what is known of an end user in place of `over`; false if another writer was faster.
    pub async fn put(
        &self,
        facts: &EndUserFacts,
        over: Option<&Held<EndUserFacts>>,
    ) -> Result<bool> {
        let store = self.store().await?;
        store.put_of(store.end_user_key(&facts.caller), facts, over, Some(&facts.caller)).await
    }
}
