//! The users of a store, for its operator: lists who has connected what, and ends a user's access.
//!
//! Keys hold users as keyed hashes. The record names the user (`of`); records of an earlier version
//! lack the name until they are rewritten.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use super::records::{Cutoff, Record};
use super::{Held, Result, Store};
use crate::model::once::Once;
use crate::model::{
    Authorization, AuthorizationAttempt, Caller, Grant, ProviderId, Session, Time, Unconfirmed,
    Verification,
};

/// Time a [`Cutoff`] is kept: longer than any consent takes from its beginning to its grant.
pub(super) const CUTOFF_LIFETIME: Duration = Duration::from_hours(48);

/// A user with at least one grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredUser {
    /// `None` if a version that did not store the user wrote all of their grants.
    pub caller: Option<Caller>,
    /// Number of grants for each provider.
    pub grants: BTreeMap<ProviderId, usize>,
}

impl Store {
    /// Returns all users with grants. `known` supplies users whom the records do not name.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) if the store cannot be read.
    pub async fn users(&self, known: &[Caller]) -> Result<Vec<StoredUser>> {
        let known: BTreeMap<String, &Caller> =
            known.iter().map(|caller| (self.user(caller), caller)).collect();
        // In key order the grants of a user are adjacent.
        let mut users: Vec<StoredUser> = Vec::new();
        let mut last = String::new();
        let mut grants = self.opened::<Grant>("grant/");
        while let Some(page) = grants.next().await? {
            for held in page {
                let hash = held.key.as_str().split('/').nth(1).unwrap_or_default();
                if users.is_empty() || hash != last {
                    let caller = known.get(hash).map(|caller| (*caller).clone());
                    users.push(StoredUser { caller, grants: BTreeMap::new() });
                    hash.clone_into(&mut last);
                }
                let Some(user) = users.last_mut() else { continue };
                *user.grants.entry(held.value.provider).or_default() += 1;
                user.caller = user.caller.take().or(held.of);
            }
            tokio::task::yield_now().await;
        }
        Ok(users)
    }

    /// Records that all access of this user ends at `now`.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) if a record cannot be read or written.
    pub(super) async fn cut_off(&self, caller: &Caller, now: Time) -> Result<()> {
        let key = self.cutoff_key(caller);
        loop {
            let held = self.read::<Cutoff>(key.clone()).await?;
            if self.write_of(&key, &Cutoff { at: now }, held.as_ref(), Some(caller)).await? {
                return Ok(());
            }
        }
    }

    /// Returns whether the user's access was ended at `begun_at` or later.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) if a record cannot be read.
    pub async fn is_cut_off(&self, caller: &Caller, begun_at: Time) -> Result<bool> {
        Ok(self.cut_off_since(caller, begun_at).await?.is_some())
    }

    /// Returns when the user's access was last ended, if that was at `begun_at` or later.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) if a record cannot be read.
    pub async fn cut_off_since(&self, caller: &Caller, begun_at: Time) -> Result<Option<Time>> {
        let held = self.read::<Cutoff>(self.cutoff_key(caller)).await?;
        Ok(held.map(|held| held.value.at).filter(|at| begun_at <= *at))
    }

    /// Returns all authorizations of this user, including parked candidates.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) if the store cannot be read.
    pub async fn authorizations_of(&self, caller: &Caller) -> Result<Vec<Held<Authorization>>> {
        self.read_all(&format!("authorization/{}/", self.user(caller))).await
    }

