//! How a port is served: who is let in, how long clients may take, how it ends.
//!
//! | a client that | |
//! |---|---|
//! | is another user of this machine | is refused ([`Neighbours`]) |
//! | comes when there is no room | waits for a place |
//! | sends the head of a request slowly, or none | is hung up on |
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

use super::neighbours::Neighbours;
use super::path;
use super::workers::Workers;

/// Connections to the served port at the same time.
const MOST_CONNECTIONS: usize = 4096;
/// How long a client may take for the head of a request, and also how long it may ask nothing: a
/// little more than proxies keep a connection, so that they hang up and not we, on the request that
/// they have just sent.
const HEAD_LIMIT: Duration = Duration::from_secs(75);
/// Tokens are some kilobytes, everything else is small.
const LARGEST_HEAD: usize = 16 * 1024;
/// How long another user may take to be refused.
const REFUSING: Duration = Duration::from_secs(2);
/// How long an answer may not move.
const STALLED: Duration = Duration::from_secs(30);

/// How connections are served.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) head_limit: Duration,
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
        let room = MOST_CONNECTIONS.min(descriptors() / 2);
        let connections = Arc::new(Semaphore::new(room));
        let stop = CancellationToken::new();
        let rules =
            Rules { head_limit: HEAD_LIMIT, keep_alive: true, longest: Duration::MAX, neighbours };
        let workers = Arc::new(Workers::start()?);
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
    // Nobody closes the semaphore.
    while let Some(Ok(place)) =
        stop.run_until_cancelled(Arc::clone(&connections).acquire_owned()).await
    {
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { return };
        match accepted {
            Ok((stream, theirs)) => {
                let (mut router, mut rules, stop) = (router.clone(), rules.clone(), stop.clone());
                workers.serve(stream, async move |stream| {
                    let _place = place;
                    let ends = || Ok((stream.peer_addr()?, stream.local_addr()?));
                    if !rules.neighbours.admit(ends) {
                        router = refusal();
                        rules.longest = REFUSING;
                    }
                    let served = serve(stream, theirs, router, &rules, &stop);
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
) -> hyper::Result<()> {
    // Otherwise an answer in two parts waits for the client's delayed acknowledgement: 40 ms.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection stays slow");
    }
    let router = TowerToHyperService::new(router);
    // Limits that are each address's own need to know it ([`super::client`]).
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(theirs));
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
    tokio::select! {
        served = connection.as_mut() => return served,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}
