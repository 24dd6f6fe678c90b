//! When each grant was last used, for the people who gave it.
//!
//! A call only notes it in memory: one lookup under a lock, and no allocation but for the first of
//! an hour. It is written down behind the calls, at most once an hour for each grant and one grant
//! after the other, so that thousands of people who call at the same minute do not wait for the disk;
//! and when the server ends. To the hour is exact enough for "is this still of use to me?".

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;

use super::Broker;
use crate::model::{Grant, Time};
use crate::store::{Held, Key, StoreError};

/// How far apart two records of one grant's use are.
const EVERY: Duration = Duration::from_hours(1);
/// Grants that are remembered, at some 250 bytes each. Of more than that some go unnoted.
const MOST: usize = 16 * 1024;
/// Between two records.
const PAUSE: Duration = Duration::from_millis(20);
/// Records under way at a time when the server ends, and how long that may take.
const AT_ONCE: usize = 32;
const AT_THE_END: Duration = Duration::from_secs(2);

/// The uses that this process has seen.
#[derive(Default)]
pub(super) struct Usage(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// By the place of the grant.
    uses: HashMap<Key, Use>,
    /// Those to be written down.
    due: VecDeque<Key>,
    is_writing: bool,
}

struct Use {
    last: Time,
    /// Up to when it has been written down.
    written: Option<Time>,
    is_due: bool,
}

impl Usage {
    /// Remembers a use. True: what is due waits for somebody to write it down.
    fn see(&self, place: &Key, now: Time) -> bool {
        let Seen { uses, due, is_writing } = &mut *self.0.lock();
        if let Some(seen) = uses.get_mut(place) {
            seen.last = now;
            if seen.is_due || seen.written.is_some_and(|at| now.since(at) < EVERY) {
                return false;
            }
            seen.is_due = true;
        } else {
            if uses.len() >= MOST {
                if due.len() >= MOST {
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

    /// The next that is due; where there is none, whoever asks has stopped writing.
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

    /// All that has not been written down. From here on nothing is due.
    fn rest(&self) -> Vec<(Key, Time)> {
        let Seen { uses, due, .. } = std::mem::take(&mut *self.0.lock());
        drop(due);
        let rest = uses.into_iter().filter(|(_, seen)| seen.written != Some(seen.last));
        rest.map(|(place, seen)| (place, seen.last)).collect()
    }
}

impl Broker {
    /// Notes that a token of this grant was handed out.
    pub(super) fn saw_use(&self, grant: &Held<Grant>) {
        if self.0.usage.see(grant.place(), self.0.parts.clock.now()) {
            let broker = self.clone();
            tokio::spawn(async move {
                while let Some((place, at)) = broker.0.usage.next() {
                    broker.write_use(&place, at).await;
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
    }

    /// When a token of this grant was last handed out, here or as another process has written down.
    pub(super) async fn last_use(&self, grant: &Held<Grant>) -> Option<Time> {
        let written = async { self.store().await?.last_use(grant.place()).await };
        let written = written.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "when an account was last used could not be read");
            None
        });
        let last = self.0.usage.last(grant.place()).max(written);
        // That of a grant which stood in the same place before says nothing of this one.
        last.filter(|at| *at >= grant.value.connected_at)
    }

    /// Writes down what is newer than what the store has.
    pub(super) async fn write_uses(&self) {
        let rest = stream::iter(self.0.usage.rest());
        let all = rest.for_each_concurrent(AT_ONCE, async |(place, at)| {
            self.write_use(&place, at).await;
        });
        if tokio::time::timeout(AT_THE_END, all).await.is_err() {
            tracing::debug!("not every use was written down");
        }
    }

    async fn write_use(&self, place: &Key, at: Time) {
        let written: Result<(), StoreError> =
            async { self.store().await?.note_use(place, at).await }.await;
        if let Err(error) = written {
            // Tried again in an hour. Nobody's call depends on it.
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
        let (usage, place) = (Usage::default(), Key::named("grant/a"));
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
        let (usage, place) = (Usage::default(), Key::named("grant/a"));
        usage.see(&place, at(100));
        usage.next();
        assert!(!usage.see(&place, at(1)));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_due_is_not_forgotten() {
        let usage = Usage::default();
        let place = |at: usize| Key::named(&format!("grant/{at}"));
        for number in 0..MOST {
            usage.see(&place(number), at(0));
        }
        usage.see(&place(MOST), at(0));
        assert_eq!(usage.last(&place(MOST)), None, "all are due");
        usage.next();
        usage.see(&place(MOST), at(0));
        assert_eq!(usage.last(&place(MOST)), Some(at(0)));
        assert_eq!(usage.last(&place(0)), None, "it is in the store");
        assert_eq!(usage.rest().len(), MOST);
    }
}
