//! Deletion of expired records.

use crate::model::authorization::{LINK_LIFETIME, is_claimable};
use crate::model::deposit::TokenClaim;
use crate::model::disconnection::Disconnection;
use crate::model::once::Once;
use crate::model::scheduled::ScheduledCall;
use crate::model::webhook_queue::WebhookQueue;
use crate::model::{
    Authorization, AuthorizationAttempt, CallConfirmation, Grant, LoginAttempt, RunNeeds, Session,
    Time, Unconfirmed, Verification,
};
use crate::store::records::{Cutoff, Pointer, Record};
use crate::store::users::CUTOFF_LIFETIME;
use crate::store::{Held, Result, Store};

impl Store {
    /// Deletes what has expired: authorizations, their links and attempts, consents and browsers
    /// that wait for an application, login attempts, cutoffs, confirmations of calls, needs of plan
    /// runs, calls with keys, scheduled calls, old events of webhooks and sessions.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the store cannot be read or written.
    pub async fn sweep(&self, now: Time) -> Result<()> {
        self.clear::<Authorization>("authorization/", |held| held.is_forgettable(now)).await?;
        self.clear::<Pointer>("ticket/", |held| {
            now.is_past(held.expires_at.before(LINK_LIFETIME), LINK_LIFETIME)
                && !is_claimable(held.unclaimed_since, now)
        })
        .await?;
        self.clear::<AuthorizationAttempt>("state/", |held| held.authorization.is_expired(now))
            .await?;
        self.clear::<Unconfirmed>("unconfirmed/", |held| held.is_expired(now)).await?;
        self.clear::<Verification>("verification/", |it| it.is_forgettable(now)).await?;
        self.clear::<LoginAttempt>("signin/", |attempt| attempt.is_expired(now)).await?;
        self.clear::<Cutoff>("cutoff/", |cutoff| now.since(cutoff.at) >= CUTOFF_LIFETIME).await?;
        self.clear::<TokenClaim>("deposited/", |it| it.is_forgettable(now)).await?;
        self.clear::<Disconnection>("disconnected/", |it| it.is_forgettable(now)).await?;
        self.clear::<CallConfirmation>("confirmation/", |it| it.is_forgettable(now)).await?;
        self.clear::<RunNeeds>("needs/", |needs| needs.is_forgettable(now)).await?;
        self.clear::<Once>("once/", |once| once.is_over(now)).await?;
        self.clear::<ScheduledCall>("scheduled/", |call| call.is_forgettable(now)).await?;
        self.clear::<WebhookQueue>("webhook/", |queue| queue.is_forgettable(now)).await?;
        self.clear::<Session>("session/", |session| session.is_expired(now)).await
    }

    /// Returns the expired authorizations that ask about another account. [`Self::sweep`] deletes
    /// them, and with them the only copy of a grant.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the store cannot be read.
    pub async fn forgettable_questions(&self, now: Time) -> Result<Vec<Held<Authorization>>> {
        let mut found = Vec::new();
        let mut pages = self.opened::<Authorization>("authorization/");
        while let Some(page) = pages.next().await? {
            found.extend(page.into_iter().filter(|held| {
                held.value.is_forgettable(now) && held.value.state().candidate().is_some()
            }));
        }
        Ok(found)
    }

    /// Deletes grants that are no longer usable: expired ones that do not renew, and the remains of
    /// those that ended long ago. Also deletes the last uses of deleted grants.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the store cannot be read or written.
    pub async fn sweep_grants(&self, now: Time) -> Result<()> {
        self.clear::<Grant>("grant/", |held| held.is_spent(now)).await?;
        self.clear_uses().await
    }

    /// Deletes the records under a prefix that are over.
    pub(in crate::store) async fn clear<T: Record>(
        &self,
        prefix: &str,
        is_over: impl Fn(&T) -> bool,
    ) -> Result<()> {
        let mut pages = self.opened::<T>(prefix);
        while let Some(page) = pages.next().await? {
            for held in page.iter().filter(|held| is_over(&held.value)) {
                self.delete(held).await?;
            }
            // Let calls run in between if the store has many records.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
