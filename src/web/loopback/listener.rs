//! The loopback listener for connect links and callbacks (RFC 8252 §7.3).
//!
//! It opens with the first link, on the port that people register at providers. If that port is
//! taken and the provider accepts any port, it opens another. Link and callback share host and
//! port, because the cookie that binds the browser returns only to the host that set it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::model::oauth::LoopbackRule;
use crate::store::ListeningSockets;
use crate::web::origin_check::{Origins, http_origin};
use crate::web::port::crowd::Crowd;
use crate::web::port::local_peer::AllowedUsers;
use crate::web::port::serve::{FIRST_HEAD_TIMEOUT, Rules, accept};
use crate::web::port::workers::Workers;

/// The port that the README tells people to register.
pub const DEFAULT_PORT: u16 = 8971;

/// Maximum number of connections at the same time; one more takes the place of an older one. Any
/// program on this machine may open them and send nothing, and a process has few descriptors (256
/// on macOS).
const MAX_CONNECTIONS: usize = 64;
/// Maximum lifetime of a connection, which then breaks. Work that must finish runs in a task of its
/// own.
const MAX_CONNECTION_LIFETIME: Duration = Duration::from_mins(1);

/// How long the system, or the keeper, may hold the port of an owner that has ended.
const PORT_RELEASE_TIME: Duration = Duration::from_millis(500);

/// Time limit for pages to arrive once the process is about to end.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Opens ports on demand and serves the browser's routes there.
pub struct Loopback {
    routes: OnceLock<Box<dyn Fn(Origins) -> Router + Send + Sync>>,
    runtime: tokio::runtime::Handle,
    open: Mutex<OpenPorts>,
    connections: Arc<Semaphore>,
    crowd: Crowd,
    /// Determined with the first port.
    allowed_users: OnceLock<AllowedUsers>,
    /// When a page was last requested.
    last_request: Arc<Mutex<Option<Instant>>>,
    /// The requests that are being answered.
    answering: TaskTracker,
    /// Listening sockets, shared with the other processes of the data folder.
    sockets: ListeningSockets,
}

/// Neither the wanted port nor one in its place is available.
#[derive(Debug)]
pub enum NoPort {
    Taken,
    Io(io::Error),
}

#[derive(Default)]
struct OpenPorts {
    ports: BTreeMap<u16, Port>,
    tasks: Vec<JoinHandle<()>>,
    /// Whether this process listens on every origin of an open link.
    serves_all_links: bool,
    /// When this process became the owner of the data folder.
    owner_since: Option<Instant>,
}

impl OpenPorts {
    fn sockets(&self) -> Vec<Arc<TcpListener>> {
        self.ports.values().flat_map(|port| port.sockets.clone()).collect()
    }
}

/// A port that is being served, on 127.0.0.1 unless the operator set another address.
struct Port {
    origins: Origins,
    /// Whether no other program can listen there on ::1.
    has_v6: bool,
    /// Duplicates, for the other processes of the data folder.
    sockets: Vec<Arc<TcpListener>>,
}

impl Loopback {
    /// Creates a listener that has no port yet. Call within the runtime that will serve.
    pub fn new(sockets: ListeningSockets) -> Arc<Self> {
        Arc::new(Self {
            routes: OnceLock::new(),
            runtime: tokio::runtime::Handle::current(),
            open: Mutex::default(),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            crowd: Crowd::new(MAX_CONNECTIONS),
            allowed_users: OnceLock::new(),
            last_request: Arc::default(),
            answering: TaskTracker::new(),
            sockets,
        })
    }

    /// Sets the routes. Call once, after the broker exists, which needs [`Self::origin`].
    pub fn serve(&self, routes: impl Fn(Origins) -> Router + Send + Sync + 'static) {
        let _ = self.routes.set(Box::new(routes));
    }

