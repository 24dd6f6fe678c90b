//! The peer's side: many concurrent operations over one connection to the owner.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt as _};
use interprocess::local_socket::tokio::Stream;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::bytes::Bytes;
use tokio_util::codec::{FramedRead, FramedWrite};
use tokio_util::sync::CancellationToken;

use super::error::PeerError;
use super::frame::{self, Answer, Hello, Numbered, OwnerFault, PROTOCOL, Request};
#[cfg(unix)]
use super::socket;
use super::socket::Address;
use crate::store::backend::{BackendError, Key, Page, Sealed};
use crate::store::folder::DISK_HINT;
use crate::store::folder::keeper::KEEPER_PURPOSE;
use crate::store::folder::listening_sockets::{self, ListeningSockets};

/// Time the owner may take for its hello, to accept a request, and for each part of an answer; then
/// [`PeerError::Silent`]. A suspended owner never answers.
pub(crate) const MAX_OWNER_SILENCE: Duration = Duration::from_secs(5);

/// Maximum requests that wait to be written; further ones wait for room. Enough for all calls that
/// run at once.
const MAX_QUEUED_REQUESTS: usize = 256;

/// A connection to the owner.
pub(crate) struct Peer {
    owner: Hello,
    out: mpsc::Sender<Bytes>,
    waiting: Arc<Waiting>,
    last_id: AtomicU64,
    hung_up: CancellationToken,
    task: JoinHandle<()>,
    /// Task that holds the owner's listening sockets.
    holding: Option<JoinHandle<()>>,
}

/// Reason why an operation got no answer.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// The connection ended first. Whether the owner executed the request is not known.
    Lost,
    /// The owner process has no function that answers questions.
    Unanswered,
    Failed(BackendError),
}

impl From<BackendError> for RequestError {
    fn from(error: BackendError) -> Self {
        Self::Failed(error)
    }
}

/// An [`Answer`], or a part of one, for the request that waits for it.
#[derive(Debug)]
enum OwnedAnswer {
    Got(Option<Sealed>),
    /// Part of a scan, and whether it is the last part.
    Scanned(Vec<(Key, Sealed)>, bool),
    Paged(Page),
    Swapped(bool),
    Answered(Vec<u8>),
    Failed(OwnerFault),
}

/// Requests that wait for an answer, by id; `None` once no more answers can come.
#[derive(Default)]
struct Waiting(Mutex<Option<HashMap<u64, mpsc::UnboundedSender<OwnedAnswer>>>>);

/// A request that was sent, and the channel for its answers.
struct Asked {
    id: u64,
    answers: mpsc::UnboundedReceiver<OwnedAnswer>,
}

impl Peer {
    /// Connects and exchanges hellos. `None` if no process listens there, or it closes the
    /// connection before its hello.
    ///
    /// # Errors
    /// [`PeerError::OtherProtocol`] or [`PeerError::Foreign`] if the other side speaks another
    /// protocol or none; `silent()` if it sends no hello within [`MAX_OWNER_SILENCE`].
    pub(crate) async fn connect(
        address: &Address,
        purpose: &str,
        silent: impl FnOnce() -> PeerError,
        sockets: &ListeningSockets,
    ) -> Result<Option<Self>, PeerError> {
        let hello = Hello::own(purpose);
        let greet = async {
            let stream = address.connect().await.ok()?;
            let mut out = FramedWrite::new(&stream, frame::codec());
            out.send(hello.encode()).await.ok()?;
            let mut incoming = FramedRead::new(&stream, frame::codec());
            let said = match incoming.next().await? {
                Ok(frame) => Hello::decode(&frame),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
                // The owner was killed while we connected.
                Err(_) => return None,
            };
            Some(match said {
                // The owner sends no frame without a request, so the read buffer is empty.
                Some(owner) if owner.protocol == PROTOCOL => Ok((stream, owner)),
                Some(owner) => Err(PeerError::OtherProtocol { owner }),
                None => Err(PeerError::Foreign),
            })
        };
        match timeout(MAX_OWNER_SILENCE, greet).await {
            Ok(Some(Ok((stream, owner)))) => {
                let mut peer = Self::over(stream, owner);
                peer.holding = peer.hold(purpose, address, sockets);
                Ok(Some(peer))
            }
            Ok(Some(Err(error))) => Err(error),
            Ok(None) => Ok(None),
            Err(_) => Err(silent()),
        }
    }

    fn over(stream: Stream, owner: Hello) -> Self {
        let (out, queue) = mpsc::channel(MAX_QUEUED_REQUESTS);
        let waiting = Arc::new(Waiting(Mutex::new(Some(HashMap::new()))));
        let hung_up = CancellationToken::new();
        let (answers, end) = (Arc::clone(&waiting), hung_up.clone());
        let task = tokio::spawn(async move {
            tokio::select! {
                () = read(&stream, &answers) => {}
                () = write(&stream, queue) => {}
            }
            answers.close();
            end.cancel();
        });
        Self { owner, out, waiting, last_id: AtomicU64::new(0), hung_up, task, holding: None }
    }

