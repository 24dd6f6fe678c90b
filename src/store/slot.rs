//! A store that is opened when it is first needed, and again if that failed.
//!
//! The key may be missing, or the folder's owner may not answer: that must keep nobody from listing
//! tools or calling those that need no grant, and must mend itself when its cause is gone.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OnceCell, watch};
use tokio::time::Instant;

use super::peer::{Answering, ListeningSockets};
use super::ring::Opening;
use super::{Answer, AskError, DataFolder, KeySource, Role, Store, StoreError};
use crate::model::chain;

/// Where the store is, and the store once it is open.
pub struct Slot {
    folder: DataFolder,
    keys: KeySource,
    answering: Answering,
    role: watch::Sender<Role>,
    store: OnceCell<Store>,
    only_looks: AtomicBool,
    /// Held by the one attempt to open the store.
    attempt: AsyncMutex<()>,
    /// The last attempt that failed.
    failure: Mutex<Failure>,
    unopened: Mutex<Unopened>,
}

/// How the last attempt to open the store failed, for the calls that waited for it.
#[derive(Default)]
struct Failure {
    /// Attempts that have failed.
    count: u64,
    error: String,
    hint: String,
}

/// What the attempts on behalf of health checks have found so far.
#[derive(Default)]
struct Unopened {
    is_failing: bool,
    is_checking: bool,
    /// When the last one ended.
    checked_at: Option<Instant>,
}

/// The one health check that waits for the store to open.
struct HealthAttempt<'a>(&'a Mutex<Unopened>);

impl Drop for HealthAttempt<'_> {
    // Also where the client of the health check has disconnected.
    fn drop(&mut self) {
        let mut unopened = self.0.lock();
        unopened.is_checking = false;
        unopened.checked_at = Some(Instant::now());
    }
}

/// Whether a server can serve its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// The store is open, and cannot be read or written.
    StoreFailing,
    /// The store cannot be opened: a wrong key, a folder that is not accessible, no answer from its
    /// owner.
    StoreNotOpened,
    /// The first attempt to open the store is running.
    StoreOpening,
}

/// How often a store that does not open is tried on behalf of health checks, which anyone may send.
const OPEN_INTERVAL: Duration = Duration::from_secs(1);

impl Slot {
    pub fn new(folder: DataFolder, keys: KeySource) -> Self {
        Self {
            folder,
            keys,
            answering: Answering::default(),
            role: watch::Sender::new(Role::Peer),
            store: OnceCell::new(),
            only_looks: AtomicBool::new(false),
            attempt: AsyncMutex::default(),
            failure: Mutex::default(),
            unopened: Mutex::default(),
        }
    }

    /// Opens the store, once it is needed, without writing: none is made, and no ring is wrapped anew.
    pub fn only_look(&self) {
        self.only_looks.store(true, Ordering::Relaxed);
    }

    /// The store, opened now if it is not open yet. A call that comes while an attempt runs gets the
    /// outcome of that attempt: under an owner that does not answer each takes seconds, and calls that
    /// made one after the other would wait for the sum of them.
    ///
    /// # Errors
    /// As [`Store::open`], and [`StoreError::NotOpened`] from another call's attempt; the next call
    /// tries again.
    pub async fn get(&self) -> Result<&Store, StoreError> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        // Boxed: every call that reads the store comes here, and only the first ones open it.
        Box::pin(self.open_once()).await
    }

    /// Opens the store, or waits for the attempt that runs.
    async fn open_once(&self) -> Result<&Store, StoreError> {
        let failures = self.failure.lock().count;
        let _attempt = self.attempt.lock().await;
        if self.store.get().is_none() {
            let failure = self.failure.lock();
            if failure.count != failures {
                let Failure { error, hint, .. } = &*failure;
                return Err(StoreError::NotOpened { error: error.clone(), hint: hint.clone() });
            }
        }
        let opened = self.open().await;
        if let Err(error) = &opened {
            let count = failures.wrapping_add(1);
            *self.failure.lock() = Failure { count, error: error.to_string(), hint: error.hint() };
        }
        opened
    }

    async fn open(&self) -> Result<&Store, StoreError> {
        let open = async || {
            let opening =
                if self.only_looks.load(Ordering::Relaxed) { Opening::Look } else { Opening::Use };
            if opening == Opening::Look && is_empty(&self.folder.path) {
                return Err(StoreError::Empty);
            }
            let (answering, role) = (self.answering.clone(), self.role.clone());
            let keys = self.keys.clone();
            let store = Store::join(self.folder.clone(), keys, answering, role, opening).await?;
            if opening == Opening::Use {
                store.make_reserve();
            }
            Ok(store)
        };
        self.store.get_or_try_init(open).await
    }

    /// Whether the store works. One that is not open yet is opened for this: a load balancer asks
    /// before the first user comes, and that user must not be the one who finds out.
    pub async fn readiness(&self) -> Readiness {
        if let Some(store) = self.store.get() {
            let is_ready = store.is_ready().await;
            return if is_ready { Readiness::Ready } else { Readiness::StoreFailing };
        }
        let _attempt = match self.begin_health_attempt() {
            Ok(attempt) => attempt,
            Err(unopened) => return unopened,
        };
        let opened = self.get().await;
        let was_failing = std::mem::replace(&mut self.unopened.lock().is_failing, opened.is_err());
        match opened {
            Ok(_) => {
                if was_failing {
                    tracing::info!("the store is open now");
                }
                Readiness::Ready
            }
            Err(error) => {
                if !was_failing {
                    let (hint, error) = (error.hint(), chain(&error));
                    tracing::error!(error, hint, "the store cannot be opened");
                }
                Readiness::StoreNotOpened
            }
        }
    }

    /// Lets one health check at a time open the store, and [`OPEN_INTERVAL`] after the last attempt
    /// that failed. Every other one gets the last answer at once.
    fn begin_health_attempt(&self) -> Result<HealthAttempt<'_>, Readiness> {
        let mut unopened = self.unopened.lock();
        let is_early = unopened.checked_at.is_some_and(|at| at.elapsed() < OPEN_INTERVAL);
        match (unopened.is_failing, unopened.is_checking) {
            (false, true) => Err(Readiness::StoreOpening),
            (true, true) => Err(Readiness::StoreNotOpened),
            (true, false) if is_early => Err(Readiness::StoreNotOpened),
            (_, false) => {
                unopened.is_checking = true;
                Ok(HealthAttempt(&self.unopened))
            }
        }
    }

    /// What this process is to the data folder, now and whenever that changes.
    /// [`Role::Peer`] until the store is open.
    pub fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// Has the questions of all processes answered here, on the runtime of the caller, while this
    /// process owns the folder. To be called once, before the store is open: nobody is served
    /// without.
    pub fn answer(&self, answer: Box<Answer>) {
        self.answering.install(answer);
    }

    /// What the owner of the folder listens on for browsers, for [`Role::Owner`] to publish and for the
    /// next one to take.
    pub fn sockets(&self) -> ListeningSockets {
        self.answering.sockets().clone()
    }

    /// As [`Store::ask`], opening the store if need be.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn ask(&self, question: &[u8]) -> Result<Vec<u8>, AskError> {
        self.get().await?.ask(question).await
    }

    /// The data folder.
    pub fn path(&self) -> &Path {
        &self.folder.path
    }

    /// Returns while a server is there that could own the folder in place of this keeper.
    pub async fn wanted(&self) {
        self.answering.wanted().await;
    }

    /// Returns when a process of another version has called, which cannot be a peer of this keeper and
    /// waits for the folder.
    pub async fn needed(&self) {
        self.answering.needed().await;
    }

    /// Leaves the folder to that process, and goes on as its peer.
    pub async fn step_down(&self) {
        if let Some(store) = self.store.get() {
            store.step_down().await;
        }
    }

    /// Hands the folder over, if the store is open.
    pub async fn close(&self) {
        if let Some(store) = self.store.get() {
            store.close().await;
        }
    }
}

