//! Events sent on the streams of sessions, kept for clients whose connection broke.
//!
//! A client resumes with the id of the last event that it has seen (basic/transports, Resumability
//! and Redelivery). Answers are kept for [`COMPLETE_STREAM_TTL`]. [`MAX_BYTES_PER_CALLER`] and
//! [`MAX_BYTES`] bound the memory of one caller and in total. Beyond them, answers that a client
//! has taken are dropped first, then the oldest; beyond the total, those of the caller with the
//! most bytes. An event's id names the request that its stream answers, so a client that resumes
//! for a dropped answer is told so under that request's id.

mod id;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::{Stream, stream};
use parking_lot::Mutex;
use rmcp::model::{JsonRpcMessage, RequestId, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::{
    EventId as StoredId, EventStore, EventStoreError, EventStream, ServerSseMessage, SessionId,
};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::model::Caller;
pub(super) use id::EventId;

/// How long a complete answer can be fetched.
const COMPLETE_STREAM_TTL: Duration = Duration::from_mins(2);
/// How long a stream without an answer is kept: longer than any call takes.
const OPEN_STREAM_TTL: Duration = Duration::from_mins(30);
/// Time after a client takes an answer in which resuming behind it does not repeat it: the
/// TypeScript SDK 1.23 resumes so after each call.
const NO_REPEAT_WINDOW: Duration = Duration::from_secs(5);
/// Interval between sweeps for expired streams.
const SWEEP_INTERVAL: Duration = Duration::from_secs(15);
/// Most bytes kept for all callers; beyond it, complete streams are dropped.
const MAX_BYTES: usize = 64 << 20;
/// Most bytes kept for one caller; beyond it, complete streams of that caller are dropped.
const MAX_BYTES_PER_CALLER: usize = 8 << 20;
/// Bytes counted for a stream or an event besides its text.
const OVERHEAD_BYTES: usize = 512;
/// Most events kept of one stream, more than a call's progress needs; beyond it the oldest is
/// dropped.
const MAX_EVENTS_PER_STREAM: usize = 64;

/// Sent events of all sessions.
#[derive(Clone)]
pub(super) struct Events(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Notified of each new event, for streams that are resumed.
    added: watch::Sender<()>,
    limits: Limits,
}

#[derive(Clone, Copy)]
struct Limits {
    all: usize,
    of_one: usize,
}

#[derive(Default)]
struct State {
    streams: HashMap<u64, Kept>,
    /// Streams that may still get events, by rmcp's name.
    names: HashMap<String, u64>,
    callers: HashMap<Caller, Share>,
    bytes: usize,
    last: u64,
    /// Sessions that have ended since the last sweep.
    ended: HashSet<SessionId>,
    is_swept: bool,
}

/// One stream and its last events.
struct Kept {
    /// `None` until the stream is assigned to a session.
    owner: Option<(SessionId, Caller)>,
    /// The request that the stream answers; `None` for a session's standalone stream.
    request: Option<RequestId>,
    events: VecDeque<Event>,
    /// The index of the next event.
    next: u64,
    bytes: usize,
    changed_at: Instant,
    /// Whether the answer is there, or will never come.
    is_complete: bool,
    /// A client has taken all events below this index.
    taken: u64,
    /// When the client took the last of them.
    taken_at: Option<Instant>,
}

struct Event {
    index: u64,
    message: Arc<ServerJsonRpcMessage>,
}

/// Bytes of a caller's streams, and its complete streams in the order of completion.
#[derive(Default)]
struct Share {
    bytes: usize,
    taken: VecDeque<u64>,
    waiting: VecDeque<u64>,
}

/// Result of looking for the events after the one that a client names.
pub(super) enum Found {
    /// The stream of a request, from this index on.
    Request {
        stream: u64,
        next: u64,
    },
    /// The standalone stream of the session, from this index on.
    Standalone {
        next: u64,
    },
    /// The client has just received the answer.
    Finished,
    /// The answer to this request is no longer kept.
    Gone(RequestId),
    Unknown,
}

impl Default for Events {
    fn default() -> Self {
        Self::with(Limits { all: MAX_BYTES, of_one: MAX_BYTES_PER_CALLER })
    }
}

impl Events {
    fn with(limits: Limits) -> Self {
        let (state, added) = (Mutex::default(), watch::Sender::new(()));
        Self(Arc::new(Shared { state, added, limits }))
    }

    /// Registers a new session, whose standalone stream may get events from now on.
    pub(super) fn admit(&self, session: &SessionId, caller: &Caller) {
        let state = &mut *self.0.state.lock();
        let stream = state.add(standalone_name(session));
        state.own(stream, session, caller, None);
        // The first index belongs to the event that a client's stream begins with.
        state.push(stream, None);
        self.sweep_later(state);
    }

    /// Marks a session as ended: no client can resume it.
    pub(super) fn end(&self, session: &SessionId) {
        let state = &mut *self.0.state.lock();
        state.names.remove(&standalone_name(session));
        state.ended.insert(Arc::clone(session));
    }

    /// Assigns a stream to the request of a session that it answers.
    pub(super) fn own(
        &self,
        stream: u64,
        session: &SessionId,
        caller: &Caller,
        request: Option<RequestId>,
    ) {
        let state = &mut *self.0.state.lock();
        state.own(stream, session, caller, request);
        state.make_room(self.0.limits, stream);
    }

    /// Completes the stream of a cancelled request, since no answer will come.
    pub(super) fn cancelled(&self, session: &SessionId, request: &RequestId) {
        let state = &mut *self.0.state.lock();
        let streams = state.streams.iter_mut().filter(|(_, kept)| {
            kept.request.as_ref() == Some(request)
                && kept.owner.as_ref().is_some_and(|(own, _)| own == session)
        });
        for (_, kept) in streams {
            kept.is_complete = true;
        }
        self.0.added.send_replace(());
    }

    /// Records that a client has taken this event and those before it.
    pub(super) fn taken(&self, id: &EventId) {
        let state = &mut *self.0.state.lock();
        let Some(kept) = state.streams.get_mut(&id.stream) else { return };
        kept.taken = kept.taken.max(id.index + 1);
        kept.taken_at = Some(Instant::now());
        if kept.is_complete
            && kept.taken == kept.next
            && let Some((_, caller)) = &kept.owner
            && let Some(share) = state.callers.get_mut(caller)
        {
            share.taken.push_back(id.stream);
        }
    }

    /// Looks for the events after the one with this id, in this session.
    pub(super) fn after(&self, session: &SessionId, last: &EventId, now: Instant) -> Found {
        let state = self.0.state.lock();
        let kept = state
            .streams
            .get(&last.stream)
            .filter(|kept| kept.owner.as_ref().is_some_and(|(own, _)| own == session));
        match (kept, &last.request) {
            (Some(kept), _) if kept.request.is_none() => {
                Found::Standalone { next: last.index.saturating_add(1) }
            }
            (Some(kept), _) => {
                let is_over = kept.is_complete && last.index.saturating_add(1) >= kept.next;
                let age = kept.taken_at.map(|at| now.saturating_duration_since(at));
                if is_over
                    && kept.taken >= kept.next
                    && age.is_some_and(|age| age < NO_REPEAT_WINDOW)
                {
                    return Found::Finished;
                }
                // A client that resumes behind the answer much later has lost it on its own side;
                // without an event it would wait for ever.
                let next = if is_over {
                    kept.next.saturating_sub(1)
                } else {
                    last.index.saturating_add(1)
                };
                Found::Request { stream: last.stream, next }
            }
            (None, Some(request)) => Found::Gone(request.clone()),
            (None, None) => Found::Unknown,
        }
    }

    /// Returns the events of a session's standalone stream from `next` on, or without `next` those
    /// that no client has taken; and the id of the event before them.
    pub(super) fn standalone(
        &self,
        session: &SessionId,
        next: Option<u64>,
    ) -> (Option<EventId>, Vec<ServerSseMessage>) {
        let state = self.0.state.lock();
        let stream = state.names.get(&standalone_name(session));
        let found = stream.and_then(|stream| Some((*stream, state.streams.get(stream)?)));
        let Some((stream, kept)) = found else { return (None, Vec::new()) };
        let next = next.unwrap_or(kept.taken);
        let missed = kept.events.iter().filter(|event| event.index >= next);
        let missed = missed.map(|event| kept.written(stream, event)).collect();
        let before = EventId { stream, index: next.saturating_sub(1), request: None };
        (Some(before), missed)
    }

    /// Streams the events of a request from `next` on, until its answer.
    pub(super) fn follow(
        &self,
        stream: u64,
        next: u64,
    ) -> impl Stream<Item = ServerSseMessage> + Send + Sync + 'static {
        let added = self.0.added.subscribe();
        stream::unfold((self.clone(), added, next), move |(events, mut added, next)| async move {
            loop {
                // Before the look-up, so that an event added during it is noticed.
                added.mark_unchanged();
                let found = {
                    let state = events.0.state.lock();
                    let kept = state.streams.get(&stream)?;
                    match kept.events.iter().find(|event| event.index >= next) {
                        Some(event) => Some((kept.written(stream, event), event.index + 1)),
                        None if kept.is_complete => return None,
                        None => None,
                    }
                };
                match found {
                    Some((event, next)) => return Some((event, (events, added, next))),
                    None => added.changed().await.ok()?,
                }
            }
        })
    }

    fn store(&self, name: &str, event: &ServerSseMessage) -> StoredId {
        let state = &mut *self.0.state.lock();
        let stream = match state.names.get(name) {
            Some(stream) => *stream,
            None => state.add(name.to_owned()),
        };
        let id = state.push(stream, event.message.as_ref());
        if event.message.as_deref().is_some_and(is_answer) {
            state.names.remove(name);
            state.complete(stream);
        }
        state.make_room(self.0.limits, stream);
        self.sweep_later(state);
        self.0.added.send_replace(());
        id.map_or_else(String::new, |id| id.to_string())
    }

    /// Starts the task that sweeps as long as there are streams, unless it runs already.
    fn sweep_later(&self, state: &mut State) {
        if std::mem::replace(&mut state.is_swept, true) {
            return;
        }
        let events: Weak<Shared> = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_INTERVAL).await;
                let Some(events) = events.upgrade() else { return };
                let state = &mut *events.state.lock();
                state.sweep(Instant::now());
                if state.streams.is_empty() {
                    state.is_swept = false;
                    return;
                }
            }
        });
    }
}

