//! Serves a port: which clients are let in, how long they may take, how it ends.
//!
//! | a client that | |
//! |---|---|
//! | is another user of this machine | is refused ([`AllowedUsers`]) |
//! | comes when there is no room | takes the place of one without credentials ([`Crowd`]), or waits |
//! | sends the head of its first request slowly, or none | is disconnected after 10 seconds |
//! | sends no further request | is disconnected after 75 seconds |
//! | sends a head that is too large | gets 431 |
//! | does not read | is disconnected once the answer has not moved for 30 seconds |
//!
//! An idle stream may stay open as long as both sides like.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::client_address;
use super::crowd::{Crowd, Member};
use super::extra_slashes;
use super::local_peer::AllowedUsers;
use super::rest_alias;
use super::workers::Workers;

/// Maximum number of connections to the served port at the same time; one more takes the place of
/// one without credentials, or waits.
const MAX_CONNECTIONS: usize = 4096;
/// Time limit for the head of a client's first request; beyond it, the connection is closed.
pub(in crate::web) const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit for the head of a later request, and so for an idle connection: a little longer than
/// proxies keep a connection, so that the proxy closes it, and not this server just after the proxy
/// has sent a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Descriptors reserved for what opens later: the store, the loopback listener, secrets in files.
const RESERVED_DESCRIPTORS: usize = 16;
/// One address may hold one in `ADDRESS_SHARES` of the places with connections that have shown no
/// credentials.
const ADDRESS_SHARES: usize = 4;
/// Largest head of a request, in bytes; a larger one gets 431. Tokens are some kilobytes,
/// everything else is small.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Time limit for refusing another user of this machine.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Time without progress of an answer after which its connection is closed.
const MAX_WRITE_STALL: Duration = Duration::from_secs(30);

/// How connections are served.
#[derive(Clone)]
pub(in crate::web) struct Rules {
    pub(in crate::web) first_head_limit: Duration,
    pub(in crate::web) head_limit: Duration,
    /// Decides which connection makes room.
    pub(in crate::web) crowd: Crowd,
    /// Whether a connection takes more than one request.
    pub(in crate::web) keep_alive: bool,
    /// Maximum lifetime of a connection.
    pub(in crate::web) max_lifetime: Duration,
    pub(in crate::web) allowed_users: AllowedUsers,
}

/// A port that is being served, on threads of its own, which end when this is dropped.
pub struct Port {
    connections: Arc<Semaphore>,
    room: u32,
    stop: CancellationToken,
    _workers: Arc<Workers>,
}

impl Port {
    /// Serves a bound port. Call within the runtime that will accept clients.
    ///
    /// # Errors
    /// The listener cannot be used, or a thread cannot be started.
    pub fn serve(
        listener: std::net::TcpListener,
        router: Router,
        allowed_users: AllowedUsers,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let workers = Arc::new(Workers::start()?);
        let room = MAX_CONNECTIONS.min(places(descriptors(), open_descriptors()));
        let connections = Arc::new(Semaphore::new(room));
        let stop = CancellationToken::new();
        let rules = Rules {
            first_head_limit: FIRST_HEAD_TIMEOUT,
            head_limit: HEAD_TIMEOUT,
            crowd: Crowd::new(room / ADDRESS_SHARES),
            keep_alive: true,
            max_lifetime: Duration::MAX,
            allowed_users,
        };
        let (places, on) = (Arc::clone(&connections), Arc::clone(&workers));
        tokio::spawn(accept(listener, router, places, rules, on, stop.clone()));
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        Ok(Self { connections, room, stop, _workers: workers })
    }

    /// Accepts no further connections. Open ones end with their current answer.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until all connections have ended.
    pub async fn ended(&self) {
        let _ = self.connections.acquire_many(self.room).await;
    }
}

/// Number of connections for a process with this limit of descriptors, of which `open` are in use:
/// each needs one, and one for the request to an API that it causes. At least 4.
fn places(descriptors: usize, open: usize) -> usize {
    (descriptors.saturating_sub(open.saturating_add(RESERVED_DESCRIPTORS)) / 2).max(4)
}

/// Number of descriptors in use; where the platform does not tell, as many as it has at most.
fn open_descriptors() -> usize {
    const DEFAULT_OPEN: usize = 48;
    let folder = ["/proc/self/fd", "/dev/fd"].into_iter().find_map(|it| std::fs::read_dir(it).ok());
    folder.map_or(DEFAULT_OPEN, Iterator::count)
}

/// Limit of files and connections of this process, raised as far as allowed: the usual limit is
/// from times when some system calls could not count further.
#[cfg(unix)]
fn descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If the limit cannot be raised, it stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

#[cfg(not(unix))]
fn descriptors() -> usize {
    usize::MAX
}