    /// Opens a port under this rule, and returns the origin (scheme, host and port) where a browser
    /// reaches it. The port is open on return.
    ///
    /// `wanted` is the port that people have registered at the provider; `address` replaces
    /// 127.0.0.1. With `wanted_only` no other port is opened, even if the rule allows one.
    ///
    /// # Errors
    /// [`NoPort::Taken`] if the port is in use; [`NoPort::Io`] if it cannot be opened for another
    /// reason.
    pub fn origin(
        &self,
        wanted: u16,
        rule: LoopbackRule,
        address: Option<IpAddr>,
        wanted_only: bool,
    ) -> Result<String, NoPort> {
        match self.open_for(wanted, rule, address, wanted_only) {
            Ok(port) => {
                self.publish(&self.open.lock());
                Ok(loopback_origin(rule, port))
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(NoPort::Taken),
            Err(error) => Err(NoPort::Io(error)),
        }
    }

    /// Opens the wanted port or, if it is taken and the rule allows any, another. Keeps a port that
    /// serves already even when the wanted one has become free: links that lead there are still
    /// good.
    fn open_for(
        &self,
        wanted: u16,
        rule: LoopbackRule,
        address: Option<IpAddr>,
        wanted_only: bool,
    ) -> io::Result<u16> {
        let address = address.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let other = self.open.lock().ports.keys().copied().find(|port| *port != wanted);
        if let (true, Some(other)) = (rule.any_port(), other) {
            return self
                .listen(other, rule, address)
                .or_else(|_| self.listen(wanted, rule, address));
        }
        match self.listen(wanted, rule, address) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && rule.any_port() && !wanted_only =>
            {
                self.listen(0, rule, address)
            }
            outcome => outcome,
        }
    }

    /// Listens at the origin of links that another process made.
    ///
    /// # Errors
    /// As [`TcpListener::bind`].
    pub fn resume(&self, origin: &str, address: Option<IpAddr>) -> io::Result<()> {
        let address = address.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let port = Url::parse(origin).ok().and_then(|url| url.port_or_known_default());
        let rule = if origin.contains("localhost") {
            LoopbackRule::LocalhostAnyPort
        } else {
            LoopbackRule::AnyPort
        };
        port.map_or(Ok(()), |port| self.listen(port, rule, address).map(|_| ()))
    }

    /// Passes the listening sockets to the keeper, so that no connection is refused between this
    /// owner and the next one.
    fn publish(&self, open: &OpenPorts) {
        if open.serves_all_links {
            self.sockets.publish(open.sockets());
        }
    }

    /// Passes the listening sockets to the keeper, from now on, and closes the sockets of earlier
    /// owners that no open link leads to. Call once this process listens on every origin of an open
    /// link: if a socket were missing from the set, the keeper would close it.
    pub fn publish_sockets(&self) {
        let mut open = self.open.lock();
        open.serves_all_links = true;
        self.publish(&open);
        self.sockets.close_rest();
    }

    /// Whether this process became the owner of the data folder less than [`PORT_RELEASE_TIME`]
    /// ago, so that an earlier owner's port may not be free yet.
    pub fn is_new_owner(&self) -> bool {
        self.open.lock().owner_since.is_none_or(|began| began.elapsed() < PORT_RELEASE_TIME)
    }

    /// Notes that this process has become the owner of the data folder.
    pub fn became_owner(&self) {
        self.open.lock().owner_since = Some(Instant::now());
    }

