//! Grants: kept fresh, used, and written.
//!
//! - [`access`]: the single owner of token freshness; [`refresh`] renews
//! - [`server_token`]: grants of the server itself
//! - [`last_used`]: when a grant was last used
//! - [`put`]: stores a grant, and deletes it

pub(super) mod access;
pub(super) mod last_used;
pub(super) mod put;
pub(super) mod refresh;
mod server_token;

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::client::registration::Clients;
use super::client::token_endpoints::TokenEndpoints;
use super::events::Events;
use crate::model::event::{Event, EventKind};
use crate::model::{Caller, Clock, Grant, ProviderId};
use crate::oauth::OAuthClient;
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
    oauth: OAuthClient,
    clients: Arc<Clients>,
    endpoints: TokenEndpoints,
    events: Arc<Events>,
    tasks: TaskTracker,
    log_unsaved: Box<LogUnsaved>,
}

/// Logs that this many renewals are held in memory until the store has room.
pub(super) type LogUnsaved = dyn Fn(usize) + Send + Sync;

/// Dependencies of [`Grants`], besides the right to write.
pub(super) struct GrantParts {
    pub(super) store: Arc<LazyStore>,
    pub(super) clock: Clock,
    pub(super) oauth: OAuthClient,
    pub(super) clients: Arc<Clients>,
    pub(super) events: Arc<Events>,
    /// Renewals run here, since they must outlive the call that began them.
    pub(super) tasks: TaskTracker,
    pub(super) log_unsaved: Box<LogUnsaved>,
}

impl Grants {
    pub(super) fn new(parts: GrantParts, table: Table<Grant>) -> Self {
        let GrantParts { store, clock, oauth, clients, events, tasks, log_unsaved } = parts;
        Self(Arc::new(Inner {
            table,
            refreshes: refresh::Refreshes::default(),
            last_uses: last_used::LastUses::default(),
            store,
            clock,
            oauth,
            clients,
            endpoints: TokenEndpoints::default(),
            events,
            tasks,
            log_unsaved,
        }))
    }

    /// Records an event that concerns this user's access at a provider.
    fn record(&self, caller: &Caller, provider: &ProviderId, kind: EventKind) {
        self.0.events.record(&Event::new(kind).of(caller).at(provider));
    }
}
