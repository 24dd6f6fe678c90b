//! Providers that administrators make over REST.

use super::backend::Key;
use super::{Held, Result, Store};
use crate::model::rest_provider::RestProvider;

/// # Errors
/// As the methods of [`Store`] in general.
impl Store {
    /// Returns all providers of an application, `space`.
    pub async fn rest_providers(&self, space: &str) -> Result<Vec<Held<RestProvider>>> {
        let application = self.ring.hash("application", &[space]);
        self.read_all(&format!("restprovider/{application}/")).await
    }

    /// Returns the provider of this name.
    pub async fn rest_provider(
        &self,
        space: &str,
        name: &str,
    ) -> Result<Option<Held<RestProvider>>> {
        self.read(self.rest_provider_key(space, name)).await
    }

    /// Stores a provider in place of `over` (`None`: where there is none). False if another writer
    /// was faster.
    pub(super) async fn put_rest_provider(
        &self,
        provider: &RestProvider,
        over: Option<&Held<RestProvider>>,
    ) -> Result<bool> {
        let key = self.rest_provider_key(&provider.space, &provider.name);
        self.write(&key, provider, over).await
    }

    fn rest_provider_key(&self, space: &str, name: &str) -> Key {
        let application = self.ring.hash("application", &[space]);
        let name = self.ring.hash("restprovider", &[name]);
        Key::new(format!("restprovider/{application}/{name}"))
    }
}
