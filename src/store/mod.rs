//! The store: sealed grants and authorizations on top of a [`Backend`] of three methods.
//!
//! The backend's compare-and-swap decides every race: a `state` is redeemed by deleting its record,
//! and a grant is replaced only if it is still the one that was read.
//!
//! What a process needs of its store's place besides the records is in [`home`]. The place of a
//! store is a data [`folder`], which any number of processes share. One owns it and opens sled; the
//! others are its peers. When the owner ends, another process takes over; code above
//! the backend does not notice. Tests that need no folder keep their store in [`Memory`].
//!
//! | to find | see |
//! |---|---|
//! | the port, and the backends behind it | [`backend`] |
//! | owner and peers, elections, questions to the owner, liveness | [`folder`] |
//! | the master key, the key ring, seals | [`keys`] |
//! | export and import, checks, deletion of expired records | [`upkeep`] |
//! | the form of records, and older versions of them | [`records`] |
//! | who may write them | [`tables`] |
//!
//! # Keys
//!
//! | key | record |
//! |---|---|
//! | `ring` | the key ring, wrapped by the master key |
//! | `grant/<user>/<provider>/<binding>/<account>` | a [`Grant`](crate::model::Grant) |
//! | `used/<user>/<provider>/<binding>/<account>` | when that grant was last [`Used`](crate::model::grant::Used) |
//! | `authorization/<user>/<provider>/<binding>/<account>` | the one [`Authorization`](crate::model::Authorization) of that user for that account |
//! | `ticket/<ticket>` | the authorization that a connect link leads to |
//! | `state/<state>` | a [`AuthorizationAttempt`](crate::model::AuthorizationAttempt) authorization, until its `state` is redeemed |
//! | `unconfirmed/<flow>` | an [`Unconfirmed`](crate::model::Unconfirmed) consent that an earlier version stored |
//! | `unclaimed/<browser>` | an [`Unclaimed`](crate::model::Unclaimed) consent that one browser gave by one link |
//! | `verification/<flow>` | the [`Verification`](crate::model::Verification) of a browser that was sent to an application |
//! | `session/<cookie>` | the [`Session`](crate::model::Session) of a browser |
//! | `cutoff/<user>` | when all access of this user was last ended ([`Cutoff`]) |
//! | `deposited/<token>` | the place that a token was moved in to ([`TokenClaim`](crate::model::deposit::TokenClaim)) |
//! | `disconnected/<user>/<provider>/<binding>/<account>` | the [`Disconnection`](crate::model::disconnection::Disconnection) of the connection that was there |
//! | `plan/<app>/<id>` | a [`StoredPlan`](crate::model::run::StoredPlan) of a client |
//! | `planrun/<app>/<id>` | a [`PlanRun`](crate::model::run::PlanRun) of a client, without a large document |
//! | `rundocument/<app>/<id>/<random>` | the document of such a run, if it is large |
//! | `memory/<app>/<run>/<name>` | a [`Memory`](crate::model::run::Memory): an output of such a run |
//! | `toolcall/<user>/<random>` | a [`ReportedCall`](crate::model::run::ReportedCall) of such a run |
//! | `person/<user>` | the [`EndUserFacts`](crate::model::run::EndUserFacts) that a client knows of its user |
//! | `confirmation/<ticket>` | a [`CallConfirmation`](crate::model::CallConfirmation), the question to a user whether a call may run |
//! | `needs/<user>/<run>` | the [`RunNeeds`](crate::model::RunNeeds) of that user's plan run |
//! | `once/<app>/<key>` | a call that runs [`Once`](crate::model::once::Once) under that key |
//! | `restsecret/<app>/<key>` | a [`RestSecret`](crate::model::rest_secret::RestSecret) of an application |
//! | `restprovider/<app>/<name>` | a [`RestProvider`](crate::model::rest_provider::RestProvider) of an application |
//! | `scheduled/<app>/<id>` | a [`ScheduledCall`](crate::model::scheduled::ScheduledCall) of an application |
//! | `webhook/<webhook>/<user>` | a [`WebhookQueue`](crate::model::webhook_queue::WebhookQueue): events of that user for that webhook |
//! | `signin/<state>` | a browser that is [`LoginAttempt`](crate::model::LoginAttempt), until its `state` is redeemed |
//!
//! `<user>`, `<ticket>`, `<token>`, `<state>`, `<flow>`, `<browser>`, `<cookie>`, `<app>`, `<id>`, `<run>`,
//! `<name>`, `<key>` and `<webhook>` are keyed hashes, and so is `<account>` unless it is `default`. `<binding>` is
//! [`Binding::fingerprint`](crate::model::grant::Binding::fingerprint), so that a `tools.toml` in
//! which a provider's name means something else neither finds nor overwrites this grant.

mod authorizations;
mod backend;
mod browsers;
mod confirmations;
mod deposits;
mod document_count;
mod error;
mod folder;
mod grants;
mod health;
mod home;
mod keys;
mod last_used;
mod lazy;
mod memory;
mod notice;
mod once;
mod opened;
mod plan_runs;
pub mod private_file;
mod records;
mod rest_providers;
mod rest_secrets;
mod run_record;
mod runs;
mod scheduled;
mod seen;
mod tables;
mod upkeep;
mod users;
mod webhooks;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::watch;
use zeroize::Zeroizing;

