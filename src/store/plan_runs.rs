//! Runs of plans. A list opens every run of a space, so the record of a run is small: a document that
//! is not is a record of its own.
//!
//! The record of the run names the record of its document. A change writes a new document first, then
//! replaces the run, and then deletes the document that was replaced: a run always has its document,
//! and what a crash leaves behind expires. Earlier versions kept every document in the run's record.

use serde_json::{Map, Value};

use super::backend::Key;
use super::records::{self, RecordError};
use super::run_record::{Apart, RunDocument, RunRecord};
use super::{Held, Result, Store, Table};
use crate::model::run::{DeletedDocuments, PlanRun, PlanRunHead};
use crate::model::secret::{self, ExposeSecret as _};
use crate::model::{Caller, Time};

/// Largest document that is part of its run's record, in bytes of JSON.
const MAX_WITHIN_BYTES: usize = 4096;

/// # Errors
/// As the methods of [`Store`] in general.
impl Store {
    /// Returns the run of a plan.
    pub async fn plan_run(&self, space: &str, id: &str) -> Result<Option<Held<PlanRun>>> {
        let key = self.plan_run_key(space, id);
        let mut missing = None;
        loop {
            let Some(held) = self.read::<RunRecord>(key.clone()).await? else { return Ok(None) };
            let Some(apart) = &held.value.apart else { return Ok(Some(joined(held, None))) };
            let document = self.run_document_key(space, id, &apart.name);
            if let Some(read) = self.read::<RunDocument>(document).await? {
                return Ok(Some(joined(held, Some(read.value.document))));
            }
            // The run was replaced between the two reads, unless it is still the same.
            if missing.as_ref() == Some(&apart.name) {
                return Err(RecordError::Malformed("run of a plan").into());
            }
            missing = Some(apart.name.clone());
        }
    }

