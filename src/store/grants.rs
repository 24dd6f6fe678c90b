//! Grants: the consents that users have given.

use super::backend::Key;
use super::{Held, Result, Store};
use crate::model::{AccountName, Caller, Grant, ProviderId};

/// # Errors
/// As the methods of [`Store`] in general.
impl Store {
    /// Returns the caller's grant under this binding ([`Binding::fingerprint`][fingerprint]).
    ///
    /// [fingerprint]: crate::model::grant::Binding::fingerprint
    pub async fn grant(
        &self,
        caller: &Caller,
        provider: &ProviderId,
        binding: &str,
        account: &AccountName,
    ) -> Result<Option<Held<Grant>>> {
        let held = self.read(self.grant_key(caller, provider, binding, account)).await?;
        Ok(held.map(|held| Held { of: Some(caller.clone()), ..held }))
    }

    /// Returns all grants of this user, made with any `tools.toml`.
    pub async fn grants(&self, caller: &Caller) -> Result<Vec<Held<Grant>>> {
        let mut all = self.read_all(&format!("grant/{}/", self.user(caller))).await?;
        for held in &mut all {
            // An earlier version did not store the user; the next renewal does.
            held.of = Some(caller.clone());
        }
        Ok(all)
    }

    /// Stores a grant in place of `over` (`None`: where there is none). Returns false if another
    /// writer was faster; the caller must then read that writer's grant.
    pub(super) async fn put(
        &self,
        caller: &Caller,
        grant: &Grant,
        over: Option<&Held<Grant>>,
    ) -> Result<bool> {
        let binding = grant.binding.fingerprint();
        let key = self.grant_key(caller, &grant.provider, &binding, &grant.account);
        self.write_of(&key, grant, over, Some(caller)).await
    }

    pub(super) fn grant_key(
        &self,
        caller: &Caller,
        provider: &ProviderId,
        binding: &str,
        account: &AccountName,
    ) -> Key {
        self.account_key("grant", caller, provider, binding, account)
    }
}
