//! Calls that their user has to confirm, and what plan runs wait for.
//!
//! - this module: whether a call may run; [`page`]: the user's answer
//! - [`needs`]: what the steps of a plan run wait for
//!
//! A confirmation is looked up by user, plan run and the digest of the call, and used up by the one
//! call that runs. The compare-and-swap that marks it as used decides between concurrent calls.

mod needs;
pub mod page;

use std::sync::Arc;
use std::time::Duration;

pub use needs::NoteError;
use secrecy::ExposeSecret as _;

use super::consent::Consents;
use super::events::Events;
use super::{ConnectError, MAX_WRITE_ATTEMPTS, Parts};
use crate::model::call_confirmation::{ConfirmationContent, ConfirmationState};
use crate::model::oauth::LoopbackRule;
use crate::model::principal::BrowserProof;
use crate::model::requester::ClientName;
use crate::model::run_needs::NotedConfirmation;
use crate::model::{
    CallConfirmation, Caller, ConfirmationPrompt, Principal, ProviderId, RateLimit, RunNeeds, Time,
    secret,
};
use crate::store::{ConfirmationTables, Held, Store, StoreError};

/// Confirmations per user and hour; further ones are refused with [`ConnectError::TooManyLinks`].
/// Each is a record in the store, which one user must not fill.
const MAX_CONFIRMATIONS_PER_HOUR: u32 = 60;

/// Plan runs per user and hour whose needs are noted; further ones are refused, likewise.
const MAX_RUNS_PER_HOUR: u32 = 600;

/// The confirmations of this store, and the needs of plan runs. No other module can write one.
/// Cheap to clone.
#[derive(Clone)]
pub struct Confirmations(Arc<Inner>);

struct Inner {
    parts: Arc<Parts>,
    tables: ConfirmationTables,
    consents: Consents,
    events: Events,
    /// Limit on the confirmations of each user.
    limit: RateLimit<Caller>,
    /// Limit on the plan runs of each user.
    runs: RateLimit<Caller>,
}

/// A call that runs only after its user has confirmed it.
pub(super) struct UnconfirmedCall<'a> {
    pub(super) principal: &'a Principal,
    /// The plan run, or an empty text.
    pub(super) run: &'a str,
    pub(super) client: Option<&'a str>,
    /// The provider, for the messages of a port that cannot be opened.
    pub(super) provider: Option<&'a ProviderId>,
    pub(super) content: ConfirmationContent,
    /// Whether the caller shows links.
    pub(super) may_ask: bool,
    pub(super) usage: Use,
}

/// When a call uses up the user's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Now: the request is sent next.
    Now,
    /// Later: the call first gets its token, and may find that it has none.
    Later,
}

/// Whether a call may run.
#[derive(Debug)]
pub(super) enum Confirmed {
    /// The user has confirmed exactly this call, once.
    Yes,
    /// The user has declined it.
    No,
    /// The user must answer first.
    Ask(ConfirmationPrompt),
    /// The user must answer first, and the caller shows no links.
    Unasked,
}

/// Result of one try to find or write a confirmation.
enum Step {
    Done(Confirmed),
    /// No confirmation answers for the call.
    Missing,
    /// Another writer was faster.
    Again,
}

impl Confirmations {
    pub(super) fn new(
        parts: Arc<Parts>,
        tables: ConfirmationTables,
        consents: Consents,
        events: Events,
    ) -> Self {
        let (hour, clock) = (Duration::from_hours(1), parts.clock.clone());
        let limit = RateLimit::per(hour, clock.clone(), MAX_CONFIRMATIONS_PER_HOUR, u32::MAX);
        let runs = RateLimit::per(hour, clock, MAX_RUNS_PER_HOUR, u32::MAX);
        Self(Arc::new(Inner { parts, tables, consents, events, limit, runs }))
    }

