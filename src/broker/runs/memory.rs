//! Outputs that are too large for their run. A client reads one in two steps: it asks for the
//! output and gets a link, and fetches the link without its key.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::quota::{Change, Whose};
use super::{MAX_WRITE_ATTEMPTS, RunError, Runs};
use crate::model::run::{MAX_MEMORY_BYTES, Memory};
use crate::store::StoreError;

/// How long the link to a value works.
const LINK_LIFETIME: Duration = Duration::from_mins(5);

/// An output, as a client stores it.
#[derive(Debug)]
pub struct NewMemory<'a> {
    /// Id of the run, which must be one of this user.
    pub run: &'a str,
    pub name: &'a str,
    pub summary: String,
    pub value: &'a [u8],
}

/// An output, as a client reads it.
#[derive(Debug)]
pub struct FoundMemory {
    pub summary: String,
    /// Opens the value for [`LINK_LIFETIME`], for each client that has it.
    pub ticket: String,
}

impl Runs {
    /// Stores an output of a run, in place of one with the same name.
    ///
    /// # Errors
    /// [`RunError`]; [`RunError::NotTheirs`] if there is no such run.
    pub async fn put_memory(&self, space: &str, memory: NewMemory<'_>) -> Result<(), RunError> {
        let NewMemory { run, name, summary, value } = memory;
        if value.len() > MAX_MEMORY_BYTES {
            return Err(RunError::TooLarge(MAX_MEMORY_BYTES));
        }
        // Before the run is read: a deletion of its user may end between the two.
        let began_at = self.now();
        let store = self.store().await?;
        let Some(caller) = store.plan_run(space, run).await?.map(|held| held.value.caller) else {
            return Err(RunError::NotTheirs);
        };
        let memory = Memory {
            caller,
            run: run.to_owned(),
            name: name.to_owned(),
            summary,
            value: STANDARD.encode(value),
            stored_at: began_at,
        };
        let bytes = self.check(space, Some(&memory.caller), &memory)?;
        let whose = Whose { space, caller: Some(&memory.caller) };
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let held = store.memory(space, run, name).await?;
            let change = Change::new(held.as_ref().map(|it| super::size(&it.value)), bytes);
            self.0.quota.check(store, whose, change).await?;
            if self.0.tables.memories.put(space, &memory, held.as_ref()).await? {
                self.0.quota.note(store, whose, change).await;
                return self.undo_if_cut_off(store, &memory.caller, began_at).await;
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Returns an output of a run.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn found_memory(
        &self,
        space: &str,
        run: &str,
        name: &str,
    ) -> Result<Option<FoundMemory>, StoreError> {
        let store = self.store().await?;
        let Some(held) = store.memory(space, run, name).await? else { return Ok(None) };
        let ticket = store.memory_ticket(&held, self.now().after(LINK_LIFETIME));
        Ok(Some(FoundMemory { summary: held.value.summary, ticket }))
    }

    /// Returns the value that a ticket opens; `None` if it opens none, or not any more.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn value_of_ticket(&self, ticket: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.store().await?.memory_by_ticket(ticket, self.now()).await?;
        Ok(found.and_then(|held| STANDARD.decode(&held.value.value).ok()))
    }
}
