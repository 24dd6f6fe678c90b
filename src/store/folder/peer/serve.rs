//! The owner's side: answers its peers on a thread of its own, so that they never wait for other
//! work of this process, such as a write to a pipe that no process reads.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{SinkExt as _, StreamExt as _};
use interprocess::local_socket::tokio::{Listener, Stream};
use interprocess::local_socket::traits::tokio::Listener as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;

use super::frame::{self, Answer, Hello, Numbered, OwnerFault, PROTOCOL, Request};
use super::socket::{self, Address};
use crate::store::backend::{Backend, BackendError, Key, Sealed};
use crate::store::folder::ask_owner::Answering;
use crate::store::folder::keeper::KEEPER_PURPOSE;
#[cfg(unix)]
use crate::store::folder::listening_sockets;

/// Maximum connections at once, more than the hosts that one person runs; further ones wait until
/// one ends.
const MAX_PEERS: usize = 128;

/// Maximum connections at once that pass listening sockets; further ones are closed.
#[cfg(unix)]
const MAX_SOCKET_CONNECTIONS: usize = 4;

/// Maximum requests of one peer in progress; the others wait in its socket.
const MAX_REQUESTS_IN_PROGRESS: usize = 64;

/// Time a process may take to send its hello, and a peer to take an answer; then the connection is
/// closed. A suspended peer reconnects when it resumes.
const MAX_PEER_SILENCE: Duration = Duration::from_secs(10);

/// Time a server must be connected before the keeper hands the folder to it. Some hosts start a
/// server for each call; a handover to each would make browsers wait every time.
const MIN_SERVER_AGE: Duration = Duration::from_secs(2);

/// Time that disk writes under way may take when the server for peers ends.
const LAST_WRITES_TIMEOUT: Duration = Duration::from_secs(1);

