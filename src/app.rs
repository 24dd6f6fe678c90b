//! The composition root: configuration in, running parts out.

mod access;
pub mod keeper;
mod memory;

use std::io;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::broker::code::CodeTools;
use crate::broker::schedule::run::Runner;
use crate::broker::sign_in::SignIn;
use crate::broker::{Broker, Catalogue, EnsureKeeper, OriginProvider, Parts};
use crate::config::{Config, RestRules};
use crate::identity::{Authenticator, Issuer, KeyError, Login};
use crate::mcp;
use crate::model::secret::fingerprint;
use crate::model::{Allowed, Caller, Clock, ConsentMode, Principal, chain};
use crate::net::{Cidr, Net, Policy};
use crate::oauth::OAuthClient;
use crate::registry::Registry;
use crate::store::{LazyStore, Role};
use crate::upstream::Upstream;
use crate::upstream::jq::Jq;
use crate::web;
use crate::web::gate::Gate;
use crate::web::loopback::listener::Loopback;
use crate::web::loopback::{ask_owner_to_listen, open_links};
use crate::web::port::local_peer::AllowedUsers;
use crate::web::port::serve::Port;
use crate::web::public_origin::public_origin;
use crate::web::{Origins, Usage};
pub use access::Access;
use keeper::KeeperLauncher;

/// How long running calls may take once the process is about to end: as long as a call's request
/// may, unless `tools.toml` gives it more.
const CALLS_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long answers may take to arrive after that.
const ANSWERS_DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Decisions of the command line and the environment, beside `tools.toml`.
pub struct Settings {
    pub store: LazyStore,
    pub clock: Clock,
    /// Origin at which all browsers reach this server, e.g. `https://tools.example.com`; `None`:
    /// each link leads to the loopback address of the machine that opens it.
    pub public: Option<String>,
    /// The executable that runs jq filters which may not end by themselves.
    pub worker: PathBuf,
    pub links: Links,
    /// The code of the tools that are code.
    pub code: CodeTools,
}

/// How this machine's links continue after the process ends.
#[derive(Clone, Default)]
pub struct Links {
    /// Starts the process that answers them then.
    pub keeper: Option<KeeperLauncher>,
    /// Whether a link must say so that works only while this process runs.
    pub end_with_process: bool,
    /// Whether the process ends soon after a link was answered.
    pub is_short_lived: bool,
}

impl Links {
    /// [`Parts::keeper`]
    fn ensure_keeper(&self) -> Box<EnsureKeeper> {
        let Self { keeper, end_with_process, .. } = self.clone();
        Box::new(move |until| {
            let keeper = keeper.clone();
            async move {
                let Some(keeper) = keeper else { return !end_with_process };
                match keeper.ensure(until).await {
                    Ok(()) => true,
                    Err(error) => {
                        tracing::warn!(%error, "no keeper was started, so links stop working when this process ends");
                        !end_with_process
                    }
                }
            }
            .boxed()
        })
    }
}

/// How MCP is served over HTTP.
pub struct Http {
    /// Bound already, so that the person who starts the server is told the address.
    pub listener: TcpListener,
    /// Identifies the caller of each request ([`App::authenticator`]).
    pub authenticator: Authenticator,
    /// Scheme, host and port of every name that clients and browsers reach this server by.
    pub origins: Vec<String>,
    pub allowed_users: AllowedUsers,
}

/// The running parts.
pub struct App {
    pub broker: Broker,
    file: PathBuf,
    data: PathBuf,
    text: mcp::ServerText,
    consent: Option<ConsentMode>,
    net: Net,
    oauth: OAuthClient,
    clock: Clock,
    trusted_proxies: Vec<Cidr>,
    allowed: Allowed,
    loopback: Arc<Loopback>,
    store: Arc<LazyStore>,
    following: AbortHandle,
    trimming: AbortHandle,
}