impl State {
    fn add(&mut self, name: String) -> u64 {
        self.last += 1;
        let kept = Kept {
            owner: None,
            request: None,
            events: VecDeque::new(),
            next: 0,
            bytes: 0,
            changed_at: Instant::now(),
            is_complete: false,
            taken: 0,
            taken_at: None,
        };
        self.streams.insert(self.last, kept);
        self.names.insert(name, self.last);
        self.last
    }

    fn own(
        &mut self,
        stream: u64,
        session: &SessionId,
        caller: &Caller,
        request: Option<RequestId>,
    ) {
        let Some(kept) = self.streams.get_mut(&stream) else { return };
        kept.owner = Some((Arc::clone(session), caller.clone()));
        kept.request = request;
        // The answer may be there already.
        let (bytes, is_complete) = (
            kept.events.iter().map(|event| weight(&event.message)).sum::<usize>(),
            kept.is_complete,
        );
        self.count(stream, OVERHEAD_BYTES + bytes);
        if is_complete {
            self.complete(stream);
        }
    }

    /// Adds a message and returns its id; without a message, only advances the index.
    fn push(
        &mut self,
        stream: u64,
        message: Option<&Arc<ServerJsonRpcMessage>>,
    ) -> Option<EventId> {
        let kept = self.streams.get_mut(&stream)?;
        let index = kept.next;
        kept.next += 1;
        kept.changed_at = Instant::now();
        let id = EventId { stream, index, request: kept.request.clone() };
        if let Some(message) = message {
            kept.events.push_back(Event { index, message: Arc::clone(message) });
            let forgotten =
                (kept.events.len() > MAX_EVENTS_PER_STREAM).then(|| kept.events.pop_front());
            let forgotten = forgotten.flatten().map_or(0, |event| weight(&event.message));
            let weight = weight(message);
            self.count(stream, weight);
            self.discount(stream, forgotten);
        } else {
            kept.taken = kept.next;
        }
        Some(id)
    }

