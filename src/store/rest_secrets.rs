//! Secrets that administrators store over REST.

use super::backend::Key;
use super::{Held, Result, Store};
use crate::model::rest_secret::RestSecret;

/// # Errors
/// As the methods of [`Store`] in general.
impl Store {
    /// Returns all secrets of an application, `space`.
    pub async fn rest_secrets(&self, space: &str) -> Result<Vec<Held<RestSecret>>> {
        let application = self.ring.hash("application", &[space]);
        self.read_all(&format!("restsecret/{application}/")).await
    }

    /// Returns the secret of this name, compared without case.
    pub async fn rest_secret(&self, space: &str, key: &str) -> Result<Option<Held<RestSecret>>> {
        self.read(self.rest_secret_key(space, key)).await
    }

    /// Stores a secret in place of `over` (`None`: where there is none). False if another writer
    /// was faster.
    pub(super) async fn put_rest_secret(
        &self,
        space: &str,
        secret: &RestSecret,
        over: Option<&Held<RestSecret>>,
    ) -> Result<bool> {
        self.write(&self.rest_secret_key(space, &secret.key), secret, over).await
    }

    fn rest_secret_key(&self, space: &str, key: &str) -> Key {
        let application = self.ring.hash("application", &[space]);
        let key = self.ring.hash("restsecret", &[&key.to_uppercase()]);
        Key::new(format!("restsecret/{application}/{key}"))
    }
}
