//! The accounts that users have connected.
//!
//! - [`list`]: what a user has connected; [`disconnect`]: ends it
//! - [`by_name`]: which account a call means
//! - [`connect`]: connecting outside any call

pub(super) mod by_name;
mod connect;
mod disconnect;
pub mod list;

use std::sync::Arc;

use super::Parts;
use super::client::Clients;
use super::consent::Consents;
use super::grant::Grants;
use super::providers::Providers;
use crate::store::{Store, StoreError};

/// The accounts that users have connected.
pub struct Accounts {
    parts: Arc<Parts>,
    clients: Arc<Clients>,
    grants: Grants,
    consents: Consents,
    providers: Arc<Providers>,
}

impl Accounts {
    pub(super) fn new(
        parts: Arc<Parts>,
        clients: Arc<Clients>,
        (grants, consents, providers): (Grants, Consents, Arc<Providers>),
    ) -> Self {
        Self { parts, clients, grants, consents, providers }
    }

    async fn store(&self) -> Result<&Store, StoreError> {
        self.parts.store.get().await
    }
}
