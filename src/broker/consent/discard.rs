//! Ends, at the provider, a grant that is not kept: one for another account than before, or one
//! that a later consent has replaced.
//!
//! Many providers end all tokens of an account together. A grant that may be for an account that
//! any user of this server has connected therefore stays as it is: its token expires, and ending it
//! could end the connected account's.

use super::Consents;
use crate::model::authorization::ConnectLink;
use crate::model::consent_plan::{ClientRegistration, ConsentMethod};
use crate::model::{Authorization, Grant};
use crate::store::StoreError;

/// Reading of two grants of which the provider has not told whose one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Unnamed {
    MayBeSame,
    IsAnother,
}

impl Consents {
    /// Ends a grant at the provider that this authorization has brought and that no record holds
    /// any more, unless its account may be in use.
    pub(super) fn discard(&self, authorization: &Authorization, grant: &Grant) {
        let ConnectLink { plan, .. } = authorization.link();
        if let ConsentMethod::Code(flow) = &plan.method {
            self.discard_of(&flow.client, grant, Unnamed::MayBeSame);
        }
    }

    /// Like [`Self::discard`], for a grant without a link.
    ///
    /// In the background, since it reads all grants and a provider may take long; the end of the
    /// process waits for it.
    pub(in crate::broker) fn discard_of(
        &self,
        client: &ClientRegistration,
        grant: &Grant,
        unnamed: Unnamed,
    ) {
        let (consents, client, grant) = (self.clone(), client.clone(), grant.clone());
        self.0.tasks.spawn(async move {
            let provider = &grant.provider;
            match consents.is_in_use(&grant, unnamed).await {
                Ok(false) => {
                    consents.0.clients.revoke(&client, &grant).await;
                }
                Ok(true) => {
                    tracing::info!(%provider, "a consent that is not kept was not ended there: its account may be in use");
                }
                Err(error) => {
                    tracing::warn!(%provider, %error, "a consent that is not kept was not ended there");
                }
            }
        });
    }

    /// Whether any user has a grant of the same client for the same account.
    async fn is_in_use(&self, grant: &Grant, unnamed: Unnamed) -> Result<bool, StoreError> {
        // Two tables of `tools.toml` may name one client.
        let client = |it: &Grant| (it.binding.client_id.clone(), it.binding.token_endpoint.clone());
        let own = client(grant);
        let is_same = |there: &Grant| match unnamed {
            Unnamed::MayBeSame => !grant.is_known_apart_from(there),
            Unnamed::IsAnother => grant.is_known_same_as(there),
        };
        let store = self.store().await?;
        let is_it = |there: &Grant| {
            let is_of_client = there.provider == grant.provider || client(there) == own;
            is_of_client && there.ended.is_none() && is_same(there)
        };
        store.has_grant(is_it).await
    }
}
