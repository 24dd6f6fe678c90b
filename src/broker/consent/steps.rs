//! Moves a stored authorization a step on, and announces its end.

use super::Consents;
use crate::broker::MAX_WRITE_ATTEMPTS;
use crate::model::authorization::{ConnectLink, InvalidTransition, State};
use crate::model::{Authorization, Caller};
use crate::store::{Held, StoreError};

impl Consents {
    /// Applies `step` to the authorization as it is stored now. `None`: it is gone or replaced, or
    /// takes no such step. If the step takes the place of a question about another account, the
    /// grant behind that question ends at the provider.
    ///
    /// # Errors
    /// [`StoreError::Contended`] after [`MAX_WRITE_ATTEMPTS`] faster writers, or the store fails.
    pub(super) async fn advance(
        &self,
        authorization: &Authorization,
        step: impl Fn(Authorization) -> Result<Authorization, InvalidTransition> + Send + Sync,
    ) -> Result<Option<Held<Authorization>>, StoreError> {
        let store = self.store().await?;
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let Some(held) = store.reread(authorization).await? else { return Ok(None) };
            let Ok(next) = step(held.value.clone()) else { return Ok(None) };
            if let Some(kept) = self.0.tables.authorizations.replace(next, &held).await? {
                if let Some(unanswered) = held.value.state().unanswered() {
                    self.discard(&held.value, unanswered);
                }
                return Ok(Some(kept));
            }
        }
        Err(StoreError::Contended)
    }

    /// Like [`Self::advance`], with a step that answers the authorization. Once that is durable,
    /// notifies its waiters. Returns false if no step was taken.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub(super) async fn conclude(
        &self,
        authorization: &Authorization,
        step: impl Fn(Authorization) -> Result<Authorization, InvalidTransition> + Send + Sync,
    ) -> Result<bool, StoreError> {
        let Some(answered) = self.advance(authorization, step).await? else { return Ok(false) };
        // The user is still asked: waiters go on waiting.
        if answered.value.state().candidate().is_none() {
            // An error means that there are no waiters, which is usual.
            let _ = self.0.ended.send(answered.value.link().id.clone());
        }
        if let State::Completed(_) = answered.value.state() {
            let ConnectLink { caller, id, .. } = answered.value.link();
            self.resolve_clarifications(caller, id);
        }
        Ok(true)
    }

    /// Marks the clarifications of plan runs that ask for this consent or confirmation as resolved,
    /// in the background: the browser does not wait for it, and the client goes on without it.
    pub(in crate::broker) fn resolve_clarifications(&self, caller: &Caller, of: &str) {
        let (runs, caller, of) = (self.0.runs.clone(), caller.clone(), of.to_owned());
        drop(self.unbroken(async move {
            if let Err(error) = runs.resolve(&caller, &of).await {
                tracing::warn!(%error, "the plan runs that wait for an answer were not marked");
            }
        }));
    }
}
