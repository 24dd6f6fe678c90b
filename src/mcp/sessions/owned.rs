//! Whose each session is, and which one makes room.
//!
//! There are two limits. A principal with [`MOST_OF_ONE`] sessions loses the one that was not used
//! for longest when another begins: clients forget sessions without saying so, and one that meets a
//! lost one begins anew (404, basic/transports). With [`MOST`] sessions altogether, one goes that
//! nobody has used for [`STALE`]; where there is none, one of the principal with the most, if that has
//! more than the newcomer; and where everybody has a share the newcomer is asked to come later.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rmcp::transport::streamable_http_server::session::SessionId;
use tokio::time::Instant;

use crate::model::Caller;

/// Each takes some tens of kilobytes.
const MOST: usize = 4096;
const MOST_OF_ONE: usize = 1024;
const STALE: Duration = Duration::from_mins(5);

/// The sessions that are open.
pub(super) struct Owned {
    open: Mutex<HashMap<SessionId, Open>>,
    most: usize,
    most_of_one: usize,
}

struct Open {
    caller: Caller,
    used: Instant,
    /// Each of its streams holds another one.
    attached: Arc<()>,
}

/// Neither a session more, nor one that could go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

impl Default for Owned {
    fn default() -> Self {
        Self { open: Mutex::default(), most: MOST, most_of_one: MOST_OF_ONE }
    }
}

impl Owned {
    /// Notes a new session; returns the one that has made room for it, and is forgotten.
    pub(super) fn admit(
        &self,
        id: &SessionId,
        caller: Caller,
    ) -> Result<Option<SessionId>, NoRoom> {
        let mut open = self.open.lock();
        let own = open.values().filter(|other| other.caller == caller).count();
        let goes = if own >= self.most_of_one {
            Some(longest_unused(&open, |other| other.caller == caller).ok_or(NoRoom)?)
        } else if open.len() >= self.most {
            let stale = longest_unused(&open, |other| other.used.elapsed() >= STALE);
            Some(stale.or_else(|| of_the_greediest(&open, own)).ok_or(NoRoom)?)
        } else {
            None
        };
        if let Some(goes) = &goes {
            open.remove(goes);
        }
        let new = Open { caller, used: Instant::now(), attached: Arc::default() };
        open.insert(Arc::clone(id), new);
        Ok(goes)
    }

    /// Whether the session exists for whoever asks; then it is in use.
    pub(super) fn is_open(&self, id: &SessionId, caller: &Caller) -> bool {
        let mut open = self.open.lock();
        let Some(found) = open.get_mut(id).filter(|found| found.caller == *caller) else {
            return false;
        };
        found.used = Instant::now();
        true
    }

    /// Holds a session, which makes no room for others while this is held.
    pub(super) fn attach(&self, id: &SessionId) -> Option<Arc<()>> {
        self.open.lock().get(id).map(|open| Arc::clone(&open.attached))
    }

    pub(super) fn forget(&self, id: &SessionId) {
        self.open.lock().remove(id);
    }
}

/// A session of whoever has the most, so that a few cannot keep everybody else out; `None` where that
/// is no more than somebody who has `own` would then have.
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

    /// Room for four, and for two of one principal.
    fn few() -> Owned {
        Owned { most: 4, most_of_one: 2, ..Owned::default() }
    }

    fn id(name: &str) -> SessionId {
        name.into()
    }

    #[test]
    fn who_has_too_many_loses_the_one_that_was_not_used_for_longest() {
        let few = few();
        assert_eq!(few.admit(&id("a"), caller("ana")), Ok(None));
        assert_eq!(few.admit(&id("b"), caller("ana")), Ok(None));
        assert!(few.is_open(&id("a"), &caller("ana")));
        assert_eq!(few.admit(&id("c"), caller("ana")), Ok(Some(id("b"))));
        assert!(!few.is_open(&id("b"), &caller("ana")));
        assert!(few.is_open(&id("a"), &caller("ana")));
    }

    #[test]
    fn a_session_with_a_stream_does_not_make_room() {
        let few = few();
        few.admit(&id("a"), caller("ana")).unwrap();
        few.admit(&id("b"), caller("ana")).unwrap();
        let streams: Vec<_> = ["a", "b"].map(|it| few.attach(&id(it)).unwrap()).into();
        assert_eq!(few.admit(&id("c"), caller("ana")), Err(NoRoom));
        drop(streams);
        assert_eq!(few.admit(&id("c"), caller("ana")), Ok(Some(id("a"))));
    }

    #[test]
    fn a_newcomer_takes_from_who_has_the_most_and_from_nobody_else() {
        let few = Owned { most: 4, most_of_one: 3, ..Owned::default() };
        for (name, user) in [("a", "ana"), ("b", "bob"), ("c", "ana"), ("d", "ana")] {
            few.admit(&id(name), caller(user)).unwrap();
        }
        assert_eq!(few.admit(&id("e"), caller("eve")), Ok(Some(id("a"))));
        assert!(few.is_open(&id("b"), &caller("bob")));
        assert_eq!(few.admit(&id("f"), caller("eve")), Err(NoRoom), "as many as who has the most");
    }

    #[test]
    fn a_newcomer_ends_nobody_elses_session_that_is_in_use() {
        let few = few();
        for (name, user) in [("a", "ana"), ("b", "bob"), ("c", "carl"), ("d", "dora")] {
            few.admit(&id(name), caller(user)).unwrap();
        }
        assert_eq!(few.admit(&id("e"), caller("eve")), Err(NoRoom));
        let long_ago = Instant::now().checked_sub(STALE).unwrap();
        few.open.lock().get_mut(&id("c")).unwrap().used = long_ago;
        assert_eq!(few.admit(&id("e"), caller("eve")), Ok(Some(id("c"))));
    }

    #[test]
    fn a_session_is_there_for_who_opened_it_alone() {
        let few = few();
        few.admit(&id("a"), caller("ana")).unwrap();
        assert!(few.is_open(&id("a"), &caller("ana")));
        assert!(!few.is_open(&id("a"), &caller("bob")));
        assert!(!few.is_open(&id("b"), &caller("ana")));
    }
}
