//! Consents that an application answers for: its key asked, and it alone knows who sits at a browser.
//!
//! What the browser brings back is kept unexchanged, and the browser goes on to the application's
//! verifier page with a nonce that did not exist before: only the browser that gave the consent has
//! it. The application looks at its own session and tells us, with its key, who that is. Whoever
//! forwarded a link finds that it was somebody else, and nothing is exchanged.

use secrecy::{ExposeSecret as _, SecretString};

use super::Broker;
use super::callback::CallbackError;
use super::keeping::Arrival;
use crate::model::authorization::{Brought, Unconfirmed};
use crate::model::event::ConsentOutcome;
use crate::model::principal::Verifier;
use crate::model::{UserId, secret};
use crate::oauth::Issued;
use crate::store::StoreError;

/// The parameter of the verifier page that carries the nonce.
const FLOW: &str = "flow_id";

/// What an application is told of a consent that it has confirmed.
#[derive(Clone, Debug)]
pub struct Confirmed {
    /// [`Authorization::id`](crate::model::Authorization::id)
    pub authorization: String,
    /// Where it should send the browser.
    pub next: String,
}

/// The consent was not confirmed, and nothing was kept.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmationError {
    /// Also one of another application: there is none that this one could know of.
    #[error("there is no such flow: it was confirmed before, or its time is over")]
    Unknown,
    #[error("another user began this flow")]
    UserMismatch,
    /// At the link's page, after coming back from the provider.
    #[error("the person said no meanwhile")]
    Declined,
    #[error(transparent)]
    Callback(#[from] CallbackError),
}

impl Broker {
    /// Keeps what a browser brought until the application says whose it is; the browser goes there
    /// next.
    pub(super) async fn hold_back(
        &self,
        verifier: &Verifier,
        brought: Brought,
    ) -> Result<Arrival, StoreError> {
        // Random, and made only now: whoever began the flow knows its link, its `state` and the
        // provider's address, and must not know this.
        let flow = secret::random();
        let arrived_at = self.0.parts.clock.now();
        let unconfirmed = Unconfirmed { verifier: verifier.clone(), brought, arrived_at };
        self.store().await?.hold_back(&flow, &unconfirmed).await?;
        let authorization = unconfirmed.brought.authorization();
        self.record_consent(authorization, ConsentOutcome::AwaitsConfirmation);
        let mut next = verifier.url.clone();
        next.query_pairs_mut().append_pair(FLOW, flow.expose_secret());
        Ok(Arrival { next: next.into() })
    }

    /// The application of this `key` says that `user` sits at the browser that brought `flow`.
    ///
    /// # Errors
    /// [`ConfirmationError`]; a flow that gets as far as [`ConfirmationError::UserMismatch`] is over.
    pub async fn confirm_user(
        &self,
        key: &str,
        flow: &SecretString,
        user: &UserId,
    ) -> Result<Confirmed, ConfirmationError> {
        let store = self.store().await.map_err(CallbackError::from)?;
        let held = store.held_back(flow.expose_secret()).await.map_err(CallbackError::from)?;
        let held = held.ok_or(ConfirmationError::Unknown)?;
        // Before it is used up: an application must not be able to spoil what is not its own.
        if held.value.verifier.key != key {
            tracing::warn!(key, "refused the confirmation of another application's flow");
            return Err(ConfirmationError::Unknown);
        }
        // One-time, and used up before anything else is compared: a wrong answer is no free guess.
        if !store.forget(&held).await.map_err(CallbackError::from)?
            || held.value.is_expired(self.0.parts.clock.now())
        {
            return Err(ConfirmationError::Unknown);
        }
        let Unconfirmed { brought, arrived_at, verifier: _ } = held.value;
        let authorization = brought.authorization();
        if authorization.caller.user != *user {
            self.record_consent(authorization, ConsentOutcome::OtherUser);
            return Err(ConfirmationError::UserMismatch);
        }
        // The person's last word counts, though the provider may have heard another one before. A new
        // link carries it on; one that was swept away meanwhile held none.
        let now = store.successor(authorization).await.map_err(CallbackError::from)?;
        if now.is_some_and(|now| now.value.refusals.iter().any(|at| *at > arrived_at)) {
            self.record_consent(authorization, ConsentOutcome::Declined);
            return Err(ConfirmationError::Declined);
        }
        let id = authorization.id.clone();
        // In a task of its own: an application that hangs up must not take the tokens with it.
        let broker = self.clone();
        let kept = self.unbroken(async move { broker.accept(brought).await });
        let arrival = kept.await.unwrap_or(Err(CallbackError::Ending))?;
        Ok(Confirmed { authorization: id, next: arrival.next })
    }

    async fn accept(&self, brought: Brought) -> Result<Arrival, CallbackError> {
        match brought {
            Brought::Code { started, code } => self.exchange(*started, code).await,
            Brought::Pasted { authorization, tokens } => Ok(self
                .keep(&authorization, Issued { tokens, scopes: None, id_token: None })
                .await?),
        }
    }
}