/// Whether nothing lies in a folder. One that cannot be read is not empty, and opening it says why.
fn is_empty(folder: &Path) -> bool {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::sync::Arc;

    use futures_util::future::join_all;

    use super::super::tests::{Place, given};
    use super::*;

    /// A folder whose owner accepts connections and says nothing.
    async fn silent() -> (Place, Store, UnixListener, Arc<Slot>) {
        let place = Place::new();
        let owner = place.open().await.unwrap();
        let socket = place.data().join("store.sock");
        std::fs::remove_file(&socket).unwrap();
        let listener = UnixListener::bind(socket).unwrap();
        let slot = Arc::new(Slot::new(place.folder(), given(1)));
        (place, owner, listener, slot)
    }

    #[tokio::test]
    async fn one_health_check_waits_for_the_store_and_the_others_are_answered_at_once() {
        let (_place, _owner, _listener, slot) = silent().await;
        let began = Instant::now();
        let checks = (0..6).map(|_| async { (slot.readiness().await, began.elapsed()) });
        let answers = join_all(checks).await;
        let at_once = answers.iter().filter(|(_, after)| *after < Duration::from_secs(1));
        assert_eq!(at_once.clone().count(), 5, "{answers:?}");
        assert!(at_once.clone().all(|(answer, _)| *answer == Readiness::StoreOpening));
        assert_eq!(answers.first().map(|(answer, _)| *answer), Some(Readiness::StoreNotOpened));
        // The last answer, without another attempt.
        let again = Instant::now();
        assert_eq!(slot.readiness().await, Readiness::StoreNotOpened);
        assert!(again.elapsed() < Duration::from_secs(1), "{:?}", again.elapsed());
    }

    #[tokio::test]
    async fn calls_share_the_attempt_that_runs() {
        let (_place, _owner, _listener, slot) = silent().await;
        let began = Instant::now();
        let first = slot.get().await.err().unwrap().to_string();
        let one_attempt = began.elapsed();
        assert!(one_attempt > Duration::from_secs(1), "{one_attempt:?}");
        let began = Instant::now();
        let health = async {
            slot.readiness().await;
        };
        let calls = (0..6).map(|_| async { slot.get().await.err().map(|error| error.to_string()) });
        let ((), calls) = tokio::join!(health, join_all(calls));
        assert!(began.elapsed() < one_attempt * 2, "{:?}", began.elapsed());
        assert!(calls.iter().all(|it| it.as_ref() == Some(&first)), "{calls:?}");
    }

    /// The client of a health check that disconnects leaves nothing locked.
    #[tokio::test]
    async fn an_attempt_that_is_dropped_is_followed_by_another() {
        let (_place, _owner, _listener, slot) = silent().await;
        let given_up = tokio::time::timeout(Duration::from_millis(10), slot.readiness()).await;
        assert!(given_up.is_err());
        assert_eq!(slot.readiness().await, Readiness::StoreNotOpened);
        assert!(slot.get().await.is_err());
    }
}
