//! Records as they were at one time, to find out cheaply whether they have changed.

use std::hash::{BuildHasher as _, RandomState};

use super::backend::{Key, Sealed};
use super::{Result, Store};
use crate::model::{AccountName, Caller, ProviderId};

/// The grant and the authorization of a user's account as they were at one time.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The key of each record, and a digest of its sealed bytes if there is one. Each write seals
    /// anew, so equal bytes mean that nothing was written.
    records: [(Key, Option<u64>); 2],
    /// Keys the digests: they are compared within this process only.
    hasher: RandomState,
}

/// # Errors
/// As the methods of [`Store`] in general.
impl Store {
    /// Returns the present state of an account's records, which are not opened.
    pub async fn seen(
        &self,
        caller: &Caller,
        provider: &ProviderId,
        binding: &str,
        account: &AccountName,
    ) -> Result<Seen> {
        let hasher = RandomState::new();
        let grant = self.grant_key(caller, provider, binding, account);
        let authorization = self.authorization_key(caller, provider, binding, account);
        let grant_digest = self.digest(&hasher, &grant).await?;
        let authorization_digest = self.digest(&hasher, &authorization).await?;
        let records = [(grant, grant_digest), (authorization, authorization_digest)];
        Ok(Seen { records, hasher })
    }

    /// Returns whether no record has been written or deleted since.
    pub async fn is_unchanged(&self, seen: &Seen) -> Result<bool> {
        for (key, before) in &seen.records {
            if self.digest(&seen.hasher, key).await? != *before {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn digest(&self, hasher: &RandomState, key: &Key) -> Result<Option<u64>> {
        let sealed = self.health.noted_read(self.backend.get(key).await)?;
        Ok(sealed.as_ref().map(Sealed::as_bytes).map(|bytes| hasher.hash_one(bytes)))
    }
}