/// Accepts clients until `stop`, as many at a time as there are places.
pub(in crate::web) async fn accept(
    listener: TcpListener,
    router: Router,
    connections: Arc<Semaphore>,
    rules: Rules,
    workers: Arc<Workers>,
    stop: CancellationToken,
) {
    loop {
        if connections.available_permits() == 0 {
            rules.crowd.make_room();
        }
        let place = Arc::clone(&connections).acquire_owned();
        // The semaphore is never closed.
        let Some(Ok(place)) = stop.run_until_cancelled(place).await else { return };
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { return };
        match accepted {
            Ok((stream, theirs)) => {
                let (mut router, mut rules, stop) = (router.clone(), rules.clone(), stop.clone());
                let member =
                    rules.crowd.enter(client_address::client_network(theirs.ip().to_canonical()));
                workers.serve(stream, async move |stream| {
                    let _place = place;
                    let ends = || Ok((stream.peer_addr()?, stream.local_addr()?));
                    if !rules.allowed_users.allows(ends) {
                        router = refusal();
                        rules.max_lifetime = REFUSAL_TIMEOUT;
                    }
                    let served = serve(stream, theirs, router, &rules, &stop, member);
                    if let Ok(Err(error)) = tokio::time::timeout(rules.max_lifetime, served).await {
                        tracing::debug!(%error, "a connection broke");
                    }
                });
            }
            // Out of descriptors, or the client left before it was accepted: neither lasts.
            Err(error) => {
                tracing::debug!(%error, "a client could not be let in");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Answers other users of this machine.
fn refusal() -> Router {
    Router::new().fallback(async || {
        let close = [(axum::http::header::CONNECTION, "close")];
        (StatusCode::FORBIDDEN, close, "this server is for another user of this machine")
    })
}

async fn serve(
    stream: TcpStream,
    theirs: SocketAddr,
    router: Router,
    rules: &Rules,
    stop: &CancellationToken,
    member: Member,
) -> hyper::Result<()> {
    // Otherwise an answer in two parts waits for the client's delayed acknowledgement: 40 ms.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection stays slow");
    }
    let router = TowerToHyperService::new(router);
    let member = Arc::new(member);
    let asking = Arc::clone(&member);
    // Limits per address need the address ([`super::client_address`]).
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(theirs));
        request.extensions_mut().insert(asking.asks());
        if let Some(target) = rest_alias::without_project(request.uri()) {
            *request.uri_mut() = target;
        }
        if let Some(target) = extra_slashes::without_extra_slashes(request.uri()) {
            *request.uri_mut() = target;
        }
        router.call(request)
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(MAX_WRITE_STALL));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(rules.head_limit)
        .max_header_size(MAX_HEAD_BYTES)
        .keep_alive(rules.keep_alive)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = pin!(connection);
    let stays_silent = async {
        tokio::time::sleep(rules.first_head_limit).await;
        if member.has_asked() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        served = connection.as_mut() => return served,
        () = stays_silent => return Ok(()),
        () = member.evicted() => return Ok(()),
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn places_are_what_is_left_of_the_descriptors() {
        assert_eq!(places(64, 24), 12);
        assert_eq!(places(1024, 24), 492);
        assert_eq!(places(32, 40), 4, "never none");
        assert!(places(usize::MAX, 0) > MAX_CONNECTIONS);
        assert!(open_descriptors() > 2);
    }

    async fn served(room: usize, first_head_limit: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let rules = Rules {
            first_head_limit,
            head_limit: HEAD_TIMEOUT,
            crowd: Crowd::new(room),
            keep_alive: true,
            max_lifetime: Duration::MAX,
            allowed_users: AllowedUsers::Any,
        };
        let places = Arc::new(Semaphore::new(room));
        let (here, ever) = (Arc::new(Workers::none()), CancellationToken::new());
        tokio::spawn(accept(listener, Router::new(), places, rules, here, ever));
        address
    }

    /// Whether the server hangs up within a time that is far beyond the limit.
    async fn is_hung_up_on(stream: &mut TcpStream) -> bool {
        let mut byte = [0; 1];
        let read = stream.read(&mut byte);
        let read = tokio::time::timeout(Duration::from_secs(10), read).await;
        read.is_ok_and(|read| read.is_err() || read.is_ok_and(|count| count == 0))
    }

    #[tokio::test]
    async fn a_client_that_sends_no_head_is_hung_up_on() {
        let address = served(8, Duration::from_millis(20)).await;
        for begun in ["", "GET / HTTP/1.1\r\nHost: "] {
            let mut silent = TcpStream::connect(address).await.unwrap();
            silent.write_all(begun.as_bytes()).await.unwrap();
            assert!(is_hung_up_on(&mut silent).await, "{begun:?}");
        }
    }

    #[tokio::test]
    async fn silent_connections_keep_no_other_from_its_answer() {
        let address = served(4, Duration::from_hours(1)).await;
        let mut silent = Vec::new();
        for _ in 0..40 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut asking = TcpStream::connect(address).await.unwrap();
        asking.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        let read = asking.read_exact(&mut answer);
        tokio::time::timeout(Duration::from_secs(10), read).await.unwrap().unwrap();
        assert_eq!(&answer, b"HTTP/1.1 404");
        assert!(is_hung_up_on(&mut silent[0]).await);
    }
}
