//! Several accounts of one person at the same provider.
//!
//! An account has a name that its owner gave it; one without is the default. Which there are is
//! never part of a tool's schema: connecting one must not change the list of tools.

use std::sync::Arc;

use super::tokens::AccessError;
use super::{Broker, Connection};
use crate::model::id::BadAccountName;
use crate::model::{AccountName, Caller, Provider};

/// No connection by that name.
pub(super) enum NamedError {
    Name(BadAccountName),
    Access(AccessError),
}

impl<E: Into<AccessError>> From<E> for NamedError {
    fn from(error: E) -> Self {
        Self::Access(error.into())
    }
}

impl Broker {
    /// The connection to the account of this name: the one that the person named so, else the one
    /// that the provider knows by it, else one that is still to be made.
    pub(super) async fn named(
        &self,
        caller: &Caller,
        provider: &Arc<Provider>,
        name: &str,
    ) -> Result<Connection, NamedError> {
        let account = AccountName::parse(name).map_err(NamedError::Name)?;
        let connection = self.connection(caller, provider, &account).await?;
        if self.grant_of(&connection).await?.is_some() {
            return Ok(connection);
        }
        let grants = self.store().await?.grants(caller).await?;
        let known = grants.into_iter().map(|held| held.value).find(|grant| {
            let label = grant.identity.as_ref().and_then(|identity| identity.label.as_deref());
            grant.provider == provider.id
                && grant.binding.covers(&connection.bound.binding)
                && label.is_some_and(|label| label.eq_ignore_ascii_case(account.as_str()))
        });
        Ok(match known {
            Some(grant) => Connection { account: grant.account, ..connection },
            None => connection,
        })
    }
}
