//! The store: grants and authorizations, sealed, above a [`Backend`] of three methods.
//!
//! Whatever happens at the same time is decided by the backend's compare-and-swap: a `state` is
//! redeemed by deleting its record, a grant is replaced only over the one that was read.
//!
//! Any number of processes share a data folder. One owns it and holds sled, the others are its
//! [`peer`]s, and when it goes another takes over ([`shared`]); above the backend nobody can tell.
//!
//! # Keys
//!
//! | key | record |
//! |---|---|
//! | `ring` | the key ring, wrapped by the master key |
//! | `grant/<user>/<provider>/<binding>/<account>` | a [`Grant`] |
//! | `used/<user>/<provider>/<binding>/<account>` | when the grant of that place was last [`Used`](crate::model::grant::Used) |
//! | `authorization/<user>/<provider>/<binding>/<account>` | the one [`Authorization`] of that person there |
//! | `ticket/<ticket>` | which authorization a connect link leads to |
//! | `state/<state>` | a [`Started`] authorization, until its `state` is redeemed |
//! | `unconfirmed/<flow>` | an [`Unconfirmed`] consent that an earlier version has kept |
//! | `unclaimed/<browser>` | an [`Unclaimed`] consent of a link, brought by that browser |
//! | `verification/<flow>` | the [`Verification`] of a browser that was sent to an application |
//! | `session/<cookie>` | the [`Session`] of a browser |
//! | `cutoff/<user>` | when this user's access was last ended as a whole ([`Cutoff`](record::Cutoff)) |
//! | `signin/<state>` | a browser that is [`SigningIn`], until its `state` is redeemed |
//!
//! `<user>`, `<ticket>`, `<state>`, `<flow>`, `<browser>` and `<cookie>` are keyed hashes, and so is `<account>` unless it is `default`;
//! `<binding>` is
//! [`Binding::fingerprint`](crate::model::grant::Binding::fingerprint), so that a `tools.toml` that means
//! something else by a provider's name neither finds nor overwrites what another one kept.

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

/// Everything that is kept. One per process.
pub struct Store {
    backend: Shared,
    ring: Ring,
    folder: DataFolder,
    alive: OnceCell<Alive>,
    trouble: trouble::Trouble,
}

/// A record as it was read: what a later swap replaces.
#[derive(Debug)]
pub struct Held<T> {
    pub value: T,
    key: Key,
    sealed: Sealed,
    /// The user whose record it is, where that is known.
    of: Option<Caller>,
}

/// Something that people must be told about the store.
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

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the store was sealed with another key than that in {place}; nothing was touched")]
    WrongKey { place: KeyPlace },
    /// Only to a command that looks and makes none.
    #[error("there is no store yet")]
    Empty,
    #[error("the store's key ring is missing or damaged; nothing was touched")]
    NoRing,
    #[error("the store was replaced by another one while this process used it")]
    Replaced,
    /// Another call's attempt to open it, for which this call waited.
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
    /// What to do about it.
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

impl Store {
    /// Opens the data folder and its key ring, making both where there is nothing yet.
    ///
    /// # Errors
    /// [`FolderError`], [`PeerError`] if the folder's owner cannot be asked;
    /// [`StoreError::WrongKey`], with everything left as it was, if the key is not the one that the
    /// ring was wrapped with.
    pub async fn open(folder: DataFolder, keys: KeySource) -> Result<Self> {
        let role = watch::Sender::new(Role::Peer);
        Self::join(folder, keys, Answering::default(), role, Opening::Use).await
    }

    /// The same; `role` is kept at what this process is to the folder, and `answering` is asked
    /// while it is the owner.
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

    pub fn notice(&self) -> Option<&Notice> {
        self.backend.notice()
    }

    /// Hands the folder over to another process, or leaves its owner. Nothing works after it.
    pub async fn close(&self) {
        self.backend.close().await;
    }

    /// Leaves the folder to another process if this one owns it, and goes on as its peer.
    async fn step_down(&self) {
        self.backend.step_down().await;
    }

