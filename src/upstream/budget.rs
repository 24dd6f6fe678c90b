//! Memory for answers: one budget for the whole process, shared fairly between callers.
//!
//! A tool asks an API and not the other way round, but how much comes back is the API's choice. Ten
//! megabytes of `[1,1,1,…]` are 350 MiB once they are read into values, and forty such calls at a
//! time would end the process for everybody. So a body takes from the budget while it is read, and
//! again, by its weight, before it becomes values; calls that find none left wait, within the
//! `timeout` of their tool.
//!
//! Reading and working have budgets of their own, taken in this order, so that no two calls ever
//! wait for each other.

use std::time::Duration;

use memchr::memchr2;
use serde_json::Value;
use tokio::time::Instant;

use super::LARGEST_ANSWER;
use super::share::{Share, Units};
use crate::model::Caller;
use crate::net::Room;

const MIB: usize = 1024 * 1024;
/// Bytes of a body that are read without asking. Most answers end here.
const FREE: usize = MIB / 16;
/// Bytes that a body takes from the first budget; a longer one takes the largest answer from the
/// second.
const FIRST: usize = MIB;
/// Bodies beyond [`FREE`], all together.
const READING: usize = 48 * MIB;
/// Bodies beyond [`FIRST`], all together.
const READING_LARGE: usize = 80 * MIB;
/// Answers that are parsed, filtered, scrubbed and cut, all together.
const WORKING: usize = 256 * MIB;
/// Weight of an answer that is worked on without asking.
const LIGHT: usize = MIB / 4;

/// Most JSON values of an answer. More are refused before they are read.
pub(super) const MAX_VALUES: usize = 500_000;
/// Memory of an object's entry beside its value: the key, its allocation, its place in the index.
const ENTRY: usize = 96;

pub(super) struct Budget {
    reading: Share,
    reading_large: Share,
    working: Share,
}

impl Default for Budget {
    fn default() -> Self {
        let half = |units| Share::new(units, units / 2);
        Self { reading: half(READING), reading_large: half(READING_LARGE), working: half(WORKING) }
    }
}

impl Budget {
    /// Room for one body.
    pub(super) fn room<'a>(&'a self, caller: &'a Caller) -> BodyRoom<'a> {
        BodyRoom { budget: self, caller, held: Held::default(), is_waiting: false }
    }

    /// Room for the work on an answer; `None` where none was free until `deadline`.
    pub(super) async fn work(
        &self,
        caller: &Caller,
        weight: Weight,
        deadline: Instant,
    ) -> Option<Held> {
        let bytes = weight.bytes();
        if bytes <= LIGHT {
            return Some(Held::default());
        }
        let units = tokio::time::timeout_at(deadline, self.working.take(caller, bytes)).await;
        Some(Held(vec![units.ok()?]))
    }
}

/// What a call holds of a budget; given back when dropped.
#[derive(Default)]
pub(super) struct Held(Vec<Units>);

/// Grows with a body that is being read.
pub(super) struct BodyRoom<'a> {
    budget: &'a Budget,
    caller: &'a Caller,
    pub(super) held: Held,
    /// Whether the call waits for memory, and not for its API.
    pub(super) is_waiting: bool,
}

impl Room for BodyRoom<'_> {
    async fn grow(&mut self, to: usize, announced: Option<usize>) {
        let limits = [
            (FREE, &self.budget.reading, FIRST),
            (FIRST, &self.budget.reading_large, LARGEST_ANSWER),
        ];
        for (tier, (beyond, share, most)) in limits.into_iter().enumerate() {
            if to > beyond && self.held.0.len() == tier {
                // One that says how long it is needs no more than that.
                let units = announced.unwrap_or(most).clamp(to.min(most), most);
                self.is_waiting = true;
                self.held.0.push(share.take(self.caller, units).await);
                self.is_waiting = false;
            }
        }
    }
}

/// How much a body weighs once it is JSON values, by its punctuation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    body: usize,
    pub(super) values: usize,
    entries: usize,
}

impl Weight {
    /// One pass over the body. Exact for JSON; for anything else it means nothing but an upper
    /// bound of the reservation.
    pub(super) fn of(body: &[u8]) -> Self {
        let mut weight = Self { body: body.len(), values: 1, entries: 0 };
        // A byte order mark, what some write before JSON, or the value itself: nothing else is read as
        // more than one text.
        let begins = body.trim_ascii_start().first();
        if !matches!(begins, Some(b'{' | b'[' | b')' | b'w' | b'f' | 0xef | 0xfe | 0xff)) {
            return weight;
        }
        let mut rest = body;
        while let Some((first, following)) = rest.split_first() {
            rest = following;
            match first {
                b',' | b'[' | b'{' => weight.values += 1,
                b':' => weight.entries += 1,
                b'"' => rest = after_text(rest),
                _ => {}
            }
        }
        weight
    }

