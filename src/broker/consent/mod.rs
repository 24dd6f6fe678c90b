//! A consent, from the link that asks for it to the stored grant.
//!
//! - [`link`]: makes a link; [`link_decision`]: which link a request gets
//! - [`visit`]: the page behind the link; [`callback`]: the way back from the provider
//! - [`ownership`]: whether a browser is that of the user who asked
//! - [`confirmation`]: an application confirms that; [`unclaimed`]: it does so after the consent
//! - [`paste`]: a consent on our own page; [`device`]: one from another machine's browser
//! - [`keep`]: stores what was granted; [`unsaved`]: consents that the store has no room for yet
//! - [`discard`]: ends a grant that is not kept
//! - [`provider_account`]: which provider account a grant is for
//! - [`wait`]: notifies the waiters for a consent
//! - [`steps`]: moves a stored authorization a step on
//! - [`lookup`]: an authorization, looked up by the id that its client holds
//! - [`open_links`]: the links that this machine must listen for; [`sweep`]: deletes what has expired

pub mod callback;
pub mod confirmation;
pub mod device;
mod discard;
pub mod keep;
pub mod link;
mod link_decision;
mod lookup;
mod open_links;
pub mod ownership;
pub mod paste;
mod provider_account;
mod steps;
mod sweep;
mod unclaimed;
mod unsaved;
pub mod visit;
pub mod wait;

pub use link::ConnectError;
pub use ownership::{NotYours, VisitingBrowser};

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio_util::task::TaskTracker;

use crate::broker::client::Clients;
use crate::model::{Authorization, Caller, Clock, RateLimit, Time};
use crate::store::{ConsentTables, Held, LazyStore, StoreError};

/// The authorizations of this store, and what this process knows of them besides.
pub struct Consents {
    store: Arc<LazyStore>,
    tables: ConsentTables,
    clock: Clock,
    clients: Arc<Clients>,
    /// Work that must outlive the request that began it.
    tasks: TaskTracker,
    /// Authorizations whose page a browser has requested from this process.
    opened: lookup::Opened,
    /// Broadcasts the ids of authorizations that have ended to waiters in this process.
    ended: broadcast::Sender<String>,
    /// Broadcasts the ids of ended authorizations whose outcome a browser has been shown.
    shown: broadcast::Sender<String>,
    /// Limit on the links of each user.
    links: RateLimit<Caller>,
    unsaved: unsaved::Unsaved,
    /// Number of consents held in memory that the log last reported.
    unsaved_logged: AtomicUsize,
    /// When expired records other than grants were last deleted.
    swept: Mutex<Option<Time>>,
    /// When grants were last swept.
    swept_grants: Mutex<Option<Time>>,
}

impl Consents {
    pub(super) fn new(
        store: Arc<LazyStore>,
        tables: ConsentTables,
        clock: Clock,
        clients: Arc<Clients>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            links: link::limit(clock.clone()),
            store,
            tables,
            clock,
            clients,
            tasks,
            opened: lookup::Opened::default(),
            ended: broadcast::Sender::new(256),
            shown: broadcast::Sender::new(16),
            unsaved: unsaved::Unsaved::default(),
            unsaved_logged: AtomicUsize::new(0),
            swept: Mutex::default(),
            swept_grants: Mutex::default(),
        }
    }

    /// Deletes an authorization, or the one that has replaced it since it was read. Returns the
    /// deleted one.
    pub(super) async fn delete(
        &self,
        held: Held<Authorization>,
    ) -> Result<Option<Held<Authorization>>, StoreError> {
        self.tables.authorizations.delete_last(held).await
    }

    /// Logs what a restart would cost, with this many renewals held in memory besides: an operator
    /// may restart precisely because the store fails.
    pub(super) fn log_unsaved(&self, renewals: usize) {
        let held = self.unsaved.lock().len() + renewals;
        if held > 0 && self.unsaved_logged.swap(held, Ordering::Relaxed) < held {
            tracing::error!(
                held,
                "consents are held in memory until the store has room; do not end this process before: their users would have to consent again"
            );
        }
    }

    /// Whether a consent waits for room in the store.
    pub(super) fn has_unsaved(&self) -> bool {
        !self.unsaved.lock().is_empty()
    }
}
