//! The composition root: configuration in, running parts out.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, Parts};
use crate::config::Config;
use crate::mcp;
use crate::model::{Caller, Clock, Principal};
use crate::net::{Net, Policy};
use crate::oauth::OAuthClient;
use crate::registry::Registry;
use crate::store::{DataFolder, KeySource, Role, Slot};
use crate::upstream::Upstream;
use crate::upstream::select::Jq;
use crate::web;
use crate::web::auth::Gate;
use crate::web::listener::Loopback;
use crate::web::reach;

/// What the command line and the environment decide, beside `tools.toml`.
pub struct Settings {
    pub data: DataFolder,
    pub keys: KeySource,
    pub clock: Clock,
    /// Where everybody's browsers reach this server, e.g. `https://tools.example.com`; `None`: each
    /// link leads to the loopback address of the machine that it is opened on.
    pub public: Option<String>,
    /// The executable that runs jq filters which may not end by themselves.
    pub worker: PathBuf,
}

/// The running parts.
pub struct App {
    pub broker: Broker,
    text: mcp::ServerText,
    loopback: Arc<Loopback>,
    store: Arc<Slot>,
    following: AbortHandle,
}

impl App {
    /// Puts the parts together. Opens nothing yet: no store, no port, no connection.
    /// Call within the runtime that shall serve.
    pub fn new(config: Config, settings: Settings) -> Self {
        let Config { server, providers, tools, .. } = config;
        let net = Net::new(Policy { allow_private: server.allow_private });
        let loopback = Loopback::new();
        let store = Arc::new(Slot::new(settings.data, settings.keys));
        let (slot, port) = (Arc::clone(&store), server.port);
        let broker = Broker::new(Parts {
            registry: Registry::new(tools),
            providers,
            store: Arc::clone(&store),
            oauth: OAuthClient::new(net.clone(), settings.clock.clone()),
            upstream: Upstream::new(net, Jq::new(settings.worker)),
            clock: settings.clock,
            origin: match settings.public {
                Some(public) => Box::new(move |provider, rule| {
                    std::future::ready(reach::public(&public, provider, rule)).boxed()
                }),
                None => Box::new(move |provider, rule| {
                    let slot = Arc::clone(&slot);
                    async move { reach::origin(&slot, port, provider, rule).await }.boxed()
                }),
            },
            after_connect: server.after_connect,
        });
        let routes = broker.clone();
        loopback.serve(move |origins| web::router(routes.clone(), origins));
        let listener = Arc::clone(&loopback);
        store.answer(Box::new(move |question| {
            std::future::ready(reach::answer(&listener, &question)).boxed()
        }));
        let following = reach::follow(store.role(), broker.clone(), Arc::clone(&loopback));
        let following = tokio::spawn(following).abort_handle();
        let text = mcp::ServerText { name: server.name, instructions: server.instructions };
        Self { broker, text, loopback, store, following }
    }

    /// Whether browsers get their pages from this process, and not from another one that shares
    /// the data folder.
    pub fn serves_browsers(&self) -> bool {
        *self.store.role().borrow() == Role::Owner
    }

    /// Serves one MCP client over standard input and output until it hangs up.
    pub async fn serve_stdio(
        &self,
        caller: Caller,
        streams: mcp::stdio::Streams,
    ) -> std::io::Result<()> {
        let opened = tokio::spawn(open(self.broker.clone()));
        let announcements = mcp::Announcements::new(self.broker.clone());
        let handler = mcp::Handler::new(
            self.broker.clone(),
            mcp::Who::One(Arc::new(Principal::local(caller))),
            self.text.clone(),
            announcements.clone(),
        );
        let served = Box::pin(mcp::stdio::serve(handler, &announcements, streams)).await;
        opened.abort();
        self.close().await;
        served
    }

    /// Serves MCP over HTTP, on a port that is bound already, until `end`.
    pub async fn serve_http(
        &self,
        listener: std::net::TcpListener,
        gate: Gate,
        end: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let opened = tokio::spawn(open(self.broker.clone()));
        let announcements = mcp::Announcements::new(self.broker.clone());
        let handler = mcp::Handler::new(
            self.broker.clone(),
            mcp::Who::OfTheRequest,
            self.text.clone(),
            announcements.clone(),
        );
        let address = listener.local_addr()?;
        let origins = web::Origins::default();
        origins.add(format!("http://{address}"));
        origins.add(format!("http://localhost:{}", address.port()));
        let ended = CancellationToken::new();
        let router = mcp::streamable::routes(handler.clone(), ended.clone())
            .merge(mcp::sse::routes(handler, announcements, ended.clone()))
            .layer(axum::middleware::from_fn_with_state(
                web::auth::Guard { origins: origins.clone(), gate: gate.clone() },
                web::auth::guard,
            ));
        let router = match gate {
            Gate::Local(principal) => {
                router.merge(web::local(self.broker.clone(), principal, origins))
            }
        };
        let stop = CancellationToken::new();
        let served = web::server::serve(listener, router, stop.clone());
        let served = tokio::select! {
            served = served => served,
            () = end => Ok(()),
        };
        ended.cancel();
        opened.abort();
        self.close().await;
        served
    }

    /// Lets what must not be broken off come to its end, then stops listening and leaves the data
    /// folder to others.
    pub async fn close(&self) {
        self.broker.settle().await;
        self.following.abort();
        // Before the folder: whoever takes over wants the ports.
        self.loopback.close().await;
        self.store.close().await;
    }
}

/// Opens the store ahead of the first call, and with it the ports that links of an earlier run lead
/// to.
async fn open(broker: Broker) {
    if let Err(error) = broker.store().await {
        // Said again, with its hint, by every call that needs the store.
        tracing::warn!(%error, hint = error.hint(), "the store is not open");
    }
}
