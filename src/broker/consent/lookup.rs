//! An authorization, looked up by the id that its client holds.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::link::End;
use crate::broker::Broker;
use crate::model::authorization::Status;
use crate::model::reason::ConsentFailure;
use crate::model::{Authorization, Caller};
use crate::store::{Held, StoreError};

/// Opened links kept in memory; at this number, a new one replaces the oldest.
const MAX_OPENED: usize = 1024;

/// Ids of authorizations whose page a browser has requested from this process.
#[derive(Default)]
pub(super) struct Opened(Mutex<VecDeque<String>>);

impl Opened {
    pub(super) fn note(&self, id: &str) {
        let mut opened = self.0.lock();
        if opened.iter().any(|known| known == id) {
            return;
        }
        if opened.len() >= MAX_OPENED {
            opened.pop_front();
        }
        opened.push_back(id.to_owned());
    }

    fn contains(&self, id: &str) -> bool {
        self.0.lock().iter().any(|known| known == id)
    }
}

impl Broker {
    /// Whether a browser has opened the link. If another process on this data folder has shown the
    /// page, that counts only once the user has gone on to the provider.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn was_opened(&self, caller: &Caller, id: &str) -> Result<bool, StoreError> {
        if self.0.consents.opened.contains(id) {
            return Ok(true);
        }
        let held = self.attempt(caller, id).await?;
        Ok(held.is_some_and(|held| held.value.starts > 0))
    }

    /// Records that the user declined in their client, which counts like a refusal on the page.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn declined_in_client(&self, caller: &Caller, id: &str) -> Result<(), StoreError> {
        let Some(held) = self.attempt(caller, id).await? else { return Ok(()) };
        if held.value.status == Status::Pending {
            let end = End::Failed { why: ConsentFailure::Declined, said: None };
            self.conclude(&held.value, end).await?;
        }
        Ok(())
    }

    /// This user's authorization with this id; `None` once another one has replaced it.
    pub(super) async fn attempt(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<Option<Held<Authorization>>, StoreError> {
        let all = self.store().await?.authorizations_of(caller).await?;
        Ok(all.into_iter().find(|held| held.value.id == id))
    }
}
