//! Use cases: every decision of the server. Knows no protocol version and renders no page.
//!
//! - [`call`]: journey 1, a tool call; [`catalogue`]: the tools and providers that it finds
//! - [`code`]: tools that are code of the program
//! - [`consent`]: journey 2, a consent, from its link to the stored grant
//! - [`confirm`]: calls that their user has to confirm, and what plan runs wait for
//! - [`sign_in`]: who uses a browser
//! - [`grant`]: keeps grants fresh; the grants of the server itself; when each was last used
//! - [`client`]: this server as a client of providers
//! - [`accounts`]: the accounts that a user has connected: lists and ends them
//! - [`ready`]: what several tools together still need of their user
//! - [`once`]: calls that run at most once under a key
//! - [`rest_secrets`]: secrets that administrators store over REST
//! - [`rest_providers`]: providers that administrators make over REST; [`providers`] finds all of them
//! - [`deposit`]: tokens that users consented to elsewhere, moved in
//! - [`users`]: which user has connected what, and ending it, for operators and applications
//! - [`runs`]: what clients of Portia's contract store of their plans and users
//! - [`schedule`]: calls that run at a time that their client has chosen
//! - [`webhooks`]: tells applications what becomes of their users' connections
//! - [`events`]: the event log that every event passes

pub mod accounts;
pub mod call;
mod caller_failures;
mod catalogue;
pub mod client;
pub mod code;
pub mod confirm;
pub mod consent;
pub mod deposit;
pub mod events;
mod grant;
pub mod once;
mod providers;
pub mod ready;
pub mod rest_providers;
pub mod rest_secrets;
pub mod runs;
pub mod schedule;
pub mod sign_in;
pub mod users;
pub mod webhooks;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;

use accounts::Accounts;
pub use call::{Call, CallError};
pub use catalogue::{Catalogue, CurrentCatalogue};
use client::Clients;
pub use client::registration::SetupError;
use confirm::Confirmations;
use consent::Consents;
pub use consent::{ConnectError, NotYours, VisitingBrowser};
use deposit::Deposits;
use events::Events;
use grant::Grants;
use once::OnceCalls;
use providers::Providers;
use rest_providers::RestProviders;
use rest_secrets::RestSecrets;
use runs::Runs;
use schedule::records::ScheduledCalls;
use sign_in::Browsers;
use users::Users;
use webhooks::Webhooks;
use webhooks::outbox::Outbox;

use crate::config::RestRules;
use crate::model::oauth::LoopbackRule;
use crate::model::run::DocumentLimits;
use crate::model::webhook::Webhook;
use crate::model::{AccountName, Caller, Clock, Provider, ProviderId, Time};
use crate::oauth::OAuthClient;
use crate::store::{self, Readiness, Tables};
use crate::upstream::Upstream;

/// Decides about consent, tokens and tools. Cheap to clone.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    parts: Arc<Parts>,
    grants: Grants,
    consents: Consents,
    accounts: Accounts,
    users: Users,
    browsers: Browsers,
    runs: Runs,
    confirmations: Confirmations,
    once: OnceCalls,
    /// Answers to polls for readiness.
    answers: ready::Answers,
    withheld: ready::LoggedWithheld,
    rest_secrets: RestSecrets,
    rest_providers: RestProviders,
    providers: Arc<Providers>,
    deposits: Deposits,
    scheduled: ScheduledCalls,
    webhooks: Webhooks,
    events: Events,
    /// Work that must outlive the call that began it, such as a refresh between sending and
    /// storing.
    tasks: TaskTracker,
}

/// Dependencies of a [`Broker`].
pub struct Parts {
    pub catalogue: CurrentCatalogue,
    pub store: Arc<store::LazyStore>,
    pub oauth: OAuthClient,
    pub upstream: Upstream,
    pub clock: Clock,
    /// Opens the listener for browsers at the first link, and returns its origin.
    pub origin: Box<OriginProvider>,
    /// Address to listen on for that origin, if it is not the loopback address.
    pub listen_address: Option<IpAddr>,
    /// Page that the browser goes to after a consent, instead of our own.
    pub after_connect: Option<url::Url>,
    pub keeper: Box<EnsureKeeper>,
    /// How long what clients store of their plans is kept after its last change.
    pub keep_runs: Duration,
    /// How much of that is kept.
    pub document_limits: DocumentLimits,
    /// Rules for providers that administrators make over REST.
    pub rest_rules: RestRules,
    /// Receivers of events, each of one application.
    pub webhooks: Vec<Webhook>,
    /// Digest of the path of `tools.toml`. A scheduled call runs only under the one that it was
    /// scheduled under.
    pub config: String,
    /// Whether this process ends soon after a link. Its pages then offer no action that would come
    /// back to it.
    pub is_short_lived: bool,
}

/// One user's account at one provider, with the provider as this `tools.toml` configures it.
#[derive(Clone)]
struct Connection {
    caller: Caller,
    provider: Arc<Provider>,
    bound: Arc<client::registration::Bound>,
    account: AccountName,
}

/// Number of attempts to update a record that others write too; then `StoreError::Contended`.
const MAX_WRITE_ATTEMPTS: u32 = 16;

/// Returns the origin (scheme, host and port) that a provider's rule allows for link and callback.
/// When it returns, a listener is open there.
pub type OriginProvider = dyn Fn(ProviderId, LoopbackRule) -> BoxFuture<'static, Result<String, OriginError>>
    + Send
    + Sync;

