//! The store: sealed grants and authorizations on top of a [`Backend`] of three methods.
//!
//! The backend's compare-and-swap decides every race: a `state` is redeemed by deleting its record,
//! and a grant is replaced only if it is still the one that was read.
//!
//! Any number of processes share a data folder. One owns it and opens sled; the others are its
//! [`peer`]s. When the owner ends, another process takes over ([`shared`]); code above the backend
//! does not notice.
//!
//! # Keys
//!
//! | key | record |
//! |---|---|
//! | `ring` | the key ring, wrapped by the master key |
//! | `grant/<user>/<provider>/<binding>/<account>` | a [`Grant`] |
//! | `used/<user>/<provider>/<binding>/<account>` | when that grant was last [`Used`](crate::model::grant::Used) |
//! | `authorization/<user>/<provider>/<binding>/<account>` | the one [`Authorization`] of that user for that account |
//! | `ticket/<ticket>` | the authorization that a connect link leads to |
//! | `state/<state>` | a [`Started`] authorization, until its `state` is redeemed |
//! | `unconfirmed/<flow>` | an [`Unconfirmed`] consent that an earlier version stored |
//! | `unclaimed/<browser>` | an [`Unclaimed`] consent that one browser gave by one link |
//! | `verification/<flow>` | the [`Verification`] of a browser that was sent to an application |
//! | `session/<cookie>` | the [`Session`] of a browser |
//! | `cutoff/<user>` | when all access of this user was last ended ([`Cutoff`](record::Cutoff)) |
//! | `signin/<state>` | a browser that is [`SigningIn`], until its `state` is redeemed |
//!
//! `<user>`, `<ticket>`, `<state>`, `<flow>`, `<browser>` and `<cookie>` are keyed hashes, and so
//! is `<account>` unless it is `default`. `<binding>` is
//! [`Binding::fingerprint`](crate::model::grant::Binding::fingerprint), so that a `tools.toml` in
//! which a provider's name means something else neither finds nor overwrites this grant.

mod alive;
mod archive;
mod backend;
mod folder;
pub mod keeper;
mod key;
mod key_file;
mod owner;
mod peer;
mod private_file;
mod record;
mod ring;
mod rotation;
mod seal;
mod shared;
mod sled;
mod slot;
mod sweep;
pub mod token_file;
mod transfer;
mod trouble;
mod used;
mod users;
mod verify;
mod walk;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod large;
#[cfg(test)]
mod tests;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{OnceCell, watch};
use zeroize::Zeroizing;

pub use archive::{Archive, ArchiveError};
pub use backend::{Backend, BackendError, Key, Page, Sealed};
pub use folder::{DataFolder, FolderError};
pub use key::{KeyError, KeyPlace, KeySource, MasterKey};
pub use peer::{Answer, ListeningSockets, PeerError};
pub use record::RecordError;
pub use rotation::{DataKey, Rotated};
pub use seal::{DataKeyId, SealError};
pub use shared::{AskError, Role};

use crate::model::secret;
use crate::model::{
    AccountName, Authorization, Caller, Grant, InstanceId, ProviderId, Session, SigningIn, Started,
    Unclaimed, Unconfirmed, Verification,
};
use alive::Alive;
use peer::Answering;
use record::{Pointer, Record};
use ring::{Opening, Ring};
use shared::Shared;
pub use slot::{Readiness, Slot};
pub use transfer::{ExportError, Exported, ImportError, Imported};
pub use users::StoredUser;
pub use verify::{Bad, Kind, Verified};

/// The open store. One per process.
pub struct Store {
    backend: Shared,
    ring: Ring,
    folder: DataFolder,
    alive: OnceCell<Alive>,
    trouble: trouble::Trouble,
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

/// Report of damage to the store.
#[derive(Clone, Debug)]
pub struct Notice(self::sled::Damage);

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            self::sled::Damage::SetAside(path) => write!(
                f,
                "the store was damaged and has been set aside as `{}`; accounts must be connected again",
                path.display()
            ),
            self::sled::Damage::Lost(changes) => write!(
                f,
                "the store was damaged, and its last changes are lost ({changes}); accounts that were connected or renewed last may have to be connected again"
            ),
        }
    }
}

