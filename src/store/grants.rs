//! Grants: the consents that users have given.

use super::backend::Key;
use super::{Held, Result, Store};
use crate::model::authorization::Unclaimed;
use crate::model::{AccountName, Authorization, Caller, Grant, ProviderId};

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

    /// Returns the grants that are wanted, of all users whom the records name; only for small sets.
    pub async fn grants_of_users(
        &self,
        is_wanted: impl Fn(&Caller, &Grant) -> bool,
    ) -> Result<Vec<(Caller, Held<Grant>)>> {
        let mut found = Vec::new();
        let mut pages = self.opened::<Grant>("grant/");
        while let Some(page) = pages.next().await? {
            let named = page.into_iter().filter_map(|held| Some((held.of.clone()?, held)));
            found.extend(named.filter(|(caller, held)| is_wanted(caller, &held.value)));
            tokio::task::yield_now().await;
        }
        Ok(found)
    }

    /// Returns whether a grant of any user meets this condition: one that is connected, one that its
    /// user is asked about, or one that is not claimed yet. Reads all of them. Also fails if one of
    /// these records does not open, since that may be the one.
    pub async fn has_grant(&self, is_met: impl Fn(&Grant) -> bool) -> Result<bool> {
        let is_asked = |it: &Authorization| it.state().candidate().is_some_and(&is_met);
        let is_unclaimed = |it: &Unclaimed| is_met(&it.grant);
        Ok(self.any("grant/", &is_met).await?
            || self.any("authorization/", is_asked).await?
            || self.any("unclaimed/", is_unclaimed).await?)
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