    fn complete(&mut self, stream: u64) {
        let Some(kept) = self.streams.get_mut(&stream) else { return };
        kept.is_complete = true;
        if let Some((_, caller)) = &kept.owner
            && let Some(share) = self.callers.get_mut(caller)
        {
            share.waiting.push_back(stream);
        }
    }

    fn count(&mut self, stream: u64, bytes: usize) {
        let Some(kept) = self.streams.get_mut(&stream) else { return };
        let Some((_, caller)) = &kept.owner else { return };
        kept.bytes += bytes;
        self.bytes += bytes;
        self.callers.entry(caller.clone()).or_default().bytes += bytes;
    }

    fn discount(&mut self, stream: u64, bytes: usize) {
        let Some(kept) = self.streams.get_mut(&stream) else { return };
        let Some((_, caller)) = &kept.owner else { return };
        kept.bytes = kept.bytes.saturating_sub(bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(share) = self.callers.get_mut(caller) {
            share.bytes = share.bytes.saturating_sub(bytes);
        }
    }

    fn make_room(&mut self, limits: Limits, stream: u64) {
        let kept = self.streams.get(&stream);
        let Some((_, caller)) = kept.and_then(|kept| kept.owner.clone()) else { return };
        while self.callers.get(&caller).is_some_and(|share| share.bytes > limits.of_one) {
            if !self.forget_one(&caller) {
                break;
            }
        }
        while self.bytes > limits.all {
            let largest = self.callers.iter().max_by_key(|(_, share)| share.bytes);
            let Some(caller) = largest.map(|(caller, _)| caller.clone()) else { break };
            if !self.forget_one(&caller) {
                break;
            }
        }
    }

    /// Drops one complete stream of this caller: the first one that a client has taken, else the
    /// first one completed. Returns false if there is none.
    fn forget_one(&mut self, caller: &Caller) -> bool {
        let Some(share) = self.callers.get_mut(caller) else { return false };
        // Skips streams that are gone already or in both lists.
        while let Some(stream) = share.taken.pop_front().or_else(|| share.waiting.pop_front()) {
            if self.streams.contains_key(&stream) {
                self.remove(stream);
                return true;
            }
        }
        false
    }

    fn remove(&mut self, stream: u64) {
        let bytes = self.streams.get(&stream).map_or(0, |kept| kept.bytes);
        self.discount(stream, bytes);
        self.streams.remove(&stream);
    }

    fn sweep(&mut self, now: Instant) {
        let ended = std::mem::take(&mut self.ended);
        let is_over = |kept: &Kept| match &kept.owner {
            Some((session, _)) if ended.contains(session) => true,
            // A session's standalone stream lasts as long as the session.
            Some(_) if kept.request.is_none() => false,
            _ => {
                let limit = if kept.is_complete { COMPLETE_STREAM_TTL } else { OPEN_STREAM_TTL };
                now.saturating_duration_since(kept.changed_at) >= limit
            }
        };
        let over = self.streams.iter().filter(|(_, kept)| is_over(kept));
        for stream in over.map(|(stream, _)| *stream).collect::<Vec<_>>() {
            self.remove(stream);
        }
        let streams = &self.streams;
        self.names.retain(|_, stream| streams.contains_key(stream));
        for share in self.callers.values_mut() {
            share.taken.retain(|stream| streams.contains_key(stream));
            share.waiting.retain(|stream| streams.contains_key(stream));
        }
        self.callers.retain(|_, share| share.bytes > 0);
    }
}

impl Kept {
    fn written(&self, stream: u64, event: &Event) -> ServerSseMessage {
        let id = EventId { stream, index: event.index, request: self.request.clone() };
        let mut written = ServerSseMessage::default();
        written.event_id = Some(id.to_string());
        written.message = Some(Arc::clone(&event.message));
        written
    }
}

/// rmcp's name for the standalone stream of a session.
fn standalone_name(session: &SessionId) -> String {
    format!("{session}:common")
}

pub(super) fn is_answer(message: &ServerJsonRpcMessage) -> bool {
    matches!(message, JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_))
}

