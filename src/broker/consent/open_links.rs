//! The links of this machine that are still open, for its listener and its keeper: to a consent, or
//! to the confirmation of a call.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Consents;
use crate::model::principal::BrowserProof;
use crate::model::{Authorization, CallConfirmation, Time};
use crate::store::StoreError;

impl Consents {
    /// Returns the loopback origins of this machine's links that are still open, and for each the
    /// address to listen on if it is not the loopback address.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn open_origins(&self) -> Result<BTreeSet<(String, Option<IpAddr>)>, StoreError> {
        let now = self.now();
        let open = self.store().await?.open_authorizations().await?;
        let awaited = open.iter().map(|held| &held.value).filter(|it| is_awaited_here(it, now));
        let links = awaited.map(Authorization::link);
        let origins = links.map(|link| (link.origin.clone(), link.listen_address));
        let asked = self.open_confirmations(now).await?;
        let pages = asked.into_iter().map(|page| (page.origin, page.listen_address));
        Ok(origins.chain(pages).collect())
    }

    /// When the last undecided link that leads to this machine expires; `None`: there is no such
    /// link.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn links_open_until(&self) -> Result<Option<Time>, StoreError> {
        let now = self.now();
        let open = self.store().await?.open_authorizations().await?;
        let awaited = open.iter().map(|held| &held.value).filter(|it| is_awaited_here(it, now));
        let asked = self.open_confirmations(now).await?;
        let pages = asked.iter().map(CallConfirmation::expires_at);
        Ok(awaited.map(Authorization::expires_at).chain(pages).max())
    }

    /// The calls that a user of this machine may still confirm.
    async fn open_confirmations(&self, now: Time) -> Result<Vec<CallConfirmation>, StoreError> {
        let all = self.store().await?.call_confirmations().await?.into_iter();
        let all = all.map(|held| held.value);
        let is_awaited =
            |it: &CallConfirmation| it.browser_proof == BrowserProof::Loopback && it.is_open(now);
        Ok(all.filter(is_awaited).collect())
    }

    /// Whether a browser has gone on from a link of this machine and is awaited at the callback.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn has_departures(&self) -> Result<bool, StoreError> {
        let now = self.now();
        let open = self.store().await?.open_authorizations().await?;
        Ok(open.iter().any(|held| is_awaited_here(&held.value, now) && held.value.starts() > 0))
    }
}

/// Whether a browser may still come to this machine's loopback listener for it. One that has used
/// up its starts is still awaited at the callback.
fn is_awaited_here(authorization: &Authorization, now: Time) -> bool {
    // Links on a public origin are not the loopback listener's concern.
    authorization.link().browser_proof == BrowserProof::Loopback && authorization.is_undecided(now)
}
