//! The one look-up of providers: those of `tools.toml`, and those that an application's key has made
//! over REST.
//!
//! A provider made over REST is known by an id that names its key
//! ([`ProviderId::of_key`](crate::model::ProviderId::of_key)), and is found for the users of that key
//! alone. Its record is read at each look-up, so that a change or a deletion by any process counts at
//! once.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Parts;
use crate::config;
use crate::model::rest_provider::RestProvider;
use crate::model::{Caller, Provider, ProviderId};
use crate::store::StoreError;

/// Providers kept in memory; at this number all are dropped, and read from their records again.
const MAX_MADE: usize = 1024;

/// The look-up of providers.
pub(super) struct Providers {
    parts: Arc<Parts>,
    /// The last reading of each record. Calls compare providers by address, so that one record must
    /// stay one provider.
    made: Mutex<HashMap<ProviderId, Made>>,
}

struct Made {
    revision: String,
    provider: Arc<Provider>,
}

impl Providers {
    pub(super) fn new(parts: Arc<Parts>) -> Self {
        Self { parts, made: Mutex::default() }
    }

    /// Returns the provider with this id for this user; `None` if there is none, or if it belongs to
    /// another key.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) async fn find(
        &self,
        caller: &Caller,
        id: &ProviderId,
    ) -> Result<Option<Arc<Provider>>, StoreError> {
        let Some((space, name)) = id.made_over_rest() else {
            return Ok(self.parts.catalogue.get().provider(id.as_str()).cloned());
        };
        if space != caller.namespace {
            return Ok(None);
        }
        let held = self.parts.store.get().await?.rest_provider(&space, name).await?;
        Ok(held.and_then(|held| self.of(&held.value)))
    }

    /// Returns the provider that a record describes; `None` if its rules have become stricter since
    /// it was written.
    pub(super) fn of(&self, record: &RestProvider) -> Option<Arc<Provider>> {
        let id = record.provider_id();
        if let Some(made) = self.made.lock().get(&id)
            && made.revision == record.revision
        {
            return Some(Arc::clone(&made.provider));
        }
        let provider = match config::rest_provider(record, self.parts.rest_rules) {
            Ok(provider) => Arc::new(provider),
            Err(error) => {
                tracing::warn!(provider = %id, %error, "a provider that was made over REST cannot be used");
                return None;
            }
        };
        let revision = record.revision.clone();
        let mut all = self.made.lock();
        if all.len() >= MAX_MADE {
            all.clear();
        }
        all.insert(id, Made { revision, provider: Arc::clone(&provider) });
        Some(provider)
    }
}
