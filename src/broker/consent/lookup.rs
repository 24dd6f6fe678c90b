//! An authorization, looked up by the id that its client holds.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::Consents;
use crate::model::authorization::State;
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

impl Consents {
    /// Whether a browser has opened the link. If another process on this data folder has shown the
    /// page, that counts only once the user has gone on to the provider.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn was_opened(&self, caller: &Caller, id: &str) -> Result<bool, StoreError> {
        if self.0.opened.contains(id) {
            return Ok(true);
        }
        let held = self.attempt(caller, id).await?;
        Ok(held.is_some_and(|held| held.value.starts() > 0))
    }

    /// Records that the user declined in their client, which counts like a refusal on the page.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn declined_in_client(&self, caller: &Caller, id: &str) -> Result<(), StoreError> {
        match self.attempt(caller, id).await? {
            Some(held) if held.value.is_pending() => self.refuse(&held.value).await,
            _ => Ok(()),
        }
    }

    /// Records that a browser has asked this process for the page of an authorization.
    pub(super) fn note_visit(&self, authorization: &Authorization) {
        let id = &authorization.link().id;
        match authorization.state() {
            State::Pending { .. } | State::OtherAccount { .. } => self.0.opened.note(id),
            State::Completed(_)
            | State::Failed { .. }
            | State::PreviousAccountKept(_)
            | State::Undone { .. } => {
                // An error means that there are no waiters.
                let _ = self.0.shown.send(id.clone());
            }
        }
    }

    /// Ends an authorization with the user's refusal.
    pub(super) async fn refuse(&self, authorization: &Authorization) -> Result<(), StoreError> {
        let now = self.now();
        let refuse = |it: Authorization| it.fail(ConsentFailure::Declined, None, now);
        self.conclude(authorization, refuse).await.map(drop)
    }

    /// This user's authorization with this id; `None` once another one has replaced it.
    pub(super) async fn attempt(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<Option<Held<Authorization>>, StoreError> {
        self.store().await?.authorization_by_id(caller, id).await
    }
}
