//! Ends accounts, on behalf of their user, the operator or an application.

use super::Accounts;
use super::list::meant;
use crate::broker::ConnectError;
use crate::broker::consent::end::Ended;
use crate::model::event::EndedBy;
use crate::model::{AccountName, Caller, Grant, ProviderId, connection_id, secret};

impl Accounts {
    /// Ends this user's consents at the provider of this name, and the server's own grant there,
    /// and deletes them; with `account`, only those for that account. Returns how each one ended.
    ///
    /// A consent is deleted here even if it was given for another `tools.toml`, or if the provider
    /// has no way to end it or does not answer: the user asked for it to be gone, and is told what
    /// remains to be done at the provider.
    ///
    /// # Errors
    /// [`ConnectError::Store`] if the store cannot be read or written.
    pub async fn revoke(
        &self,
        caller: &Caller,
        provider: &str,
        account: Option<&AccountName>,
    ) -> Result<Vec<Ended>, ConnectError> {
        let provider = ProviderId::new(provider);
        let mut ends = Vec::new();
        for caller in [caller, &Caller::server()] {
            ends.extend(self.end_at(caller, &provider, account, EndedBy::User).await?);
        }
        Ok(ends)
    }

    /// Ends this user's accounts at one provider (all of them, or the one of this name), at the
    /// provider and here. Returns how each one ended.
    ///
    /// # Errors
    /// [`ConnectError::Store`] if the store cannot be read or written.
    pub async fn end_at(
        &self,
        caller: &Caller,
        provider: &ProviderId,
        account: Option<&AccountName>,
        by: EndedBy,
    ) -> Result<Vec<Ended>, ConnectError> {
        let grants = self.store().await?.grants(caller).await?;
        let there = grants.into_iter().map(|held| held.value);
        let there = there.filter(|grant| grant.provider == *provider).collect();
        let mut ends = Vec::new();
        for grant in meant(there, account) {
            ends.extend(self.consents.disconnect(caller, grant, by, |_| true).await?);
        }
        Ok(ends)
    }

    /// Ends the account that a page with this [`Account::digest`](super::list::Account::digest)
    /// showed, like [`Self::revoke`], and no other.
    ///
    /// # Errors
    /// [`ConnectError::Changed`] if it no longer exists, or has been consented to anew.
    pub async fn end(
        &self,
        caller: &Caller,
        digest: &str,
        by: EndedBy,
    ) -> Result<Ended, ConnectError> {
        let grant = self.shown_as(caller, digest).await?;
        let is_meant = |there: &Grant| secret::same(digest, &connection_id::digest(there));
        self.consents.disconnect(caller, grant, by, is_meant).await?.ok_or(ConnectError::Changed)
    }
}
