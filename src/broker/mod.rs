//! Every decision, readable from top to bottom. Knows no protocol version and draws no page.
//!
//! - [`call`]: journey 1, a tool call
//! - [`connect`], [`invitation`] and [`callback`]: journey 2, a consent
//! - [`sign_in`] and [`visitor`]: who sits at a browser, and whether they are the person who asked
//! - [`confirmation`]: where an application confirms that; [`unclaimed`]: after the consent
//! - [`paste`]: a consent on our own page; [`device`]: one from another machine's browser
//! - [`keeping`]: what was granted becomes a grant; [`unkept`]: for which the store has no room yet
//! - [`identity`] and [`accounts`]: whose account it is, and which of several
//! - [`tokens`]: the single owner of freshness; [`renewal`] renews, [`resend`] says how often
//! - [`token_endpoints`]: which providers are in trouble, or refuse us
//! - [`service`]: grants of the server itself
//! - [`secret`] and [`assertion`]: keys and passwords, and what we sign, as credentials of a call
//! - [`clients`]: our registrations at providers
//! - [`grants`]: what a person has connected, and ending it; [`usage`]: when it was last of use
//! - [`users`]: who has connected what, and the end of it, for operators and applications
//! - [`by_hand`]: connecting outside any call
//! - [`attempt`]: an authorization by the name that its client knows it by
//! - [`completion`]: who waits for a consent hears of it here
//! - [`events`]: the record that every event passes

mod accounts;
pub mod assertion;
mod attempt;
mod by_hand;
pub mod call;
pub mod callback;
mod clients;
pub mod completion;
pub mod confirmation;
pub mod connect;
pub mod device;
pub mod events;
pub mod grants;
mod identity;
pub mod invitation;
pub mod keeping;
pub mod paste;
mod renewal;
mod resend;
pub mod secret;
mod service;
pub mod sign_in;
mod token_endpoints;
mod tokens;
mod unclaimed;
mod unkept;
mod usage;
pub mod users;
pub mod visitor;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio_util::task::TaskTracker;

pub use call::{Call, CallError};
pub use clients::SetupError;
pub use connect::ConnectError;
pub use visitor::{Stranger, Visitor};

use crate::model::provider::LoopbackRule;
use crate::model::{AccountName, Caller, Clock, Provider, ProviderId, RateLimit, Time};
use crate::oauth::OAuthClient;
use crate::registry::Registry;
use crate::store::{self, Readiness};
use crate::upstream::Upstream;

/// Decides about consent, tokens and tools. Cheap to clone.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    parts: Parts,
    clients: clients::Clients,
    flights: renewal::Flights,
    endpoints: token_endpoints::TokenEndpoints,
    unkept: unkept::Unkept,
    /// How many consents held in memory the log has been told of.
    held_said: AtomicUsize,
    usage: usage::Usage,
    events: events::Events,
    /// The ids of authorizations that have ended, for whoever waits in this process.
    ended: broadcast::Sender<String>,
    /// The ids of those whose end a browser has been shown.
    shown: broadcast::Sender<String>,
    opened: attempt::Opened,
    /// How many links each person gets.
    links: RateLimit<Caller>,
    /// When what has expired was last cleared away.
    swept: Mutex<Option<Time>>,
    /// The same of grants.
    swept_grants: Mutex<Option<Time>>,
    /// Work that must not be broken off with the call that began it, such as a refresh between
    /// sending and storing.
    tasks: TaskTracker,
}

/// What a broker is made of.
pub struct Parts {
    pub registry: Registry,
    pub providers: BTreeMap<ProviderId, Arc<Provider>>,
    pub store: Arc<store::Slot>,
    pub oauth: OAuthClient,
    pub upstream: Upstream,
    pub clock: Clock,
    /// Where browsers reach us, opened at the first link.
    pub origin: Box<Origin>,
    /// The address that is listened on there, if not the loopback address.
    pub listen_address: Option<IpAddr>,
    /// Where a browser goes after a consent, instead of our own page.
    pub after_connect: Option<url::Url>,
    pub keeper: Box<EnsureKeeper>,
    /// Whether this process ends soon after a link: its pages then offer nothing that comes back to
    /// it.
    pub is_short_lived: bool,
}

/// One person's account at one provider, as this `tools.toml` means the provider.
#[derive(Clone)]
struct Connection {
    caller: Caller,
    provider: Arc<Provider>,
    bound: Arc<clients::Bound>,
    account: AccountName,
}

/// How often a record is read again and written anew while others write it too.
const MOST_TRIES: u32 = 16;

