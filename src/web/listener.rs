//! The loopback listener for connect links and callbacks (RFC 8252 §7.3).
//!
//! It opens when the first link is made, on the port that people register at providers; where that
//! is taken and the provider accepts any port, on another. Link and callback share host and port,
//! because the cookie that binds the browser returns only to the host that set it.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};

use axum::Router;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use url::Url;

use super::Hosts;
use crate::broker::OriginError;
use crate::model::Provider;
use crate::model::provider::LoopbackRule;

/// The port that README tells people to register.
pub const DEFAULT_PORT: u16 = 8971;

/// Opens ports on demand and serves the browser's routes there.
pub struct Loopback {
    port: u16,
    routes: OnceLock<Box<dyn Fn(Hosts) -> Router + Send + Sync>>,
    runtime: tokio::runtime::Handle,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// Ports on 127.0.0.1, and whether ::1 listens there as well.
    ports: BTreeMap<u16, bool>,
    tasks: Vec<AbortHandle>,
}

impl Loopback {
    /// Must be called within the runtime that shall serve.
    pub fn new(port: Option<u16>) -> Arc<Self> {
        Arc::new(Self {
            port: port.unwrap_or(DEFAULT_PORT),
            routes: OnceLock::new(),
            runtime: tokio::runtime::Handle::current(),
            open: Mutex::default(),
        })
    }

    /// What is served. Set once, after the broker exists, which needs [`Self::origin`].
    pub fn serve(&self, routes: impl Fn(Hosts) -> Router + Send + Sync + 'static) {
        let _ = self.routes.set(Box::new(routes));
    }

    /// Where a browser reaches us for this provider; listening there on return.
    pub fn origin(&self, provider: &Provider, rule: LoopbackRule) -> Result<String, OriginError> {
        if rule == LoopbackRule::Refused {
            return Err(OriginError::HttpsOnly(provider.id.clone()));
        }
        let port = match self.listen(self.port, rule) {
            Ok(port) => port,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if !rule.any_port() {
                    let provider = provider.id.clone();
                    return Err(OriginError::Taken { provider, port: self.port });
                }
                let other = self.open.lock().ports.keys().next().copied().unwrap_or(0);
                self.listen(other, rule)?
            }
            Err(error) => return Err(error.into()),
        };
        Ok(format!("http://{}:{port}", rule.host()))
    }

    /// Listens again where links of an earlier run lead to, if that can still be had.
    pub fn resume(&self, origin: &str) {
        let port = Url::parse(origin).ok().and_then(|url| url.port());
        let rule = if origin.contains("localhost") {
            LoopbackRule::LocalhostAnyPort
        } else {
            LoopbackRule::AnyPort
        };
        if let Some(port) = port
            && let Err(error) = self.listen(port, rule)
        {
            tracing::warn!(port, %error, "links of an earlier run lead nowhere now");
        }
    }

    /// Opens `port` (0: any) unless it is open already.
    fn listen(&self, port: u16, rule: LoopbackRule) -> io::Result<u16> {
        let mut open = self.open.lock();
        let wants_v6 = rule.host() == "localhost";
        if open.ports.get(&port).is_some_and(|has_v6| *has_v6 || !wants_v6) {
            return Ok(port);
        }
        let port = if open.ports.contains_key(&port) {
            port
        } else {
            self.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &mut open)?
        };
        open.ports.entry(port).or_insert(false);
        // A browser may try ::1 first for `localhost`. If a stranger listens there, it would get
        // the code; if the machine has no IPv6, nobody does.
        if wants_v6 {
            match self.bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port)), &mut open) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
                Err(error) => tracing::debug!(%error, "no IPv6 loopback here"),
            }
            open.ports.insert(port, true);
        }
        Ok(port)
    }

    fn bind(&self, address: SocketAddr, open: &mut Open) -> io::Result<u16> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let routes = self.routes.get().ok_or(io::ErrorKind::NotConnected)?;
        let router = routes(Hosts::new(
            ["127.0.0.1", "localhost", "[::1]"].map(|host| format!("{host}:{port}")),
        ));
        let _entered = self.runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tracing::info!(address = %SocketAddr::new(address.ip(), port), "listening for browsers");
        let task = self.runtime.spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the loopback listener ended");
            }
        });
        open.tasks.push(task.abort_handle());
        Ok(port)
    }

    /// Stops listening.
    pub fn close(&self) {
        for task in self.open.lock().tasks.drain(..) {
            task.abort();
        }
    }
}