    /// Puts a question to the process that owns the data folder, which may be this one.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn ask(&self, question: &[u8]) -> std::result::Result<Vec<u8>, AskError> {
        self.backend.ask(question).await
    }

    /// A key for `requestState`, the same in every process that opens this store.
    pub fn request_state_key(&self) -> Zeroizing<Vec<u8>> {
        self.ring.derive("request state")
    }

    // ── Grants ──────────────────────────────────────────────────────────────

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

    /// All that this person has connected, by whatever `tools.toml`.
    pub async fn grants(&self, caller: &Caller) -> Result<Vec<Held<Grant>>> {
        let mut all = self.read_all(&format!("grant/{}/", self.user(caller))).await?;
        for held in &mut all {
            // An earlier version wrote it without; the next renewal writes it with.
            held.of = Some(caller.clone());
        }
        Ok(all)
    }

    /// Keeps a grant where `over` stood (`None`: nothing). False if somebody else was faster; then
    /// what stands there now is theirs and must be read again.
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

    /// Replaces a record by its next state, unless it has changed since it was read (`None`).
    pub async fn replace<T: Record>(&self, value: T, over: &Held<T>) -> Result<Option<Held<T>>> {
        let key = over.key.clone();
        let of = over.of.clone();
        let plain = record::encode(&value, of.as_ref())?;
        let sealed = self.ring.seal(&self.backend, &key, &plain).await?;
        let is_ours = self.swap(&key, Some(&over.sealed), Some(&sealed)).await?;
        Ok(is_ours.then_some(Held { value, key, sealed, of }))
    }

    /// Deletes a record, unless it has changed since it was read.
    pub async fn forget<T>(&self, held: &Held<T>) -> Result<bool> {
        self.swap(&held.key, Some(&held.sealed), None).await
    }

    // ── Authorizations ──────────────────────────────────────────────────────

    pub async fn authorization(
        &self,
        caller: &Caller,
        provider: &ProviderId,
        binding: &str,
        account: &AccountName,
    ) -> Result<Option<Held<Authorization>>> {
        self.read(self.authorization_key(caller, provider, binding, account)).await
    }

    /// Keeps an authorization where `over` stood, and makes its link lead to it.
    pub async fn open_link(
        &self,
        authorization: &Authorization,
        over: Option<&Held<Authorization>>,
    ) -> Result<bool> {
        let key = self.key_of(authorization);
        let ticket = self.ticket_key(authorization.ticket.expose_secret());
        // The pointer first: a link must never be shown that leads nowhere. One that leads to an
        // authorization with another ticket opens nothing, see `by_ticket`.
        let pointer = Pointer {
            to: key.as_str().to_owned(),
            expires_at: authorization.expires_at(),
            unclaimed_since: None,
        };
        self.write(&ticket, &pointer, None).await?;
        self.write(&key, authorization, over).await
    }

    /// The authorization that a connect link leads to.
    pub async fn by_ticket(&self, ticket: &str) -> Result<Option<Held<Authorization>>> {
        let Some(pointer) = self.read::<Pointer>(self.ticket_key(ticket)).await? else {
            return Ok(None);
        };
        let found = self.read::<Authorization>(Key::new(pointer.value.to)).await?;
        Ok(found.filter(|held| secret::same(held.value.ticket.expose_secret(), ticket)))
    }

    /// The authorization as it stands now, for whoever waits for it.
    pub async fn reread(&self, started: &Authorization) -> Result<Option<Held<Authorization>>> {
        let found = self.successor(started).await?;
        Ok(found.filter(|held| held.value.id == started.id))
    }

    /// What stands now where an authorization stood: it, or the one that has replaced it.
    pub async fn successor(&self, of: &Authorization) -> Result<Option<Held<Authorization>>> {
        self.read(self.key_of(of)).await
    }

    /// Keeps a trip to the provider under its `state`.
    pub async fn start(&self, state: &SecretString, started: &Started) -> Result<()> {
        self.write(&self.state_key(state.expose_secret()), started, None).await?;
        Ok(())
    }

    /// What a `state` stands for, without using it up.
    pub async fn started(&self, state: &str) -> Result<Option<Held<Started>>> {
        self.read(self.state_key(state)).await
    }

    /// Uses a `state` up. Of racing callbacks at most one gets true (RFC 9700 §4.7.1: one-time).
    pub async fn redeem(&self, started: &Held<Started>) -> Result<bool> {
        self.forget(started).await
    }

    /// Keeps which browser was sent to an application with this `flow_id`.
    pub async fn start_verification(&self, flow: &SecretString, it: &Verification) -> Result<()> {
        self.write(&self.verification_key(flow), it, None).await?;
        Ok(())
    }

    /// The browser that was sent to an application with this `flow_id`.
    pub async fn verification(&self, flow: &SecretString) -> Result<Option<Held<Verification>>> {
        self.read(self.verification_key(flow)).await
    }

    /// What an earlier version has kept under this `flow_id`.
    pub async fn unconfirmed(&self, flow: &SecretString) -> Result<Option<Held<Unconfirmed>>> {
        let flow = self.ring.hash("flow", &[flow.expose_secret()]);
        self.read(Key::new(format!("unconfirmed/{flow}"))).await
    }

    /// Keeps a consent until the application confirms its browser, over an earlier one that the same
    /// browser has brought by the same link.
    pub async fn keep_unclaimed(&self, it: &Unclaimed) -> Result<()> {
        let key = self.unclaimed_key(it.authorization.ticket.expose_secret(), &it.browser);
        let before = self.read::<Unclaimed>(key.clone()).await?;
        let is_kept = self.write(&key, it, before.as_ref()).await?;
        if is_kept { Ok(()) } else { Err(StoreError::Contended) }
    }

    /// The consent that the browser of this fingerprint has brought by the link of this ticket.
    pub async fn unclaimed(&self, ticket: &str, browser: &str) -> Result<Option<Held<Unclaimed>>> {
        self.read(self.unclaimed_key(ticket, browser)).await
    }

    /// All consents that wait to be claimed.
    pub async fn all_unclaimed(&self) -> Result<Vec<Held<Unclaimed>>> {
        self.read_all("unclaimed/").await
    }

    /// Makes a link lead to its authorization for as long as that says now. False if the
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

    /// Authorizations that a link may still be open for.
    pub async fn open_authorizations(&self) -> Result<Vec<Held<Authorization>>> {
        self.read_all("authorization/").await
    }

    // ── Browsers ────────────────────────────────────────────────────────────

    /// Whoever has signed in with the browser of this cookie, be it long ago.
    pub async fn session(&self, cookie: &SecretString) -> Result<Option<Held<Session>>> {
        self.read(self.session_key(cookie)).await
    }

    /// Keeps a session under a cookie that no browser has had before.
    pub async fn begin_session(&self, cookie: &SecretString, session: &Session) -> Result<()> {
        self.write(&self.session_key(cookie), session, None).await?;
        Ok(())
    }

    /// Keeps a trip to the issuer under its `state`.
    pub async fn start_signing_in(&self, state: &SecretString, trip: &SigningIn) -> Result<()> {
        self.write(&self.signing_in_key(state), trip, None).await?;
        Ok(())
    }

    /// The trip to the issuer that a `state` stands for, and uses the `state` up: of racing callbacks
    /// at most one gets it.
    pub async fn redeem_signing_in(&self, state: &SecretString) -> Result<Option<SigningIn>> {
        let Some(held) = self.read::<SigningIn>(self.signing_in_key(state)).await? else {
            return Ok(None);
        };
        Ok(self.forget(&held).await?.then_some(held.value))
    }

    // ── Processes ───────────────────────────────────────────────────────────

    /// What this process is called in records that others ask [`Self::is_alive`] about.
    pub async fn instance(&self) -> Result<InstanceId> {
        let begin = async || {
            let data = self.folder.path.clone();
            blocking(move || Alive::begin(&data)).await
        };
        Ok(self.alive.get_or_try_init(begin).await?.id().clone())
    }

    /// Whether that process lives, be it stopped.
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

    /// People name accounts after their e-mail address.
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