/// Scheme, host and port that a provider's rule allows for link and callback; somebody listens there
/// once it has returned.
pub type Origin = dyn Fn(ProviderId, LoopbackRule) -> BoxFuture<'static, Result<String, OriginError>>
    + Send
    + Sync;

/// Sees to it that a link of this machine, which expires then, is answered also when this process has
/// ended; false: it ends with this process.
pub type EnsureKeeper = dyn Fn(Time) -> BoxFuture<'static, bool> + Send + Sync;

/// No place where a browser could come back to us.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    #[error(
        "port {port} on this machine is taken by another program, and `{provider}` accepts no other"
    )]
    Taken { provider: ProviderId, host: &'static str, port: u16 },
    #[error("`{0}` accepts only https redirect URIs")]
    HttpsOnly(ProviderId),
    #[error("of the names of this machine `{provider}` accepts only `{host}` in redirect URIs")]
    OtherHost { provider: ProviderId, host: &'static str },
    #[error("no port could be opened on this machine: {0}")]
    Failed(String),
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

impl OriginError {
    pub fn hint(&self) -> String {
        match self {
            Self::Taken { provider, host, port } => format!(
                "end the program that holds port {port}, or set `port` in [server] to another and register http://{host}:<port>/oauth/callback/{provider} at the provider"
            ),
            Self::HttpsOnly(provider) => format!(
                "serve over HTTP with [server.auth] and an https `public_url`; if your app may use a loopback address, say so with `loopback` in [providers.{provider}.oauth]"
            ),
            Self::OtherHost { host, .. } => format!(
                "set `public_url` in [server] to `http://{host}:<port>` with the port that is served, or to an https address"
            ),
            Self::Failed(_) => "check what keeps Countersign from listening on 127.0.0.1".into(),
            Self::Store(error) => error.hint(),
        }
    }
}

impl Broker {
    pub fn new(parts: Parts) -> Self {
        let clients = clients::Clients::new(parts.oauth.clone());
        let links = connect::limit(parts.clock.clone());
        Self(Arc::new(Inner {
            parts,
            clients,
            flights: renewal::Flights::default(),
            endpoints: token_endpoints::TokenEndpoints::default(),
            unkept: unkept::Unkept::default(),
            held_said: AtomicUsize::new(0),
            usage: usage::Usage::default(),
            events: events::Events::default(),
            links,
            ended: broadcast::Sender::new(256),
            shown: broadcast::Sender::new(16),
            opened: attempt::Opened::default(),
            swept: Mutex::default(),
            swept_grants: Mutex::default(),
            tasks: TaskTracker::new(),
        }))
    }

    pub fn registry(&self) -> &Registry {
        &self.0.parts.registry
    }

    /// The store, opened at first use.
    pub async fn store(&self) -> Result<&store::Store, store::StoreError> {
        self.0.parts.store.get().await
    }

    /// The present, for pages that say how long ago something was.
    pub fn now(&self) -> Time {
        self.0.parts.clock.now()
    }

    /// A provider by its name in `tools.toml`.
    pub fn provider(&self, id: &str) -> Option<&Arc<Provider>> {
        self.0.parts.providers.get(id)
    }

    pub fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> + Clone {
        self.0.parts.providers.values()
    }

    async fn connection(
        &self,
        caller: &Caller,
        provider: &Arc<Provider>,
        account: &AccountName,
    ) -> Result<Connection, SetupError> {
        Ok(Connection {
            caller: caller.clone(),
            provider: Arc::clone(provider),
            bound: self.0.clients.bound(provider).await?,
            account: account.clone(),
        })
    }

    /// Begins what must not be broken off, and goes on with it when whoever waits has given up. `None`:
    /// not begun, since the process is ending and what came of it could not be kept.
    fn unbroken<F>(&self, work: F) -> impl Future<Output = Option<F::Output>> + use<F>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        // Counted before looking, so that `settle` waits for whatever is begun.
        let counted = self.0.tasks.token();
        let task = (!self.0.tasks.is_closed()).then(|| self.0.tasks.spawn(work));
        drop(counted);
        async move { task?.await.ok() }
    }

    /// Whether something is under way that must not be broken off, such as a code exchange, or a
    /// consent waits for room in the store.
    pub fn is_busy(&self) -> bool {
        !self.0.tasks.is_empty() || !self.0.unkept.is_empty()
    }

    /// Waits for what must not be broken off: refreshes and code exchanges under way; then tries for some
    /// seconds to keep what the store had no room for, and writes down what was used.
    pub async fn settle(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.save_before_the_end().await;
        self.write_uses().await;
    }

    /// Whether the server can serve its users.
    pub async fn readiness(&self) -> Readiness {
        self.0.parts.store.readiness().await
    }
}
