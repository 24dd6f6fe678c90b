//! Memory for responses: one budget for the whole process, shared fairly between callers.
//!
//! A tool starts the request, but the API decides how much it sends back. Ten megabytes of
//! `[1,1,1,…]` take 350 MiB once they are parsed, and forty such calls at a time would end the
//! process for all users. So a body reserves memory from the budget while it is read, and again, by
//! its weight, before it is parsed. Calls that find none left wait, within the `timeout` of their
//! tool.
//!
//! Reading and processing have separate budgets, reserved in this order, so that no two calls ever
//! wait for each other.

use std::time::Duration;

use memchr::memchr2;
use serde_json::Value;
use tokio::time::Instant;

use super::MAX_RESPONSE_BYTES;
use super::share::{Share, Units};
use crate::model::Caller;
use crate::net::Room;

const MIB: usize = 1024 * 1024;
/// Bytes of a body that are read without a reservation. Most responses end here.
const UNRESERVED_BYTES: usize = MIB / 16;
/// Maximum bytes that a body reserves from the first budget. A longer body reserves up to the
/// largest response from the second.
const LARGE_BODY_BYTES: usize = MIB;
/// Bytes for all bodies beyond [`UNRESERVED_BYTES`] together; at the limit, further ones wait.
const READ_BUDGET_BYTES: usize = 48 * MIB;
/// Bytes for all bodies beyond [`LARGE_BODY_BYTES`] together; at the limit, further ones wait.
const LARGE_READ_BUDGET_BYTES: usize = 80 * MIB;
/// Bytes for all responses that are parsed, filtered, scrubbed and truncated at a time; at the
/// limit, further ones wait.
const WORK_BUDGET_BYTES: usize = 256 * MIB;
/// Weight in bytes up to which a response is processed without a reservation.
const UNRESERVED_WEIGHT_BYTES: usize = MIB / 4;

/// Maximum JSON values in a response; a response with more is refused before it is parsed.
pub(super) const MAX_VALUES: usize = 500_000;
/// Bytes of an object's entry beside its value: the key, its allocation, its place in the index.
const ENTRY_BYTES: usize = 96;

pub(super) struct Budget {
    reading: Share,
    reading_large: Share,
    working: Share,
}

impl Default for Budget {
    fn default() -> Self {
        let half = |units| Share::new(units, units / 2);
        Self {
            reading: half(READ_BUDGET_BYTES),
            reading_large: half(LARGE_READ_BUDGET_BYTES),
            working: half(WORK_BUDGET_BYTES),
        }
    }
}

impl Budget {
    /// Returns an empty reservation for one body.
    pub(super) fn room<'a>(&'a self, caller: &'a Caller) -> BodyRoom<'a> {
        BodyRoom { budget: self, caller, held: Held::default(), is_waiting: false }
    }

    /// Reserves memory for processing a response; `None` if none is free before `deadline`.
    pub(super) async fn work(
        &self,
        caller: &Caller,
        weight: Weight,
        deadline: Instant,
    ) -> Option<Held> {
        let bytes = weight.bytes();
        if bytes <= UNRESERVED_WEIGHT_BYTES {
            return Some(Held::default());
        }
        let units = tokio::time::timeout_at(deadline, self.working.take(caller, bytes)).await;
        Some(Held(vec![units.ok()?]))
    }
}

/// Memory that a call has reserved; released when dropped.
#[derive(Default)]
pub(super) struct Held(Vec<Units>);

/// Reservation that grows with a body while it is read.
pub(super) struct BodyRoom<'a> {
    budget: &'a Budget,
    caller: &'a Caller,
    pub(super) held: Held,
    /// Whether the call waits for memory instead of its API.
    pub(super) is_waiting: bool,
}

impl Room for BodyRoom<'_> {
    async fn grow(&mut self, to: usize, announced: Option<usize>) {
        let limits = [
            (UNRESERVED_BYTES, &self.budget.reading, LARGE_BODY_BYTES),
            (LARGE_BODY_BYTES, &self.budget.reading_large, MAX_RESPONSE_BYTES),
        ];
        for (tier, (beyond, share, most)) in limits.into_iter().enumerate() {
            if to > beyond && self.held.0.len() == tier {
                // A body of announced length needs no more than that.
                let units = announced.unwrap_or(most).clamp(to.min(most), most);
                self.is_waiting = true;
                self.held.0.push(share.take(self.caller, units).await);
                self.is_waiting = false;
            }
        }
    }
}

