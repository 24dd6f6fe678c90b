//! Ends, at the provider, a grant that is not kept: one for another account than before, or one
//! that a later consent has replaced.
//!
//! Many providers end all tokens of an account together. A grant that may be for an account that
//! the user has connected therefore stays as it is: its token expires, and ending it could end the
//! connected account's.

use std::sync::Arc;

use super::Consents;
use crate::model::authorization::ConnectLink;
use crate::model::consent_plan::{ClientRegistration, ConsentMethod};
use crate::model::{Authorization, Caller, Grant};
use crate::store::{Held, StoreError};

impl Consents {
    /// Ends a grant at the provider that this authorization has brought and that no record holds
    /// any more, unless its account may be in use.
    pub(super) async fn discard(&self, authorization: &Authorization, grant: &Grant) {
        let ConnectLink { caller, plan, .. } = authorization.link();
        if let ConsentMethod::Code(flow) = &plan.method {
            self.discard_of(caller, &flow.client, grant).await;
        }
    }

    /// Like [`Self::discard`], for a grant without a link.
    pub(super) async fn discard_of(
        &self,
        caller: &Caller,
        client: &ClientRegistration,
        grant: &Grant,
    ) {
        let provider = &grant.provider;
        match self.may_be_in_use(caller, grant).await {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(%provider, "a consent that is not kept was not ended there: its account may be in use");
                return;
            }
            Err(error) => {
                tracing::warn!(%provider, %error, "a consent that is not kept was not ended there");
                return;
            }
        }
        let (clients, client, grant) = (Arc::clone(&self.0.clients), client.clone(), grant.clone());
        // In the background, since a provider may take long; the end of the process waits for it.
        self.0.tasks.spawn(async move { clients.revoke(&client, &grant).await });
    }

    /// Whether this user has a grant at the provider, connected or still to be confirmed, that may
    /// be for the same account.
    async fn may_be_in_use(&self, caller: &Caller, grant: &Grant) -> Result<bool, StoreError> {
        let may_be_same = |there: &Grant| {
            let is_there = there.provider == grant.provider && there.ended.is_none();
            is_there && !grant.is_known_apart_from(there)
        };
        let store = self.store().await?;
        let is_asked =
            |held: &Held<Authorization>| held.value.state().candidate().is_some_and(may_be_same);
        Ok(store.grants(caller).await?.iter().any(|held| may_be_same(&held.value))
            || store.authorizations_of(caller).await?.iter().any(is_asked)
            || store.all_unclaimed().await?.iter().any(|held| {
                held.value.authorization.link().caller == *caller && may_be_same(&held.value.grant)
            }))
    }
}
