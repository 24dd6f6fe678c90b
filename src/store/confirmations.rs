//! Confirmations of calls, and the needs of plan runs.

use secrecy::ExposeSecret as _;

use super::backend::Key;
use super::{Held, Result, Store};
use crate::model::{CallConfirmation, Caller, RunNeeds};

/// # Errors
/// As the methods of [`Store`] in general.
impl Store {
    /// Returns the confirmation that a page's address leads to.
    pub async fn call_confirmation(&self, ticket: &str) -> Result<Option<Held<CallConfirmation>>> {
        self.read(self.confirmation_key(ticket)).await
    }

    /// Returns all confirmations, answered or not.
    pub async fn call_confirmations(&self) -> Result<Vec<Held<CallConfirmation>>> {
        self.read_all("confirmation/").await
    }

    /// Stores a confirmation under its ticket, which no other has.
    pub(super) async fn begin_confirmation(&self, confirmation: &CallConfirmation) -> Result<()> {
        let key = self.confirmation_key(confirmation.ticket.expose_secret());
        self.write_of(&key, confirmation, None, Some(&confirmation.caller)).await?;
        Ok(())
    }

    /// Returns the needs of a user's plan run.
    pub async fn run_needs(&self, caller: &Caller, run: &str) -> Result<Option<Held<RunNeeds>>> {
        self.read(self.needs_key(caller, run)).await
    }

    /// Stores the needs of a user's plan run in place of `over`; false if another writer was
    /// faster.
    pub(super) async fn put_run_needs(
        &self,
        caller: &Caller,
        needs: &RunNeeds,
        over: Option<&Held<RunNeeds>>,
    ) -> Result<bool> {
        self.write_of(&self.needs_key(caller, &needs.run), needs, over, Some(caller)).await
    }

    /// Deletes the confirmations of a user, and the needs of their plan runs.
    pub(super) async fn delete_confirmations(&self, caller: &Caller) -> Result<()> {
        self.delete_all::<CallConfirmation>("confirmation/", |it| it.caller == *caller).await?;
        let needs = format!("needs/{}/", self.user(caller));
        self.delete_all::<RunNeeds>(&needs, |_| true).await?;
        Ok(())
    }

    fn confirmation_key(&self, ticket: &str) -> Key {
        Key::new(format!("confirmation/{}", self.ring.hash("confirmation", &[ticket])))
    }

    fn needs_key(&self, caller: &Caller, run: &str) -> Key {
        Key::new(format!("needs/{}/{}", self.user(caller), self.ring.hash("run", &[run])))
    }
}
