//! Ends what users have begun at a provider that is being deleted.

use super::Consents;
use crate::model::consent_plan::ConsentMethod;
use crate::model::{Caller, ProviderId, Time};
use crate::store::StoreError;

impl Consents {
    /// Ends all links to a provider, the redirects under way, and the consents that are not kept as
    /// accounts yet.
    pub(in crate::broker) async fn end_begun_at(
        &self,
        provider: &ProviderId,
    ) -> Result<(), StoreError> {
        let store = self.store().await?;
        self.0.tables.attempts.delete_at(provider).await?;
        self.end_unclaimed_of_all(provider).await?;
        for held in store.open_authorizations().await? {
            if held.value.link().provider != *provider {
                continue;
            }
            let Some(held) = self.delete(held).await? else { continue };
            if let (ConsentMethod::Code(flow), Some(candidate)) =
                (&held.value.link().plan.method, held.value.state().candidate())
            {
                self.end_unkept(&flow.client, candidate).await;
            }
        }
        Ok(())
    }

    /// Whether a consent that was begun at `begun_at` must not be kept: the user's access was ended
    /// since, or the provider was made over REST and is deleted, or being deleted.
    pub(in crate::broker) async fn has_ended(
        &self,
        caller: &Caller,
        provider: &ProviderId,
        begun_at: Time,
    ) -> Result<bool, StoreError> {
        let store = self.store().await?;
        if store.is_cut_off(caller, begun_at).await? {
            return Ok(true);
        }
        let Some((space, name)) = provider.made_over_rest() else { return Ok(false) };
        let held = store.rest_provider(&space, name).await?;
        Ok(held.is_none_or(|held| held.value.is_ending))
    }
}
