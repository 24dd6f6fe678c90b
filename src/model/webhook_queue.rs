//! Events of one user that wait for one webhook, in the order of the changes that caused them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::webhook::{ConnectionChange, ConnectionFacts, retry_wait};
use super::{Caller, Grant, InstanceId, Time};

/// Most events that wait in one queue; beyond, the oldest gives way.
const MAX_EVENTS: usize = 100;
/// No attempt is further away than this.
const MAX_WAIT: Duration = Duration::from_hours(30);
/// How long an event is kept after it happened.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// A queue. Every change of it is a compare-and-swap of the whole record, so its order is the same
/// for all processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookQueue {
    /// Name of the webhook in `tools.toml`.
    pub webhook: String,
    pub caller: Caller,
    /// The next one to be sent is the first.
    pub events: Vec<QueuedEvent>,
    /// Events whose attempts are used up, all older than [`Self::events`].
    #[serde(default)]
    pub parked: Vec<QueuedEvent>,
    /// Number of failed attempts of the first event.
    pub failed_attempts: u32,
    /// The first event is not sent before this time.
    pub due: Time,
    /// Time and words of the last failed attempt of the first event.
    #[serde(default)]
    pub failure: Option<LastFailure>,
    /// The process that is sending events of this queue.
    pub claim: Option<Claim>,
}

/// An event, and how far the change that caused it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedEvent {
    /// Value of `webhook-id`.
    pub id: String,
    pub change: ConnectionChange,
    pub at: Time,
    pub facts: ConnectionFacts,
    /// Event of the change before this one ([`Grant::last_event`]).
    pub over: Option<String>,
    /// Consent of the grant before the change; `None` if there was no grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Time>,
    pub state: EventState,
}

/// Whether the change that an event reports is known to have happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventState {
    Ready,
    /// The grant is about to be written.
    Prepared {
        by: InstanceId,
        binding: String,
        write: GrantWrite,
    },
}

/// The write that an event reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantWrite {
    /// The grant gets the event's id as [`Grant::last_event`].
    Put,
    /// The grant that was connected then is deleted.
    Delete { connected_at: Time },
}

/// The last failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    pub at: Time,
    /// A fragment without the receiver's words, e.g. `answered 500`.
    pub why: String,
}

/// Mark of the process that is sending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub by: InstanceId,
    pub since: Time,
}

impl QueuedEvent {
    /// Whether it can be sent.
    pub fn is_ready(&self) -> bool {
        self.state == EventState::Ready
    }
}

impl WebhookQueue {
    /// Creates an empty queue.
    pub fn new(webhook: &str, caller: &Caller) -> Self {
        Self {
            webhook: webhook.to_owned(),
            caller: caller.clone(),
            events: Vec::new(),
            parked: Vec::new(),
            failed_attempts: 0,
            due: Time::from_millis(0),
            failure: None,
            claim: None,
        }
    }