    /// The body, its text written out again, a decoded view of it, and its values.
    fn bytes(self) -> usize {
        let values = self.values.min(MAX_VALUES);
        3 * self.body + values * size_of::<Value>() + self.entries.min(MAX_VALUES) * ENTRY
    }

    pub(super) fn is_too_much(self) -> bool {
        self.values > MAX_VALUES
    }
}

fn after_text(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = memchr2(b'"', b'\\', rest) {
        let is_end = rest.get(at) == Some(&b'"');
        rest = rest.get(at + if is_end { 1 } else { 2 }..).unwrap_or_default();
        if is_end {
            return rest;
        }
    }
    &[]
}

/// When a call that begins now runs out of time.
pub(super) fn deadline(timeout: Duration) -> Instant {
    Instant::now() + timeout
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::model::UserId;

    fn caller(name: &str) -> Caller {
        Caller { namespace: "test".into(), user: UserId::new(name) }
    }

    #[test]
    fn values_are_counted_as_they_will_be_read() {
        fn count(value: &Value) -> usize {
            1 + match value {
                Value::Array(items) => items.iter().map(count).sum(),
                Value::Object(entries) => entries.values().map(count).sum(),
                _ => 0,
            }
        }
        for json in [
            "5",
            "[1,1,1]",
            "[[1,2],[3]]",
            r#"{"a": [1, "x,[{:\"],"], "b\\": {"c": null}}"#,
            r#""[,,,""#,
            " [1,1]",
        ] {
            let value = serde_json::from_str(json).expect("JSON");
            assert_eq!(Weight::of(json.as_bytes()).values, count(&value), "{json}");
        }
        // Each of them opens a container that has no value.
        assert_eq!(Weight::of(b"[[],{}]").values, 5);
        let many = format!("[{}1]", "1,".repeat(MAX_VALUES));
        assert!(Weight::of(many.as_bytes()).is_too_much());
        assert!(!Weight::of(b"\"a,b").is_too_much() && !Weight::of(b"\"\\").is_too_much());
    }

    #[test]
    fn the_heaviest_answer_fits_into_a_caller_s_half() {
        let heaviest = Weight { body: LARGEST_ANSWER, values: usize::MAX, entries: usize::MAX };
        assert!(heaviest.bytes() <= WORKING / 2, "{}", heaviest.bytes());
    }

    #[tokio::test]
    async fn bodies_wait_for_memory_and_small_ones_do_not() {
        let budget = Budget::default();
        let (ana, ben, cleo) = (caller("ana"), caller("ben"), caller("cleo"));
        let mut held = Vec::new();
        for caller in [&ana, &ben] {
            for _ in 0..READING_LARGE / 2 / LARGEST_ANSWER {
                let mut room = budget.room(caller);
                room.grow(FREE, None).now_or_never().expect("free");
                room.grow(2 * FREE, None).now_or_never().expect("a share");
                room.grow(5 * MIB, None).now_or_never().expect("a share");
                held.push(room.held);
            }
        }
        let mut room = budget.room(&cleo);
        room.grow(FREE, None).now_or_never().expect("free");
        room.grow(FIRST, Some(FIRST)).now_or_never().expect("the other share");
        assert!(room.grow(2 * FIRST, None).now_or_never().is_none());
        assert!(room.is_waiting);
        held.pop();
        room.grow(2 * FIRST, None).now_or_never().expect("a share");
        assert!(!room.is_waiting);
    }

    #[tokio::test]
    async fn work_waits_until_its_deadline() {
        let budget = Budget::default();
        let ana = caller("ana");
        // What is free is had also at the last moment.
        let now = Duration::ZERO;
        let weight = Weight { body: LARGEST_ANSWER, values: MAX_VALUES, entries: 0 };
        let mut held = Vec::new();
        while let Some(one) = budget.work(&ana, weight, deadline(now)).await {
            held.push(one);
        }
        assert_eq!(held.len(), WORKING / 2 / weight.bytes());
        let light = Weight { body: 1000, values: 10, entries: 10 };
        assert!(budget.work(&ana, light, deadline(now)).await.is_some());
        held.clear();
        assert!(budget.work(&ana, weight, deadline(now)).await.is_some());
    }
}
