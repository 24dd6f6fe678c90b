//! Stores what was granted, however it was obtained, and only then notifies the waiters.

use super::Consents;
use super::link::ConnectError;
use super::unsaved::Granted;
use super::visit::digest;
use crate::broker::grant::put::AccountChange;
use crate::broker::{MAX_WRITE_ATTEMPTS, VisitingBrowser};
use crate::model::authorization::{ConnectLink, ConsentRequest, State};
use crate::model::consent_plan::{ConsentMethod, ConsentPlan};
use crate::model::event::{ConsentOutcome, EndedBy, EventKind};
use crate::model::grant::Binding;
use crate::model::reason::RevocationResult;
use crate::model::retention::Retention;
use crate::model::scope::OFFLINE_ACCESS;
use crate::model::{AccountName, Authorization, Grant, ProviderId, Scopes, secret};
use crate::oauth::{Issued, Revoked};
use crate::store::{Held, StoreError};

/// An authorization that has ended.
#[derive(Debug)]
pub struct Arrival {
    /// Page that tells the browser the outcome: the one behind the link or, after a consent that
    /// lacks nothing, the requester's or the operator's own, since only ours can name what was not
    /// granted.
    pub next: String,
}

/// A user's consent, however it was given.
#[derive(Clone, Copy)]
pub(super) struct Consent<'a> {
    pub(super) provider: &'a ProviderId,
    pub(super) account: &'a AccountName,
    pub(super) binding: &'a Binding,
    pub(super) asked: &'a Scopes,
    /// Scopes of it that the tools require.
    pub(super) needed: &'a Scopes,
    /// See [`ConsentRequest::away`].
    pub(super) away: bool,
    /// See [`ConsentRequest::hands_out`].
    pub(super) hands_out: bool,
    pub(super) plan: &'a ConsentPlan,
}

impl<'a> Consent<'a> {
    pub(super) fn of(authorization: &'a Authorization) -> Self {
        let ConnectLink { provider, account, binding, plan, .. } = authorization.link();
        let ConsentRequest { scopes: asked, needed, .. } = authorization.request();
        let ConsentRequest { away, hands_out, .. } = *authorization.request();
        Self { provider, account, binding, asked, needed, away, hands_out, plan }
    }
}

impl Consents {
    /// Stores the grant of an authorization and concludes the authorization.
    pub(super) async fn keep(
        &self,
        authorization: &Authorization,
        issued: Issued,
    ) -> Result<Arrival, StoreError> {
        let consent = Consent::of(authorization);
        let grant = self.grant_for(consent, issued).await;
        self.arrived(authorization.clone(), grant, AccountChange::Ask).await
    }

    /// Stores a grant before it notifies the waiters, so that they find it on disk.
    pub(super) async fn arrived(
        &self,
        authorization: Authorization,
        grant: Grant,
        change: AccountChange,
    ) -> Result<Arrival, StoreError> {
        // Only our own page can name what was not granted, or ask about another account.
        let is_plain = grant.refused.is_empty();
        let link = authorization.link();
        let page = link.url();
        let next = authorization.request().next.as_ref();
        let elsewhere = next.or(link.plan.after_connect.as_ref()).map(ToString::to_string);
        let granted = Granted { authorization, grant, change, unclaimed_by: None };
        let is_whole = match self.write_down(&granted).await {
            Ok(is_kept) => is_kept && is_plain,
            Err(error) => {
                // The code is spent, so without these tokens the user's consent is lost.
                self.save_later(granted);
                return Err(error);
            }
        };
        Ok(Arrival { next: elsewhere.filter(|_| is_whole).unwrap_or(page) })
    }

    /// The grant to store for a consent.
    pub(super) async fn grant_for(&self, consent: Consent<'_>, issued: Issued) -> Grant {
        let Consent { provider, account, binding, asked, needed, away, hands_out, plan } = consent;
        let mut scopes = issued.scopes.unwrap_or_else(|| asked.clone());
        let mut tokens = issued.tokens;
        // The refresh token shows whether this scope was granted; not every server names it.
        let is_offline = tokens.refresh.is_some();
        if asked.contains(OFFLINE_ACCESS) {
            scopes = if is_offline {
                scopes.union(&Scopes::new([OFFLINE_ACCESS]))
            } else {
                scopes.without(OFFLINE_ACCESS)
            };
        }
        let refused = needed.missing_from(&scopes, plan.implied()).without(OFFLINE_ACCESS);
        let ungranted = asked.missing_from(&scopes, plan.implied());
        if plan.retention != Retention::Refresh {
            tokens.refresh = None;
        }
        let identity = self.whose(consent, &tokens.access).await;
        Grant {
            provider: provider.clone(),
            account: account.clone(),
            binding: binding.clone(),
            tokens,
            scopes,
            refused,
            ungranted,
            connected_at: self.now(),
            refreshed_at: None,
            revocation: plan.revocation().cloned(),
            ended: None,
            ended_at: None,
            unclear_refusals: 0,
            attempt: None,
            identity,
            retention: plan.retention,
            away,
            hands_out,
            deposit: None,
            last_event: None,
        }
    }