impl App {
    /// Puts the parts together. Opens nothing yet: no store, no port, no connection.
    /// Call within the runtime that shall serve.
    pub fn new(config: Config, settings: Settings) -> Self {
        let Config { path: file, server, providers, tools, gateways, webhooks, .. } = config;
        let catalogue = Catalogue::new(Registry::new(tools), providers);
        let catalogue = catalogue.with_gateways(gateways).with_code(&settings.code);
        let data = settings.store.path().to_owned();
        let net = Net::new(Policy { allow_private: server.allow_private });
        let (store, tables) = settings.store.into_tables();
        let loopback = Loopback::new(store.sockets());
        let oauth = OAuthClient::new(net.clone(), settings.clock.clone());
        let parts = Parts {
            catalogue: catalogue.into(),
            store: Arc::clone(&store),
            oauth: oauth.clone(),
            upstream: Upstream::new(net.clone(), Jq::new(settings.worker)),
            clock: settings.clock.clone(),
            origin: origin_of_links(settings.public, &store, server.port, server.listen_address),
            listen_address: server.listen_address,
            after_connect: server.after_connect,
            keeper: settings.links.ensure_keeper(),
            keep_runs: server.keep_runs,
            document_limits: server.document_limits,
            rest_rules: RestRules {
                retention: server.retention,
                may_be_private: !net.policy().allow_private.is_empty(),
            },
            webhooks,
            config: path_digest(&file),
            is_short_lived: settings.links.is_short_lived,
        };
        let broker = Broker::new(parts, tables);
        let routes = broker.clone();
        loopback.serve(move |origins| web::loopback_pages(routes.clone(), origins));
        let listener = Arc::clone(&loopback);
        store.answer(Box::new(move |question| {
            let listener = Arc::clone(&listener);
            async move { ask_owner_to_listen::answer(&listener, question).await }.boxed()
        }));
        let following = open_links::follow(store.role(), broker.clone(), Arc::clone(&loopback));
        let following = tokio::spawn(following).abort_handle();
        let trimming = tokio::spawn(memory::give_back()).abort_handle();
        let text = mcp::ServerText { name: server.name, instructions: server.instructions };
        let (clock, trusted_proxies) = (settings.clock, server.trusted_proxies);
        let allowed = server.allowed;
        Self {
            broker,
            file,
            data,
            text,
            consent: server.consent,
            net,
            oauth,
            clock,
            trusted_proxies,
            allowed,
            loopback,
            store,
            following,
            trimming,
        }
    }

    /// The `tools.toml` that this process read.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The folder of the store.
    pub fn data_folder(&self) -> &Path {
        &self.data
    }

    /// Leaves the store as it is: for commands that only read.
    pub fn only_look(&self) {
        self.store.only_look();
    }

    /// Whether browsers get their pages from this process, and not from another one that shares
    /// the data folder.
    pub fn serves_browsers(&self) -> bool {
        *self.store.role().borrow() == Role::Owner
    }

    /// Serves one MCP client over standard input and output until it hangs up.
    ///
    /// # Errors
    /// The protocol task failed.
    pub async fn serve_stdio(
        &self,
        caller: Caller,
        streams: mcp::stdio::Streams,
    ) -> std::io::Result<()> {
        let opened = tokio::spawn(open(self.broker.clone()));
        let handler = mcp::Handler::new(
            self.broker.clone(),
            mcp::Who::One(Arc::new(Principal::local(caller))),
            self.text.clone(),
        )
        .asking(self.consent);
        let served = Box::pin(mcp::stdio::serve(handler, streams)).await;
        opened.abort();
        self.close().await;
        served
    }

    /// Returns the authenticator of callers over HTTP. Sends no request yet.
    ///
    /// # Errors
    /// The keys of `[server.auth]` cannot be told apart.
    pub fn authenticator(&self, access: Access) -> Result<Authenticator, KeyError> {
        access.authenticator(&self.net, &self.clock)
    }

    /// Serves MCP over HTTP until `end`, then lets running calls finish.
    ///
    /// # Errors
    /// The port cannot be used.
    pub async fn serve_http(&self, http: Http, end: impl Future<Output = ()>) -> io::Result<()> {
        let Http { listener, authenticator, origins, allowed_users } = http;
        let usage = Usage::of(&authenticator);
        let pages = self.pages(&authenticator, &origins, &usage);
        let opened = tokio::spawn(open(self.broker.clone()));
        let asked = authenticator.issuer().map(|issuer| tokio::spawn(look_up(Arc::clone(issuer))));
        let (running, ended) = (mcp::http::Running::default(), CancellationToken::new());
        let (programs, bodies) = (web::RestLimits::default(), web::BodyBudget::default());
        let (background, stopping) = self.run_in_background(&authenticator);
        let gate = Gate::new(
            &origins,
            self.allowed.clone(),
            authenticator,
            &self.trusted_proxies,
            self.broker.events().clone(),
        );
        let mcp = self.mcp_handlers(&running, &ended);
        let routes = web::mcp_routes(self.broker.clone(), mcp, &gate, bodies.clone(), &usage)
            .merge(web::program_routes(
                self.broker.clone(),
                &gate,
                programs.clone(),
                bodies,
                &usage,
            ))
            .merge(pages);
        let port = Port::serve(listener, routes, allowed_users)?;
        end.await;
        port.stop();
        stopping.cancel();
        let cut_off = background.abort_handle();
        let drained = futures_util::future::join3(running.drain(), programs.drain(), background);
        if tokio::time::timeout(CALLS_DRAIN_TIMEOUT, drained).await.is_err() {
            tracing::warn!("calls still running after {CALLS_DRAIN_TIMEOUT:?} were cancelled");
        }
        cut_off.abort();
        // From here on streams carry nothing any more.
        ended.cancel();
        let _ = tokio::time::timeout(ANSWERS_DRAIN_TIMEOUT, port.ended()).await;
        opened.abort();
        asked.inspect(tokio::task::JoinHandle::abort);
        self.close().await;
        // Last, because work that a call began and that must finish runs on its threads.
        drop(port);
        Ok(())
    }

