//! A consent, from the link that asks for it to the stored grant.
//!
//! - [`link`]: makes a link; [`link_decision`]: which link a request gets
//! - [`visit`]: the page behind the link; [`callback`]: the way back from the provider
//! - [`ownership`]: whether a browser is that of the user who asked
//! - [`confirmation`]: an application confirms that; [`unclaimed`]: it does so after the consent
//! - [`paste`]: a consent on our own page; [`device`]: one from another machine's browser
//! - [`keep`]: stores what was granted; [`unsaved`]: consents that the store has no room for yet
//! - [`discard`]: ends a grant that is not kept; [`end`]: ends a consent, at the provider and here;
//!   [`end_begun`]: ends what is begun at a provider that is deleted
//! - [`provider_account`]: which provider account a grant is for
//! - [`wait`]: notifies the waiters for a consent
//! - [`steps`]: moves a stored authorization a step on
//! - [`lookup`]: an authorization, looked up by the id that its client holds
//! - [`open_links`]: the links that this machine must listen for; [`sweep`]: deletes what has expired

pub mod callback;
pub mod confirmation;
pub mod device;
pub(super) mod discard;
pub mod end;
mod end_begun;
pub mod keep;
pub mod link;
mod link_decision;
mod lookup;
mod open_links;
pub mod ownership;
pub mod paste;
pub(super) mod provider_account;
mod steps;
mod sweep;
mod unclaimed;
mod unsaved;
pub mod visit;
pub mod wait;

pub use link::ConnectError;
pub(super) use link_decision::{LinkOrder, minutes_until};
pub use ownership::{NotYours, VisitingBrowser};
pub(super) use unsaved::Unsaved;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio_util::task::TaskTracker;

use super::Parts;
use super::client::Clients;
use super::events::Events;
use super::grant::Grants;
use super::providers::Providers;
use super::runs::Runs;
use super::schedule::records::ScheduledCalls;
use crate::model::authorization::ConnectLink;
use crate::model::event::{ConsentOutcome, EventKind};
use crate::model::{Authorization, Caller, RateLimit, Time};
use crate::store::{ConsentTables, Held, Store, StoreError};

/// The authorizations of this store, and what this process knows of them besides. No other module
/// can write one. Cheap to clone.
#[derive(Clone)]
pub struct Consents(Arc<Inner>);

struct Inner {
    parts: Arc<Parts>,
    tables: ConsentTables,
    clients: Arc<Clients>,
    grants: Grants,
    events: Events,
    /// Work that must outlive the request that began it, such as a code exchange.
    tasks: TaskTracker,
    /// Authorizations whose page a browser has requested from this process.
    opened: lookup::Opened,
    /// Broadcasts the ids of authorizations that have ended to waiters in this process.
    ended: broadcast::Sender<String>,
    /// Broadcasts the ids of ended authorizations whose outcome a browser has been shown.
    shown: broadcast::Sender<String>,
    /// Limit on the links of each user.
    links: RateLimit<Caller>,
    unsaved: Arc<Unsaved>,
    /// Runs of plans that wait for consents.
    runs: Runs,
    /// Calls that wait to use a consent.
    scheduled: ScheduledCalls,
    providers: Arc<Providers>,
    /// When expired records other than grants were last deleted.
    swept: Mutex<Option<Time>>,
    /// When grants were last swept.
    swept_grants: Mutex<Option<Time>>,
}

/// Parts of the broker that consents use.
pub(super) struct Collaborators {
    pub(super) clients: Arc<Clients>,
    pub(super) grants: Grants,
    pub(super) events: Events,
    pub(super) tasks: TaskTracker,
    pub(super) unsaved: Arc<Unsaved>,
    pub(super) runs: Runs,
    pub(super) scheduled: ScheduledCalls,
    pub(super) providers: Arc<Providers>,
}

impl Consents {
    pub(super) fn new(
        parts: Arc<Parts>,
        tables: ConsentTables,
        collaborators: Collaborators,
    ) -> Self {
        let Collaborators { clients, grants, events, tasks, unsaved, runs, scheduled, providers } =
            collaborators;
        Self(Arc::new(Inner {
            links: link::limit(parts.clock.clone()),
            parts,
            tables,
            clients,
            grants,
            events,
            tasks,
            opened: lookup::Opened::default(),
            ended: broadcast::Sender::new(256),
            shown: broadcast::Sender::new(16),
            unsaved,
            runs,
            scheduled,
            providers,
            swept: Mutex::default(),
            swept_grants: Mutex::default(),
        }))
    }

    /// Deletes an authorization, or the one that has replaced it since it was read. Returns the
    /// deleted one.
    pub(super) async fn delete(
        &self,
        held: Held<Authorization>,
    ) -> Result<Option<Held<Authorization>>, StoreError> {
        self.0.tables.authorizations.delete_last(held).await
    }

    async fn store(&self) -> Result<&Store, StoreError> {
        self.0.parts.store.get().await
    }

    fn now(&self) -> Time {
        self.0.parts.clock.now()
    }

    /// Records the outcome of a consent.
    fn record(&self, authorization: &Authorization, outcome: ConsentOutcome) {
        let ConnectLink { caller, provider, .. } = authorization.link();
        self.0.events.record_access(caller, provider, EventKind::Consent(outcome));
    }

    /// Spawns work that must not be interrupted; it continues if the caller stops waiting. `None`:
    /// not started, because the process is ending and could not keep the result.
    fn unbroken<F>(&self, work: F) -> impl Future<Output = Option<F::Output>> + use<F>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let tasks = &self.0.tasks;
        // Counted before the check, so that `Broker::settle` waits for all work that begins here.
        let counted = tasks.token();
        let task = (!tasks.is_closed()).then(|| tasks.spawn(work));
        drop(counted);
        async move { task?.await.ok() }
    }
}
