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

use crate::model::Grant;
use crate::store::{LazyStore, Table};

/// The grants of this store. No other module can write one: each write decides whether a user's
/// consent survives.
pub(super) struct Grants {
    store: Arc<LazyStore>,
    table: Table<Grant>,
    refreshes: refresh::Refreshes,
    last_uses: last_used::LastUses,
}

impl Grants {
    pub(super) fn new(store: Arc<LazyStore>, table: Table<Grant>) -> Self {
        let (refreshes, last_uses) = Default::default();
        Self { store, table, refreshes, last_uses }
    }
}
