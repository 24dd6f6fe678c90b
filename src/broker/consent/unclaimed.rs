//! Consents that an application confirms after the provider has granted them (`confirm = "after"`).
//!
//! The code lives only for minutes, so it is exchanged at once. The result is kept apart from the
//! grants of the link's user until the application has confirmed the browser that brought it. The
//! link alone never claims a consent: an attacker who consents with her account in her browser can
//! have the application confirm another browser, and must not gain by opening the link once more.

use secrecy::ExposeSecret as _;

use super::Consents;
use super::discard::Unnamed;
use super::end::Ended;
use super::keep::{Arrival, Consent};
use super::unsaved::Granted;
use crate::broker::MAX_WRITE_ATTEMPTS;
use crate::broker::grant::put::AccountChange;
use crate::model::authorization::{ConnectLink, Unclaimed};
use crate::model::consent_plan::{ClientRegistration, ConsentMethod};
use crate::model::event::ConsentOutcome;
use crate::model::{AccountName, Authorization, Caller, Grant, ProviderId, Time};
use crate::oauth::Issued;
use crate::store::{Held, StoreError};

/// Whether an unclaimed consent must end at the provider.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EndThere {
    /// As far as is known, it is another person's.
    Always,
    /// Unless its account may be one that the link's user has connected: many providers end all
    /// tokens of an account together.
    UnlessConnected,
}

impl Consents {
    /// Stores a consent brought by a browser that the application has not confirmed.
    pub(super) async fn keep_unclaimed(
        &self,
        authorization: &Authorization,
        issued: Issued,
        browser: String,
    ) -> Result<(), StoreError> {
        let grant = self.grant_for(Consent::of(authorization), issued).await;
        let granted = Granted {
            authorization: authorization.clone(),
            grant,
            change: AccountChange::Ask,
            unclaimed_by: Some(browser),
        };
        let kept = self.write_down(&granted).await;
        match kept {
            Ok(_) => Ok(()),
            Err(error) => {
                // The code is spent.
                self.save_later(granted);
                Err(error)
            }
        }
    }

    /// Makes an unclaimed consent durable, and keeps its link open for as long.
    pub(super) async fn write_unclaimed(
        &self,
        authorization: &Authorization,
        grant: &Grant,
        browser: &str,
    ) -> Result<(), StoreError> {
        let store = self.store().await?;
        let (link, given_at) = (authorization.link(), grant.connected_at);
        let unclaimed = Unclaimed {
            authorization: authorization.clone(),
            grant: grant.clone(),
            browser: browser.to_owned(),
            given_at,
        };
        let ticket = link.ticket.expose_secret();
        let replaced = store.unclaimed(ticket, browser).await?;
        self.0.tables.unclaimed.put(&unclaimed).await?;
        if let Some(Held { value: Unclaimed { grant, .. }, .. }) = &replaced {
            self.discard(authorization, grant);
        }
        // Checked after it is written: either this sees that the user's access has ended, or ending
        // the access sees the consent, whose code was exchanged at that moment.
        if self.has_ended(&link.caller, &link.provider, link.created_at).await? {
            if let Some(held) = store.unclaimed(ticket, browser).await? {
                self.drop_unclaimed(held, EndThere::Always).await?;
            }
            return Ok(());
        }
        self.record(authorization, ConsentOutcome::AwaitsConfirmation);
        for _ in 0..MAX_WRITE_ATTEMPTS {
            // Replaced by a newer link: the consent stays with the link that it was given by.
            let Some(held) = store.reread(authorization).await? else { return Ok(()) };
            let longer = held.value.clone().awaiting_claim(given_at);
            if self.0.tables.authorizations.prolong_link(&longer, &held).await? {
                return Ok(());
            }
        }
        Err(StoreError::Contended)
    }

    /// Whether this browser has brought a consent by this link that waits to be claimed.
    pub(super) async fn has_unclaimed(
        &self,
        ticket: &str,
        browser: &str,
    ) -> Result<bool, StoreError> {
        Ok(self.store().await?.unclaimed(ticket, browser).await?.is_some())
    }

    /// Turns the consent that this browser has brought by this link into a grant, now that the
    /// browser is known to be the caller's; `None`: there is no such consent.
    pub(in crate::broker) async fn claim(
        &self,
        ticket: &str,
        browser: &str,
        caller: &Caller,
    ) -> Result<Option<Arrival>, StoreError> {
        let store = self.store().await?;
        let Some(held) = store.unclaimed(ticket, browser).await? else { return Ok(None) };
        let Unclaimed { authorization, grant, given_at, .. } = &held.value;
        if authorization.link().caller != *caller {
            return Ok(None);
        }
        let link = Arrival { next: authorization.link().url() };
        if held.value.is_expired(self.now()) {
            return Ok(None);
        }
        // A later refusal by the user wins.
        let now = store.successor(authorization).await?;
        if now.is_some_and(|now| now.value.refusals().iter().any(|at| at > given_at)) {
            self.drop_unclaimed(held, EndThere::UnlessConnected).await?;
            return Ok(Some(link));
        }
        let there = self.connected_beside(&held.value).await?;
        if there.iter().any(|there| there.connected_at >= grant.connected_at) {
            self.0.tables.unclaimed.delete(&held).await?;
            return Ok(Some(link));
        }
        // Stored first: if it were deleted first, a crash in between would lose the consent.
        let arrival =
            self.arrived(authorization.clone(), grant.clone(), AccountChange::Ask).await?;
        self.0.tables.unclaimed.delete(&held).await?;
        Ok(Some(arrival))
    }

