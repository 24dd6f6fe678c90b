//! Keeps what was granted, by whatever way it came, and only then tells anybody.

use super::connect::{ConnectError, End};
use super::invitation::digest;
use super::unkept::Granted;
use super::{Broker, MOST_TRIES, Visitor};
use crate::model::authorization::{Status, Trip, Way};
use crate::model::credential::Retention;
use crate::model::event::{ConsentOutcome, EndedBy, EventKind};
use crate::model::grant::Binding;
use crate::model::lifetime::OFFLINE_ACCESS;
use crate::model::secret;
use crate::model::{AccountName, Authorization, Caller, Grant, ProviderId, Scopes};
use crate::oauth::{Issued, Revoked};
use crate::store::{Held, StoreError};

/// The authorization has come to its end.
#[derive(Debug)]
pub struct Arrival {
    /// Where the browser reads how: the page behind the link, or the operator's own after a consent
    /// that lacks nothing, since only ours can name what was not granted.
    pub next: String,
}

/// What became of a grant that was to be kept.
pub(super) enum Put {
    /// As it stands in the store now.
    Kept(Box<Grant>),
    /// Not kept: this account was connected until now, and the person has not said that they mean
    /// the other one.
    OtherAccount(String),
}

/// What a person has consented to, in whichever way.
#[derive(Clone, Copy)]
pub(super) struct Consent<'a> {
    pub(super) provider: &'a ProviderId,
    pub(super) account: &'a AccountName,
    pub(super) binding: &'a Binding,
    pub(super) asked: &'a Scopes,
    /// What of it the tools cannot do without.
    pub(super) needed: &'a Scopes,
    pub(super) trip: &'a Trip,
}

impl<'a> Consent<'a> {
    pub(super) fn of(authorization: &'a Authorization) -> Self {
        let Authorization { provider, account, binding, scopes, needed, trip, .. } = authorization;
        Self { provider, account, binding, asked: scopes, needed, trip }
    }
}

impl Broker {
    /// Makes a grant durable and concludes the authorization that it came of.
    pub(super) async fn keep(
        &self,
        authorization: &Authorization,
        issued: Issued,
    ) -> Result<Arrival, StoreError> {
        let consent = Consent::of(authorization);
        let grant = self.grant_for(consent, issued).await;
        self.arrived(authorization.clone(), grant, false).await
    }

    /// Durable first: what anybody wakes up to is on disk.
    pub(super) async fn arrived(
        &self,
        authorization: Authorization,
        grant: Grant,
        is_meant: bool,
    ) -> Result<Arrival, StoreError> {
        // Only our own page can name what was not granted, and ask about another account.
        let is_plain = grant.refused.is_empty();
        let page = authorization.link();
        let elsewhere = authorization.trip.after_connect.as_ref().map(ToString::to_string);
        let granted = Granted { authorization, grant, is_meant, unclaimed_by: None };
        let is_whole = match self.write_down(&granted).await {
            Ok(is_kept) => is_kept && is_plain,
            Err(error) => {
                // The code is spent, and with it the person's consent, if nobody holds the tokens.
                self.hold(granted);
                return Err(error);
            }
        };
        Ok(Arrival { next: elsewhere.filter(|_| is_whole).unwrap_or(page) })
    }

    /// What is kept of a consent.
    pub(super) async fn grant_for(&self, consent: Consent<'_>, issued: Issued) -> Grant {
        let Consent { provider, account, binding, asked, needed, trip, .. } = consent;
        let mut scopes = issued.scopes.unwrap_or_else(|| asked.clone());
        let mut tokens = issued.tokens;
        // What the scope is for tells whether it was granted; not every server names it.
        let is_offline = tokens.refresh.is_some();
        if asked.contains(OFFLINE_ACCESS) {
            scopes = if is_offline {
                scopes.union(&Scopes::new([OFFLINE_ACCESS]))
            } else {
                scopes.without(OFFLINE_ACCESS)
            };
        }
        let refused = needed.missing_from(&scopes, trip.implied()).without(OFFLINE_ACCESS);
        let ungranted = asked.missing_from(&scopes, trip.implied());
        if trip.retention != Retention::Refresh {
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
            connected_at: self.0.parts.clock.now(),
            refreshed_at: None,
            revocation: trip.revocation().cloned(),
            ended: None,
            ended_at: None,
            unclear_refusals: 0,
            attempt: None,
            identity,
            retention: trip.retention,
        }
    }