    /// Records whether the user means the other account that they consented with.
    ///
    /// # Errors
    /// [`ConnectError::Unknown`] if there is no such question; [`ConnectError::Changed`] if the
    /// page is outdated.
    pub async fn confirm(
        &self,
        ticket: &str,
        visitor: &VisitingBrowser,
        digest: &str,
        is_meant: bool,
    ) -> Result<Arrival, ConnectError> {
        let held = self.shown_at(ticket, visitor, digest).await?;
        // Only one of two concurrent answers counts: it changes the record behind the other's page.
        let counted = held.value.clone().answer().map_err(|_| ConnectError::Unknown)?;
        let claimed = self.0.tables.authorizations.replace(counted, &held).await?;
        let authorization = claimed.ok_or(ConnectError::Changed)?.value;
        // An earlier "Yes" may be about to store the candidate.
        let is_first = held.value.state().unanswered().is_some();
        let grant = authorization.state().candidate().ok_or(ConnectError::Unknown)?.clone();
        if is_meant {
            return Ok(self.arrived(authorization, grant, AccountChange::Confirmed).await?);
        }
        let now = self.now();
        let stay = |it: Authorization| it.keep_previous_account(now);
        self.conclude(&authorization, stay).await?;
        self.record(&authorization, ConsentOutcome::PreviousAccountKept);
        if is_first {
            self.discard(&authorization, &grant);
        }
        Ok(Arrival { next: authorization.link().url() })
    }

    /// Ends what this link connected: at the provider, if that is possible, and here in any case.
    ///
    /// # Errors
    /// [`ConnectError::Unknown`] if the link has connected nothing; [`ConnectError::Changed`] if
    /// the page is outdated.
    pub async fn undo(
        &self,
        ticket: &str,
        visitor: &VisitingBrowser,
        digest: &str,
    ) -> Result<(), ConnectError> {
        let authorization = self.shown_at(ticket, visitor, digest).await?.value;
        let store = self.store().await?;
        let ConnectLink { caller, provider, account, binding, plan, .. } = authorization.link();
        if !matches!(authorization.state(), State::Completed(_)) {
            return Err(ConnectError::Unknown);
        }
        let identity = binding.fingerprint();
        Box::pin(self.end_unclaimed_at(caller, provider, account)).await?;
        let mut revoked = Revoked::NoWay;
        let mut tries = 0;
        while let Some(grant) = store.grant(caller, provider, &identity, account).await? {
            tries += 1;
            if tries > MAX_WRITE_ATTEMPTS {
                return Err(StoreError::Contended.into());
            }
            if let ConsentMethod::Code(flow) = &plan.method {
                revoked = self.0.clients.revoke(&flow.client, &grant.value).await;
            }
            // A concurrent refresh has stored another token, which must end as well.
            if self.delete_grant(caller, &grant, EndedBy::User).await? {
                break;
            }
        }
        let (by, outcome) = (EndedBy::User, revoked.outcome());
        self.0.events.record_access(caller, provider, EventKind::End { by, outcome });
        let result = match revoked {
            _ if matches!(plan.method, ConsentMethod::Paste(_)) => RevocationResult::Pasted,
            Revoked::Yes => RevocationResult::Revoked,
            Revoked::NoWay => RevocationResult::NoRevocation,
            Revoked::Failed => RevocationResult::NotConfirmed,
            Revoked::Unreachable => RevocationResult::Unreachable,
        };
        let undo = |it: Authorization| it.undo(result.clone());
        self.advance(&authorization, undo).await?;
        // A second callback of this link may have stored a new consent after the deletion, and found
        // the authorization still completed: the page must not say that nothing is connected.
        let there = store.grant(caller, provider, &identity, account).await?;
        if let Some(there) = there.filter(|there| there.value.ended.is_none()) {
            let now = self.now();
            let connected = self.told(&there.value, &plan.token_facts());
            let complete = |it: Authorization| it.complete(connected.clone(), now);
            self.conclude(&authorization, complete).await?;
        }
        Ok(())
    }

    /// The authorization behind a link, if its page still has this `digest`.
    async fn shown_at(
        &self,
        ticket: &str,
        visitor: &VisitingBrowser,
        digest: &str,
    ) -> Result<Held<Authorization>, ConnectError> {
        let held = self.behind(ticket, visitor).await?;
        if held.value.is_expired(self.now()) {
            return Err(ConnectError::Unknown);
        }
        if !secret::same(digest, &self::digest(&held.value)) {
            return Err(ConnectError::Changed);
        }
        Ok(held)
    }
}
