//! Grants: kept fresh, used, and written.
//!
//! - [`access`]: the single owner of token freshness
//! - [`refresh`]: renews, once for all calls; [`lease`]: and for all processes; [`send`] asks the
//!   token endpoint; [`unsaved`] holds what the store could not keep
//! - [`server_token`]: grants of the server itself
//! - [`known`]: the accounts that a user has connected at one provider
//! - [`last_used`]: when a grant was last used
//! - [`put`]: stores a grant, and deletes it; [`deposit`]: stores one that was obtained elsewhere
//! - [`told`]: writes the ends of grants, and tells their applications

pub(super) mod access;
mod deposit;
pub(super) mod known;
pub(super) mod last_used;
mod lease;
pub(super) mod put;
pub(super) mod refresh;
mod send;
mod server_token;
mod told;
mod unsaved;

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::Parts;
use super::client::Clients;
use super::events::Events;
use super::webhooks::outbox::Outbox;
use crate::model::event::EventKind;
use crate::model::{Caller, Clock, Grant, ProviderId};
use crate::store::{LazyStore, Table};

/// The grants of this store. No other module can write one, or decide whether one is fresh: each
/// write decides whether a user's consent survives. Cheap to clone.
#[derive(Clone)]
pub(super) struct Grants(Arc<Inner>);

struct Inner {
    table: Table<Grant>,
    refreshes: refresh::Refreshes,
    last_uses: last_used::LastUses,
    store: Arc<LazyStore>,
    clock: Clock,
    clients: Arc<Clients>,
    events: Events,
    /// Renewals run here, since they must outlive the call that began them.
    tasks: TaskTracker,
    /// Events for applications, stored with each change that they are told of.
    outbox: Outbox,
    log_unsaved: Box<LogUnsaved>,
}

/// Logs that this many renewals are held in memory until the store has room.
pub(super) type LogUnsaved = dyn Fn(usize) + Send + Sync;

impl Grants {
    pub(super) fn new(
        parts: &Parts,
        table: Table<Grant>,
        (clients, events, tasks, outbox): (Arc<Clients>, Events, TaskTracker, Outbox),
        log_unsaved: Box<LogUnsaved>,
    ) -> Self {
        Self(Arc::new(Inner {
            table,
            refreshes: refresh::Refreshes::default(),
            last_uses: last_used::LastUses::default(),
            store: Arc::clone(&parts.store),
            clock: parts.clock.clone(),
            clients,
            events,
            tasks,
            outbox,
            log_unsaved,
        }))
    }

    /// Records an event that concerns this user's access at a provider.
    fn record(&self, caller: &Caller, provider: &ProviderId, kind: EventKind) {
        self.0.events.record_access(caller, provider, kind);
    }
}