    /// The person says whether they mean the other account that they gave their consent with.
    ///
    /// # Errors
    /// [`ConnectError::Unknown`] if nobody asked.
    pub async fn confirm(
        &self,
        ticket: &str,
        visitor: &Visitor,
        digest: &str,
        is_meant: bool,
    ) -> Result<Arrival, ConnectError> {
        let held = self.shown_at(ticket, visitor, digest).await?;
        let (Status::OtherAccount { before, .. }, Some(grant)) =
            (&held.value.status, held.value.candidate.clone())
        else {
            return Err(ConnectError::Unknown);
        };
        let before = before.clone();
        // Of two answers at once one counts: it changes what the page of the other was made from.
        let counted = Authorization { starts: held.value.starts + 1, ..held.value.clone() };
        let claimed = self.store().await?.replace(counted, &held).await?;
        let authorization = claimed.ok_or(ConnectError::Changed)?.value;
        if is_meant {
            return Ok(self.arrived(authorization, *grant, true).await?);
        }
        self.conclude(&authorization, End::Stayed { before }).await?;
        self.record_consent(&authorization, ConsentOutcome::PreviousAccountKept);
        if let Way::Code(trip) = &authorization.trip.way {
            self.end_there(&trip.client, &grant).await;
        }
        Ok(Arrival { next: authorization.link() })
    }

    /// Ends what this link connected: at the provider, if it has a way, and here in any case.
    ///
    /// # Errors
    /// [`ConnectError::Unknown`] if nothing is connected by it.
    pub async fn undo(
        &self,
        ticket: &str,
        visitor: &Visitor,
        digest: &str,
    ) -> Result<(), ConnectError> {
        let authorization = self.shown_at(ticket, visitor, digest).await?.value;
        let store = self.store().await?;
        let Authorization { caller, provider, account, binding, trip, status, .. } = &authorization;
        if *status != Status::Completed {
            return Err(ConnectError::Unknown);
        }
        let identity = binding.fingerprint();
        Box::pin(self.end_unclaimed_at(caller, provider, account)).await?;
        let mut revoked = Revoked::NoWay;
        let mut tries = 0;
        while let Some(grant) = store.grant(caller, provider, &identity, account).await? {
            tries += 1;
            if tries > MOST_TRIES {
                return Err(StoreError::Contended.into());
            }
            if let Way::Code(trip) = &trip.way {
                revoked = self.end_there(&trip.client, &grant.value).await;
            }
            // A refresh in between put another token there, which must end as well.
            if store.forget_grant(&grant).await? {
                break;
            }
        }
        let (by, outcome) = (EndedBy::User, revoked.outcome());
        self.record(caller, provider, EventKind::End { by, outcome });
        let title = &trip.title;
        let why = match revoked {
            _ if matches!(trip.way, Way::Paste(_)) => format!(
                "What you pasted is deleted here. It still works at {title}; delete it there too."
            ),
            Revoked::Yes => format!("{title} has ended the access."),
            Revoked::NoWay => format!(
                "It is forgotten here. {title} has no way for us to end the access there: remove it in your account's settings."
            ),
            Revoked::Failed | Revoked::Unreachable => format!(
                "It is forgotten here, but {title} did not confirm the end of the access: look into your account's settings there."
            ),
        };
        if let Some(held) = store.reread(&authorization).await? {
            let undone = Authorization { status: Status::Undone(why), ..held.value.clone() };
            store.replace(undone, &held).await?;
        }
        Ok(())
    }

    /// The authorization behind a link, if its page still says what was answered.
    async fn shown_at(
        &self,
        ticket: &str,
        visitor: &Visitor,
        digest: &str,
    ) -> Result<Held<Authorization>, ConnectError> {
        let held = self.behind(ticket, visitor).await?;
        if held.value.is_expired(self.0.parts.clock.now()) {
            return Err(ConnectError::Unknown);
        }
        if !secret::same(digest, &self::digest(&held.value)) {
            return Err(ConnectError::Changed);
        }
        Ok(held)
    }

    /// Keeps a grant over whatever stands in its place, unless that `is_settled`: a refresh of the old
    /// one may come in between, and the new one is the one that counts.
    ///
    /// Nothing is kept if another account was connected until now and nobody has said that the new
    /// one `is_meant`; then that account is returned. A browser that is signed in as somebody else
    /// would otherwise change without a word whose data the tools see.
    pub(super) async fn put_unless(
        &self,
        caller: &Caller,
        grant: &Grant,
        is_meant: bool,
        is_settled: impl Fn(&Grant) -> bool,
    ) -> Result<Put, StoreError> {
        let store = self.store().await?;
        let identity = grant.binding.fingerprint();
        for _ in 0..MOST_TRIES {
            let held = store.grant(caller, &grant.provider, &identity, &grant.account).await?;
            let there = held.as_ref().map(|held| &held.value);
            if let (Some(before), false) =
                (there.and_then(|there| grant.other_account(there)), is_meant)
            {
                return Ok(Put::OtherAccount(before));
            }
            if let Some(there) = there.filter(|there| is_settled(there)) {
                return Ok(Put::Kept(Box::new(there.clone())));
            }
            let kept = there.map_or_else(|| grant.clone(), |before| grant.over(before));
            if store.keep(caller, &kept, held.as_ref()).await? {
                return Ok(Put::Kept(Box::new(kept)));
            }
        }
        Err(StoreError::Contended)
    }
}