/// Returns the bytes that a message takes on the wire, plus [`OVERHEAD_BYTES`].
fn weight(message: &ServerJsonRpcMessage) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(OVERHEAD_BYTES);
    // A message that cannot be serialized takes no room.
    let _ = serde_json::to_writer(&mut counter, message);
    counter.0
}

/// Written out as `async_trait` expands it.
impl EventStore for Events {
    fn store_event<'own, 'name, 'event, 'all>(
        &'own self,
        stream: &'name str,
        event: &'event ServerSseMessage,
    ) -> Pin<Box<dyn Future<Output = Result<StoredId, EventStoreError>> + Send + 'all>>
    where
        'own: 'all,
        'name: 'all,
        'event: 'all,
        Self: 'all,
    {
        Box::pin(std::future::ready(Ok(self.store(stream, event))))
    }

    /// Never called: [`Events::after`] resumes sessions, since it knows their owners.
    fn replay_events_after<'own, 'id, 'all>(
        &'own self,
        _: &'id str,
    ) -> Pin<Box<dyn Future<Output = Result<EventStream, EventStoreError>> + Send + 'all>>
    where
        'own: 'all,
        'id: 'all,
        Self: 'all,
    {
        Box::pin(std::future::ready(Ok(Box::pin(stream::empty()) as EventStream)))
    }
}

#[cfg(test)]
mod tests;