/// Memory that a body takes as JSON values, estimated from its punctuation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    body: usize,
    pub(super) values: usize,
    entries: usize,
}

impl Weight {
    /// Estimates the weight in one pass. Exact for JSON, except that an empty container counts as
    /// one value too many; for any other body only an upper bound for the reservation.
    pub(super) fn of(body: &[u8]) -> Self {
        let mut weight = Self { body: body.len(), values: 1, entries: 0 };
        // JSON begins with a byte order mark, a prefix that some services write, or the value
        // itself. Any other body is read as a single text.
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

    /// Returns the bytes of the body, its text serialized again, a decoded view of it, and its
    /// values.
    fn bytes(self) -> usize {
        let values = self.values.min(MAX_VALUES);
        3 * self.body + values * size_of::<Value>() + self.entries.min(MAX_VALUES) * ENTRY_BYTES
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

/// Returns the deadline of a call that begins now.
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
        // An empty container counts as one value too many.
        assert_eq!(Weight::of(b"[[],{}]").values, 5);
        let many = format!("[{}1]", "1,".repeat(MAX_VALUES));
        assert!(Weight::of(many.as_bytes()).is_too_much());
        assert!(!Weight::of(b"\"a,b").is_too_much() && !Weight::of(b"\"\\").is_too_much());
    }

    #[test]
    fn the_heaviest_answer_fits_into_a_caller_s_half() {
        let heaviest = Weight { body: MAX_RESPONSE_BYTES, values: usize::MAX, entries: usize::MAX };
        assert!(heaviest.bytes() <= WORK_BUDGET_BYTES / 2, "{}", heaviest.bytes());
    }

    #[tokio::test]
    async fn bodies_wait_for_memory_and_small_ones_do_not() {
        let budget = Budget::default();
        let (ana, ben, cleo) = (caller("ana"), caller("ben"), caller("cleo"));
        let mut held = Vec::new();
        for caller in [&ana, &ben] {
            for _ in 0..LARGE_READ_BUDGET_BYTES / 2 / MAX_RESPONSE_BYTES {
                let mut room = budget.room(caller);
                room.grow(UNRESERVED_BYTES, None).now_or_never().expect("free");
                room.grow(2 * UNRESERVED_BYTES, None).now_or_never().expect("a share");
                room.grow(5 * MIB, None).now_or_never().expect("a share");
                held.push(room.held);
            }
        }
        let mut room = budget.room(&cleo);
        room.grow(UNRESERVED_BYTES, None).now_or_never().expect("free");
        room.grow(LARGE_BODY_BYTES, Some(LARGE_BODY_BYTES))
            .now_or_never()
            .expect("the other share");
        assert!(room.grow(2 * LARGE_BODY_BYTES, None).now_or_never().is_none());
        assert!(room.is_waiting);
        held.pop();
        room.grow(2 * LARGE_BODY_BYTES, None).now_or_never().expect("a share");
        assert!(!room.is_waiting);
    }

    #[tokio::test]
    async fn work_waits_until_its_deadline() {
        let budget = Budget::default();
        let ana = caller("ana");
        // Free memory is granted even at the deadline.
        let now = Duration::ZERO;
        let weight = Weight { body: MAX_RESPONSE_BYTES, values: MAX_VALUES, entries: 0 };
        let mut held = Vec::new();
        while let Some(one) = budget.work(&ana, weight, deadline(now)).await {
            held.push(one);
        }
        assert_eq!(held.len(), WORK_BUDGET_BYTES / 2 / weight.bytes());
        let light = Weight { body: 1000, values: 10, entries: 10 };
        assert!(budget.work(&ana, light, deadline(now)).await.is_some());
        held.clear();
        assert!(budget.work(&ana, weight, deadline(now)).await.is_some());
    }
}
