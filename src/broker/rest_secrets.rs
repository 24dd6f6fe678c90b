//! Secrets that administrators store over REST. Each belongs to the key that stored it.

use secrecy::{ExposeSecret as _, SecretString};

use super::{Broker, MAX_WRITE_ATTEMPTS};
use crate::model::rest_secret::RestSecret;
use crate::model::secret::random_ticket;
use crate::store::{StoreError, Table};

/// Most secrets of one key.
pub const MAX_SECRETS: usize = 1000;

/// The secrets. No other module can write one.
pub(super) struct RestSecrets(Table<RestSecret>);

/// Why a secret is not stored.
#[derive(Debug, thiserror::Error)]
pub enum PutSecretError {
    #[error("the key has {MAX_SECRETS} secrets, and no more are kept")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RestSecrets {
    pub(super) fn new(table: Table<RestSecret>) -> Self {
        Self(table)
    }
}

impl Broker {
    /// Returns the secrets of an application, `space`, by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn rest_secrets(&self, space: &str) -> Result<Vec<RestSecret>, StoreError> {
        let held = self.store().await?.rest_secrets(space).await?;
        let mut secrets: Vec<RestSecret> = held.into_iter().map(|held| held.value).collect();
        secrets.sort_by_key(|secret| secret.key.to_uppercase());
        Ok(secrets)
    }

    /// Stores a secret, in place of the one of the same name if there is one.
    ///
    /// # Errors
    /// [`PutSecretError`]
    pub async fn put_rest_secret(
        &self,
        space: &str,
        key: &str,
        value: SecretString,
        description: Option<String>,
    ) -> Result<RestSecret, PutSecretError> {
        let store = self.store().await?;
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let over = store.rest_secret(space, key).await?;
            if over.is_none() && store.rest_secrets(space).await?.len() >= MAX_SECRETS {
                return Err(PutSecretError::TooMany);
            }
            let now = self.now();
            let earlier = over.as_ref().map(|held| (held.value.id.clone(), held.value.created_at));
            let (id, created_at) = earlier
                .unwrap_or_else(|| (format!("sec_{}", random_ticket().expose_secret()), now));
            let secret = RestSecret {
                id,
                key: key.to_owned(),
                value: value.clone(),
                description: description.clone(),
                created_at,
                updated_at: now,
            };
            if self.0.rest_secrets.0.put(space, &secret, over.as_ref()).await? {
                return Ok(secret);
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Deletes the secret with this id; false if there is none.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn delete_rest_secret(&self, space: &str, id: &str) -> Result<bool, StoreError> {
        let held = self.store().await?.rest_secrets(space).await?;
        match held.into_iter().find(|held| held.value.id == id) {
            Some(held) => Ok(self.0.rest_secrets.0.delete_last(held).await?.is_some()),
            None => Ok(false),
        }
    }
}
