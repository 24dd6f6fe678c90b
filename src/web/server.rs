//! How a port is served: who is let in, how long clients may take, how it ends.
//!
//! | a client that | |
//! |---|---|
//! | is another user of this machine | is refused ([`Neighbours`]) |
//! | comes when there is no room | takes the place of one without credentials ([`Crowd`]), or waits |
//! | sends the head of its first request slowly, or none | is hung up on after 10 seconds |
//! | asks nothing more | is hung up on after 75 seconds |
//! | sends a head that is too large | gets 431 |
//! | does not read | is hung up on, when the answer has not moved for a while |
//!
//! A stream on which there is nothing to say may stay open as long as both sides like.

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

use super::client;
use super::crowd::{Crowd, Member};
use super::neighbours::Neighbours;
use super::path;
use super::workers::Workers;

/// Connections to the served port at the same time.
const MOST_CONNECTIONS: usize = 4096;
/// How long a client may take for the head of its first request.
pub(super) const FIRST_HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long a client may take for the head of a later request, and also how long it may ask nothing: a
/// little more than proxies keep a connection, so that they hang up and not we, on the request that
/// they have just sent.
const HEAD_LIMIT: Duration = Duration::from_secs(75);
/// Descriptors that are left for what opens later: the store, the loopback listener, secrets in files.
const RESERVED_DESCRIPTORS: usize = 16;
/// The share of one address in the connections that have shown no credentials.
const SHARE: usize = 4;
/// Tokens are some kilobytes, everything else is small.
const LARGEST_HEAD: usize = 16 * 1024;
/// How long another user may take to be refused.
const REFUSING: Duration = Duration::from_secs(2);
/// How long an answer may not move.
const STALLED: Duration = Duration::from_secs(30);

/// How connections are served.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) first_head_limit: Duration,
    pub(super) head_limit: Duration,
    /// Which connection makes room.
    pub(super) crowd: Crowd,
    /// Whether a connection takes more than one request.
    pub(super) keep_alive: bool,
    /// How long a connection lives.
    pub(super) longest: Duration,
    pub(super) neighbours: Neighbours,
}

/// A port that is being served, on threads of its own, which end when this is dropped.
pub struct Port {
    connections: Arc<Semaphore>,
    room: u32,
    stop: CancellationToken,
    _workers: Arc<Workers>,
}

impl Port {
    /// Serves a bound port. Call within the runtime that shall let clients in.
    pub fn serve(
        listener: std::net::TcpListener,
        router: Router,
        neighbours: Neighbours,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let workers = Arc::new(Workers::start()?);
        let room = MOST_CONNECTIONS.min(places(descriptors(), open_descriptors()));
        let connections = Arc::new(Semaphore::new(room));
        let stop = CancellationToken::new();
        let rules = Rules {
            first_head_limit: FIRST_HEAD_LIMIT,
            head_limit: HEAD_LIMIT,
            crowd: Crowd::new(room / SHARE),
            keep_alive: true,
            longest: Duration::MAX,
            neighbours,
        };
        let (places, on) = (Arc::clone(&connections), Arc::clone(&workers));
        tokio::spawn(accept(listener, router, places, rules, on, stop.clone()));
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        Ok(Self { connections, room, stop, _workers: workers })
    }

    /// Lets nobody in any more. Connections end with the answer that they are at.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until all connections have ended.
    pub async fn ended(&self) {
        let _ = self.connections.acquire_many(self.room).await;
    }
}

/// How many connections there may be where a process may have so many descriptors, and has so many
/// already: one for each, and one for the request to an API that it causes.
fn places(descriptors: usize, open: usize) -> usize {
    (descriptors.saturating_sub(open.saturating_add(RESERVED_DESCRIPTORS)) / 2).max(4)
}

/// How many descriptors this process has now; where the platform does not tell, as many as it has at
/// most.
fn open_descriptors() -> usize {
    const USUAL: usize = 48;
    let folder = ["/proc/self/fd", "/dev/fd"].into_iter().find_map(|it| std::fs::read_dir(it).ok());
    folder.map_or(USUAL, Iterator::count)
}

/// How many files and connections this process may have, raised as far as it may be: the usual limit
/// is from times when some system calls could not count further.
#[cfg(unix)]
fn descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it cannot be raised it stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

#[cfg(not(unix))]
fn descriptors() -> usize {
    usize::MAX
}

/// Lets clients in, as many at a time as there are places, until `stop`.
pub(super) async fn accept(
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
                let member = rules.crowd.enter(client::network(theirs.ip().to_canonical()));
                workers.serve(stream, async move |stream| {
                    let _place = place;
                    let ends = || Ok((stream.peer_addr()?, stream.local_addr()?));
                    if !rules.neighbours.admit(ends) {
                        router = refusal();
                        rules.longest = REFUSING;
                    }
                    let served = serve(stream, theirs, router, &rules, &stop, member);
                    if let Ok(Err(error)) = tokio::time::timeout(rules.longest, served).await {
                        tracing::debug!(%error, "a connection broke");
                    }
                });
            }
            // Out of descriptors, or the client was faster gone than seen: neither lasts.
            Err(error) => {
                tracing::debug!(%error, "a client could not be let in");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// What other users of this machine get.
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
    // Limits that are each address's own need to know it ([`super::client`]).
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(theirs));
        request.extensions_mut().insert(asking.asks());
        if let Some(target) = path::without_extra_slashes(request.uri()) {
            *request.uri_mut() = target;
        }
        router.call(request)
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STALLED));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(rules.head_limit)
        .max_header_size(LARGEST_HEAD)
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
        assert!(places(usize::MAX, 0) > MOST_CONNECTIONS);
        assert!(open_descriptors() > 2);
    }

    async fn served(room: usize, first_head_limit: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let rules = Rules {
            first_head_limit,
            head_limit: HEAD_LIMIT,
            crowd: Crowd::new(room),
            keep_alive: true,
            longest: Duration::MAX,
            neighbours: Neighbours::Everybody,
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
