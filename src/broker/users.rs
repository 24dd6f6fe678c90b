//! The users of this server: what they have connected, and ending it on behalf of the operator or
//! of the application that the users belong to.
//!
//! Ending all of a user's access also ends what is only begun: open links, redirects to a provider,
//! unconfirmed consents, browser sessions. The cutoff finds a consent whose code is being exchanged
//! at that moment: it is written before the grants are looked up and read after a grant is written,
//! so that one of the two sees the other.

use std::sync::Arc;

use super::Parts;
use super::consent::end::Ended;
use super::consent::{ConnectError, Consents};
use super::events::Events;
use super::runs::Runs;
use super::schedule::records::ScheduledCalls;
use crate::model::Caller;
use crate::model::consent_plan::ConsentMethod;
use crate::model::event::{EndedBy, EventKind};
use crate::model::run::DeletedDocuments;
use crate::store::{Cutoff, StoreError, StoredUser, Table};

/// Result of ending a user's access.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndedAccess {
    /// Includes consents that were not kept as accounts yet: those that the application had to
    /// confirm, and those of another account than before.
    pub accounts: Vec<Ended>,
    /// Number of links that could still be answered.
    pub links: usize,
    /// Number of signed-in browsers.
    pub sessions: usize,
    /// Plan runs that a client had stored, and what else it had stored about the user.
    pub documents: DeletedDocuments,
    /// Number of scheduled calls, in every state.
    pub scheduled: usize,
}

impl EndedAccess {
    /// Whether there was nothing to end.
    pub fn is_nothing(&self) -> bool {
        let Self { accounts, links, sessions, documents, scheduled } = self;
        let DeletedDocuments { runs, others } = documents;
        accounts.is_empty() && links + sessions + runs + others + scheduled == 0
    }
}

/// The users of this server, and when the access of each was last ended. No other module can end
/// it.
pub struct Users {
    cutoffs: Table<Cutoff>,
    parts: Arc<Parts>,
    consents: Consents,
    stored: Stored,
    events: Events,
}

/// Owners of what clients have stored about a user.
pub(super) struct Stored {
    pub(super) runs: Runs,
    pub(super) scheduled: ScheduledCalls,
}

impl Users {
    pub(super) fn new(
        cutoffs: Table<Cutoff>,
        parts: &Arc<Parts>,
        consents: Consents,
        stored: Stored,
        events: Events,
    ) -> Self {
        Self { cutoffs, parts: Arc::clone(parts), consents, stored, events }
    }

    /// All users who have connected an account here, in all namespaces, sorted. `known` names users
    /// whose records come from a version that did not note the user.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn all(&self, known: &[Caller]) -> Result<Vec<StoredUser>, StoreError> {
        let mut users = self.parts.store.get().await?.users(known).await?;
        users.retain(|user| user.caller.as_ref() != Some(&Caller::server()));
        users.sort_by_cached_key(|user| {
            let caller = user.caller.as_ref();
            caller.map(|caller| (caller.namespace.clone(), caller.user.clone()))
        });
        Ok(users)
    }

    /// Users who have an open link, a redirect under way, an unclaimed consent, a call to confirm or
    /// just confirmed, a browser session, documents of plan runs, or scheduled calls.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn who_began(&self) -> Result<Vec<Caller>, StoreError> {
        let mut callers =
            self.parts.store.get().await?.users_who_began(self.parts.clock.now()).await?;
        callers.retain(|caller| *caller != Caller::server());
        Ok(callers)
    }

    /// Ends all access of this user, at each provider and here, and everything that the user has
    /// begun. Deletes what clients have stored about the user.
    ///
    /// # Errors
    /// [`ConnectError::Store`] if the store cannot be read or written.
    pub async fn end_access(
        &self,
        caller: &Caller,
        by: EndedBy,
    ) -> Result<EndedAccess, ConnectError> {
        let store = self.parts.store.get().await?;
        let now = self.parts.clock.now();
        self.cutoffs.cut_off(caller, now).await?;
        let asked = store.call_confirmations().await?.into_iter().map(|held| held.value);
        let mut links = asked.filter(|it| it.caller == *caller && it.is_open(now)).count();
        let sessions = self.cutoffs.delete_begun(caller).await?;
        let scheduled = self.stored.scheduled.delete_of(caller).await?;
        let mut accounts = self.consents.end_unclaimed_of(caller).await?;
        for held in store.authorizations_of(caller).await? {
            let Some(held) = self.consents.delete(held).await? else {
                continue;
            };
            links += usize::from(held.value.is_undecided(now));
            if let (ConsentMethod::Code(flow), Some(candidate)) =
                (&held.value.link().plan.method, held.value.state().candidate())
            {
                accounts.push(self.consents.end_unkept(&flow.client, candidate).await);
            }
        }
        for Ended { provider, how, .. } in &accounts {
            let kind = EventKind::End { by, outcome: how.outcome() };
            self.events.record_access(caller, provider, kind);
        }
        for held in store.grants(caller).await? {
            accounts.extend(self.consents.disconnect(caller, held.value, by, |_| true).await?);
        }
        // Last, so that no document keeps access from ending.
        let documents = self.stored.runs.delete_of(caller).await?;
        Ok(EndedAccess { accounts, links, sessions, documents, scheduled })
    }

    /// Records that all access of this user ends now: consents begun before are not kept.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn cut_off(&self, caller: &Caller) -> Result<(), StoreError> {
        self.cutoffs.cut_off(caller, self.parts.clock.now()).await
    }
}
