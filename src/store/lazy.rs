//! A store that is opened when it is first needed; after a failure the next call tries again.
//!
//! The key may be missing, or the folder's owner may not answer. Users can still list tools and
//! call those that need no grant, and the store opens once the cause is gone.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OnceCell, watch};
use tokio::time::Instant;

use super::folder::Answering;
use super::home::Home;
use super::keys::ring::Opening;
use super::memory::{Memory, MemoryHome};
use super::{Answer, AskError, DataFolder, KeySource, ListeningSockets, Role, Store, StoreError};
use crate::model::{Clock, chain};

/// Location of the store, and the store once it is open.
pub struct LazyStore {
    place: Place,
    keys: KeySource,
    answering: Answering,
    role: watch::Sender<Role>,
    store: OnceCell<Store>,
    only_looks: AtomicBool,
    /// Held during the one attempt to open the store.
    attempt: AsyncMutex<()>,
    /// The last attempt that failed.
    failure: Mutex<Failure>,
    unopened: Mutex<Unopened>,
}

/// Location of the records.
enum Place {
    Folder(DataFolder),
    Memory(Memory, Clock),
}

/// How the last attempt to open the store failed, for the calls that waited for it.
#[derive(Default)]
struct Failure {
    /// Number of attempts that have failed.
    count: u64,
    error: String,
    hint: String,
}

/// State of the attempts to open the store that health checks make.
#[derive(Default)]
struct Unopened {
    is_failing: bool,
    is_checking: bool,
    /// End of the last attempt.
    checked_at: Option<Instant>,
}

/// The one health check that waits for the store to open.
struct HealthAttempt<'a>(&'a Mutex<Unopened>);

impl Drop for HealthAttempt<'_> {
    // Also runs if the client of the health check disconnects.
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
    /// The store is open, but cannot be read or written.
    StoreFailing,
    /// The store cannot be opened: a wrong key, a folder that is not accessible, no answer from its
    /// owner.
    StoreNotOpened,
    /// The first attempt to open the store is running.
    StoreOpening,
}

/// Minimum time between attempts to open the store for health checks, which any client may send;
/// earlier checks get the last answer.
const OPEN_INTERVAL: Duration = Duration::from_secs(1);

impl LazyStore {
    /// Makes a store in a data folder that is opened at first use.
    pub fn new(folder: DataFolder, keys: KeySource) -> Self {
        Self::at(Place::Folder(folder), keys)
    }

    /// Makes a store in memory, for tests that need no data folder. It is opened at first use, too.
    pub fn in_memory(memory: Memory, keys: KeySource, clock: Clock) -> Self {
        Self::at(Place::Memory(memory, clock), keys)
    }

    fn at(place: Place, keys: KeySource) -> Self {
        Self {
            place,
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

    /// Lets the store be opened without writing: it creates no store and rewraps no ring.
    pub fn only_look(&self) {
        self.only_looks.store(true, Ordering::Relaxed);
    }

    /// Returns the store, and opens it first if necessary. A call during an attempt gets the result
    /// of that attempt: if the owner does not answer, each attempt takes seconds, and calls that
    /// tried one after the other would wait for the sum of them.
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

    /// Opens the store, or waits for the running attempt.
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
        let open = async || match &self.place {
            Place::Folder(folder) => self.open_folder(folder).await,
            Place::Memory(memory, clock) => self.open_memory(memory, clock).await,
        };
        self.store.get_or_try_init(open).await
    }

    async fn open_folder(&self, folder: &DataFolder) -> Result<Store, StoreError> {
        let opening = self.opening();
        if opening == Opening::Look && is_empty(&folder.path) {
            return Err(StoreError::Empty);
        }
        let (answering, role) = (self.answering.clone(), self.role.clone());
        let keys = self.keys.clone();
        let store = Store::join(folder.clone(), keys, answering, role, opening).await?;
        if opening == Opening::Use {
            store.home.make_reserve();
        }
        Ok(store)
    }

    async fn open_memory(&self, memory: &Memory, clock: &Clock) -> Result<Store, StoreError> {
        let home = MemoryHome::new(memory.clone(), self.answering.clone());
        let (keys, now) = (self.keys.clone(), clock.now());
        let store = Store::at(Home::Memory(home), keys, now, self.opening()).await?;
        self.role.send_replace(Role::Owner);
        Ok(store)
    }

    fn opening(&self) -> Opening {
        if self.only_looks.load(Ordering::Relaxed) { Opening::Look } else { Opening::Use }
    }

    /// Returns whether the store works. Opens it if necessary: a load balancer asks before the
    /// first user comes, and that user must not be the first to meet the failure.
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

    /// Lets one health check at a time open the store, at the earliest [`OPEN_INTERVAL`] after the
    /// last failed attempt. All others get the last answer at once.
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

    /// Returns this process's role, now and at every change; [`Role::Peer`] until the store is
    /// open.
    pub fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// Installs the function that answers the questions of all processes, on the caller's runtime,
    /// while this process owns the folder. Call once, before the store is open: without it, no
    /// question is answered.
    pub fn answer(&self, answer: Box<Answer>) {
        self.answering.install(answer);
    }

    /// Returns the sockets on which the folder's owner listens for browsers. The owner publishes
    /// them, and the next owner takes them.
    pub fn sockets(&self) -> ListeningSockets {
        self.answering.sockets().clone()
    }

    /// Like [`Store::ask`], and opens the store if necessary.
    ///
    /// # Errors
    /// [`AskError`] if the owner answers no questions, or the store cannot be opened or asked.
    pub async fn ask(&self, question: &[u8]) -> Result<Vec<u8>, AskError> {
        self.get().await?.ask(question).await
    }

    /// Returns the path of the data folder; empty for a store in memory.
    pub fn path(&self) -> &Path {
        match &self.place {
            Place::Folder(folder) => &folder.path,
            Place::Memory(..) => Path::new(""),
        }
    }

    /// Waits until a server is connected that could own the folder in place of this keeper.
    pub async fn wanted(&self) {
        self.answering.wanted().await;
    }

    /// Waits until a process of another version has connected, which cannot be a peer of this
    /// keeper and waits for the folder.
    pub async fn needed(&self) {
        self.answering.needed().await;
    }

    /// Hands the folder to another process if this one owns it, and continues as its peer.
    pub async fn step_down(&self) {
        if let Some(store) = self.store.get() {
            store.step_down().await;
        }
    }

    /// Closes the store if it is open, and releases the folder.
    pub async fn close(&self) {
        if let Some(store) = self.store.get() {
            store.close().await;
        }
    }
}

/// Whether a folder is empty or missing. An unreadable folder counts as not empty; opening it says
/// why.
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