/// Server for peers. Dropping it removes the socket and closes every connection.
#[derive(Debug)]
pub(crate) struct Serving {
    address: Address,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

/// The frames that answer a request, or the error that prevents the answer.
type Frames = BoxStream<'static, Result<Bytes, BackendError>>;

struct Owner {
    backend: Arc<dyn Backend>,
    answering: Answering,
    hello: Hello,
    /// Permits for the connections that pass listening sockets.
    #[cfg(unix)]
    socket_places: Arc<Semaphore>,
    /// Whether this process is the keeper, which hands the folder to servers.
    yields: bool,
}

impl Serving {
    /// Starts to serve `backend` to the peers of the folder `data`, whose lock the caller holds.
    pub(crate) fn start(
        data: &Path,
        runtime: &Path,
        purpose: &str,
        backend: Arc<dyn Backend>,
        answering: Answering,
    ) -> io::Result<Self> {
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (listener, address) = {
            let _within = executor.enter();
            socket::listen(data, runtime)?
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let owner = Arc::new(Owner {
            backend,
            answering,
            hello: Hello::own(purpose).with_sockets(),
            #[cfg(unix)]
            socket_places: Arc::new(Semaphore::new(MAX_SOCKET_CONNECTIONS)),
            yields: purpose == KEEPER_PURPOSE,
        });
        let serve = move || {
            executor.block_on(async {
                tokio::select! {
                    () = accept(&listener, &owner) => {}
                    () = stopped.cancelled() => {}
                }
            });
            drop(listener);
            drop(owner);
            executor.shutdown_timeout(LAST_WRITES_TIMEOUT);
        };
        let thread = thread::Builder::new().name("peers".into()).spawn(serve)?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: &Listener, owner: &Arc<Owner>) {
    let places = Arc::new(Semaphore::new(MAX_PEERS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok(stream) => {
                let owner = Arc::clone(owner);
                connections.spawn(async move {
                    serve(&stream, &owner).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a process that shares the store could not be let in");
                // Most likely out of descriptors: only time helps.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one connection to its end. Invalid input ends this connection only.
async fn serve(stream: &Stream, owner: &Owner) {
    if !socket::is_ours(stream) {
        tracing::warn!("another user's process called for the store and was refused");
        return;
    }
    let mut requests = FramedRead::new(stream, frame::codec());
    let mut answers = FramedWrite::new(stream, frame::codec());
    let Some(caller) = greet(&mut requests, &mut answers, owner).await else { return };
    let takes_over = owner.yields && is_server(&caller);
    #[cfg(unix)]
    if let Some(network) = caller.about.sockets {
        drop((requests, answers));
        pass_sockets(stream, owner, network).await;
        return;
    }
    answer_requests(requests, answers, owner, takes_over).await;
}

type Requests<'s> = FramedRead<&'s Stream, LengthDelimitedCodec>;
type Answers<'s> = FramedWrite<&'s Stream, LengthDelimitedCodec>;

/// Exchanges hellos; returns the caller's if it speaks our protocol.
async fn greet(
    requests: &mut Requests<'_>,
    answers: &mut Answers<'_>,
    owner: &Owner,
) -> Option<Hello> {
    let mut first = None;
    if owner.yields {
        let frame = timeout(MAX_PEER_SILENCE, requests.next()).await.ok()??.ok()?;
        if Hello::decode(&frame).is_some_and(|caller| caller.protocol != PROTOCOL) {
            // It cannot be a peer. Closing the connection without a hello makes it take the folder
            // as soon as the lock is free.
            owner.answering.needed.notify_one();
            return None;
        }
        first = Some(frame);
    }
    // Send our hello first, to every caller: a peer of another version learns from it which version
    // it has met.
    answers.send(owner.hello.encode()).await.ok()?;
    let first = match first {
        Some(first) => first,
        None => timeout(MAX_PEER_SILENCE, requests.next()).await.ok()??.ok()?,
    };
    match Hello::decode(&first) {
        Some(peer) if peer.protocol == PROTOCOL => Some(peer),
        Some(Hello { protocol, about }) => {
            tracing::warn!(
                pid = about.pid,
                version = about.version,
                protocol,
                "a process of another version wanted to share the store and cannot"
            );
            None
        }
        None => {
            tracing::warn!("something that is no Countersign called for the store");
            None
        }
    }
}

/// Passes the listening sockets to the keeper of `network`.
#[cfg(unix)]
async fn pass_sockets(stream: &Stream, owner: &Owner, network: String) {
    // The keeper has one such connection, and there is one keeper; another may be about to end.
    let place = Arc::clone(&owner.socket_places).try_acquire_owned();
    if place.is_err() || owner.hello.about.sockets != Some(network) {
        return;
    }
    let passed = listening_sockets::pass(socket::inner(stream), owner.answering.sockets()).await;
    if let Err(error) = passed {
        tracing::debug!(%error, "a process that holds the listening sockets was hung up on");
    }
}

/// Answers a peer's requests until it disconnects or, with `takes_over`, until the keeper makes
/// room for it.
async fn answer_requests(
    mut requests: Requests<'_>,
    mut answers: Answers<'_>,
    owner: &Owner,
    takes_over: bool,
) {
    frame::trust(requests.decoder_mut());
    frame::trust(answers.encoder_mut());
    let requests = requests.map(|frame| async move {
        let frame = frame.ok()?;
        owner.answer(&frame).await
    });
    let mut done = std::pin::pin!(requests.buffer_unordered(MAX_REQUESTS_IN_PROGRESS));
    let serve = async {
        while let Some(Some(mut frames)) = done.next().await {
            while let Some(frame) = frames.next().await {
                let Some(frame) = frame else { return };
                let Ok(Ok(())) = timeout(MAX_PEER_SILENCE, answers.send(frame)).await else {
                    return;
                };
            }
        }
    };
    let take_over = async {
        if !takes_over {
            std::future::pending::<()>().await;
        }
        // Notify repeatedly, as the keeper may have browsers to answer first.
        loop {
            tokio::time::sleep(MIN_SERVER_AGE).await;
            owner.answering.wanted.notify_one();
        }
    };
    tokio::select! {
        () = serve => {}
        () = take_over => {}
    }
}

/// Whether the caller may run for long. A command only reads or changes data.
fn is_server(caller: &Hello) -> bool {
    caller.about.purpose.starts_with("serve")
}

impl Owner {
    /// Returns the frames that answer a request; `None` if it is no request. A frame is `None` if
    /// it cannot be encoded.
    async fn answer(&self, frame: &BytesMut) -> Option<BoxStream<'static, Option<Bytes>>> {
        let Numbered { id, body } = frame::decode::<Request<'_>>(frame)?;
        let answered = match body {
            Request::Get(key) => self.get(id, key).await,
            Request::Scan(prefix) => Ok(self.scan(id, prefix)),
            Request::Page { prefix, after } => self.page(id, prefix, after).await,
            Request::Swap { key, old, new } => self.swap(id, key, old, new).await,
            Request::Ask(question) => match self.answering.answer(question.to_vec()).await {
                Some(answer) => one(frame::encode(id, Answer::Answered(&answer))),
                None => one(frame::encode(id, Answer::Failed(OwnerFault::Unanswered))),
            },
        };
        let frames = answered.unwrap_or_else(|error| stream::iter([Err(error)]).boxed());
        let failed = move |error: BackendError| frame::encode(id, Answer::Failed(error.into()));
        Some(frames.map(move |frame| frame.or_else(failed).ok()).boxed())
    }

    async fn get(&self, id: u64, key: &str) -> Result<Frames, BackendError> {
        let found = self.backend.get(&Key::new(key.into())).await?;
        one(frame::encode(id, Answer::Got(found.as_ref().map(Sealed::as_bytes))))
    }

    async fn page(
        &self,
        id: u64,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Frames, BackendError> {
        let after = after.map(|after| Key::new(after.into()));
        let page = self.backend.page(&Key::new(prefix.into()), after.as_ref()).await?;
        one(frame::encode_page(id, &page))
    }

    /// Streams every page under a prefix; reads each page after the one before it is sent.
    fn scan(&self, id: u64, prefix: &str) -> Frames {
        let (backend, prefix) = (Arc::clone(&self.backend), Key::new(prefix.into()));
        let next = move |after: Option<Option<Key>>| {
            let (backend, prefix) = (Arc::clone(&backend), prefix.clone());
            async move {
                let after = after?;
                let page = match backend.page(&prefix, after.as_ref()).await {
                    Ok(page) => page,
                    Err(error) => return Some((Err(error), None)),
                };
                let frame = frame::encode_part(id, &page);
                let goes_on = !page.is_last && frame.is_ok();
                let last = page.records.into_iter().next_back().map(|(key, _)| key);
                Some((frame, goes_on.then_some(last)))
            }
        };
        stream::unfold(Some(None), next).boxed()
    }

    async fn swap(
        &self,
        id: u64,
        key: &str,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Frames, BackendError> {
        let sealed = |bytes: &[u8]| Sealed::from_stored(bytes.to_vec());
        let (old, new) = (old.map(sealed), new.map(sealed));
        let done = self.backend.swap(&Key::new(key.into()), old.as_ref(), new.as_ref()).await?;
        one(frame::encode(id, Answer::Swapped(done)))
    }
}

fn one(frame: Result<Bytes, BackendError>) -> Result<Frames, BackendError> {
    frame.map(|frame| stream::iter([Ok(frame)]).boxed())
}
