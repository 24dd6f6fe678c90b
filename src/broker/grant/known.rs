//! The accounts that a user has connected at one provider, by name.

use super::Grants;
use crate::broker::Connection;
use crate::model::{AccountName, Grant, text};
use crate::store::StoreError;

impl Grants {
    /// The accounts that this user has connected at this provider, by name. The record of an
    /// account that has ended is included.
    pub(in crate::broker) async fn known(
        &self,
        connection: &Connection,
    ) -> Result<Vec<Grant>, StoreError> {
        let grants = self.0.store.get().await?.grants(&connection.caller).await?;
        let known = grants.into_iter().map(|held| held.value);
        let mut known: Vec<Grant> = known.filter(|grant| is_usable(grant, connection)).collect();
        known.sort_by(|one, other| one.account.as_str().cmp(other.account.as_str()));
        Ok(known)
    }

    /// This user's accounts at this provider, for a prompt: each name, followed by the provider's
    /// label.
    pub(in crate::broker) async fn connected(
        &self,
        connection: &Connection,
    ) -> Result<Vec<String>, StoreError> {
        if !connection.provider.accounts {
            return Ok(Vec::new());
        }
        let mut known = self.known(connection).await?;
        known.retain(|grant| grant.ended.is_none());
        Ok(described(&known))
    }
}

/// Each account's name, followed by the provider's label.
pub(in crate::broker) fn described(grants: &[Grant]) -> Vec<String> {
    let words = grants.iter().map(|grant| match grant.label() {
        Some(label) => format!("{} ({})", grant.account, text::label(label)),
        None => grant.account.to_string(),
    });
    words.collect()
}

fn is_usable(grant: &Grant, connection: &Connection) -> bool {
    !grant.is_pending()
        && grant.provider == connection.provider.id
        && grant.binding.covers(&connection.bound.binding)
}

impl Grant {
    /// Label that the provider gives the account.
    pub(in crate::broker) fn label(&self) -> Option<&str> {
        self.identity.as_ref().and_then(|identity| identity.label.as_deref())
    }

    /// Whether the provider's label is what the caller wrote, without regard to ASCII case.
    pub(in crate::broker) fn is_labelled(&self, written: &AccountName) -> bool {
        self.label().is_some_and(|label| label.eq_ignore_ascii_case(written.as_str()))
    }
}