    /// Starts to hold the owner's listening sockets, if this is the keeper and the owner passes
    /// them in this process's network.
    fn hold(
        &self,
        purpose: &str,
        address: &Address,
        sockets: &ListeningSockets,
    ) -> Option<JoinHandle<()>> {
        let connection = sockets.begin();
        let hello = Hello::own(purpose).with_sockets();
        let is_passed = hello.about.sockets.is_some()
            && hello.about.sockets == self.owner.about.sockets
            && purpose == KEEPER_PURPOSE;
        if !is_passed {
            sockets.close_of(connection);
            return None;
        }
        let (address, sockets) = (address.clone(), sockets.clone());
        let hung_up = self.hung_up.clone();
        Some(tokio::spawn(async move {
            if let Err(error) = hold(&address, hello, &sockets, connection).await {
                tracing::debug!(%error, "the owner's listening sockets are not held here");
            }
            // An owner that ends closes both connections. If it lives on, close our copies of its
            // sockets.
            if timeout(MAX_OWNER_SILENCE, hung_up.cancelled()).await.is_err() {
                sockets.close_of(connection);
            }
        }))
    }

    /// Waits until the connection to the owner has ended.
    pub(crate) async fn hung_up(&self) {
        self.hung_up.cancelled().await;
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Sealed>, RequestError> {
        match self.call(Request::Get(key.as_str())).await? {
            OwnedAnswer::Got(found) => Ok(found),
            _ => Err(self.mismatched()),
        }
    }

    pub(crate) async fn page(
        &self,
        prefix: &Key,
        after: Option<&Key>,
    ) -> Result<Page, RequestError> {
        if !self.owner.about.pages {
            return self.scan(prefix, after).await;
        }
        let after = after.map(Key::as_str);
        match self.call(Request::Page { prefix: prefix.as_str(), after }).await? {
            OwnedAnswer::Paged(page) => Ok(page),
            _ => Err(self.mismatched()),
        }
    }

    /// Returns all records after `after` as one page, from an owner of an earlier version.
    async fn scan(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, RequestError> {
        let mut asked = self.begin(Request::Scan(prefix.as_str())).await?;
        let mut records = Vec::new();
        loop {
            match self.next(&mut asked).await? {
                OwnedAnswer::Scanned(part, last) => {
                    let wanted = |(key, _): &(Key, Sealed)| after.is_none_or(|after| key > after);
                    records.extend(part.into_iter().filter(wanted));
                    if last {
                        return Ok(Page { records, is_last: true });
                    }
                }
                _ => return Err(self.mismatched()),
            }
        }
    }

    pub(crate) async fn swap(
        &self,
        key: &Key,
        old: Option<&Sealed>,
        new: Option<&Sealed>,
    ) -> Result<bool, RequestError> {
        let [old, new] = [old, new].map(|sealed| sealed.map(Sealed::as_bytes));
        match self.call(Request::Swap { key: key.as_str(), old, new }).await? {
            OwnedAnswer::Swapped(done) => Ok(done),
            _ => Err(self.mismatched()),
        }
    }

    pub(crate) async fn ask(&self, question: &[u8]) -> Result<Vec<u8>, RequestError> {
        match self.call(Request::Ask(question)).await? {
            OwnedAnswer::Answered(answer) => Ok(answer),
            _ => Err(self.mismatched()),
        }
    }

    async fn call(&self, request: Request<'_>) -> Result<OwnedAnswer, RequestError> {
        let mut asked = self.begin(request).await?;
        self.next(&mut asked).await
    }

    async fn begin(&self, request: Request<'_>) -> Result<Asked, RequestError> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed);
        let frame = frame::encode(id, request)?;
        let answers = self.waiting.enter(id).ok_or(RequestError::Lost)?;
        match timeout(MAX_OWNER_SILENCE, self.out.send(frame)).await {
            Ok(Ok(())) => Ok(Asked { id, answers }),
            Ok(Err(_)) => Err(RequestError::Lost),
            Err(_) => Err(self.give_up(id)),
        }
    }

    /// Returns the next part of an answer; the owner has [`MAX_OWNER_SILENCE`] for each part.
    async fn next(&self, asked: &mut Asked) -> Result<OwnedAnswer, RequestError> {
        let Ok(answer) = timeout(MAX_OWNER_SILENCE, asked.answers.recv()).await else {
            return Err(self.give_up(asked.id));
        };
        match answer {
            None | Some(OwnedAnswer::Failed(OwnerFault::Closed)) => Err(RequestError::Lost),
            Some(OwnedAnswer::Failed(OwnerFault::Unanswered)) => Err(RequestError::Unanswered),
            Some(OwnedAnswer::Failed(fault)) => Err(RequestError::Failed(fault.into())),
            Some(answer) => Ok(answer),
        }
    }

    fn give_up(&self, id: u64) -> RequestError {
        self.waiting.leave(id);
        let about = &self.owner.about;
        let owner =
            format!("process {}, `{}`, version {}", about.pid, about.purpose, about.version);
        RequestError::Failed(PeerError::Silent { owner, pid: Some(about.pid) }.into())
    }

    /// Ends this connection, because the answer does not match the request.
    fn mismatched(&self) -> RequestError {
        self.task.abort();
        self.waiting.close();
        self.hung_up.cancel();
        RequestError::Lost
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(holding) = &self.holding {
            holding.abort();
        }
    }
}

impl From<OwnerFault> for BackendError {
    fn from(fault: OwnerFault) -> Self {
        match fault {
            OwnerFault::Full => Self::Full,
            OwnerFault::Corrupt => Self::Damaged,
            OwnerFault::TooLarge => Self::TooLarge,
            OwnerFault::Closed | OwnerFault::Unanswered => Self::Closed,
            OwnerFault::Io(text) => Self::Failed { cause: text.into(), hint: DISK_HINT },
        }
    }
}

impl Waiting {
    fn enter(&self, id: u64) -> Option<mpsc::UnboundedReceiver<OwnedAnswer>> {
        let (to, from) = mpsc::unbounded_channel();
        self.0.lock().as_mut()?.insert(id, to);
        Some(from)
    }

    fn leave(&self, id: u64) {
        if let Some(waiting) = &mut *self.0.lock() {
            waiting.remove(&id);
        }
    }

    /// Tells all waiting requests that no answer comes.
    fn close(&self) {
        *self.0.lock() = None;
    }

    /// Passes an answer to the request that waits for it, if it still does. `None` if the frame is
    /// no answer, or the connection has ended.
    fn take(&self, frame: &[u8]) -> Option<()> {
        let Numbered { id, body } = frame::decode::<Answer<'_>>(frame)?;
        let mut waiting = self.0.lock();
        let waiting = waiting.as_mut()?;
        let answer = match body {
            Answer::Got(found) => {
                OwnedAnswer::Got(found.map(|bytes| Sealed::from_stored(bytes.to_vec())))
            }
            Answer::Swapped(done) => OwnedAnswer::Swapped(done),
            Answer::Answered(answer) => OwnedAnswer::Answered(answer.to_vec()),
            Answer::Failed(fault) => OwnedAnswer::Failed(fault),
            Answer::Scanned { records, last } => OwnedAnswer::Scanned(owned(records), last),
            Answer::Paged { records, is_last } => {
                OwnedAnswer::Paged(Page { records: owned(records), is_last })
            }
        };
        if let OwnedAnswer::Scanned(_, false) = answer {
            if let Some(waiter) = waiting.get(&id) {
                let _ = waiter.send(answer);
            }
        } else if let Some(waiter) = waiting.remove(&id) {
            let _ = waiter.send(answer);
        }
        Some(())
    }
}

/// Holds the owner's listening sockets until the owner closes the connection.
#[cfg(unix)]
async fn hold(
    address: &Address,
    hello: Hello,
    sockets: &ListeningSockets,
    connection: u64,
) -> io::Result<()> {
    let stream = address.connect().await?;
    FramedWrite::new(&stream, frame::codec()).send(hello.encode()).await?;
    frame::read_hello(&mut &stream).await?.ok_or(io::ErrorKind::InvalidData)?;
    listening_sockets::hold(socket::inner(&stream), sockets, connection).await
}

#[cfg(not(unix))]
async fn hold(_: &Address, _: Hello, _: &ListeningSockets, _: u64) -> io::Result<()> {
    Ok(())
}

fn owned(records: Vec<(&str, &[u8])>) -> Vec<(Key, Sealed)> {
    let owned = |(key, bytes): (&str, &[u8])| {
        (Key::new(key.to_owned()), Sealed::from_stored(bytes.to_vec()))
    };
    records.into_iter().map(owned).collect()
}

async fn read(stream: &Stream, waiting: &Waiting) {
    let mut codec = frame::codec();
    frame::trust(&mut codec);
    let mut incoming = FramedRead::new(stream, codec);
    while let Some(Ok(frame)) = incoming.next().await {
        if waiting.take(&frame).is_none() {
            return;
        }
    }
}

/// Writes all queued frames at once. Has no time limit of its own: the requests have theirs.
async fn write(stream: &Stream, mut queue: mpsc::Receiver<Bytes>) {
    let mut codec = frame::codec();
    frame::trust(&mut codec);
    let mut out = FramedWrite::new(stream, codec);
    while let Some(frame) = queue.recv().await {
        let mut frame = frame;
        loop {
            if out.feed(frame).await.is_err() {
                return;
            }
            match queue.try_recv() {
                Ok(next) => frame = next,
                Err(_) => break,
            }
        }
        if SinkExt::<Bytes>::flush(&mut out).await.is_err() {
            return;
        }
    }
}
