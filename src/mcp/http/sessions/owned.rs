//! Owners of sessions, and which session ends to make room for a new one.
//!
//! There are two limits. A principal with [`MAX_SESSIONS_PER_PRINCIPAL`] sessions loses its least
//! recently used one when it opens another: clients forget sessions without ending them, and a
//! client whose session is gone opens a new one (404, basic/transports). With [`MAX_SESSIONS`]
//! sessions in total, the least recently used session of the first of these groups ends: sessions
//! unused for [`STALE_AFTER`]; those of the principal with the most, if it has more than the
//! newcomer will have; the newcomer's own; all. A session with a stream never ends this way: if
//! every candidate has one, the newcomer is refused.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rmcp::model::ProtocolVersion;
use rmcp::transport::streamable_http_server::session::SessionId;
use tokio::time::Instant;

use crate::model::Caller;

/// Most sessions in total. Each takes some tens of kilobytes.
const MAX_SESSIONS: usize = 4096;
/// Most sessions of one principal.
const MAX_SESSIONS_PER_PRINCIPAL: usize = 1024;
/// Idle time after which a session is the first to end when room is needed.
const STALE_AFTER: Duration = Duration::from_mins(5);

/// Open sessions and their owners.
pub(super) struct Owned {
    open: Mutex<HashMap<SessionId, Open>>,
    most: usize,
    most_of_one: usize,
}

struct Open {
    caller: Caller,
    used: Instant,
    /// Revision agreed on at `initialize`; `None` before.
    revision: Option<ProtocolVersion>,
    /// Each stream of the session holds a clone.
    attached: Arc<()>,
}

/// Refusal of a new session: every session that could end has a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

impl Default for Owned {
    fn default() -> Self {
        Self { open: Mutex::default(), most: MAX_SESSIONS, most_of_one: MAX_SESSIONS_PER_PRINCIPAL }
    }
}

impl Owned {
    /// Makes room for a new session of this caller. Called before the session is created, which
    /// costs much more than a refusal may. Returns the session removed for it, if any.
    pub(super) fn make_room(&self, caller: &Caller) -> Result<Option<SessionId>, NoRoom> {
        let mut open = self.open.lock();
        let is_own = |other: &Open| other.caller == *caller;
        let own = open.values().filter(|other| is_own(other)).count();
        let goes = if own >= self.most_of_one {
            Some(longest_unused(&open, is_own).ok_or(NoRoom)?)
        } else if open.len() >= self.most {
            let goes = longest_unused(&open, |other| other.used.elapsed() >= STALE_AFTER)
                .or_else(|| of_the_greediest(&open, own))
                .or_else(|| longest_unused(&open, is_own))
                .or_else(|| longest_unused(&open, |_| true));
            Some(goes.ok_or(NoRoom)?)
        } else {
            None
        };
        if let Some(goes) = &goes {
            open.remove(goes);
        }
        Ok(goes)
    }

    /// Records a new session.
    pub(super) fn admit(&self, id: &SessionId, caller: Caller) {
        let new = Open { caller, used: Instant::now(), revision: None, attached: Arc::default() };
        self.open.lock().insert(Arc::clone(id), new);
    }

    /// Whether the session exists for this caller; if so, marks it as used.
    pub(super) fn is_open(&self, id: &SessionId, caller: &Caller) -> bool {
        let mut open = self.open.lock();
        let Some(found) = open.get_mut(id).filter(|found| found.caller == *caller) else {
            return false;
        };
        found.used = Instant::now();
        true
    }

    /// Records the revision of the session.
    pub(super) fn speaks(&self, id: &SessionId, revision: ProtocolVersion) {
        if let Some(open) = self.open.lock().get_mut(id) {
            open.revision = Some(revision);
        }
    }

    pub(super) fn revision(&self, id: &SessionId) -> Option<ProtocolVersion> {
        self.open.lock().get(id)?.revision.clone()
    }

    /// Holds a session: it makes no room for others until the returned value is dropped.
    pub(super) fn attach(&self, id: &SessionId) -> Option<Arc<()>> {
        self.open.lock().get(id).map(|open| Arc::clone(&open.attached))
    }

    pub(super) fn forget(&self, id: &SessionId) {
        self.open.lock().remove(id);
    }
}