pub use backend::{Backend, BackendError, Key, Page, Sealed, Unreachable};
pub use document_count::DocumentCount;
use error::Result;
pub use error::StoreError;
pub use folder::{Answer, AskError, DataFolder, FolderError, ListeningSockets, Role, keeper};
use folder::{Answering, FolderHome};
use health::Health;
use home::Home;
pub use keys::master_key::{KeyError, KeyPlace, MasterKey};
use keys::ring::{Opening, Ring, ring_key};
pub use keys::rotation::{DataKey, Rotated};
use keys::seal;
pub use keys::seal::{DataKeyId, SealError};
pub use keys::source::KeySource;
pub use lazy::{LazyStore, Readiness};
pub use memory::Memory;
pub use notice::Notice;
use records::Record;
pub use records::{Cutoff, RecordError};
pub use seen::Seen;
pub use tables::{BrowserTables, ConfirmationTables, ConsentTables, RunTables, Table, Tables};
pub use upkeep::archive::{Archive, ArchiveError};
pub use upkeep::transfer::{ExportError, Exported, ImportError, Imported};
pub use upkeep::verify::{Bad, Kind, Verified};
pub use users::StoredUser;

use crate::model::{AccountName, Caller, InstanceId, ProviderId, Time};

/// Records that a pass over the whole store writes at once, so that they share the wait for the
/// disk.
const MAX_CONCURRENT_WRITES: usize = 64;

/// Attempts of one swap before [`StoreError::Contended`]; more key rotations during it are a fault,
/// not a race.
const MAX_SWAP_ATTEMPTS: usize = 16;

/// The open store. One per process.
pub struct Store {
    backend: Arc<dyn Backend>,
    ring: Ring,
    health: Health,
    home: Home,
}

/// A record as it was read; a later swap replaces exactly this version.
#[derive(Debug)]
pub struct Held<T> {
    pub value: T,
    key: Key,
    sealed: Sealed,
    /// The user that the record belongs to, if known.
    of: Option<Caller>,
}

/// # Errors
/// Unless a method says otherwise, it returns [`StoreError::Backend`] if the backend fails, and
/// [`StoreError::Key`], [`StoreError::WrongKey`] or [`StoreError::Replaced`] if the key ring has
/// changed and cannot be opened. A read also returns [`StoreError::Seal`] or [`StoreError::Record`]
/// if the record does not open or decode; a list logs and skips such a record. A write also returns
/// [`StoreError::Contended`] if the record is resealed too often during it.
impl Store {
    /// Opens the data folder and its key ring, and creates both if there is nothing yet.
    ///
    /// # Errors
    /// [`FolderError`]; [`BackendError::Unreachable`] if the folder's owner cannot be asked;
    /// [`StoreError::WrongKey`], with everything left as it was, if the key is not the one that
    /// wrapped the ring; [`StoreError::NoRing`] if there are records but no usable ring.
    pub async fn open(folder: DataFolder, keys: KeySource) -> Result<Self> {
        let role = watch::Sender::new(Role::Peer);
        Self::join(folder, keys, Answering::default(), role, Opening::Use).await
    }

    /// Like [`Self::open`]. Keeps `role` up to date, and answers questions of other processes with
    /// `answering` while this process is the owner.
    async fn join(
        folder: DataFolder,
        keys: KeySource,
        answering: Answering,
        role: watch::Sender<Role>,
        opening: Opening,
    ) -> Result<Self> {
        let now = folder.clock.now();
        let home = FolderHome::open(folder, ring_key(), answering, role).await?;
        Self::at(Home::Folder(home), keys, now, opening).await
    }

    /// Opens the key ring of the store at `home`.
    async fn at(home: Home, keys: KeySource, now: Time, opening: Opening) -> Result<Self> {
        let backend = home.backend();
        let ring = Ring::open(&*backend, keys, now, opening).await?;
        home.guard(Box::new(ring.last_read()));
        Ok(Self { backend, ring, health: Health::default(), home })
    }

    /// Returns the key for `requestState`, the same in every process that opens this store.
    pub fn request_state_key(&self) -> Zeroizing<Vec<u8>> {
        self.ring.derive("request state")
    }

    // ── Home ────────────────────────────────────────────────────────────────

    /// Returns the damage that was found when this process opened the store, if any.
    pub fn notice(&self) -> Option<&Notice> {
        self.home.notice()
    }

    /// Leaves the store; another process takes over if this one owned it. No operation works
    /// afterwards.
    pub async fn close(&self) {
        self.home.close().await;
    }

    /// Lets another process be the owner if this one is, and continues as its peer.
    async fn step_down(&self) {
        self.home.step_down().await;
    }

    /// Sends a question to the owner process, which may be this one.
    ///
    /// # Errors
    /// [`AskError`] if the owner answers no questions or cannot be asked.
    pub async fn ask(&self, question: &[u8]) -> std::result::Result<Vec<u8>, AskError> {
        self.home.ask(question).await
    }