    /// Opens `port` (0: any) unless it is open already. Serves only once this process holds every
    /// address that the rule needs.
    fn listen(&self, port: u16, rule: LoopbackRule, address: IpAddr) -> io::Result<u16> {
        let mut open = self.open.lock();
        let OpenPorts { ports, tasks, .. } = &mut *open;
        // `::` takes connections to `::1` too.
        let wants_v6 = rule.host() == "localhost" && address != Ipv6Addr::UNSPECIFIED;
        if let Some(known) = ports.get_mut(&port) {
            if wants_v6 && !known.has_v6 {
                if let Some(v6) = self.bind_v6(port)? {
                    known.sockets.push(self.spawn(v6, &known.origins, tasks)?);
                }
                known.has_v6 = true;
            }
            known.origins.add(loopback_origin(rule, port));
            return Ok(port);
        }
        let v4 = self.bind((address, port).into())?;
        let port = v4.local_addr()?.port();
        let v6 = if wants_v6 { self.bind_v6(port)? } else { None };
        let origins = Origins::of([loopback_origin(rule, port)]);
        let mut sockets = Vec::new();
        for listener in [Some(v4), v6].into_iter().flatten() {
            sockets.push(self.spawn(listener, &origins, tasks)?);
        }
        ports.insert(port, Port { origins, has_v6: wants_v6, sockets });
        Ok(port)
    }

    /// The socket that an earlier owner of the data folder listened with, or a new one.
    fn bind(&self, address: SocketAddr) -> io::Result<TcpListener> {
        self.sockets.take(address).map_or_else(|| TcpListener::bind(address), Ok)
    }

