//! How much clients have stored, counted record by record.

use std::collections::HashMap;

use super::backend::walk::Walk;
use super::plan_runs::PLAN_RUN;
use super::run_record::RunRecord;
use super::runs::{END_USER, MEMORY, PLAN, REPORTED_CALL};
use super::{Result, Store};
use crate::model::Caller;
use crate::model::run::{EndUserFacts, ReportedCall, Stored};

/// Sizes of what clients have stored.
#[derive(Debug, Default)]
pub struct DocumentCount {
    pub by_user: HashMap<Caller, Stored>,
    /// By [`Store::space_hash`].
    pub by_space: HashMap<String, Stored>,
}

impl DocumentCount {
    /// Adds a user's documents, which count for each space that they can be in.
    fn add(&mut self, store: &Store, caller: &Caller, stored: Stored) {
        self.by_user.entry(caller.clone()).or_default().add(stored);
        for space in caller.spaces() {
            self.by_space.entry(store.space_hash(&space)).or_default().add(stored);
        }
    }
}

/// # Errors
/// As the methods of [`Store`] in general.
impl Store {
    /// Counts all documents that clients have stored. Opens only those that are small, and one
    /// reported call of each user.
    pub async fn count_documents(&self) -> Result<DocumentCount> {
        let mut count = DocumentCount::default();
        let mut users = HashMap::new();
        let mut runs = self.opened::<RunRecord>(PLAN_RUN);
        while let Some(page) = runs.next().await? {
            for held in page {
                let run = held.value;
                count.add(self, &run.caller, Stored::one(run.bytes()));
                users.insert(self.run_hash(run.id()), run.caller);
            }
            tokio::task::yield_now().await;
        }
        let mut facts = self.opened::<EndUserFacts>(END_USER);
        while let Some(page) = facts.next().await? {
            for held in page {
                let bytes = held.sealed.as_bytes().len();
                count.add(self, &held.value.caller, Stored::one(bytes));
            }
            tokio::task::yield_now().await;
        }
        self.count_memories(&users, &mut count).await?;
        self.count_calls(&mut count).await?;
        self.count_plans(&mut count).await?;
        Ok(count)
    }

    /// Hash by which keys of records name a space.
    pub fn space_hash(&self, space: &str) -> String {
        self.ring.hash("application", &[space])
    }

    /// Counts outputs of runs, by the user of the run that their key names.
    async fn count_memories(
        &self,
        users: &HashMap<String, Caller>,
        count: &mut DocumentCount,
    ) -> Result<()> {
        let mut memories = Walk::under(&*self.backend, MEMORY);
        while let Some(page) = memories.next().await? {
            for (key, sealed) in page {
                let mut parts = key.as_str().split('/').skip(1);
                let stored = Stored::one(sealed.as_bytes().len());
                let (space, run) = (parts.next().unwrap_or_default(), parts.next());
                match run.and_then(|run| users.get(run)) {
                    Some(caller) => count.add(self, caller, stored),
                    None => count.by_space.entry(space.to_owned()).or_default().add(stored),
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Counts reported calls. Their keys hold a hash of the user, who is in each record.
    async fn count_calls(&self, count: &mut DocumentCount) -> Result<()> {
        let mut by_hash: HashMap<String, (Option<Caller>, Stored)> = HashMap::new();
        let mut calls = Walk::under(&*self.backend, REPORTED_CALL);
        while let Some(page) = calls.next().await? {
            for (key, sealed) in page {
                let hash = key.as_str().split('/').nth(1).unwrap_or_default().to_owned();
                let (caller, stored) = by_hash.entry(hash).or_default();
                stored.add(Stored::one(sealed.as_bytes().len()));
                if caller.is_none()
                    && let Ok(held) = self.unseal::<ReportedCall>(key, sealed).await
                {
                    *caller = Some(held.value.caller);
                }
            }
            tokio::task::yield_now().await;
        }
        for (caller, stored) in by_hash.into_values() {
            if let Some(caller) = caller {
                count.add(self, &caller, stored);
            }
        }
        Ok(())
    }

    /// Counts plans, which belong to no user.
    async fn count_plans(&self, count: &mut DocumentCount) -> Result<()> {
        let mut plans = Walk::under(&*self.backend, PLAN);
        while let Some(page) = plans.next().await? {
            for (key, sealed) in page {
                let space = key.as_str().split('/').nth(1).unwrap_or_default();
                let stored = Stored::one(sealed.as_bytes().len());
                count.by_space.entry(space.to_owned()).or_default().add(stored);
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