    /// Drops the consent that a browser has brought by a link, because the application has
    /// confirmed another browser or another user. Returns false if there is none.
    ///
    /// `confirmed` is the user that the application named. If that user has an account at this
    /// provider, it may be the one that the browser has just consented with, and many providers end
    /// all tokens of an account together. Then nothing is revoked: a forwarded link must not end
    /// the consent of the person it was forwarded to.
    pub(super) async fn refuse_unclaimed(
        &self,
        ticket: &str,
        browser: &str,
        confirmed: Option<&Caller>,
    ) -> Result<bool, StoreError> {
        let store = self.store().await?;
        let Some(held) = store.unclaimed(ticket, browser).await? else {
            return Ok(false);
        };
        let Unclaimed { authorization, grant, .. } = &held.value;
        self.record(authorization, ConsentOutcome::OtherUser);
        if let Some(confirmed) = confirmed {
            let theirs = store.grants(confirmed).await?;
            let may_be_same = |there: &Grant| {
                there.provider == grant.provider && grant.other_account(there).is_none()
            };
            if theirs.iter().any(|there| may_be_same(&there.value)) {
                self.0.tables.unclaimed.delete(&held).await?;
                return Ok(true);
            }
        }
        self.drop_unclaimed(held, EndThere::Always).await?;
        Ok(true)
    }

    /// Ends all unclaimed consents of this user, whose access ends. Returns how each one ended.
    pub(in crate::broker) async fn end_unclaimed_of(
        &self,
        caller: &Caller,
    ) -> Result<Vec<Ended>, StoreError> {
        let mut ended = Vec::new();
        for held in self.store().await?.all_unclaimed().await? {
            if held.value.authorization.link().caller == *caller
                && let Some((client, grant)) = self.take_unclaimed(held, EndThere::Always).await?
            {
                ended.push(self.end_unkept(&client, &grant).await);
            }
        }
        Ok(ended)
    }

    /// Ends the unclaimed consents for an account that is being disconnected: a later claim would
    /// connect it again without a new consent.
    pub(in crate::broker) async fn end_unclaimed_at(
        &self,
        caller: &Caller,
        provider: &ProviderId,
        account: &AccountName,
    ) -> Result<(), StoreError> {
        for held in self.store().await?.all_unclaimed().await? {
            let of = held.value.authorization.link();
            if of.caller == *caller && of.provider == *provider && of.account == *account {
                self.drop_unclaimed(held, EndThere::Always).await?;
            }
        }
        Ok(())
    }

    /// Ends all unclaimed consents at a provider that is being deleted.
    pub(super) async fn end_unclaimed_of_all(
        &self,
        provider: &ProviderId,
    ) -> Result<(), StoreError> {
        for held in self.store().await?.all_unclaimed().await? {
            if held.value.authorization.link().provider == *provider
                && let Some((client, grant)) = self.take_unclaimed(held, EndThere::Always).await?
            {
                self.end_unkept(&client, &grant).await;
            }
        }
        Ok(())
    }

    /// Ends consents that were not claimed in time.
    pub(super) async fn end_unclaimed(&self, now: Time) -> Result<(), StoreError> {
        for held in self.store().await?.all_unclaimed().await? {
            if held.value.is_expired(now) {
                self.record(&held.value.authorization, ConsentOutcome::Expired);
                self.drop_unclaimed(held, EndThere::UnlessConnected).await?;
            }
        }
        Ok(())
    }

    async fn drop_unclaimed(&self, held: Held<Unclaimed>, end: EndThere) -> Result<(), StoreError> {
        let unnamed = match end {
            EndThere::Always => Unnamed::IsAnother,
            EndThere::UnlessConnected => Unnamed::MayBeSame,
        };
        if let Some((client, grant)) = self.take_unclaimed(held, end).await? {
            self.discard_of(&client, &grant, unnamed);
        }
        Ok(())
    }

    /// Deletes an unclaimed consent. Returns it if it has to end at the provider too.
    async fn take_unclaimed(
        &self,
        held: Held<Unclaimed>,
        end: EndThere,
    ) -> Result<Option<(ClientRegistration, Grant)>, StoreError> {
        let there = self.connected_beside(&held.value).await?;
        // Only one of several concurrent callers ends it at the provider.
        if !self.0.tables.unclaimed.delete(&held).await? {
            return Ok(None);
        }
        let Unclaimed { authorization, grant, .. } = held.value;
        let is_same = |there: &Grant| {
            let is_named = there.identity.is_some() && grant.identity.is_some();
            let may_be = grant.other_account(there).is_none();
            may_be && (is_named || end == EndThere::UnlessConnected)
                || there.tokens.access.expose_secret() == grant.tokens.access.expose_secret()
        };
        if there.iter().any(is_same) {
            return Ok(None);
        }
        let ConsentMethod::Code(flow) = &authorization.link().plan.method else { return Ok(None) };
        Ok(Some((flow.client.clone(), grant)))
    }

    /// Grants of the link's user in the place that an unclaimed consent is for: the connected one,
    /// and the one that the user is being asked about.
    async fn connected_beside(&self, of: &Unclaimed) -> Result<Vec<Grant>, StoreError> {
        let store = self.store().await?;
        let ConnectLink { caller, provider, binding, account, .. } = of.authorization.link();
        let held = store.grant(caller, provider, &binding.fingerprint(), account).await?;
        let asked = store.reread(&of.authorization).await?;
        let candidate = asked.and_then(|held| held.value.state().candidate().cloned());
        Ok(held.map(|held| held.value).into_iter().chain(candidate).collect())
    }
}
