//! The page on which a user confirms or declines a call.

use super::Confirmations;
use crate::broker::consent::ownership::LinkOwnership;
use crate::broker::{ConnectError, MAX_WRITE_ATTEMPTS, NotYours, VisitingBrowser};
use crate::model::authorization::LINK_LIFETIME;
use crate::model::call_confirmation::{ConfirmationContent, ConfirmationState};
use crate::model::event::{ConfirmationOutcome, Event, EventKind};
use crate::model::requester::ClientName;
use crate::model::{CallConfirmation, Time, secret};
use crate::store::{Held, StoreError};

/// Contents of the page. None of it is secret.
#[derive(Clone, Debug)]
pub struct ConfirmationView {
    pub content: ConfirmationContent,
    /// The program that wants to run the tool, by its own name.
    pub client: Option<ClientName>,
    /// The user whose call it is.
    pub user: String,
    pub state: ConfirmationState,
    /// Whether the user can still answer.
    pub is_open: bool,
    pub expires_at: Time,
    /// Minutes left, rounded up.
    pub lives_minutes: u64,
    /// Digest of what the page says; [`Confirmations::answer`] requires it.
    pub digest: String,
}

impl Confirmations {
    /// The contents of the page. Changes nothing: link scanners and prefetching browsers come here
    /// too.
    ///
    /// # Errors
    /// [`ConnectError::Unknown`] or [`ConnectError::NotYours`] if this browser may not see it;
    /// [`ConnectError::Store`] if the store fails.
    pub async fn view(
        &self,
        ticket: &str,
        visitor: &VisitingBrowser,
    ) -> Result<ConfirmationView, ConnectError> {
        let confirmation = self.behind(ticket, visitor).await?.value;
        let now = self.now();
        let (is_open, expires_at) = (confirmation.is_open(now), confirmation.expires_at());
        Ok(ConfirmationView {
            is_open,
            expires_at,
            // If the clock went back a little, promise no more than a whole lifetime.
            lives_minutes: expires_at.since(now).min(LINK_LIFETIME).as_secs().div_ceil(60),
            digest: digest(&confirmation),
            user: confirmation.caller.user.to_string(),
            client: confirmation.client,
            state: confirmation.state,
            content: confirmation.content,
        })
    }

    /// Records the user's answer on the page with this digest. Does nothing if it was answered
    /// before, or its time is over: the page says so.
    ///
    /// # Errors
    /// As [`Self::view`]; [`ConnectError::Changed`] if the answered page said something else.
    pub async fn answer(
        &self,
        ticket: &str,
        visitor: &VisitingBrowser,
        shown: &str,
        is_confirmed: bool,
    ) -> Result<(), ConnectError> {
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let held = self.behind(ticket, visitor).await?;
            if !secret::same(shown, &digest(&held.value)) {
                return Err(ConnectError::Changed);
            }
            let Some(answered) = held.value.answered(is_confirmed, self.now()) else {
                return Ok(());
            };
            if self.0.tables.confirmations.replace(answered, &held).await?.is_some() {
                let outcome = if is_confirmed {
                    ConfirmationOutcome::Confirmed
                } else {
                    ConfirmationOutcome::Declined
                };
                let event = Event::new(EventKind::Confirmation(outcome)).of(&held.value.caller);
                let CallConfirmation { caller, id, .. } = &held.value;
                self.0.consents.resolve_clarifications(caller, id);
                let tool = Some(held.value.content.tool);
                self.0.events.record(&Event { tool, ..event });
                return Ok(());
            }
        }
        Err(StoreError::Contended.into())
    }

    /// The confirmation behind a link, if this browser may answer it.
    async fn behind(
        &self,
        ticket: &str,
        visitor: &VisitingBrowser,
    ) -> Result<Held<CallConfirmation>, ConnectError> {
        let held = self.store().await?.call_confirmation(ticket).await?;
        let held = held.ok_or(ConnectError::Unknown)?;
        match visitor.may_finish(LinkOwnership::from(&held.value)) {
            Ok(()) => Ok(held),
            // Do not reveal that it exists to a browser at another address.
            Err(NotYours::Elsewhere) => Err(ConnectError::Unknown),
            Err(stranger) => Err(ConnectError::NotYours(stranger)),
        }
    }
}

/// Digest of what the page says, so that an answer applies only to what the user saw.
fn digest(of: &CallConfirmation) -> String {
    let CallConfirmation { id, content, client, .. } = of;
    // `Debug` quotes every text, so different pages are never written alike.
    secret::fingerprint(&format!("{:?}", (id, content, client)))
}