    /// Decides whether a call may run, and uses up the confirmation if it runs now.
    ///
    /// # Errors
    /// [`ConnectError`] if the store fails or the user cannot be asked.
    pub(super) async fn confirmed(
        &self,
        call: &UnconfirmedCall<'_>,
    ) -> Result<Confirmed, ConnectError> {
        let store = self.store().await?;
        let caller = &call.principal.caller;
        let mut new = None;
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let needs = store.run_needs(caller, call.run).await?;
            let step = self.look_up(store, call, needs.as_ref()).await?;
            match step {
                Step::Done(confirmed) => return Ok(confirmed),
                Step::Again => continue,
                Step::Missing if !call.may_ask => return Ok(Confirmed::Unasked),
                Step::Missing => {}
            }
            let confirmation = match new.take() {
                Some(confirmation) => confirmation,
                None => self.begin(call).await?,
            };
            if self.note(&confirmation, call, needs.as_ref()).await? {
                return self.ask(&confirmation, call).await.map(Confirmed::Ask);
            }
            new = Some(confirmation);
        }
        Err(StoreError::Contended.into())
    }

    /// Looks for the user's answer to this call, or the open question.
    async fn look_up(
        &self,
        store: &Store,
        call: &UnconfirmedCall<'_>,
        needs: Option<&Held<RunNeeds>>,
    ) -> Result<Step, ConnectError> {
        let now = self.now();
        let digest = &call.content.digest;
        let Some(noted) = needs.and_then(|needs| needs.value.confirmation(digest)) else {
            return Ok(Step::Missing);
        };
        let Some(held) = store.call_confirmation(noted.ticket.expose_secret()).await? else {
            return Ok(Step::Missing);
        };
        let confirmation = &held.value;
        Ok(match confirmation.state {
            ConfirmationState::Open if confirmation.is_open(now) => {
                if !call.may_ask {
                    Step::Done(Confirmed::Unasked)
                } else if self.leads_here(confirmation, call).await? {
                    Step::Done(Confirmed::Ask(confirmation.prompt()))
                } else {
                    Step::Missing
                }
            }
            ConfirmationState::Confirmed { .. } => match confirmation.used(now) {
                // Confirmed too long ago.
                None => Step::Missing,
                Some(_) if call.usage == Use::Later => Step::Done(Confirmed::Yes),
                Some(used) => match self.0.tables.confirmations.replace(used, &held).await? {
                    Some(_) => Step::Done(Confirmed::Yes),
                    None => Step::Again,
                },
            },
            ConfirmationState::Declined { .. } => {
                // The answer is delivered once; a later call asks again.
                let is_told = self.forget(call, needs).await?;
                if is_told { Step::Done(Confirmed::No) } else { Step::Again }
            }
            ConfirmationState::Open | ConfirmationState::Used => Step::Missing,
        })
    }

    /// Whether the page of an open question is at the address where this call's user would be
    /// asked now.
    async fn leads_here(
        &self,
        confirmation: &CallConfirmation,
        call: &UnconfirmedCall<'_>,
    ) -> Result<bool, ConnectError> {
        let proof = call.principal.browser_proof.as_ref();
        Ok(proof.is_ok_and(|proof| *proof == confirmation.browser_proof)
            && self.origin(call).await? == confirmation.origin)
    }

    /// Stores a new question to the user.
    async fn begin(&self, call: &UnconfirmedCall<'_>) -> Result<CallConfirmation, ConnectError> {
        let Principal { caller, browser_proof, .. } = call.principal;
        let browser_proof = browser_proof.clone()?;
        let origin = self.origin(call).await?;
        // As for links: a user of their own server may fill their own disk.
        if browser_proof != BrowserProof::Loopback && !self.0.limit.admits(caller.clone()) {
            return Err(ConnectError::TooManyLinks);
        }
        self.0.consents.sweep_in_time();
        let confirmation = CallConfirmation {
            id: secret::random().expose_secret().to_owned(),
            ticket: secret::random_ticket(),
            caller: caller.clone(),
            browser_proof,
            client: call.client.and_then(ClientName::new),
            content: call.content.clone(),
            origin,
            listen_address: self.0.parts.listen_address,
            created_at: self.now(),
            state: ConfirmationState::Open,
        };
        self.0.tables.confirmations.begin(&confirmation).await?;
        Ok(confirmation)
    }

    /// Makes a question the one that this call is looked up by. False if another writer was faster.
    async fn note(
        &self,
        confirmation: &CallConfirmation,
        call: &UnconfirmedCall<'_>,
        over: Option<&Held<RunNeeds>>,
    ) -> Result<bool, ConnectError> {
        let noted = NotedConfirmation {
            ticket: confirmation.ticket.clone(),
            tool: confirmation.content.tool.clone(),
            digest: confirmation.content.digest.clone(),
        };
        let now = self.now();
        let before = over.map_or_else(|| RunNeeds::new(call.run, now), |held| held.value.clone());
        let needs = before.with_confirmation(noted, now);
        Ok(self.0.tables.needs.put(&call.principal.caller, &needs, over).await?)
    }

    /// Removes the question of this call. False if another writer was faster.
    async fn forget(
        &self,
        call: &UnconfirmedCall<'_>,
        over: Option<&Held<RunNeeds>>,
    ) -> Result<bool, ConnectError> {
        let Some(held) = over else { return Ok(true) };
        let next = held.value.clone().without_confirmation(&call.content.digest);
        Ok(self.0.tables.needs.replace(next, held).await?.is_some())
    }

    /// Returns the prompt for a stored question. The page also works after this process has ended,
    /// where another one can answer it.
    async fn ask(
        &self,
        confirmation: &CallConfirmation,
        call: &UnconfirmedCall<'_>,
    ) -> Result<ConfirmationPrompt, ConnectError> {
        let prompt = confirmation.prompt();
        let began = confirmation.created_at;
        if self.drop_if_cut_off(&call.principal.caller, began).await? {
            return Err(ConnectError::Changed);
        }
        if confirmation.browser_proof == BrowserProof::Loopback {
            // Before the link is handed out: a host may kill this process as soon as it has it.
            (self.0.parts.keeper)(prompt.expires_at).await;
        }
        Ok(prompt)
    }

    /// Deletes what was written for a user whose access was ended since `began`: either this sees
    /// that it was ended, or ending it sees the records.
    async fn drop_if_cut_off(&self, caller: &Caller, began: Time) -> Result<bool, StoreError> {
        let is_cut_off = self.store().await?.is_cut_off(caller, began).await?;
        if is_cut_off {
            self.0.tables.needs.delete_of(caller).await?;
        }
        Ok(is_cut_off)
    }

    async fn origin(&self, call: &UnconfirmedCall<'_>) -> Result<String, ConnectError> {
        let provider = call.provider.cloned().unwrap_or_else(|| ProviderId::new("countersign"));
        Ok((self.0.parts.origin)(provider, LoopbackRule::AnyPort).await?)
    }

    async fn store(&self) -> Result<&Store, StoreError> {
        self.0.parts.store.get().await
    }

    fn now(&self) -> Time {
        self.0.parts.clock.now()
    }
}
