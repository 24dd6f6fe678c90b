//! The event log: the one place that every [`Event`] passes. It writes the log line and passes the
//! event to the observers.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use crate::model::event::{CallOutcome, Event, EventKind};
use crate::model::text::escaped;
use crate::model::{Caller, ProviderId, ToolName};

/// Refusals logged per minute; further ones are only counted. Any client of the port can cause
/// them.
const MAX_REFUSALS_PER_MINUTE: u32 = 120;
const MINUTE: Duration = Duration::from_mins(1);

/// The event log of one process. Cheap to clone; clones share all state.
#[derive(Clone, Default)]
pub struct Events(Arc<Inner>);

#[derive(Default)]
struct Inner {
    observers: RwLock<Vec<Box<Observer>>>,
    refusals: Mutex<Option<Refusals>>,
}

/// Called with each event, in the task that caused it: it must not block.
pub type Observer = dyn Fn(&Event) + Send + Sync;

/// Refusals within the current minute.
struct Refusals {
    since: Instant,
    seen: u32,
}

impl Events {
    /// Also passes every event from now on to `observer`.
    pub fn observe(&self, observer: impl Fn(&Event) + Send + Sync + 'static) {
        self.0.observers.write().push(Box::new(observer));
    }

    /// Logs an event and passes it to the observers.
    pub fn record(&self, event: &Event) {
        let is_written = !matches!(event.kind, EventKind::Refusal { .. }) || self.admits_refusal();
        if is_written {
            write(event);
        }
        for observer in &*self.0.observers.read() {
            observer(event);
        }
    }

    /// Records an event that concerns this user's access at a provider.
    pub(super) fn record_access(&self, caller: &Caller, provider: &ProviderId, kind: EventKind) {
        self.record(&Event::new(kind).of(caller).at(provider));
    }

    /// Whether one more refusal is logged in this minute. Logs how many were left out before.
    fn admits_refusal(&self) -> bool {
        let now = Instant::now();
        let mut refusals = self.0.refusals.lock();
        let current = refusals.get_or_insert(Refusals { since: now, seen: 0 });
        if now.duration_since(current.since) >= MINUTE {
            let unwritten = current.seen.saturating_sub(MAX_REFUSALS_PER_MINUTE);
            if unwritten > 0 {
                tracing::info!(target: TARGET, unwritten, "more refusals");
            }
            *current = Refusals { since: now, seen: 0 };
        }
        current.seen = current.seen.saturating_add(1);
        current.seen <= MAX_REFUSALS_PER_MINUTE
    }

    /// Begins to record a call of this user. If it is dropped before [`RunningCall::finish`], the
    /// call is recorded as cancelled.
    pub(super) fn begin_call(&self, caller: &Caller) -> RunningCall {
        let kind = EventKind::Call(CallOutcome::Cancelled);
        RunningCall {
            events: self.clone(),
            event: Event::new(kind).of(caller),
            began: Instant::now(),
        }
    }
}

/// Log target of events, for filters: `COUNTERSIGN_LOG=error,countersign::record=info`.
pub const TARGET: &str = "countersign::record";

/// Writes the log line. User ids are quoted and escaped, so that none can imitate a field or a
/// line.
fn write(event: &Event) {
    let Event { caller, provider, tool, kind, took } = event;
    let caller = caller.as_ref();
    let namespace = caller.map(|caller| escaped(caller.of()));
    let user = caller.map(|caller| escaped(caller.user.as_str()));
    let (status, by) = match kind {
        EventKind::Refusal { status, .. } => (Some(*status), None),
        EventKind::End { by, .. } => (None, Some(tracing::field::display(by.word()))),
        _ => (None, None),
    };
    tracing::info!(
        target: TARGET,
        user = user.as_deref(),
        namespace = namespace.as_deref(),
        provider = provider.as_ref().map(tracing::field::display),
        tool = tool.as_ref().map(tracing::field::display),
        outcome = %kind.outcome(),
        status,
        by,
        ms = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        "{}",
        kind.name(),
    );
}

/// A call whose event is recorded when it ends.
pub(super) struct RunningCall {
    events: Events,
    event: Event,
    began: Instant,
}

impl RunningCall {
    pub(super) fn set_tool(&mut self, tool: &ToolName, provider: Option<&ProviderId>) {
        self.event.tool = Some(tool.clone());
        self.event.provider = provider.cloned();
    }

    pub(super) fn finish(mut self, outcome: CallOutcome) {
        self.event.kind = EventKind::Call(outcome);
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.event.took = Some(self.began.elapsed());
        self.events.record(&self.event);
    }
}
