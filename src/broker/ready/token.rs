//! Hands out a user's access token to an application that may have it.

use std::sync::Arc;

use secrecy::SecretString;

use super::ProviderNeed;
use crate::broker::grant::access::{Access, AccessError, Outlook};
use crate::broker::{Broker, caller_failures};
use crate::model::credential::Credential;
use crate::model::event::EventKind;
use crate::model::retention::Retention;
use crate::model::{AccountName, Failure, Principal, Provider, Scopes};

impl Broker {
    /// Returns a fresh access token of this user's account, and records that it was handed out. The face has checked that its caller may have tokens.
    ///
    /// `None` if there is no token to hand out: the user has not connected the account, or
    /// pasted a key, or has agreed to one use by a tool.
    ///
    /// # Errors
    /// The failure that a call would have now.
    pub async fn hand_out_token(
        &self,
        principal: &Principal,
        provider: &Arc<Provider>,
        account: &AccountName,
    ) -> Result<Option<SecretString>, Failure> {
        let is_handed_out = match &provider.credential {
            Credential::OAuth(settings) => settings.grant.is_by_consent(),
            Credential::Shared(_) | Credential::Asked(_) => false,
        };
        if !is_handed_out {
            return Ok(None);
        }
        let need = ProviderNeed {
            provider: Arc::clone(provider),
            account: account.clone(),
            scopes: Scopes::none(),
            tools: Vec::new(),
        };
        let for_caller = |failure| {
            if principal.is_local() {
                failure
            } else {
                caller_failures::for_user(failure, Some(provider), None)
            }
        };
        let access = async {
            let connection = self.connection_of(principal, &need).await?;
            let fresh = async {
                self.0.consents.retry_save(&connection.name()).await?;
                // As the user agreed, and as the operator says now.
                match self.0.grants.outlook(&connection, &need.scopes).await? {
                    Outlook::Good(grant)
                        if grant.retention.max(provider.retention) == Retention::UseOnce =>
                    {
                        Ok(None)
                    }
                    _ => self.0.grants.access(&connection, &need.scopes, None).await.map(Some),
                }
            };
            let no_access = |error: AccessError| caller_failures::no_access(&error, principal);
            fresh.await.map_err(no_access)
        };
        match access.await.map_err(for_caller)? {
            Some(Access::Ready(ready)) => {
                let kind = EventKind::TokenHandedOut;
                self.events().record_access(&principal.caller, &provider.id, kind);
                Ok(Some(ready.token))
            }
            None | Some(Access::Missing { .. } | Access::Refused) => Ok(None),
        }
    }
}
