//! Authorizations: the links that are open, the attempts that are under way, and the consents that
//! wait for an application.

use secrecy::{ExposeSecret as _, SecretString};

use super::backend::Key;
use super::records::Pointer;
use super::{Held, Result, Store, StoreError};
use crate::model::authorization::ConnectLink;
use crate::model::secret;
use crate::model::{
    AccountName, Authorization, AuthorizationAttempt, Caller, ProviderId, Unclaimed, Unconfirmed,
    Verification,
};

/// # Errors
/// As the methods of [`Store`] in general.
impl Store {
    /// Returns the caller's authorization under this binding.
    pub async fn authorization(
        &self,
        caller: &Caller,
        provider: &ProviderId,
        binding: &str,
        account: &AccountName,
    ) -> Result<Option<Held<Authorization>>> {
        self.read(self.authorization_key(caller, provider, binding, account)).await
    }

    /// Stores an authorization in place of `over`, and its link; false if another writer was
    /// faster.
    pub(super) async fn open_link(
        &self,
        authorization: &Authorization,
        over: Option<&Held<Authorization>>,
    ) -> Result<bool> {
        let key = self.key_of(authorization);
        let ticket = self.ticket_key(authorization.link().ticket.expose_secret());
        // Write the pointer first: a link that is shown must lead to an authorization. A pointer to
        // an authorization with another ticket opens nothing, see `by_ticket`.
        let pointer = Pointer {
            to: key.as_str().to_owned(),
            expires_at: authorization.expires_at(),
            unclaimed_since: None,
        };
        self.write(&ticket, &pointer, None).await?;
        self.write(&key, authorization, over).await
    }

    /// Returns the authorization that a connect link leads to.
    pub async fn by_ticket(&self, ticket: &str) -> Result<Option<Held<Authorization>>> {
        let Some(pointer) = self.read::<Pointer>(self.ticket_key(ticket)).await? else {
            return Ok(None);
        };
        let found = self.read::<Authorization>(Key::new(pointer.value.to)).await?;
        Ok(found.filter(|held| secret::same(held.value.link().ticket.expose_secret(), ticket)))
    }

    /// Returns the current state of an authorization; `None` if it is gone or replaced.
    pub async fn reread(&self, started: &Authorization) -> Result<Option<Held<Authorization>>> {
        let found = self.successor(started).await?;
        Ok(found.filter(|held| held.value.link().id == started.link().id))
    }

    /// Whether an authorization is stored as it was when it was read. It is not opened: each write
    /// seals anew, so equal bytes mean that nothing was written.
    pub async fn is_as_read(&self, held: &Held<Authorization>) -> Result<bool> {
        let sealed = self.health.noted_read(self.backend.get(&held.key).await)?;
        Ok(sealed.is_some_and(|sealed| sealed.as_bytes() == held.sealed.as_bytes()))
    }

    /// Returns the authorization that is now stored under this one's key: itself or its
    /// replacement.
    pub async fn successor(&self, of: &Authorization) -> Result<Option<Held<Authorization>>> {
        self.read(self.key_of(of)).await
    }

    /// Stores an authorization attempt under its `state`.
    pub(super) async fn start(
        &self,
        state: &SecretString,
        started: &AuthorizationAttempt,
    ) -> Result<()> {
        self.write(&self.state_key(state.expose_secret()), started, None).await?;
        Ok(())
    }

    /// Returns the authorization attempt of a `state` without redeeming it.
    pub async fn started(&self, state: &str) -> Result<Option<Held<AuthorizationAttempt>>> {
        self.read(self.state_key(state)).await
    }

    /// Stores which browser was sent to an application with this `flow_id`.
    pub(super) async fn start_verification(
        &self,
        flow: &SecretString,
        it: &Verification,
    ) -> Result<()> {
        self.write(&self.verification_key(flow), it, None).await?;
        Ok(())
    }

    /// Returns the browser that was sent to an application with this `flow_id`.
    pub async fn verification(&self, flow: &SecretString) -> Result<Option<Held<Verification>>> {
        self.read(self.verification_key(flow)).await
    }

    /// Returns the consent that an earlier version stored under this `flow_id`.
    pub async fn unconfirmed(&self, flow: &SecretString) -> Result<Option<Held<Unconfirmed>>> {
        let flow = self.ring.hash("flow", &[flow.expose_secret()]);
        self.read(Key::new(format!("unconfirmed/{flow}"))).await
    }

    /// Stores a consent until the application confirms its browser, in place of an earlier one of
    /// the same browser and link.
    ///
    /// # Errors
    /// [`StoreError::Contended`] if another writer was faster.
    pub(super) async fn put_unclaimed(&self, it: &Unclaimed) -> Result<()> {
        let key = self.unclaimed_key(it.authorization.link().ticket.expose_secret(), &it.browser);
        let before = self.read::<Unclaimed>(key.clone()).await?;
        let is_kept = self.write(&key, it, before.as_ref()).await?;
        if is_kept { Ok(()) } else { Err(StoreError::Contended) }
    }

    /// Returns the consent that the browser with this fingerprint gave by the link with this
    /// ticket.
    pub async fn unclaimed(&self, ticket: &str, browser: &str) -> Result<Option<Held<Unclaimed>>> {
        self.read(self.unclaimed_key(ticket, browser)).await
    }

    /// Returns all consents that wait to be claimed.
    pub async fn all_unclaimed(&self) -> Result<Vec<Held<Unclaimed>>> {
        self.read_all("unclaimed/").await
    }

    /// Stores `longer` in place of `over`, and prolongs its link accordingly. False if the
    /// authorization has changed since it was read.
    pub(super) async fn prolong_link(
        &self,
        longer: &Authorization,
        over: &Held<Authorization>,
    ) -> Result<bool> {
        let ticket = self.ticket_key(longer.link().ticket.expose_secret());
        let Some(before) = self.read::<Pointer>(ticket.clone()).await? else { return Ok(true) };
        let Pointer { to, expires_at, .. } = &before.value;
        let (to, expires_at) = (to.clone(), *expires_at);
        let pointer = Pointer { to, expires_at, unclaimed_since: longer.unclaimed_since() };
        self.write(&ticket, &pointer, Some(&before)).await?;
        self.write(&over.key, longer, Some(over)).await
    }

    /// Returns all authorizations; the link of each may still be open.
    pub async fn open_authorizations(&self) -> Result<Vec<Held<Authorization>>> {
        self.read_all("authorization/").await
    }

    pub(super) fn authorization_key(
        &self,
        caller: &Caller,
        provider: &ProviderId,
        binding: &str,
        account: &AccountName,
    ) -> Key {
        self.account_key("authorization", caller, provider, binding, account)
    }

    fn key_of(&self, authorization: &Authorization) -> Key {
        let ConnectLink { caller, provider, binding, account, .. } = authorization.link();
        self.authorization_key(caller, provider, &binding.fingerprint(), account)
    }

    pub(super) fn ticket_key(&self, ticket: &str) -> Key {
        Key::new(format!("ticket/{}", self.ring.hash("ticket", &[ticket])))
    }

    fn state_key(&self, state: &str) -> Key {
        Key::new(format!("state/{}", self.ring.hash("state", &[state])))
    }

    fn unclaimed_key(&self, ticket: &str, browser: &str) -> Key {
        Key::new(format!("unclaimed/{}", self.ring.hash("unclaimed", &[ticket, browser])))
    }

    fn verification_key(&self, flow: &SecretString) -> Key {
        let flow = self.ring.hash("verification", &[flow.expose_secret()]);
        Key::new(format!("verification/{flow}"))
    }
}