/// Ensures that this machine's links are answered until the given time, even if this process ends.
/// Returns false if they end with this process.
pub type EnsureKeeper = dyn Fn(Time) -> BoxFuture<'static, bool> + Send + Sync;

/// There is no origin at which the browser could come back to us.
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
    /// Advice that completes the error message, as a lower-case fragment.
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
    /// Creates a broker from its dependencies, with the rights to write the store.
    pub fn new(parts: Parts, tables: Tables) -> Self {
        let parts = Arc::new(parts);
        let (events, tasks) = (Events::default(), TaskTracker::new());
        let clients = Arc::new(Clients::new(&parts, events.clone()));
        let providers = Arc::new(Providers::new(Arc::clone(&parts)));
        let unsaved = Arc::new(consent::Unsaved::default());
        let to_log = Arc::clone(&unsaved);
        let outbox = Outbox::new(tables.webhooks, &parts);
        let of_grants = (Arc::clone(&clients), events.clone(), tasks.clone(), outbox.clone());
        let log_unsaved = Box::new(move |renewals| to_log.log(renewals));
        let grants = Grants::new(&parts, tables.grants, of_grants, log_unsaved);
        let runs = Runs::new(Arc::clone(&parts), tables.runs, tasks.clone());
        let scheduled = ScheduledCalls::new(tables.scheduled, events.clone());
        let collaborators = consent::Collaborators {
            clients: Arc::clone(&clients),
            grants: grants.clone(),
            events: events.clone(),
            tasks: tasks.clone(),
            unsaved,
            runs: runs.clone(),
            scheduled: scheduled.clone(),
            providers: Arc::clone(&providers),
        };
        let consents = Consents::new(Arc::clone(&parts), tables.consents, collaborators);
        let deposits = Deposits::new(parts.clock.clone(), Arc::clone(&clients));
        let of_accounts = (grants.clone(), consents.clone(), Arc::clone(&providers));
        let accounts = Accounts::new(Arc::clone(&parts), clients, of_accounts);
        let stored = users::Stored { runs: runs.clone(), scheduled: scheduled.clone() };
        let users = Users::new(tables.cutoffs, &parts, consents.clone(), stored, events.clone());
        let (shared, table) = (Arc::clone(&parts), tables.confirmations);
        let confirmations = Confirmations::new(shared, table, consents.clone(), events.clone());
        let once = OnceCalls::new(tables.once, parts.clock.clone());
        let webhooks = Webhooks::new(outbox, &parts, events.clone());
        Self(Arc::new(Inner {
            parts,
            grants,
            consents,
            accounts,
            users,
            browsers: Browsers::new(tables.browsers),
            runs,
            confirmations,
            once,
            answers: ready::Answers::default(),
            withheld: ready::LoggedWithheld::default(),
            rest_secrets: RestSecrets::new(tables.rest_secrets),
            rest_providers: RestProviders::new(tables.rest_providers),
            providers,
            deposits,
            scheduled,
            webhooks,
            events,
            tasks,
        }))
    }

    /// The tools and providers that this server offers now. A call keeps the ones that it began
    /// with.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.0.parts.catalogue.get()
    }

    /// The consents that users are asked for.
    pub fn consents(&self) -> &Consents {
        &self.0.consents
    }

    /// The calls that users have to confirm.
    pub fn confirmations(&self) -> &Confirmations {
        &self.0.confirmations
    }

    /// The accounts that users have connected.
    pub fn accounts(&self) -> &Accounts {
        &self.0.accounts
    }

    /// The users of this server.
    pub fn users(&self) -> &Users {
        &self.0.users
    }

    /// The documents that clients of Portia's contract have stored.
    pub fn runs(&self) -> &Runs {
        &self.0.runs
    }

    /// The webhooks of applications.
    pub fn webhooks(&self) -> &Webhooks {
        &self.0.webhooks
    }

    /// The event log of this process.
    pub fn events(&self) -> &Events {
        &self.0.events
    }

    /// Returns the store, opened at first use.
    ///
    /// # Errors
    /// The store cannot be opened.
    pub async fn store(&self) -> Result<&store::Store, store::StoreError> {
        self.0.parts.store.get().await
    }

    /// The current time, for pages that say how long ago an event was.
    pub fn now(&self) -> Time {
        self.0.parts.clock.now()
    }

    /// A provider by its name in `tools.toml`.
    pub fn provider(&self, id: &str) -> Option<Arc<Provider>> {
        self.catalogue().provider(id).cloned()
    }

    /// Whether work is running that must not be interrupted, such as a code exchange, or a consent
    /// waits for room in the store.
    pub fn is_busy(&self) -> bool {
        !self.0.tasks.is_empty() || self.0.consents.has_unsaved()
    }

    /// Waits for running refreshes and code exchanges, which must not be interrupted; then tries
    /// for some seconds to store the held consents, and writes down the last uses.
    pub async fn settle(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.consents.save_before_the_end().await;
        // It may have begun to end a consent that is not kept.
        self.0.tasks.wait().await;
        self.0.grants.write_uses().await;
    }

    /// Whether the server can serve its users.
    pub async fn readiness(&self) -> Readiness {
        self.0.parts.store.readiness().await
    }
}