/// Failure of a store operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the store was sealed with another key than that in {place}; nothing was touched")]
    WrongKey { place: KeyPlace },
    /// Only for a command that reads and creates no store.
    #[error("there is no store yet")]
    Empty,
    #[error("the store's key ring is missing or damaged; nothing was touched")]
    NoRing,
    #[error("the store was replaced by another one while this process used it")]
    Replaced,
    /// This call waited for another call's attempt to open the store, which failed.
    #[error("{error}")]
    NotOpened { error: String, hint: String },
    #[error("others change the store faster than this process can")]
    Contended,
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl StoreError {
    /// Returns what the user can do about this error.
    pub fn hint(&self) -> String {
        match self {
            Self::Folder(error) => error.hint(),
            Self::Key(error) => error.hint(),
            Self::WrongKey { place } => place.hint_when_wrong(),
            Self::NoRing => "bring the data folder back from a backup or finish `countersign store import`; to start over, move the folder away".into(),
            Self::Empty => "connect an account first".into(),
            Self::NotOpened { hint, .. } => hint.clone(),
            Self::Replaced | Self::Contended => "call again".into(),
            Self::Backend(error) => error.hint(),
            Self::Record(RecordError::TooNew { .. }) => "use the newer Countersign".into(),
            Self::Seal(_) | Self::Record(RecordError::Malformed(_)) => {
                "connect the account again".into()
            }
        }
    }
}

