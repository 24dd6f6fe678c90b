//! The composition root: configuration in, running parts out.

use std::path::PathBuf;
use std::sync::Arc;

use crate::broker::{Broker, Parts};
use crate::config::Config;
use crate::mcp;
use crate::model::{Caller, Clock};
use crate::net::{Net, Policy};
use crate::oauth::OAuthClient;
use crate::registry::Registry;
use crate::store::{DataFolder, KeySource, Slot};
use crate::upstream::Upstream;
use crate::upstream::select::Jq;
use crate::web;
use crate::web::listener::Loopback;

/// What the command line and the environment decide, beside `tools.toml`.
pub struct Settings {
    pub data: DataFolder,
    pub keys: KeySource,
    pub clock: Clock,
    /// The executable that runs jq filters which may not end by themselves.
    pub worker: PathBuf,
}

/// The running parts.
pub struct App {
    pub broker: Broker,
    text: mcp::ServerText,
    loopback: Arc<Loopback>,
}

impl App {
    /// Puts the parts together. Opens nothing yet: no store, no port, no connection.
    pub fn new(config: Config, settings: Settings) -> Self {
        let Config { server, providers, tools, .. } = config;
        let net = Net::new(Policy { allow_private: server.allow_private });
        let loopback = Loopback::new(server.port);
        let origin = Arc::clone(&loopback);
        let broker = Broker::new(Parts {
            registry: Registry::new(tools),
            providers,
            store: Slot::new(settings.data, settings.keys),
            oauth: OAuthClient::new(net.clone(), settings.clock.clone()),
            upstream: Upstream::new(net, Jq::new(settings.worker)),
            clock: settings.clock,
            origin: Box::new(move |provider, rule| {
                let origin = origin.origin(&provider, rule);
                Box::pin(std::future::ready(origin))
            }),
            after_connect: server.after_connect,
        });
        let routes = broker.clone();
        loopback.serve(move |origins| web::router(routes.clone(), origins));
        let text = mcp::ServerText { name: server.name, instructions: server.instructions };
        Self { broker, text, loopback }
    }

    /// Serves one MCP client over standard input and output until it hangs up.
    pub async fn serve_stdio(
        &self,
        caller: Caller,
        streams: mcp::stdio::Streams,
    ) -> std::io::Result<()> {
        let resumed = tokio::spawn(resume(self.broker.clone(), Arc::clone(&self.loopback)));
        let announcements = mcp::Announcements::new(self.broker.clone());
        let handler = mcp::Handler::new(
            self.broker.clone(),
            caller,
            self.text.clone(),
            announcements.clone(),
        );
        let served = mcp::stdio::serve(handler, &announcements, streams).await;
        resumed.abort();
        self.close().await;
        served
    }

    /// Lets what must not be broken off come to its end, then stops listening and leaves the data
    /// folder to others.
    pub async fn close(&self) {
        self.broker.settle().await;
        self.loopback.close().await;
        self.broker.leave().await;
    }
}

/// Opens the store ahead of the first call, and the ports that links of an earlier run lead to.
async fn resume(broker: Broker, loopback: Arc<Loopback>) {
    match broker.open_origins().await {
        Ok(origins) => origins.iter().for_each(|origin| loopback.resume(origin)),
        // Said again, with its hint, by every call that needs the store.
        Err(error) => tracing::warn!(%error, hint = error.hint(), "the store is not open"),
    }
}
