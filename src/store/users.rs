//! The users of a store, for its operator: who has connected what, and the end of it.
//!
//! Keys hold users as keyed hashes. Who it is stands in the record (`of`); records of an earlier
//! version lack it until they are written anew.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::record::Cutoff;
use super::sweep::BEGINNINGS;
use super::{Held, Result, Store};
use crate::model::{Authorization, Caller, Grant, ProviderId, Session, Started, Time, Unconfirmed};

/// How long a [`Cutoff`] is kept: longer than any consent takes from its beginning to its grant.
pub(super) const CUTOFF_LIFETIME: Duration = Duration::from_hours(48);

/// A user with at least one grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredUser {
    /// `None`: all of their grants were written by a version that did not note it.
    pub caller: Option<Caller>,
    /// Grants of each provider.
    pub grants: BTreeMap<ProviderId, usize>,
}

impl Store {
    /// All users with grants. `known` names those whose records do not.
    ///
    /// A sixty-fourth of the store at a time, so that memory stays bounded and calls get their turn.
    pub async fn users(&self, known: &[Caller]) -> Result<Vec<StoredUser>> {
        let known: BTreeMap<String, &Caller> =
            known.iter().map(|caller| (self.user(caller), caller)).collect();
        let mut users = Vec::new();
        for beginning in BEGINNINGS.chars() {
            let mut here: BTreeMap<String, StoredUser> = BTreeMap::new();
            for held in self.read_all::<Grant>(&format!("grant/{beginning}")).await? {
                let hash = held.key.as_str().split('/').nth(1).unwrap_or_default();
                let user = here.entry(hash.to_owned()).or_insert_with(|| StoredUser {
                    caller: known.get(hash).map(|caller| (*caller).clone()),
                    grants: BTreeMap::new(),
                });
                *user.grants.entry(held.value.provider).or_default() += 1;
                user.caller = user.caller.take().or(held.of);
            }
            users.extend(here.into_values());
            tokio::task::yield_now().await;
        }
        Ok(users)
    }

    /// Notes that all access of this user ends now.
    pub async fn cut_off(&self, caller: &Caller, now: Time) -> Result<()> {
        let key = self.cutoff_key(caller);
        loop {
            let held = self.read::<Cutoff>(key.clone()).await?;
            if self.write_of(&key, &Cutoff { at: now }, held.as_ref(), Some(caller)).await? {
                return Ok(());
            }
        }
    }

    /// Whether what this user began at `begun_at` was ended since.
    pub async fn is_cut_off(&self, caller: &Caller, begun_at: Time) -> Result<bool> {
        let held = self.read::<Cutoff>(self.cutoff_key(caller)).await?;
        Ok(held.is_some_and(|held| begun_at <= held.value.at))
    }

    /// All open authorizations of this user, parked candidates among them.
    pub async fn authorizations_of(&self, caller: &Caller) -> Result<Vec<Held<Authorization>>> {
        self.read_all(&format!("authorization/{}/", self.user(caller))).await
    }

    /// Deletes what this user has begun and what browsers know them by: started authorizations,
    /// unconfirmed consents, sessions. Returns the number of sessions.
    pub async fn forget_begun(&self, caller: &Caller) -> Result<usize> {
        for held in self.read_all::<Started>("state/").await? {
            if held.value.authorization.caller == *caller {
                self.forget(&held).await?;
            }
        }
        for held in self.read_all::<Unconfirmed>("unconfirmed/").await? {
            if held.value.brought.authorization().caller == *caller {
                self.forget(&held).await?;
            }
        }
        let mut sessions = 0;
        for held in self.read_all::<Session>("session/").await? {
            if held.value.caller == *caller {
                sessions += usize::from(self.forget(&held).await?);
            }
        }
        Ok(sessions)
    }

    /// Users who have an open link, a redirect under way, an unclaimed consent or a browser session at
    /// `now`, each once.
    pub async fn users_who_began(&self, now: Time) -> Result<Vec<Caller>> {
        let mut callers = HashSet::new();
        for held in self.read_all::<Authorization>("authorization/").await? {
            if held.value.is_undecided(now) {
                callers.insert(held.value.caller);
            }
        }
        for held in self.read_all::<Started>("state/").await? {
            callers.insert(held.value.authorization.caller);
        }
        for held in self.all_unclaimed().await? {
            callers.insert(held.value.authorization.caller);
        }
        for held in self.read_all::<Session>("session/").await? {
            callers.insert(held.value.caller);
        }
        Ok(callers.into_iter().collect())
    }

    fn cutoff_key(&self, caller: &Caller) -> super::Key {
        super::Key::new(format!("cutoff/{}", self.user(caller)))
    }
}