type Result<T> = std::result::Result<T, StoreError>;

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
    /// [`FolderError`]; [`PeerError`] if the folder's owner cannot be asked;
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
        let backend = Shared::open(folder.clone(), answering, role).await?;
        let ring = Ring::open(&backend, keys, folder.clock.now(), opening).await?;
        backend.found(ring.foundation());
        let (alive, trouble) = (OnceCell::new(), trouble::Trouble::default());
        Ok(Self { backend, ring, folder, alive, trouble })
    }

    /// Returns the damage that was found when this process became the owner, if any.
    pub fn notice(&self) -> Option<&Notice> {
        self.backend.notice()
    }

    /// Leaves the folder; another process takes over if this one owned it. No operation works
    /// afterwards.
    pub async fn close(&self) {
        self.backend.close().await;
    }

    /// Hands the folder to another process if this one owns it, and continues as its peer.
    async fn step_down(&self) {
        self.backend.step_down().await;
    }

    /// Sends a question to the process that owns the data folder, which may be this one.
    ///
    /// # Errors
    /// [`AskError`] if the owner answers no questions or cannot be asked.
    pub async fn ask(&self, question: &[u8]) -> std::result::Result<Vec<u8>, AskError> {
        self.backend.ask(question).await
    }

    /// Returns the key for `requestState`, the same in every process that opens this store.
    pub fn request_state_key(&self) -> Zeroizing<Vec<u8>> {
        self.ring.derive("request state")
    }

    // ── Grants ──────────────────────────────────────────────────────────────

    /// Returns the caller's grant under this binding ([`Binding::fingerprint`][fingerprint]).
    ///
    /// [fingerprint]: crate::model::grant::Binding::fingerprint
    pub async fn grant(
        &self,
        caller: &Caller,
        provider: &ProviderId,
        binding: &str,
        account: &AccountName,
    ) -> Result<Option<Held<Grant>>> {
        let held = self.read(self.grant_key(caller, provider, binding, account)).await?;
        Ok(held.map(|held| Held { of: Some(caller.clone()), ..held }))
    }

    /// Returns all grants of this user, made with any `tools.toml`.
    pub async fn grants(&self, caller: &Caller) -> Result<Vec<Held<Grant>>> {
        let mut all = self.read_all(&format!("grant/{}/", self.user(caller))).await?;
        for held in &mut all {
            // An earlier version did not store the user; the next renewal does.
            held.of = Some(caller.clone());
        }
        Ok(all)
    }

    /// Stores a grant in place of `over` (`None`: where there is none). Returns false if another
    /// writer was faster; the caller must then read that writer's grant.
    pub async fn keep(
        &self,
        caller: &Caller,
        grant: &Grant,
        over: Option<&Held<Grant>>,
    ) -> Result<bool> {
        let binding = grant.binding.fingerprint();
        let key = self.grant_key(caller, &grant.provider, &binding, &grant.account);
        self.write_of(&key, grant, over, Some(caller)).await
    }

    /// Replaces a record by `value`; `None` if the record has changed since it was read.
    pub async fn replace<T: Record>(&self, value: T, over: &Held<T>) -> Result<Option<Held<T>>> {
        let key = over.key.clone();
        let of = over.of.clone();
        let plain = record::encode(&value, of.as_ref())?;
        let sealed = self.ring.seal(&self.backend, &key, &plain).await?;
        let is_ours = self.swap(&key, Some(&over.sealed), Some(&sealed)).await?;
        Ok(is_ours.then_some(Held { value, key, sealed, of }))
    }

    /// Deletes a record; false if it has changed since it was read.
    pub async fn forget<T>(&self, held: &Held<T>) -> Result<bool> {
        self.swap(&held.key, Some(&held.sealed), None).await
    }

    // ── Authorizations ──────────────────────────────────────────────────────

    /// Returns the caller's authorization under this binding.
    pub async fn authorization(
        &self,
        caller: &Caller,
        provider: &ProviderId,
        binding: &str,
        account: &AccountName,
    ) -> Result<Option<Held<Authorization>>> {
        self.read(self.authorization_key(caller, provider, binding, account)).await
    }

    /// Stores an authorization in place of `over`, and its link; false if another writer was
    /// faster.
    pub async fn open_link(
        &self,
        authorization: &Authorization,
        over: Option<&Held<Authorization>>,
    ) -> Result<bool> {
        let key = self.key_of(authorization);
        let ticket = self.ticket_key(authorization.ticket.expose_secret());
        // Write the pointer first: a link that is shown must lead to an authorization. A pointer to
        // an authorization with another ticket opens nothing, see `by_ticket`.
        let pointer = Pointer {
            to: key.as_str().to_owned(),
            expires_at: authorization.expires_at(),
            unclaimed_since: None,
        };
        self.write(&ticket, &pointer, None).await?;
        self.write(&key, authorization, over).await
    }

    /// Returns the authorization that a connect link leads to.
    pub async fn by_ticket(&self, ticket: &str) -> Result<Option<Held<Authorization>>> {
        let Some(pointer) = self.read::<Pointer>(self.ticket_key(ticket)).await? else {
            return Ok(None);
        };
        let found = self.read::<Authorization>(Key::new(pointer.value.to)).await?;
        Ok(found.filter(|held| secret::same(held.value.ticket.expose_secret(), ticket)))
    }

    /// Returns the current state of an authorization; `None` if it is gone or replaced.
    pub async fn reread(&self, started: &Authorization) -> Result<Option<Held<Authorization>>> {
        let found = self.successor(started).await?;
        Ok(found.filter(|held| held.value.id == started.id))
    }

    /// Returns the authorization that is now stored under this one's key: itself or its
    /// replacement.
    pub async fn successor(&self, of: &Authorization) -> Result<Option<Held<Authorization>>> {
        self.read(self.key_of(of)).await
    }

    /// Stores an authorization attempt under its `state`.
    pub async fn start(&self, state: &SecretString, started: &Started) -> Result<()> {
        self.write(&self.state_key(state.expose_secret()), started, None).await?;
        Ok(())
    }

    /// Returns the authorization attempt of a `state` without redeeming it.
    pub async fn started(&self, state: &str) -> Result<Option<Held<Started>>> {
        self.read(self.state_key(state)).await
    }

    /// Redeems a `state`. At most one of several concurrent callbacks gets true (RFC 9700 §4.7.1:
    /// one-time).
    pub async fn redeem(&self, started: &Held<Started>) -> Result<bool> {
        self.forget(started).await
    }

    /// Stores which browser was sent to an application with this `flow_id`.
    pub async fn start_verification(&self, flow: &SecretString, it: &Verification) -> Result<()> {
        self.write(&self.verification_key(flow), it, None).await?;
        Ok(())
    }

    /// Returns the browser that was sent to an application with this `flow_id`.
    pub async fn verification(&self, flow: &SecretString) -> Result<Option<Held<Verification>>> {
        self.read(self.verification_key(flow)).await
    }

    /// Returns the consent that an earlier version stored under this `flow_id`.
    pub async fn unconfirmed(&self, flow: &SecretString) -> Result<Option<Held<Unconfirmed>>> {
        let flow = self.ring.hash("flow", &[flow.expose_secret()]);
        self.read(Key::new(format!("unconfirmed/{flow}"))).await
    }

    /// Stores a consent until the application confirms its browser, in place of an earlier one of
    /// the same browser and link.
    ///
    /// # Errors
    /// [`StoreError::Contended`] if another writer was faster.
    pub async fn keep_unclaimed(&self, it: &Unclaimed) -> Result<()> {
        let key = self.unclaimed_key(it.authorization.ticket.expose_secret(), &it.browser);
        let before = self.read::<Unclaimed>(key.clone()).await?;
        let is_kept = self.write(&key, it, before.as_ref()).await?;
        if is_kept { Ok(()) } else { Err(StoreError::Contended) }
    }

    /// Returns the consent that the browser with this fingerprint gave by the link with this
    /// ticket.
    pub async fn unclaimed(&self, ticket: &str, browser: &str) -> Result<Option<Held<Unclaimed>>> {
        self.read(self.unclaimed_key(ticket, browser)).await
    }

    /// Returns all consents that wait to be claimed.
    pub async fn all_unclaimed(&self) -> Result<Vec<Held<Unclaimed>>> {
        self.read_all("unclaimed/").await
    }

    /// Stores `longer` in place of `over`, and prolongs its link accordingly. False if the
    /// authorization has changed since it was read.
    pub async fn prolong_link(
        &self,
        longer: &Authorization,
        over: &Held<Authorization>,
    ) -> Result<bool> {
        let ticket = self.ticket_key(longer.ticket.expose_secret());
        let Some(before) = self.read::<Pointer>(ticket.clone()).await? else { return Ok(true) };
        let Pointer { to, expires_at, .. } = &before.value;
        let (to, expires_at) = (to.clone(), *expires_at);
        let pointer = Pointer { to, expires_at, unclaimed_since: longer.unclaimed_since };
        self.write(&ticket, &pointer, Some(&before)).await?;
        self.write(&over.key, longer, Some(over)).await
    }

    /// Returns all authorizations; the link of each may still be open.
    pub async fn open_authorizations(&self) -> Result<Vec<Held<Authorization>>> {
        self.read_all("authorization/").await
    }

    // ── Browsers ────────────────────────────────────────────────────────────

    /// Returns the session of this cookie, expired or not.
    pub async fn session(&self, cookie: &SecretString) -> Result<Option<Held<Session>>> {
        self.read(self.session_key(cookie)).await
    }

    /// Stores a session under a cookie that no browser has had before.
    pub async fn begin_session(&self, cookie: &SecretString, session: &Session) -> Result<()> {
        self.write(&self.session_key(cookie), session, None).await?;
        Ok(())
    }

    /// Stores a login attempt under its `state`.
    pub async fn start_signing_in(&self, state: &SecretString, trip: &SigningIn) -> Result<()> {
        self.write(&self.signing_in_key(state), trip, None).await?;
        Ok(())
    }

    /// Returns the login attempt of a `state` and redeems the `state`: at most one of several
    /// concurrent callbacks gets it.
    pub async fn redeem_signing_in(&self, state: &SecretString) -> Result<Option<SigningIn>> {
        let Some(held) = self.read::<SigningIn>(self.signing_in_key(state)).await? else {
            return Ok(None);
        };
        Ok(self.forget(&held).await?.then_some(held.value))
    }

    // ── Processes ───────────────────────────────────────────────────────────

    /// Returns this process's id, for records whose readers call [`Self::is_alive`].
    pub async fn instance(&self) -> Result<InstanceId> {
        let begin = async || {
            let data = self.folder.path.clone();
            blocking(move || Alive::begin(&data)).await
        };
        Ok(self.alive.get_or_try_init(begin).await?.id().clone())
    }

    /// Returns whether that process exists, suspended or not.
    pub async fn is_alive(&self, instance: &InstanceId) -> Result<bool> {
        let (data, instance) = (self.folder.path.clone(), instance.clone());
        blocking(move || alive::is_alive(&data, &instance)).await
    }

    // ── Keys and records ────────────────────────────────────────────────────

    fn user(&self, caller: &Caller) -> String {
        self.ring.hash("user", &[&caller.namespace, caller.user.as_str()])
    }

    fn grant_key(
        &self,
        caller: &Caller,
        provider: &ProviderId,
        binding: &str,
        account: &AccountName,
    ) -> Key {
        let (user, account) = (self.user(caller), self.account(account));
        Key::new(format!("grant/{user}/{provider}/{binding}/{account}"))
    }

    fn authorization_key(
        &self,
        caller: &Caller,
        provider: &ProviderId,
        binding: &str,
        account: &AccountName,
    ) -> Key {
        let (user, account) = (self.user(caller), self.account(account));
        Key::new(format!("authorization/{user}/{provider}/{binding}/{account}"))
    }

    fn key_of(&self, authorization: &Authorization) -> Key {
        self.authorization_key(
            &authorization.caller,
            &authorization.provider,
            &authorization.binding.fingerprint(),
            &authorization.account,
        )
    }

    /// Hashes the account's name, because users name accounts after their e-mail address.
    fn account(&self, account: &AccountName) -> String {
        if *account == AccountName::default() {
            return account.to_string();
        }
        self.ring.hash("account", &[account.as_str()])
    }

    fn ticket_key(&self, ticket: &str) -> Key {
        Key::new(format!("ticket/{}", self.ring.hash("ticket", &[ticket])))
    }

    fn state_key(&self, state: &str) -> Key {
        Key::new(format!("state/{}", self.ring.hash("state", &[state])))
    }

    fn unclaimed_key(&self, ticket: &str, browser: &str) -> Key {
        Key::new(format!("unclaimed/{}", self.ring.hash("unclaimed", &[ticket, browser])))
    }

    fn verification_key(&self, flow: &SecretString) -> Key {
        let flow = self.ring.hash("verification", &[flow.expose_secret()]);
        Key::new(format!("verification/{flow}"))
    }

    fn session_key(&self, cookie: &SecretString) -> Key {
        Key::new(format!("session/{}", self.ring.hash("session", &[cookie.expose_secret()])))
    }

    fn signing_in_key(&self, state: &SecretString) -> Key {
        Key::new(format!("signin/{}", self.ring.hash("signin", &[state.expose_secret()])))
    }

    async fn read<T: Record>(&self, key: Key) -> Result<Option<Held<T>>> {
        match self.noted_read(self.backend.get(&key).await)? {
            Some(sealed) => self.unseal(key, sealed).await.map(Some),
            None => Ok(None),
        }
    }

    async fn unseal<T: Record>(&self, key: Key, sealed: Sealed) -> Result<Held<T>> {
        let plain = self.ring.unseal(&self.backend, &key, &sealed).await?;
        let (value, of) = record::decode_owned(&plain)?;
        Ok(Held { value, key, sealed, of })
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
        let sealed = self.ring.seal(&self.backend, key, &record::encode(record, of)?).await?;
        self.swap(key, over.map(|held| &held.sealed), Some(&sealed)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| BackendError::Closed)?;
    Ok(done.map_err(BackendError::Io)?)
}