/// Returns the least recently used session of the principal with the most, so that a few principals
/// cannot keep all others out. `None` if that principal has no more than a newcomer with `own`
/// sessions would then have.
fn of_the_greediest(open: &HashMap<SessionId, Open>, own: usize) -> Option<SessionId> {
    let mut counts: HashMap<&Caller, usize> = HashMap::new();
    for Open { caller, .. } in open.values() {
        *counts.entry(caller).or_default() += 1;
    }
    let (greediest, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (count > own + 1).then(|| longest_unused(open, |other| other.caller == *greediest))?
}

fn longest_unused(
    open: &HashMap<SessionId, Open>,
    may_go: impl Fn(&Open) -> bool,
) -> Option<SessionId> {
    let is_attached = |open: &Open| Arc::strong_count(&open.attached) > 1;
    let unused = open.iter().filter(|(_, other)| !is_attached(other) && may_go(other));
    unused.min_by_key(|(_, other)| other.used).map(|(id, _)| Arc::clone(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UserId;

    fn caller(name: &str) -> Caller {
        Caller::local(UserId::new(name))
    }

    /// Limits of four sessions in total and two of one principal.
    fn few() -> Owned {
        Owned { most: 4, most_of_one: 2, ..Owned::default() }
    }

    fn id(name: &str) -> SessionId {
        name.into()
    }

    /// Opens a session; returns the one that ended for it.
    fn begin(owned: &Owned, name: &str, user: &str) -> Result<Option<SessionId>, NoRoom> {
        let goes = owned.make_room(&caller(user))?;
        owned.admit(&id(name), caller(user));
        Ok(goes)
    }

    #[test]
    fn who_has_too_many_loses_the_one_that_was_not_used_for_longest() {
        let few = few();
        assert_eq!(begin(&few, "a", "ana"), Ok(None));
        assert_eq!(begin(&few, "b", "ana"), Ok(None));
        assert!(few.is_open(&id("a"), &caller("ana")));
        assert_eq!(begin(&few, "c", "ana"), Ok(Some(id("b"))));
        assert!(!few.is_open(&id("b"), &caller("ana")));
        assert!(few.is_open(&id("a"), &caller("ana")));
    }

    #[test]
    fn a_session_with_a_stream_does_not_make_room() {
        let few = few();
        begin(&few, "a", "ana").unwrap();
        begin(&few, "b", "ana").unwrap();
        let streams: Vec<_> = ["a", "b"].map(|it| few.attach(&id(it)).unwrap()).into();
        assert_eq!(few.make_room(&caller("ana")), Err(NoRoom));
        drop(streams);
        assert_eq!(begin(&few, "c", "ana"), Ok(Some(id("a"))));
    }

    #[test]
    fn a_newcomer_takes_from_who_has_the_most_and_then_from_itself() {
        let few = Owned { most: 4, most_of_one: 3, ..Owned::default() };
        for (name, user) in [("a", "ana"), ("b", "ben"), ("c", "ana"), ("d", "ana")] {
            begin(&few, name, user).unwrap();
        }
        assert_eq!(begin(&few, "e", "eve"), Ok(Some(id("a"))));
        assert!(few.is_open(&id("b"), &caller("ben")));
        assert_eq!(begin(&few, "f", "eve"), Ok(Some(id("e"))), "as many as who has the most");
    }

    /// All room is taken by callers with one session each; a further caller gets one all the same.
    #[test]
    fn a_newcomer_takes_the_least_recently_used_session_without_a_stream() {
        let few = few();
        for (name, user) in [("a", "ana"), ("b", "ben"), ("c", "carl"), ("d", "dora")] {
            begin(&few, name, user).unwrap();
        }
        let stream = few.attach(&id("a")).unwrap();
        assert_eq!(begin(&few, "e", "eve"), Ok(Some(id("b"))));
        assert!(few.is_open(&id("a"), &caller("ana")) && few.is_open(&id("c"), &caller("carl")));
        assert_eq!(begin(&few, "f", "fay"), Ok(Some(id("d"))));
        drop(stream);
        let long_ago = Instant::now().checked_sub(STALE_AFTER).unwrap();
        few.open.lock().get_mut(&id("f")).unwrap().used = long_ago;
        assert_eq!(begin(&few, "g", "gil"), Ok(Some(id("f"))));
    }

    #[test]
    fn a_session_is_there_for_who_opened_it_alone() {
        let few = few();
        begin(&few, "a", "ana").unwrap();
        assert!(few.is_open(&id("a"), &caller("ana")));
        assert!(!few.is_open(&id("a"), &caller("bob")));
        assert!(!few.is_open(&id("b"), &caller("ana")));
    }
}