    /// Returns this process's id, for records whose readers call [`Self::is_alive`].
    pub async fn instance(&self) -> Result<InstanceId> {
        self.home.instance().await
    }

    /// Returns whether that process exists, suspended or not.
    pub async fn is_alive(&self, instance: &InstanceId) -> Result<bool> {
        self.home.is_alive(instance).await
    }

    /// Returns whether the store works. Tries a failing store again, at most once a second.
    pub async fn is_ready(&self) -> bool {
        if !self.health.is_failing() {
            return true;
        }
        if !self.health.may_probe() {
            return false;
        }
        let is_back = self.home.has_room().await && self.backend.get(&ring_key()).await.is_ok();
        if is_back {
            self.health.note(None);
        }
        is_back
    }

    /// Frees the reserve for data that must be saved before the process ends.
    pub async fn release_reserve(&self) {
        if let Err(error) = self.home.release_reserve().await {
            tracing::warn!(%error, "the reserve could not be released");
        }
    }

    // ── Records ─────────────────────────────────────────────────────────────

    /// Replaces a record by `value`; `None` if the record has changed since it was read.
    pub(super) async fn replace<T: Record>(
        &self,
        value: T,
        over: &Held<T>,
    ) -> Result<Option<Held<T>>> {
        let key = over.key.clone();
        let of = over.of.clone();
        let plain = records::encode(&value, of.as_ref())?;
        let sealed = self.ring.seal(&*self.backend, &key, &plain).await?;
        let is_ours = self.swap(&key, Some(&over.sealed), Some(&sealed)).await?;
        Ok(is_ours.then_some(Held { value, key, sealed, of }))
    }

    /// Deletes a record; false if it has changed since it was read.
    pub(super) async fn delete<T>(&self, held: &Held<T>) -> Result<bool> {
        self.swap(&held.key, Some(&held.sealed), None).await
    }

    fn user(&self, caller: &Caller) -> String {
        self.ring.hash("user", &[&caller.namespace, caller.user.as_str()])
    }

    /// Hashes the account's name, because users name accounts after their e-mail address.
    fn account(&self, account: &AccountName) -> String {
        if *account == AccountName::default() {
            return account.to_string();
        }
        self.ring.hash("account", &[account.as_str()])
    }

    /// Key of the one record of this kind for a user's account.
    fn account_key(
        &self,
        kind: &str,
        caller: &Caller,
        provider: &ProviderId,
        binding: &str,
        account: &AccountName,
    ) -> Key {
        let (user, account) = (self.user(caller), self.account(account));
        Key::new(format!("{kind}/{user}/{provider}/{binding}/{account}"))
    }

    async fn read<T: Record>(&self, key: Key) -> Result<Option<Held<T>>> {
        match self.health.noted_read(self.backend.get(&key).await)? {
            Some(sealed) => self.unseal(key, sealed).await.map(Some),
            None => Ok(None),
        }
    }

    async fn unseal<T: Record>(&self, key: Key, sealed: Sealed) -> Result<Held<T>> {
        let plain = self.ring.unseal(&*self.backend, &key, &sealed).await?;
        let (value, of) = records::decode_owned(&plain)?;
        Ok(Held { value, key, sealed, of })
    }

    /// Swaps a record that was read as `old`. A record that was only resealed since then counts as
    /// unchanged, so that a rotation makes no writer lose a race.
    async fn swap(&self, key: &Key, old: Option<&Sealed>, new: Option<&Sealed>) -> Result<bool> {
        let mut over = old.cloned();
        for _ in 0..MAX_SWAP_ATTEMPTS {
            if self.health.noted_swap(self.backend.swap(key, over.as_ref(), new).await)? {
                return Ok(true);
            }
            let (Some(was), Some(current)) = (over, self.backend.get(key).await?) else {
                return Ok(false);
            };
            if !self.is_resealed(key, &was, &current).await? {
                return Ok(false);
            }
            over = Some(current);
        }
        Err(StoreError::Contended)
    }

    /// Whether these are the same record under two data keys.
    async fn is_resealed(&self, key: &Key, was: &Sealed, is: &Sealed) -> Result<bool> {
        if seal::sealed_with(was)? == seal::sealed_with(is)? {
            return Ok(false);
        }
        match self.ring.unseal(&*self.backend, key, was).await {
            Ok(was) => Ok(was == self.ring.unseal(&*self.backend, key, is).await?),
            // Its data key was dropped since it was read: the caller must read again.
            Err(StoreError::Seal(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn write<T: Record>(
        &self,
        key: &Key,
        record: &T,
        over: Option<&Held<T>>,
    ) -> Result<bool> {
        self.write_of(key, record, over, None).await
    }

    async fn write_of<T: Record>(
        &self,
        key: &Key,
        record: &T,
        over: Option<&Held<T>>,
        of: Option<&Caller>,
    ) -> Result<bool> {
        let sealed = self.ring.seal(&*self.backend, key, &records::encode(record, of)?).await?;
        self.swap(key, over.map(|held| &held.sealed), Some(&sealed)).await
    }
}
