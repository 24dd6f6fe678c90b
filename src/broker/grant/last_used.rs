//! When each grant was last used, for the users who gave it.
//!
//! A call only notes the use in memory: one lookup under a lock, and no allocation except for the
//! first use in an hour. The uses are written in the background, at most once an hour per grant and
//! one grant after the other, so that thousands of users who call in the same minute do not wait
//! for the disk; the rest is written when the server ends. To the hour is exact enough for "is this
//! still of use to me?".

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;

use super::Grants;
use crate::model::{Grant, Time};
use crate::store::{Held, Key};

/// Interval between two writes of one grant's use.
const WRITE_INTERVAL: Duration = Duration::from_hours(1);
/// Grants kept in memory, at about 250 bytes each. Above this number, some uses are not noted.
const MAX_GRANTS: usize = 16 * 1024;
/// Pause between two writes.
const PAUSE_BETWEEN_WRITES: Duration = Duration::from_millis(20);
/// Concurrent writes when the server ends.
const MAX_CONCURRENT_WRITES: usize = 32;
/// Time limit for these writes; uses not written by then are lost.
const FINAL_WRITES_TIMEOUT: Duration = Duration::from_secs(2);

/// The uses that this process has seen.
#[derive(Default)]
pub(super) struct LastUses(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// By the store key of the grant.
    uses: HashMap<Key, Use>,
    /// Grants whose use is to be written.
    due: VecDeque<Key>,
    is_writing: bool,
}

struct Use {
    last: Time,
    /// Latest use that was written.
    written: Option<Time>,
    is_due: bool,
}

impl LastUses {
    /// Notes a use. Returns true if the caller must start to write what is due.
    fn see(&self, place: &Key, now: Time) -> bool {
        let Seen { uses, due, is_writing } = &mut *self.0.lock();
        if let Some(seen) = uses.get_mut(place) {
            seen.last = now;
            if seen.is_due || seen.written.is_some_and(|at| now.since(at) < WRITE_INTERVAL) {
                return false;
            }
            seen.is_due = true;
        } else {
            if uses.len() >= MAX_GRANTS {
                if due.len() >= MAX_GRANTS {
                    return false;
                }
                // The others are in the store.
                uses.retain(|_, seen| seen.is_due);
            }
            uses.insert(place.clone(), Use { last: now, written: None, is_due: true });
        }
        due.push_back(place.clone());
        !std::mem::replace(is_writing, true)
    }

    /// The next use to write. `None` also records that the caller has stopped writing.
    fn next(&self) -> Option<(Key, Time)> {
        let Seen { uses, due, is_writing } = &mut *self.0.lock();
        let next = due.pop_front().and_then(|place| {
            let seen = uses.get_mut(&place)?;
            seen.is_due = false;
            seen.written = Some(seen.last);
            Some((place, seen.last))
        });
        *is_writing = next.is_some();
        next
    }

    fn last(&self, place: &Key) -> Option<Time> {
        self.0.lock().uses.get(place).map(|seen| seen.last)
    }

    /// Takes all uses that have not been written. Nothing is due afterwards.
    fn rest(&self) -> Vec<(Key, Time)> {
        let Seen { uses, due, .. } = std::mem::take(&mut *self.0.lock());
        drop(due);
        let rest = uses.into_iter().filter(|(_, seen)| seen.written != Some(seen.last));
        rest.map(|(place, seen)| (place, seen.last)).collect()
    }
}

impl Grants {
    /// Notes that a token of this grant was handed out.
    pub(in crate::broker) fn saw_use(&self, grant: &Held<Grant>) {
        if self.0.last_uses.see(grant.place(), self.0.clock.now()) {
            let grants = self.clone();
            tokio::spawn(async move {
                while let Some((place, at)) = grants.0.last_uses.next() {
                    grants.write_use(&place, at).await;
                    tokio::time::sleep(PAUSE_BETWEEN_WRITES).await;
                }
            });
        }
    }

    /// When a token of this grant was last handed out, here or, as the store says, by another
    /// process.
    pub(in crate::broker) async fn last_use(&self, grant: &Held<Grant>) -> Option<Time> {
        let written = async { self.0.store.get().await?.last_use(grant.place()).await };
        let written = written.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "when an account was last used could not be read");
            None
        });
        let last = self.0.last_uses.last(grant.place()).max(written);
        // An earlier use belongs to a grant that stood in the same place before.
        last.filter(|at| *at >= grant.value.connected_at)
    }

    /// Writes all uses that are newer than those in the store.
    pub(in crate::broker) async fn write_uses(&self) {
        let rest = stream::iter(self.0.last_uses.rest());
        let all = rest.for_each_concurrent(MAX_CONCURRENT_WRITES, async |(place, at)| {
            self.write_use(&place, at).await;
        });
        if tokio::time::timeout(FINAL_WRITES_TIMEOUT, all).await.is_err() {
            tracing::debug!("not every use was written down");
        }
    }

    async fn write_use(&self, place: &Key, at: Time) {
        if let Err(error) = self.0.table.note_use(place, at).await {
            // Tried again in an hour. No call depends on it.
            tracing::debug!(%error, "when an account was used was not written down");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u64) -> Time {
        Time::from_millis(0).after(Duration::from_mins(minutes))
    }

    #[test]
    fn one_grant_is_due_once_an_hour_whatever_calls() {
        let (usage, place) = (LastUses::default(), Key::named("grant/a"));
        assert!(usage.see(&place, at(0)));
        assert!(!usage.see(&place, at(1)), "somebody is writing");
        assert_eq!(usage.next(), Some((place.clone(), at(1))));
        assert!(!usage.see(&place, at(2)));
        assert_eq!(usage.next(), None);
        assert!(!usage.see(&place, at(60)), "59 minutes");
        assert_eq!(usage.last(&place), Some(at(60)));
        assert!(usage.see(&place, at(61)));
        assert_eq!(usage.next(), Some((place.clone(), at(61))));
        usage.see(&place, at(70));
        assert_eq!(usage.rest(), [(place, at(70))]);
        assert!(usage.rest().is_empty());
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_due() {
        let (usage, place) = (LastUses::default(), Key::named("grant/a"));
        usage.see(&place, at(100));
        usage.next();
        assert!(!usage.see(&place, at(1)));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_due_is_not_forgotten() {
        let usage = LastUses::default();
        let place = |at: usize| Key::named(&format!("grant/{at}"));
        for number in 0..MAX_GRANTS {
            usage.see(&place(number), at(0));
        }
        usage.see(&place(MAX_GRANTS), at(0));
        assert_eq!(usage.last(&place(MAX_GRANTS)), None, "all are due");
        usage.next();
        usage.see(&place(MAX_GRANTS), at(0));
        assert_eq!(usage.last(&place(MAX_GRANTS)), Some(at(0)));
        assert_eq!(usage.last(&place(0)), None, "it is in the store");
        assert_eq!(usage.rest().len(), MAX_GRANTS);
    }
}
