//! Notes the consents that a call of a plan run shows to be needed.

use super::Confirmations;
use crate::broker::{Broker, MAX_WRITE_ATTEMPTS};
use crate::model::run_needs::NotedConsent;
use crate::model::{ConnectPrompt, Principal, RunNeeds};
use crate::store::StoreError;

/// Why a need is not noted. The client must then get a failure and no link.
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("too many plan runs of this user wait for a consent; try again in an hour")]
    TooMany,
}

impl Broker {
    /// Notes that a call of this plan run needs the consent that `prompt` asks for, so that
    /// readiness reports it until it is given. Call it before the client gets the prompt: clients
    /// of plan runs call again as soon as nothing is reported.
    ///
    /// # Errors
    /// [`NoteError`]
    pub async fn note_need(
        &self,
        principal: &Principal,
        run: &str,
        prompt: &ConnectPrompt,
    ) -> Result<(), NoteError> {
        self.0.confirmations.note_consent(principal, run, prompt).await
    }
}

impl Confirmations {
    async fn note_consent(
        &self,
        principal: &Principal,
        run: &str,
        prompt: &ConnectPrompt,
    ) -> Result<(), NoteError> {
        let caller = &principal.caller;
        let store = self.store().await?;
        let began = self.now();
        let consent = NotedConsent {
            provider: prompt.provider.clone(),
            account: prompt.account.clone(),
            scopes: prompt.scopes.clone(),
        };
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let held = store.run_needs(caller, run).await?;
            let before = held.as_ref().map(|held| held.value.clone());
            let before = before.unwrap_or_else(|| RunNeeds::new(run, began));
            if before.has(&consent) {
                return Ok(());
            }
            // The client names the runs, and each is a record.
            if held.is_none() && !principal.is_local() && !self.0.runs.admits(caller.clone()) {
                return Err(NoteError::TooMany);
            }
            let needs = before.with_consent(consent.clone(), self.now());
            if self.0.tables.needs.put(caller, &needs, held.as_ref()).await? {
                self.drop_if_cut_off(caller, began).await?;
                return Ok(());
            }
        }
        Err(StoreError::Contended.into())
    }
}