    /// Whether nothing waits in it, so that its record can be deleted.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.parked.is_empty()
    }

    /// Appends an event. Returns the number of older ones that gave way to it: parked ones first,
    /// then those that are ready, since the changes of the others may not have happened.
    ///
    /// The back-off stays. Otherwise each new event of a full queue would be sent at once to a
    /// receiver that takes none.
    pub fn push(&mut self, event: QueuedEvent) -> usize {
        self.events.push(event);
        let excess = (self.events.len() + self.parked.len()).saturating_sub(MAX_EVENTS);
        let parked = excess.min(self.parked.len());
        self.parked.drain(..parked);
        for _ in parked..excess {
            let oldest = self.events.iter().position(QueuedEvent::is_ready).unwrap_or(0);
            self.events.remove(oldest);
        }
        excess
    }

    /// Marks an event as one whose change has happened. An event that was taken for one whose change
    /// has not is put back.
    pub fn confirm(&mut self, event: &QueuedEvent) {
        let ready = QueuedEvent { state: EventState::Ready, ..event.clone() };
        match self.events.iter_mut().find(|there| there.id == event.id) {
            Some(there) => *there = ready,
            None => {
                self.push(ready);
            }
        }
    }

    /// Removes an event.
    pub fn remove(&mut self, id: &str) {
        let is_first = self.events.first().is_some_and(|first| first.id == id);
        self.events.retain(|event| event.id != id);
        if is_first {
            self.restart();
        }
    }

    /// The event to send next; `None` if there is none, or it is not known yet whether its change
    /// has happened.
    pub fn next(&self) -> Option<&QueuedEvent> {
        self.events.first().filter(|event| event.is_ready())
    }

    /// Records a failed attempt of the event with this id, if it is still the first. After its last
    /// attempt it is parked. Returns whether it was.
    ///
    /// An attempt before its time does not count: a receiver that takes all events but one must not
    /// use up the attempts of that one within minutes.
    pub fn fail(
        &mut self,
        id: &str,
        failure: LastFailure,
        wait: Option<Duration>,
        jitter: u8,
    ) -> bool {
        if self.events.first().is_none_or(|first| first.id != id) {
            return false;
        }
        if failure.at < self.due && !self.is_due_wrong(failure.at) {
            self.failure = Some(failure);
            return false;
        }
        self.failed_attempts = self.failed_attempts.saturating_add(1);
        let Some(usual) = retry_wait(self.failed_attempts, jitter) else {
            let event = self.events.remove(0);
            self.parked.push(event);
            self.restart();
            return true;
        };
        self.due = failure.at.after(wait.map_or(usual, |wait| wait.max(usual)));
        self.failure = Some(failure);
        false
    }

    /// Whether the first event is due at a time that no attempt sets: the clock was wrong then.
    pub fn is_due_wrong(&self, now: Time) -> bool {
        self.due > now.after(MAX_WAIT)
    }

    /// Puts the parked events before the others again, and makes the first one due.
    pub fn replay(&mut self) -> usize {
        let parked = std::mem::take(&mut self.parked);
        let count = parked.len();
        self.events.splice(0..0, parked);
        self.restart();
        count
    }

    /// Begins with the first event anew.
    fn restart(&mut self) {
        self.failed_attempts = 0;
        self.due = Time::from_millis(0);
        self.failure = None;
    }

    /// Whether the change of a prepared event has happened, by the grant that is in its place now.
    ///
    /// A write gives the grant the event's id, and a later write names it in its own event. A
    /// deletion leaves no grant of the same consent: the next event of the connection says which
    /// grant it found, and without one the grant that is there now decides.
    pub fn has_happened(
        &self,
        event: &QueuedEvent,
        write: GrantWrite,
        there: Option<&Grant>,
    ) -> bool {
        let is_replaced = self.events.iter().any(|later| later.over.as_ref() == Some(&event.id));
        is_replaced
            || match write {
                GrantWrite::Put => {
                    there.and_then(|there| there.last_event.as_ref()) == Some(&event.id)
                }
                GrantWrite::Delete { connected_at } => {
                    let found = match self.next_of_connection(event) {
                        Some(later) => later.before,
                        None => there.map(|there| there.connected_at),
                    };
                    found != Some(connected_at)
                }
            }
    }

    /// The event after this one that reports a change of the same grant.
    fn next_of_connection(&self, event: &QueuedEvent) -> Option<&QueuedEvent> {
        let mut later = self.events.iter().skip_while(|it| it.id != event.id).skip(1);
        later.find(|it| {
            it.facts.provider == event.facts.provider && it.facts.account == event.facts.account
        })
    }

    /// Whether the record may be deleted although events wait: all of them happened too long ago to
    /// be of use.
    pub fn is_forgettable(&self, now: Time) -> bool {
        let last = self.events.iter().chain(&self.parked).map(|event| event.at).max();
        last.is_none_or(|last| now.since(last) >= KEPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AccountName, ProviderId, Scopes, UserId};

    fn event(id: &str, state: EventState) -> QueuedEvent {
        QueuedEvent {
            id: id.into(),
            change: ConnectionChange::Created,
            at: Time::from_millis(0),
            facts: ConnectionFacts {
                id: "uc_x.y".into(),
                provider: ProviderId::new("acme"),
                account: AccountName::default(),
                scopes: Scopes::default(),
                reason: None,
                replaces: None,
            },
            over: None,
            before: None,
            state,
        }
    }

    fn ready(id: &str) -> QueuedEvent {
        event(id, EventState::Ready)
    }

    fn prepared(id: &str) -> QueuedEvent {
        let by = InstanceId::new("1");
        event(id, EventState::Prepared { by, binding: "b".into(), write: GrantWrite::Put })
    }

    fn queue(ids: &[&str]) -> WebhookQueue {
        let mut queue = WebhookQueue::new(
            "main",
            &Caller { namespace: "key:app".into(), user: UserId::new("bob") },
        );
        for id in ids {
            queue.push(ready(id));
        }
        queue
    }

    fn ids(events: &[QueuedEvent]) -> Vec<&str> {
        events.iter().map(|event| &*event.id).collect()
    }

    fn failure(at: i64) -> LastFailure {
        LastFailure { at: Time::from_millis(at), why: "answered 500".into() }
    }

    /// A time that was set while the clock was two days ahead must not make each attempt an early
    /// one: an early one does not move it, and the next attempt would follow at once.
    #[test]
    fn a_time_that_a_wrong_clock_has_set_is_replaced_at_the_next_failure() {
        let day = 24 * 3600 * 1000;
        let mut queue = queue(&["a"]);
        queue.fail("a", failure(10 + 2 * day), None, 0);
        assert!(queue.is_due_wrong(Time::from_millis(10)));
        queue.fail("a", failure(10), None, 0);
        assert!(!queue.is_due_wrong(Time::from_millis(10)));
        assert!(queue.due > Time::from_millis(10), "it waits again");
        assert_eq!(queue.failed_attempts, 2);
    }

    #[test]
    fn a_full_queue_keeps_its_back_off_and_what_is_not_certain() {
        let mut queue = queue(&["a", "b"]);
        queue.fail("a", failure(10), None, 0);
        let (due, attempts) = (queue.due, queue.failed_attempts);
        queue.events[0].state = prepared("a").state;
        for number in 0..MAX_EVENTS {
            queue.push(ready(&number.to_string()));
        }
        assert_eq!((queue.due, queue.failed_attempts), (due, attempts));
        assert_eq!(queue.events.len(), MAX_EVENTS);
        assert_eq!(ids(&queue.events)[..2], ["a", "1"]);
    }

    /// The process was killed before it deleted, and the next one has deleted: one end is reported.
    #[test]
    fn a_deletion_that_another_event_has_found_undone_has_not_happened() {
        let at = Time::from_millis(5);
        let deleted = GrantWrite::Delete { connected_at: at };
        let mut queue = queue(&[]);
        let first = prepared("a");
        queue.push(first.clone());
        assert!(queue.has_happened(&first, deleted, None), "nothing else is known");
        queue.push(QueuedEvent { before: Some(at), ..ready("b") });
        assert!(!queue.has_happened(&first, deleted, None));
        queue.events[1].before = None;
        assert!(queue.has_happened(&first, deleted, None));
    }

    #[test]
    fn an_event_is_not_sent_before_an_earlier_one_is_certain() {
        let mut queue = queue(&[]);
        queue.push(prepared("a"));
        queue.push(ready("b"));
        assert_eq!(queue.next(), None);
        queue.confirm(&prepared("a"));
        assert_eq!(queue.next().unwrap().id, "a");
        queue.remove("a");
        assert_eq!(queue.next().unwrap().id, "b");
    }

    #[test]
    fn an_event_that_was_given_up_and_happens_after_all_is_put_back() {
        let mut queue = queue(&["b"]);
        queue.confirm(&prepared("a"));
        assert_eq!(ids(&queue.events), ["b", "a"]);
        assert!(queue.events[1].is_ready());
    }

    #[test]
    fn a_failed_event_waits_and_is_parked_after_its_last_attempt() {
        let mut queue = queue(&["a", "b"]);
        assert!(!queue.fail("a", failure(1000), None, 128));
        assert_eq!(queue.due.since(Time::from_millis(1000)).as_secs(), 5);
        let due = queue.due;
        assert!(!queue.fail("a", failure(2000), None, 128));
        assert_eq!((queue.failed_attempts, queue.due), (1, due), "it was before its time");
        let hour = Some(Duration::from_hours(1));
        assert!(!queue.fail("a", failure(due.millis()), hour, 128));
        assert_eq!(queue.due.since(due), Duration::from_hours(1));
        assert!(!queue.fail("b", failure(queue.due.millis()), None, 0), "it is not its turn");
        for _ in 2..9 {
            assert!(!queue.fail("a", failure(queue.due.millis()), None, 0));
        }
        assert!(queue.fail("a", failure(queue.due.millis()), None, 0));
        assert_eq!((ids(&queue.parked), ids(&queue.events)), (vec!["a"], vec!["b"]));
        assert_eq!((queue.failed_attempts, &queue.failure), (0, &None));
        assert_eq!(queue.replay(), 1);
        assert_eq!(ids(&queue.events), ["a", "b"]);
    }

    #[test]
    fn the_oldest_gives_way_to_the_hundred_and_first() {
        let names: Vec<String> = (0..MAX_EVENTS).map(|number| number.to_string()).collect();
        let mut queue = queue(&names.iter().map(String::as_str).collect::<Vec<_>>());
        queue.failed_attempts = 3;
        queue.due = Time::from_millis(7);
        assert_eq!(queue.push(ready("new")), 1);
        assert_eq!((queue.events.len(), &*queue.events[0].id), (MAX_EVENTS, "1"));
        // The receiver takes none, whichever is the first.
        assert_eq!((queue.failed_attempts, queue.due), (3, Time::from_millis(7)));
        queue.parked.push(queue.events.remove(0));
        assert_eq!(queue.push(ready("newer")), 1);
        assert!(queue.parked.is_empty());
        assert_eq!(queue.events[0].id, "2");
    }

    #[test]
    fn a_queue_is_forgotten_a_month_after_its_last_event() {
        let queue = queue(&["a"]);
        let at = |days: u64| Time::from_millis(0).after(Duration::from_hours(24 * days));
        assert!(!queue.is_forgettable(at(29)));
        assert!(queue.is_forgettable(at(30)));
    }

    #[test]
    fn a_queue_of_this_version_stays_readable() {
        let stored = r#"{"webhook":"main","caller":{"namespace":"key:app","user":"bob"},"events":[{"id":"msg_1","change":"created","at":5,"facts":{"id":"uc_x.y","provider":"acme","account":"default","scopes":["a"],"reason":null,"replaces":null},"over":null,"state":"ready"},{"id":"msg_2","change":"revoked","at":6,"facts":{"id":"uc_x.y","provider":"acme","account":"default","scopes":[],"reason":"operator","replaces":null},"over":"msg_1","state":{"prepared":{"by":"p","binding":"b","write":{"delete":{"connected_at":4}}}}}],"parked":[],"failed_attempts":2,"due":7,"failure":{"at":6,"why":"answered 500"},"claim":{"by":"p","since":6}}"#;
        let queue: WebhookQueue = serde_json::from_str(stored).unwrap();
        assert_eq!(queue.events.len(), 2);
        assert_eq!(serde_json::to_string(&queue).unwrap(), stored);
    }
}