    /// Binds ::1 beside 127.0.0.1: a browser may try it first for `localhost`, and another program
    /// that listens there would get the code. `None` if the machine has no IPv6.
    fn bind_v6(&self, port: u16) -> io::Result<Option<TcpListener>> {
        match self.bind((Ipv6Addr::LOCALHOST, port).into()) {
            Ok(listener) => Ok(Some(listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
            Err(error) => {
                tracing::debug!(%error, "no IPv6 loopback here");
                Ok(None)
            }
        }
    }

    /// Serves the browser's routes on this socket; returns it for other processes to hold.
    fn spawn(
        &self,
        listener: TcpListener,
        origins: &Origins,
        tasks: &mut Vec<JoinHandle<()>>,
    ) -> io::Result<Arc<TcpListener>> {
        let routes = self.routes.get().ok_or(io::ErrorKind::NotConnected)?;
        let last_request = Arc::clone(&self.last_request);
        let answering = self.answering.clone();
        let router = routes(origins.clone()).layer(from_fn(move |request: Request, next: Next| {
            *last_request.lock() = Some(Instant::now());
            let counted = answering.token();
            async move {
                let page = next.run(request).await;
                drop(counted);
                page
            }
        }));
        listener.set_nonblocking(true)?;
        let held = Arc::new(listener.try_clone()?);
        let address = listener.local_addr()?;
        let is_own_user_known = address.ip().is_loopback();
        let _entered = self.runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tracing::info!(%address, "listening for browsers");
        let connections = Arc::clone(&self.connections);
        let rules = Rules {
            first_head_limit: FIRST_HEAD_TIMEOUT,
            head_limit: FIRST_HEAD_TIMEOUT,
            // All connections come from this machine: the oldest makes room for the next one.
            crowd: self.crowd.clone(),
            // A page is one request, so a connection that stays open only takes a place.
            keep_alive: false,
            max_lifetime: MAX_CONNECTION_LIFETIME,
            // Another user of this machine must not open a person's link. For connections from
            // other machines, no user is known.
            allowed_users: if is_own_user_known {
                *self.allowed_users.get_or_init(AllowedUsers::of_this_user)
            } else {
                AllowedUsers::Any
            },
        };
        let (here, ever) = (Arc::new(Workers::none()), CancellationToken::new());
        let accepting = accept(listener, router, connections, rules, here, ever);
        tasks.push(self.runtime.spawn(accepting));
        Ok(held)
    }

    /// Whether a request is being answered.
    pub fn is_answering(&self) -> bool {
        !self.answering.is_empty()
    }

    /// Whether no page was requested within this time, and no connection is open.
    pub fn is_idle(&self, span: Duration) -> bool {
        self.connections.available_permits() == MAX_CONNECTIONS - self.open.lock().tasks.len()
            && self.last_request.lock().is_none_or(|last| last.elapsed() >= span)
    }

    /// Stops listening. The next owner of the data folder can then listen there or, if no process
    /// shares the folder, any process. Open connections continue.
    pub async fn release(&self) {
        self.stop().await;
        self.sockets.withdraw(Vec::new());
    }

    /// Stops listening, and keeps the sockets for the next owner of the data folder, which asks for
    /// them. Open connections continue.
    pub async fn hand_over(&self) {
        let sockets = self.stop().await;
        self.sockets.withdraw(sockets);
    }

    async fn stop(&self) -> Vec<Arc<TcpListener>> {
        let open = std::mem::take(&mut *self.open.lock());
        let sockets = open.sockets();
        open.tasks.iter().for_each(JoinHandle::abort);
        for task in open.tasks {
            let _ = task.await;
        }
        sockets
    }

    /// Stops listening, and waits up to `CLOSE_TIMEOUT` for open connections.
    pub async fn close(&self) {
        self.release().await;
        let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
        // The limit is needed: browsers also keep connections open without a request.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.connections.acquire_many(all)).await;
    }
}

/// Origin at which a browser on this machine reaches one of our ports.
pub fn loopback_origin(rule: LoopbackRule, port: u16) -> String {
    http_origin(rule.host(), port)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    fn loopback() -> Arc<Loopback> {
        let loopback = Loopback::new(ListeningSockets::default());
        loopback.serve(|_| Router::new());
        loopback
    }

    #[tokio::test]
    async fn a_stranger_on_either_address_sends_localhost_to_another_port() {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        for taken in [&v4, &v6] {
            let taken = taken.local_addr().unwrap().port();
            let loopback = loopback();
            let other =
                loopback.open_for(taken, LoopbackRule::LocalhostAnyPort, None, false).unwrap();
            assert_ne!(other, taken);
            assert!(!loopback.open.lock().ports.contains_key(&taken), "half of it was kept");
            // It is found again, and both addresses answer.
            assert_eq!(
                loopback.open_for(taken, LoopbackRule::LocalhostAnyPort, None, false).unwrap(),
                other
            );
            TcpStream::connect((Ipv4Addr::LOCALHOST, other)).await.unwrap();
            TcpStream::connect((Ipv6Addr::LOCALHOST, other)).await.unwrap();
            let exact =
                loopback.open_for(taken, LoopbackRule::LocalhostExact, None, false).unwrap_err();
            assert_eq!(exact.kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[tokio::test]
    async fn a_port_that_serves_is_kept_when_the_usual_one_becomes_free() {
        let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let usual = stranger.local_addr().unwrap().port();
        let loopback = loopback();
        let first = loopback.open_for(usual, LoopbackRule::AnyPort, None, false).unwrap();
        drop(stranger);
        assert_eq!(loopback.open_for(usual, LoopbackRule::AnyPort, None, false).unwrap(), first);
        assert_eq!(loopback.open_for(usual, LoopbackRule::Exact, None, false).unwrap(), usual);
    }

    #[tokio::test]
    async fn connections_that_say_nothing_keep_nobody_out() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let few = Arc::new(Semaphore::new(2));
        let rules = Rules {
            first_head_limit: Duration::from_millis(50),
            crowd: Crowd::new(2),
            head_limit: Duration::from_millis(20),
            keep_alive: false,
            max_lifetime: MAX_CONNECTION_LIFETIME,
            allowed_users: AllowedUsers::Any,
        };
        let (here, ever) = (Arc::new(Workers::none()), CancellationToken::new());
        tokio::spawn(accept(listener, Router::new(), few, rules, here, ever));
        let mut silent = Vec::new();
        for _ in 0..8 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut browser = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut browser, request).await.unwrap();
        let mut answer = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut browser, &mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 404"), "{}", String::from_utf8_lossy(&answer));
    }
}