    /// Returns this user's authorization with this
    /// [id](crate::model::authorization::ConnectLink::id); `None` once another one has replaced it.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) if the store cannot be read, or if a record of this user
    /// does not open that may be the one.
    pub async fn authorization_by_id(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<Option<Held<Authorization>>> {
        let prefix = format!("authorization/{}/", self.user(caller));
        let mut pages = self.opened::<Authorization>(&prefix);
        while let Some(page) = pages.next().await? {
            if let Some(found) = page.into_iter().find(|held| held.value.link().id == id) {
                return Ok(Some(found));
            }
        }
        pages.skipped().map_or(Ok(None), Err)
    }

    /// Deletes what this user has begun and their browser sessions: started authorizations,
    /// unconfirmed consents, browsers that the application has confirmed or is asked about,
    /// confirmations of calls, needs of plan runs, sessions. A user who is signing in at an issuer is
    /// not known yet: see [`Self::is_cut_off`]. Returns the number of sessions.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) if the store cannot be read or written.
    pub(super) async fn delete_begun(&self, caller: &Caller) -> Result<usize> {
        let links = self.authorizations_of(caller).await?;
        let mut links: BTreeSet<String> =
            links.into_iter().map(|held| held.value.link().id.clone()).collect();
        let confirmations = self.call_confirmations().await?.into_iter();
        let theirs = confirmations.filter(|held| held.value.caller == *caller);
        links.extend(theirs.map(|held| held.value.id));
        self.delete_all::<AuthorizationAttempt>("state/", |it| {
            it.authorization.link().caller == *caller
        })
        .await?;
        self.delete_all::<Unconfirmed>("unconfirmed/", |it| {
            it.consent.authorization().link().caller == *caller
        })
        .await?;
        self.delete_all::<Verification>("verification/", |it| {
            it.confirmed.as_ref().is_some_and(|it| it.caller == *caller)
                || it.link.as_ref().is_some_and(|link| links.contains(&link.authorization))
        })
        .await?;
        self.delete_confirmations(caller).await?;
        self.delete_all::<Once>("once/", |it| it.caller == *caller).await?;
        self.delete_all::<Session>("session/", |it| it.caller == *caller).await
    }

    /// Deletes a user's records, also those that are replaced at the same time. Returns their
    /// number.
    pub(super) async fn delete_all<T: Record>(
        &self,
        prefix: &str,
        is_theirs: impl Fn(&T) -> bool,
    ) -> Result<usize> {
        let mut deleted = 0;
        let mut pages = self.opened::<T>(prefix);
        while let Some(page) = pages.next().await? {
            for held in page {
                deleted += usize::from(self.delete_if(held, &is_theirs).await?.is_some());
            }
        }
        Ok(deleted)
    }

    /// Deletes a record, or the one that has replaced it since it was read. Returns the deleted
    /// one.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) if a record cannot be read or deleted.
    pub(super) async fn delete_last<T: Record>(&self, held: Held<T>) -> Result<Option<Held<T>>> {
        self.delete_if(held, |_| true).await
    }

    async fn delete_if<T: Record>(
        &self,
        held: Held<T>,
        is_meant: impl Fn(&T) -> bool,
    ) -> Result<Option<Held<T>>> {
        let (key, mut there) = (held.key.clone(), Some(held));
        while let Some(held) = there.filter(|held| is_meant(&held.value)) {
            if self.delete(&held).await? {
                return Ok(Some(held));
            }
            there = self.read(key.clone()).await?;
        }
        Ok(None)
    }

    /// Returns each user once who has an open link at `now`, a redirect under way, an unconfirmed
    /// or unclaimed consent, a call to confirm or just confirmed, a browser session, documents of plan
    /// runs, or scheduled calls.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) if the store cannot be read.
    pub async fn users_who_began(&self, now: Time) -> Result<Vec<Caller>> {
        let mut callers = HashSet::new();
        let mut links = self.opened::<Authorization>("authorization/");
        while let Some(page) = links.next().await? {
            let open = page.into_iter().filter(|held| held.value.is_undecided(now));
            callers.extend(open.map(|held| held.value.link().caller.clone()));
        }
        let mut started = self.opened::<AuthorizationAttempt>("state/");
        while let Some(page) = started.next().await? {
            callers.extend(page.iter().map(|held| held.value.authorization.link().caller.clone()));
        }
        let mut unconfirmed = self.opened::<Unconfirmed>("unconfirmed/");
        while let Some(page) = unconfirmed.next().await? {
            let of =
                |held: Held<Unconfirmed>| held.value.consent.authorization().link().caller.clone();
            callers.extend(page.into_iter().map(of));
        }
        for held in self.all_unclaimed().await? {
            callers.insert(held.value.authorization.link().caller.clone());
        }
        for held in self.call_confirmations().await? {
            if held.value.is_open(now) || held.value.is_usable(now) {
                callers.insert(held.value.caller);
            }
        }
        let mut sessions = self.opened::<Session>("session/");
        while let Some(page) = sessions.next().await? {
            callers.extend(page.into_iter().map(|held| held.value.caller));
        }
        self.add_users_of_documents(&mut callers).await?;
        self.for_each_scheduled(None, |call| {
            callers.insert(call.caller.clone());
        })
        .await?;
        Ok(callers.into_iter().collect())
    }

    fn cutoff_key(&self, caller: &Caller) -> super::Key {
        super::Key::new(format!("cutoff/{}", self.user(caller)))
    }
}
