//! The keeper: a separate process that answers open links after the process that made them ends.
//!
//! The host of a stdio server may end it after one call, while the person is still reading the link
//! or is at the provider. So the first link starts a keeper, before the link is handed out: this
//! binary again, in a session of its own, since hosts kill the process group of their server. It
//! shares the data folder as every process does ([`crate::store`]) and takes over the store and the
//! loopback listener when their owner ends. It hands them back to a server that stays, while no
//! person is in the middle of a consent, and ends with the last open link. It holds the listening
//! sockets from the start ([`ListeningSockets`](crate::store::ListeningSockets)), so that no
//! browser is refused in between.
//!
//! It reads no `tools.toml` and resolves no secret: the record of each link holds all that
//! finishing it takes ([`ConsentPlan`](crate::model::consent_plan::ConsentPlan)). It does not
//! inherit the host's environment, which may hold secrets. A master key from the environment
//! reaches it over a pipe, since other programs can read a process's arguments and environment.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

use super::{App, Settings};
use crate::broker::code::CodeTools;
use crate::config::Config;
use crate::model::time::utc;
use crate::model::{Clock, Time};
use crate::store::keeper::{self, KEEPER_PURPOSE, KeeperLock, KeeperState, StartLock};
use crate::store::{DataFolder, KeySource, LazyStore, Role, StoreError};

/// The hidden subcommand.
pub const KEEPER_COMMAND: &str = "keeper";

/// Byte that a keeper writes to its standard output once it is ready.
pub const READY_BYTE: u8 = b'+';

/// Time limit for a keeper to get ready, and for an ending one to exit; beyond it, links end with
/// this process.
const START_TIMEOUT: Duration = Duration::from_secs(10);
const START_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Time limit for the folder's owner to pass its listening sockets; beyond it, the keeper continues
/// without them.
const SOCKETS_TIMEOUT: Duration = Duration::from_secs(1);

/// Interval at which the keeper checks for open links and for its data folder.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Time without a page request before the keeper hands over store and listener.
const HAND_OVER_IDLE_TIME: Duration = Duration::from_secs(5);

/// Time that the keeper waits for a browser to request the page that says how its link ended. Most
/// come at once, and then the keeper ends at once; on a busy machine, one that came after a second
/// was refused.
const RESULT_PAGE_TIMEOUT: Duration = Duration::from_secs(3);

/// Instructions for a keeper, sent to its standard input as JSON.
#[derive(Serialize, Deserialize)]
pub struct KeeperOrder {
    data: PathBuf,
    /// See [`DataFolder::runtime`].
    runtime: PathBuf,
    key: KeeperKey,
}

/// A [`KeySource`] in serializable form.
#[derive(Serialize, Deserialize)]
enum KeeperKey {
    Given(#[serde(with = "crate::model::secret::exposed")] secrecy::SecretString),
    File(PathBuf),
    Automatic(PathBuf),
}

/// Starts a keeper where there is none.
#[derive(Clone)]
pub struct KeeperLauncher {
    /// This binary.
    pub program: PathBuf,
    /// The keeper's whole environment.
    pub environment: Vec<(&'static str, OsString)>,
    pub data: DataFolder,
    pub keys: KeySource,
}

/// Reason why links end with the process that makes them.
#[derive(Debug, thiserror::Error)]
pub enum NoKeeper {
    #[error("every process that this one starts ends with it, as in a container")]
    EndsWithThis,
    #[error("the keeper was not ready in time")]
    Late,
    #[error("a keeper could not be started: {0}")]
    Io(#[from] io::Error),
}

impl KeeperOrder {
    /// Parses an order.
    ///
    /// # Errors
    /// `json` is not an order.
    pub fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Builds the parts of a keeper. Call within the runtime that will serve.
    pub fn app(self) -> App {
        let clock = Clock::system();
        let data = DataFolder {
            path: self.data,
            runtime: self.runtime,
            purpose: KEEPER_PURPOSE,
            clock: clock.clone(),
        };
        let keys = match self.key {
            KeeperKey::Given(key) => KeySource::Given(key),
            KeeperKey::File(path) => KeySource::File(path),
            KeeperKey::Automatic(path) => KeySource::Automatic(path),
        };
        let worker = crate::upstream::jq::own_program();
        let settings = Settings {
            code: CodeTools::default(),
            store: LazyStore::new(data, keys),
            clock,
            public: None,
            worker,
            links: super::Links { keeper: None, end_with_process: false, is_short_lived: true },
        };
        App::new(Config::default(), settings)
    }
}

impl KeeperLauncher {
    /// Ensures that a keeper answers the links that are in the store now, and starts one if there
    /// is none. `until` is when the newest link expires, for the log.
    ///
    /// # Errors
    /// [`NoKeeper`]; then links end with this process.
    pub async fn ensure(&self, until: Time) -> Result<(), NoKeeper> {
        let end = Instant::now() + START_TIMEOUT;
        loop {
            match self.look().await? {
                KeeperState::Ready { .. } => return Ok(()),
                KeeperState::Absent => {
                    if ends_with_container() {
                        return Err(NoKeeper::EndsWithThis);
                    }
                    // If several processes make their first links at once, one of them starts the
                    // keeper.
                    let data = self.data.path.clone();
                    let start = blocking(move || StartLock::take(&data)).await?;
                    if let Some(_start) = start
                        // Another process may have started one in between.
                        && self.look().await? == KeeperState::Absent
                    {
                        return self.start(until).await;
                    }
                }
                // The keeper is starting or ending.
                KeeperState::Unsettled => {}
            }
            if Instant::now() >= end {
                return Err(NoKeeper::Late);
            }
            sleep(START_POLL_INTERVAL).await;
        }
    }