    use super::*;
    use crate::store::tests::{Place, given};

    /// Returns a folder whose owner accepts connections and sends nothing.
    async fn silent() -> (Place, Store, UnixListener, Arc<LazyStore>) {
        let place = Place::new();
        let owner = place.open().await.unwrap();
        let socket = place.data().join("store.sock");
        std::fs::remove_file(&socket).unwrap();
        let listener = UnixListener::bind(socket).unwrap();
        let lazy = Arc::new(LazyStore::new(place.folder(), given(1)));
        (place, owner, listener, lazy)
    }

    #[tokio::test]
    async fn one_health_check_waits_for_the_store_and_the_others_are_answered_at_once() {
        let (_place, _owner, _listener, lazy) = silent().await;
        let began = Instant::now();
        let checks = (0..6).map(|_| async { (lazy.readiness().await, began.elapsed()) });
        let answers = join_all(checks).await;
        let at_once = answers.iter().filter(|(_, after)| *after < Duration::from_secs(1));
        assert_eq!(at_once.clone().count(), 5, "{answers:?}");
        assert!(at_once.clone().all(|(answer, _)| *answer == Readiness::StoreOpening));
        assert_eq!(answers.first().map(|(answer, _)| *answer), Some(Readiness::StoreNotOpened));
        // The last answer, without another attempt.
        let again = Instant::now();
        assert_eq!(lazy.readiness().await, Readiness::StoreNotOpened);
        assert!(again.elapsed() < Duration::from_secs(1), "{:?}", again.elapsed());
    }

    #[tokio::test]
    async fn calls_share_the_attempt_that_runs() {
        let (_place, _owner, _listener, lazy) = silent().await;
        let began = Instant::now();
        let first = lazy.get().await.err().unwrap().to_string();
        let one_attempt = began.elapsed();
        assert!(one_attempt > Duration::from_secs(1), "{one_attempt:?}");
        let began = Instant::now();
        let health = async {
            lazy.readiness().await;
        };
        let calls = (0..6).map(|_| async { lazy.get().await.err().map(|error| error.to_string()) });
        let ((), calls) = tokio::join!(health, join_all(calls));
        assert!(began.elapsed() < one_attempt * 2, "{:?}", began.elapsed());
        assert!(calls.iter().all(|it| it.as_ref() == Some(&first)), "{calls:?}");
    }

    /// A health check whose client disconnects leaves no lock behind.
    #[tokio::test]
    async fn an_attempt_that_is_dropped_is_followed_by_another() {
        let (_place, _owner, _listener, lazy) = silent().await;
        let given_up = tokio::time::timeout(Duration::from_millis(10), lazy.readiness()).await;
        assert!(given_up.is_err());
        assert_eq!(lazy.readiness().await, Readiness::StoreNotOpened);
        assert!(lazy.get().await.is_err());
    }
}
