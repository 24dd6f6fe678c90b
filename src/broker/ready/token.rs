//! Hands out a user's access token to an application that may have it.

use secrecy::SecretString;

use crate::broker::grant::access::{Access, AccessError, Outlook, Ready};
use crate::broker::{Broker, caller_failures};
use crate::model::event::EventKind;
use crate::model::retention::Retention;
use crate::model::{AccountName, Failure, Principal, Provider, ProviderId, Scopes, Time};

/// An access token for an application.
#[derive(Debug)]
pub struct HandedOut {
    pub token: SecretString,
    /// All scopes of the token.
    pub scopes: Scopes,
    /// `None`: the provider did not say.
    pub expires_at: Option<Time>,
}

/// Whether the application that names this user may be given the access tokens of their accounts
/// there, once they have agreed to it.
pub(in crate::broker) fn gets_token(principal: &Principal, provider: &Provider) -> bool {
    principal.gets_tokens && provider.hands_out_tokens()
}

impl Broker {
    /// Returns a fresh access token of this user's account, and records that it was handed out.
    ///
    /// `None` if there is no token to hand out: the provider is unknown or inactive, the application
    /// has no right to tokens, or the user has not connected the account, has pasted a key, or has
    /// not agreed to it on our page.
    ///
    /// # Errors
    /// The failure that a call would have now.
    pub async fn hand_out_token(
        &self,
        principal: &Principal,
        provider: &ProviderId,
        account: &AccountName,
    ) -> Result<Option<HandedOut>, Failure> {
        let found = self.active_provider_of(&principal.caller, provider).await;
        let found = found
            .map_err(|error| caller_failures::no_access(&AccessError::from(error), principal))?;
        let Some(provider) = &found else { return Ok(None) };
        if !gets_token(principal, provider) {
            return Ok(None);
        }
        let for_caller = |failure| {
            if principal.is_local() {
                failure
            } else {
                caller_failures::for_user(failure, Some(provider), None)
            }
        };
        let access = async {
            // Exactly this account: another one's token would act in the wrong account.
            let connection = self.0.accounts.exactly(&principal.caller, provider, account).await?;
            self.0.consents.retry_save(&connection.name()).await?;
            let scopes = Scopes::none();
            // As the user agreed, and as the operator says now.
            match self.0.grants.outlook(&connection, (&scopes).into()).await? {
                Outlook::Good(grant)
                    if grant.hands_out && grant.retention != Retention::UseOnce =>
                {
                    self.0.grants.access(&connection, (&scopes).into(), None).await.map(Some)
                }
                Outlook::Good(_) | Outlook::Missing { .. } => Ok(None),
            }
        };
        let no_access = |error: AccessError| caller_failures::no_access(&error, principal);
        match access.await.map_err(no_access).map_err(for_caller)? {
            Some(Access::Ready(ready)) => {
                let kind = EventKind::TokenHandedOut;
                self.events().record_access(&principal.caller, &provider.id, kind);
                let Ready { token, granted: scopes, expires_at, .. } = ready;
                Ok(Some(HandedOut { token, scopes, expires_at }))
            }
            None | Some(Access::Missing { .. } | Access::Refused) => Ok(None),
        }
    }
}