    async fn look(&self) -> io::Result<KeeperState> {
        let data = self.data.path.clone();
        blocking(move || keeper::state(&data)).await
    }

    async fn start(&self, until: Time) -> Result<(), NoKeeper> {
        let mut command = Command::new(&self.program);
        command
            .arg(KEEPER_COMMAND)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // The host's working folder can be removed or unmounted.
            .current_dir(self.data.path.ancestors().last().unwrap_or(&self.data.path))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        #[cfg(unix)]
        command.arg0("countersign");
        let mut child = command.spawn()?;
        match timeout(START_TIMEOUT, self.hand_over(&mut child)).await {
            Ok(Ok(())) => {}
            late_or_failed => {
                child.start_kill()?;
                child.wait().await?;
                return Err(late_or_failed.map_or(NoKeeper::Late, |failed| {
                    failed.err().map_or(NoKeeper::Late, NoKeeper::Io)
                }));
            }
        }
        tracing::info!(
            pid = child.id(),
            "started a keeper process; it answers open links after this process ends, and stops when the last one expires, at {} unless there are new ones",
            utc(until)
        );
        // Reaps the keeper when it ends, so that no zombie stays while this process lives.
        tokio::spawn(async move { child.wait().await });
        Ok(())
    }

    /// Sends a keeper its order, and waits until it is ready.
    async fn hand_over(&self, child: &mut Child) -> io::Result<()> {
        let (Some(mut input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let order = KeeperOrder {
            data: self.data.path.clone(),
            runtime: self.data.runtime.clone(),
            key: match &self.keys {
                KeySource::Given(key) => KeeperKey::Given(key.clone()),
                KeySource::File(path) => KeeperKey::File(std::path::absolute(path)?),
                KeySource::Automatic(path) => KeeperKey::Automatic(std::path::absolute(path)?),
            },
        };
        let order = Zeroizing::new(serde_json::to_vec(&order)?);
        input.write_all(&order).await?;
        drop(input);
        match output.read_u8().await? {
            READY_BYTE => Ok(()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Whether no other process can outlive this one. The first process of a container takes all others
/// with it: this process may be the first, or the only child of an init like `tini`, which ends
/// when its child does.
fn ends_with_container() -> bool {
    #[cfg(unix)]
    {
        let parent = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get());
        std::process::id() == 1 || (parent == Some(1) && !is_system(&first_process()))
    }
    // A host's job object ends all processes of its server.
    #[cfg(not(unix))]
    true
}

/// The name of process 1; empty where the system does not say.
#[cfg(unix)]
fn first_process() -> String {
    std::fs::read_to_string("/proc/1/comm").unwrap_or_default()
}

/// Whether process 1 of this name lives as long as the system: `systemd`, `init`, and
/// `init(Ubuntu)` of WSL, but not `docker-init`, `tini`, `dumb-init` or a shell.
#[cfg(unix)]
fn is_system(first: &str) -> bool {
    ["systemd", "init", "launchd"].iter().any(|name| first.starts_with(name)) || first.is_empty()
}

impl App {
    /// Answers open links until none is left, the data folder is gone, or `end` resolves. Calls
    /// `ready` once links may rely on this process.
    ///
    /// # Errors
    /// The store cannot be opened.
    pub async fn keep(
        &self,
        mut lock: KeeperLock,
        ready: impl FnOnce() -> io::Result<()>,
        end: impl Future<Output = ()>,
    ) -> Result<(), StoreError> {
        let broker = &self.broker;
        broker.store().await?;
        self.hold_sockets().await;
        let folder = Folder::of(self.store.path());
        let (mut ends, mut shown) = broker.consents().ends();
        if lock.announce().is_err() {
            self.close().await;
            return Ok(());
        }
        // Ignored if the starting process is gone: another one may rely on the note by now.
        let _ = ready();
        let mut end = std::pin::pin!(end);
        // After a link has ended, its browser still requests the page that says how.
        let mut linger: Option<Instant> = None;
        // When the last open link expires, as far as the store could be asked.
        let mut known = broker.now();
        loop {
            tokio::select! {
                // Ends come first: if the keeper noticed one late, it would exit before the browser
                // returns.
                biased;
                Ok(_) = ends.recv() => linger = Some(Instant::now() + RESULT_PAGE_TIMEOUT),
                Ok(_) = shown.recv() => linger = None,
                () = sleep(CHECK_INTERVAL) => {}
                () = self.store.wanted() => if self.may_hand_over().await {
                    self.hand_over().await;
                },
                () = self.store.needed() => self.hand_over().await,
                () = &mut end => break,
            }
            if !folder.is_there() {
                // A file written now would keep the folder from being removed.
                return Ok(());
            }
            let lingers = linger.is_some_and(|until| Instant::now() < until);
            if lingers || broker.is_busy() || self.loopback.is_answering() {
                continue;
            }
            if self.must_stay(&mut known).await {
                continue;
            }
            // In this order, so that no new link relies on a process that is ending; see
            // `crate::store::keeper`.
            if lock.retract().is_err() || (!self.must_stay(&mut known).await && ends.is_empty()) {
                break;
            }
            if lock.announce().is_err() {
                break;
            }
        }
        self.close().await;
        Ok(())
    }

    /// Waits until this process holds the sockets that the owner of the folder listens on, or is
    /// the owner: the process that started it may end as soon as the keeper is ready. Gives up
    /// after `SOCKETS_TIMEOUT`.
    async fn hold_sockets(&self) {
        let (sockets, mut role) = (self.store.sockets(), self.store.role());
        let either = async {
            tokio::select! {
                () = sockets.arrived() => {}
                _ = role.wait_for(|role| *role == Role::Owner) => {}
            }
        };
        // An owner of an earlier version passes none.
        let _ = timeout(SOCKETS_TIMEOUT, either).await;
    }

    /// Leaves store and listener to the next owner, which already holds the sockets.
    async fn hand_over(&self) {
        self.loopback.hand_over().await;
        self.store.step_down().await;
    }

    /// Whether no browser is likely to come just now: no work is in progress, no user is at a
    /// provider, and no page was requested within `HAND_OVER_IDLE_TIME`.
    async fn may_hand_over(&self) -> bool {
        !self.broker.is_busy()
            && self.loopback.is_idle(HAND_OVER_IDLE_TIME)
            && self.broker.consents().has_departures().await.is_ok_and(|has| !has)
    }

    /// Whether a link is open. If the store cannot be asked, the keeper stays until the last link
    /// that it knows of has expired.
    async fn must_stay(&self, known: &mut Time) -> bool {
        match self.broker.consents().links_open_until().await {
            Ok(None) => false,
            Ok(Some(until)) => {
                *known = until;
                true
            }
            Err(_) => self.broker.now() < *known,
        }
    }

    /// Returns the id of the process that answers open links without this one, and when the last of
    /// them expires; `None` without a keeper.
    ///
    /// # Errors
    /// The store cannot be opened.
    pub async fn keeper(&self) -> Result<Option<(u32, Time)>, StoreError> {
        let path = self.store.path().to_owned();
        let state = blocking(move || keeper::state(&path)).await;
        let Ok(KeeperState::Ready { pid }) = state else { return Ok(None) };
        let until = self.broker.consents().links_open_until().await?;
        Ok(Some((pid, until.unwrap_or_else(|| self.broker.now()))))
    }
}

/// Identity of a data folder, so that another folder of the same name is not taken for it.
struct Folder {
    path: PathBuf,
    id: Option<(u64, u64)>,
}

impl Folder {
    fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), id: id(path) }
    }

    fn is_there(&self) -> bool {
        self.id.is_some() && id(&self.path) == self.id
    }
}

#[cfg(unix)]
fn id(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::symlink_metadata(path).ok()?;
    // A folder without its marker is being removed.
    path.join("FORMAT").exists().then(|| (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn id(path: &Path) -> Option<(u64, u64)> {
    path.exists().then_some((0, 0))
}