    /// Calls `each` with every run of a space, in no useful order. Opens no large document.
    pub async fn for_each_run(
        &self,
        space: &str,
        mut each: impl FnMut(&PlanRunHead),
    ) -> Result<()> {
        let mut pages = self.opened::<RunRecord>(&self.under(PLAN_RUN, space));
        while let Some(page) = pages.next().await? {
            for held in page {
                each(&held.value.into_head());
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn put_run(
        &self,
        space: &str,
        run: &PlanRun,
        over: Option<&Held<PlanRun>>,
    ) -> Result<bool> {
        let record = self.with_document(space, run).await?;
        let new = record.apart.as_ref().map(|it| self.run_document_key(space, &run.id, &it.name));
        let key = self.plan_run_key(space, &run.id);
        let plain = records::encode(&record, Some(&run.caller))?;
        let sealed = self.ring.seal(&*self.backend, &key, &plain).await?;
        let old = over.map(|over| &over.sealed);
        let is_ours = self.swap(&key, old, Some(&sealed)).await?;
        let replaced = match over {
            Some(over) if is_ours => self.document_of(space, over).await?,
            _ => None,
        };
        let unused = if is_ours { replaced } else { new };
        if let Some(unused) = unused {
            self.delete_unopened(unused).await?;
        }
        Ok(is_ours)
    }

    /// Returns the record of a run, after its document is stored if that is a record of its own.
    async fn with_document(&self, space: &str, run: &PlanRun) -> Result<RunRecord> {
        let PlanRun { id, caller, plan, state, document, changed_at, resolved } = run;
        let mut record = RunRecord {
            id: id.clone(),
            caller: caller.clone(),
            plan: plan.clone(),
            state: state.clone(),
            document: None,
            changed_at: *changed_at,
            resolved: resolved.clone(),
            apart: None,
        };
        let bytes = serde_json::to_vec(document).map_or(usize::MAX, |json| json.len());
        if bytes <= MAX_WITHIN_BYTES {
            record.document = Some(document.clone());
            return Ok(record);
        }
        let (name, open) = (secret::random().expose_secret().to_owned(), run.open());
        let key = self.run_document_key(space, id, &name);
        let document = RunDocument {
            caller: caller.clone(),
            document: document.clone(),
            stored_at: *changed_at,
        };
        self.write_of(&key, &document, None, Some(caller)).await?;
        record.apart = Some(Apart { name, bytes, open });
        Ok(record)
    }

    /// Returns the key of the document of the run that was read as `held`.
    async fn document_of(&self, space: &str, held: &Held<PlanRun>) -> Result<Option<Key>> {
        let plain = self.ring.unseal(&*self.backend, &held.key, &held.sealed).await?;
        let record: RunRecord = records::decode(&plain)?;
        let apart = record.apart.as_ref();
        Ok(apart.map(|apart| self.run_document_key(space, &record.id, &apart.name)))
    }

    /// Deletes a record that need not be readable; false if there is none.
    pub(super) async fn delete_unopened(&self, key: Key) -> Result<bool> {
        while let Some(sealed) = self.backend.get(&key).await? {
            if self.swap(&key, Some(&sealed), None).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes the runs, and the large documents of runs, that were last stored at a time that
    /// `is_over`.
    pub(super) async fn clear_runs(&self, is_over: impl Fn(Time) -> bool) -> Result<()> {
        self.clear::<RunRecord>(PLAN_RUN, |it| is_over(it.changed_at)).await?;
        self.clear::<RunDocument>(RUN_DOCUMENT, |it| is_over(it.stored_at)).await
    }

    /// Deletes a user's runs in one space that were last stored at a time that `is_meant`. Returns
    /// their number.
    pub(super) async fn delete_run_records(
        &self,
        space: &str,
        caller: &Caller,
        is_meant: &(dyn Fn(Time) -> bool + Sync),
    ) -> Result<usize> {
        let is_theirs = |it: &RunRecord| it.caller == *caller && is_meant(it.changed_at);
        let deleted = self.delete_all(&self.under(PLAN_RUN, space), is_theirs).await?;
        let is_theirs = |it: &RunDocument| it.caller == *caller && is_meant(it.stored_at);
        self.delete_all(&self.under(RUN_DOCUMENT, space), is_theirs).await?;
        Ok(deleted)
    }

    /// Hash by which keys name a run.
    pub(super) fn run_hash(&self, id: &str) -> String {
        self.ring.hash("plan run", &[id])
    }

    fn plan_run_key(&self, space: &str, id: &str) -> Key {
        Key::new(format!("{}{}", self.under(PLAN_RUN, space), self.run_hash(id)))
    }

    fn run_document_key(&self, space: &str, id: &str, name: &str) -> Key {
        Key::new(format!("{}{}/{name}", self.under(RUN_DOCUMENT, space), self.run_hash(id)))
    }
}

fn joined(held: Held<RunRecord>, apart: Option<Map<String, Value>>) -> Held<PlanRun> {
    let Held { value, key, sealed, of } = held;
    Held { value: value.into_run(apart), key, sealed, of }
}

pub(super) const PLAN_RUN: &str = "planrun/";
const RUN_DOCUMENT: &str = "rundocument/";

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<PlanRun> {
    /// Stores a run in place of `over`; false if another writer was faster.
    pub async fn put(
        &self,
        space: &str,
        run: &PlanRun,
        over: Option<&Held<PlanRun>>,
    ) -> Result<bool> {
        Box::pin(self.store().await?.put_run(space, run, over)).await
    }

    /// Deletes runs, reported calls, memories and facts of this user, and the plans of which no
    /// other run is left.
    pub async fn delete_of(&self, caller: &Caller) -> Result<DeletedDocuments> {
        self.store().await?.delete_runs_of(caller, &|_| true).await
    }

    /// Like [`Self::delete_of`], without what was stored after `last`.
    pub async fn delete_until(&self, caller: &Caller, last: Time) -> Result<DeletedDocuments> {
        self.store().await?.delete_runs_of(caller, &|stored_at| stored_at <= last).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::model::UserId;
    use crate::store::backend::Backend as _;
    use crate::store::tests::given;
    use crate::store::{DocumentCount, Memory};

    const SPACE: &str = "key:app";

    fn run(id: &str, filler: usize) -> PlanRun {
        let clarifications = json!([{ "id": format!("clar-{id}"), "resolved": false }]);
        let outputs = json!({ "clarifications": clarifications, "x": "x".repeat(filler) });
        PlanRun {
            id: id.into(),
            caller: Caller { namespace: SPACE.into(), user: UserId::new("ana") },
            plan: "plan-1".into(),
            state: "COMPLETE".into(),
            document: Map::from_iter([("outputs".to_owned(), outputs)]),
            changed_at: Time::from_millis(1),
            resolved: BTreeSet::new(),
        }
    }

    async fn heads(store: &Store) -> Vec<PlanRunHead> {
        let mut heads = Vec::new();
        store.for_each_run(SPACE, |head| heads.push(head.clone())).await.unwrap();
        heads.sort_by(|a, b| a.id.cmp(&b.id));
        heads
    }

    /// Bytes of the records under a prefix, one by one.
    async fn sizes(shared: &Memory, prefix: &str) -> Vec<usize> {
        let found = shared.backend.scan(&Key::named(prefix)).await.unwrap();
        found.iter().map(|(_, sealed)| sealed.as_bytes().len()).collect()
    }

    #[tokio::test]
    async fn a_list_opens_no_large_document_and_an_old_record_is_listed_too() {
        let shared = Memory::default();
        let store = shared.process(given(1)).await.unwrap();
        let (small, large, old) = (run("1", 10), run("2", 100_000), run("3", 100_000));
        assert!(store.put_run(SPACE, &small, None).await.unwrap());
        assert!(store.put_run(SPACE, &large, None).await.unwrap());
        // As earlier versions wrote it: the fields of a run, in one record of version 1.
        let plain = json!({ "v": 1, "d": old, "of": old.caller }).to_string();
        let key = store.plan_run_key(SPACE, "3");
        let sealed = store.ring.seal(&*shared.backend, &key, plain.as_bytes()).await.unwrap();
        assert!(shared.backend.swap(&key, None, Some(&sealed)).await.unwrap());
        let mut records = sizes(&shared, PLAN_RUN).await;
        records.sort_unstable();
        assert!(records[1] < 2_000 && records[2] > 100_000, "{records:?}");
        assert_eq!(sizes(&shared, RUN_DOCUMENT).await.len(), 1);

        for (head, run) in heads(&store).await.iter().zip([&small, &large, &old]) {
            let PlanRunHead { id, caller, plan, state, changed_at, open } = head.clone();
            let expected = (&run.id, &run.caller, &run.plan, &run.state, run.changed_at);
            assert_eq!((&id, &caller, &plan, &state, changed_at), expected);
            assert_eq!(open, run.open());
            let read = store.plan_run(SPACE, &id).await.unwrap().unwrap();
            assert_eq!(&read.value, run);
        }
        // A list works without the documents.
        for (key, sealed) in shared.backend.scan(&Key::named(RUN_DOCUMENT)).await.unwrap() {
            shared.backend.swap(&key, Some(&sealed), None).await.unwrap();
        }
        assert_eq!(heads(&store).await.len(), 3);
        assert!(store.plan_run(SPACE, "2").await.is_err(), "damage is an error and no empty run");
    }

    #[tokio::test]
    async fn a_document_goes_with_the_version_of_its_run() {
        let shared = Memory::default();
        let store = shared.process(given(1)).await.unwrap();
        store.put_run(SPACE, &run("1", 10_000), None).await.unwrap();
        let first = store.plan_run(SPACE, "1").await.unwrap().unwrap();
        let wider = run("1", 20_000);
        assert!(store.put_run(SPACE, &wider, Some(&first)).await.unwrap());
        assert!(!store.put_run(SPACE, &run("1", 30_000), Some(&first)).await.unwrap());
        assert_eq!(sizes(&shared, RUN_DOCUMENT).await.len(), 1, "no document is left behind");
        let second = store.plan_run(SPACE, "1").await.unwrap().unwrap();
        assert_eq!(second.value, wider);
        assert!(store.put_run(SPACE, &run("1", 1), Some(&second)).await.unwrap());
        assert!(sizes(&shared, RUN_DOCUMENT).await.is_empty());

        let third = store.plan_run(SPACE, "1").await.unwrap().unwrap();
        store.put_run(SPACE, &wider, Some(&third)).await.unwrap();
        let DocumentCount { by_user, .. } = store.count_documents().await.unwrap();
        let ana = by_user[&wider.caller];
        assert!(ana.documents == 1 && (20_000..21_000).contains(&ana.bytes), "{ana:?}");
        assert_eq!(store.delete_run_records(SPACE, &wider.caller, &|_| true).await.unwrap(), 1);
        assert!(sizes(&shared, RUN_DOCUMENT).await.is_empty());
    }
}