    /// Starts to run scheduled calls and to send the events of webhooks. The token stops it; the task
    /// ends with the last call and the last request.
    fn run_in_background(
        &self,
        authenticator: &Authenticator,
    ) -> (tokio::task::JoinHandle<()>, CancellationToken) {
        let (broker, authenticator) = (self.broker.clone(), authenticator.clone());
        let runner = Runner {
            principal: Box::new(move |caller, voucher| {
                authenticator.principal_behind(caller, voucher)
            }),
            render: web::scheduled_output,
        };
        let stopping = CancellationToken::new();
        let end = stopping.clone();
        let running = async move {
            let scheduled = broker.run_scheduled(runner, end.clone());
            futures_util::future::join(scheduled, broker.webhooks().deliver(end)).await;
        };
        (tokio::spawn(running), stopping)
    }

    /// Pages of the served port.
    fn pages(
        &self,
        authenticator: &Authenticator,
        names: &[String],
        usage: &Usage,
    ) -> axum::Router {
        if let Some(principal) = authenticator.only_person() {
            return web::local_pages(self.broker.clone(), Arc::clone(principal), names, usage);
        }
        let login = authenticator.issuer().zip(names.first());
        let login =
            login.and_then(|(issuer, origin)| Login::new(issuer, self.oauth.clone(), origin));
        let sign_in = SignIn::new(self.broker.clone(), authenticator.clone(), login);
        let origins = if authenticator.is_for_many() {
            // Many people share one name of the server, to which their cookies and redirect URIs
            // belong.
            Origins::of(names.first())
        } else {
            Origins::of_machine(names)
        };
        let public = web::PublicPages {
            origins,
            usage: usage.clone(),
            sign_in,
            trusted_proxies: self.trusted_proxies.clone(),
            clock: self.clock.clone(),
        };
        web::public_pages(self.broker.clone(), public)
    }

    /// Handlers of `/mcp`, `/sse` and `/messages`, which must be reachable only through the gate.
    fn mcp_handlers(
        &self,
        running: &mcp::http::Running,
        ended: &CancellationToken,
    ) -> web::McpHandlers {
        let handler =
            mcp::Handler::new(self.broker.clone(), mcp::Who::OfTheRequest, self.text.clone())
                .asking(self.consent);
        let streamable =
            mcp::http::streamable::handler(handler.clone(), running.clone(), ended.clone());
        let (sse, messages) = mcp::http::sse::handlers(handler, running.clone(), ended.clone());
        let max_body_bytes = mcp::http::MAX_BODY_BYTES;
        web::McpHandlers { streamable, sse, messages, max_body_bytes }
    }

    /// Waits for work that must finish, then stops listening and leaves the data folder to other
    /// processes.
    pub async fn close(&self) {
        self.broker.settle().await;
        self.following.abort();
        self.trimming.abort();
        // Before the folder: its next owner needs the ports.
        self.loopback.close().await;
        self.store.close().await;
    }
}

/// [`Parts::config`]
fn path_digest(file: &Path) -> String {
    // Links are not followed: an update may replace the folder that a link leads to.
    let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    fingerprint(&path.to_string_lossy())
}

/// [`Parts::origin`]: the `public` origin or, without one, a port of this machine.
fn origin_of_links(
    public: Option<String>,
    store: &Arc<LazyStore>,
    port: Option<u16>,
    address: Option<IpAddr>,
) -> Box<OriginProvider> {
    let store = Arc::clone(store);
    match public {
        Some(public) => Box::new(move |provider, rule| {
            std::future::ready(public_origin(&public, provider, rule)).boxed()
        }),
        None => Box::new(move |provider, rule| {
            let store = Arc::clone(&store);
            async move { ask_owner_to_listen::origin(&store, port, address, provider, rule).await }
                .boxed()
        }),
    }
}

/// Asks the issuer early, so that a failure shows before the first user signs in.
async fn look_up(issuer: Arc<Issuer>) {
    if let Err(error) = issuer.look_up().await {
        let (error, hint) = (chain(error.as_ref()), error.hint());
        tracing::warn!(error, hint, "users cannot sign in until the issuer answers");
    }
}

/// Opens the store ahead of the first call, and with it the ports that links of an earlier run lead
/// to.
async fn open(broker: Broker) {
    if let Err(error) = broker.store().await {
        // Said again, with its hint, by every call that needs the store.
        tracing::warn!(%error, hint = error.hint(), "the store could not be opened");
    }
}
