//! Documents that a client of Portia's contract stores here: its plans and their runs, and its facts
//! about end users.
//!
//! The documents are the client's own and are kept as they came. Beside each stands what is needed
//! to find it again, and to delete it with the user whom it is about.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Caller, Time, uuid};

/// Largest document that is kept, in bytes of JSON.
pub const MAX_DOCUMENT_BYTES: usize = 1_500_000;
/// Largest value of a run's memory that is kept, in bytes.
pub const MAX_MEMORY_BYTES: usize = 1_000_000;

/// A plan. Belongs to no user: each run of it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredPlan {
    /// `plan-<uuid>`
    pub id: String,
    pub document: Map<String, Value>,
    pub stored_at: Time,
}

/// A run of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanRun {
    /// `prun-<uuid>`
    pub id: String,
    /// The end user whom the plan runs for.
    pub caller: Caller,
    /// Id of the plan.
    pub plan: String,
    /// The contract's word for the state, e.g. `NEED_CLARIFICATION`.
    pub state: String,
    pub document: Map<String, Value>,
    pub changed_at: Time,
    /// Clarifications that were resolved here. The client's copy may be older, and must not take
    /// that back.
    #[serde(default)]
    pub resolved: BTreeSet<String>,
}

/// A run without its document, as lists need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRunHead {
    pub id: String,
    pub caller: Caller,
    pub plan: String,
    pub state: String,
    pub changed_at: Time,
    /// Ids of clarifications in its document that are not resolved.
    pub open: BTreeSet<String>,
}

/// Size of what clients have stored: number of documents, and bytes of their JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    pub documents: usize,
    pub bytes: usize,
}

/// The most that may be stored for a user, and with a key. Consents are stored on the same disk.
#[derive(Clone, Copy, Debug)]
pub struct DocumentLimits {
    pub of_user: Stored,
    pub of_key: Stored,
}

impl Default for DocumentLimits {
    fn default() -> Self {
        Self {
            of_user: Stored { documents: 10_000, bytes: 100_000_000 },
            of_key: Stored { documents: 100_000, bytes: 1_000_000_000 },
        }
    }
}

impl Stored {
    /// One document of this many bytes.
    pub fn one(bytes: usize) -> Self {
        Self { documents: 1, bytes }
    }

    /// Adds documents.
    pub fn add(&mut self, more: Self) {
        self.documents = self.documents.saturating_add(more.documents);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }

    /// Removes documents. What is counted may be less than what is stored.
    pub fn remove(&mut self, less: Self) {
        self.documents = self.documents.saturating_sub(less.documents);
        self.bytes = self.bytes.saturating_sub(less.bytes);
    }
}

/// Number of the documents about a user that were deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeletedDocuments {
    pub runs: usize,
    /// Plans, reported calls, outputs of runs, and facts about the user.
    pub others: usize,
}

impl DeletedDocuments {
    /// Adds documents.
    pub fn add(&mut self, Self { runs, others }: Self) {
        self.runs += runs;
        self.others += others;
    }
}

/// A tool call of a run, as the client reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportedCall {
    pub caller: Caller,
    pub document: Map<String, Value>,
    pub stored_at: Time,
}

/// An output of a run that the client found too large to keep in the run itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    pub caller: Caller,
    /// Id of the run.
    pub run: String,
    /// Name of the output, e.g. `$issues`.
    pub name: String,
    pub summary: String,
    /// The value, in base64.
    pub value: String,
    pub stored_at: Time,
}

/// Facts about an end user that a client has stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndUserFacts {
    pub caller: Caller,
    pub name: Option<String>,
    pub email: Option<String>,
    pub phone_number: Option<String>,
    pub additional_data: BTreeMap<String, String>,
    pub stored_at: Time,
}

/// Returns the id of the clarification that asks for a consent or a confirmation in a run: the same
/// as long as the request is the same, since clients keep those with different ids apart. `of` is
/// the request's id.
pub fn clarification_id(of: &str, run: &str) -> String {
    format!("clar-{}", uuid::of(&["clarification", of, run]))
}

/// Most open clarifications of a run that are remembered; a run of Portia's clients has one for each
/// thing that it waits for.
const MAX_OPEN: usize = 50;
/// Longest id that is remembered: those of our own are shorter.
const MAX_OPEN_ID_BYTES: usize = 100;

impl PlanRun {
    /// Returns the ids of clarifications that are not resolved.
    pub fn open(&self) -> BTreeSet<String> {
        let list = self.document.get("outputs").and_then(|it| it.get("clarifications"));
        let list = list.and_then(Value::as_array).into_iter().flatten();
        let open = list.filter(|it| it.get("resolved").and_then(Value::as_bool) != Some(true));
        let ids = open.filter_map(|it| it.get("id").and_then(Value::as_str));
        let ids = ids.filter(|id| id.len() <= MAX_OPEN_ID_BYTES);
        ids.take(MAX_OPEN).map(str::to_owned).collect()
    }

    /// Marks a clarification as resolved. `None` if the document has none with this id that is still
    /// open.
    #[must_use]
    pub fn resolve(mut self, clarification: &str) -> Option<Self> {
        let is_meant = |it: &Map<String, Value>| {
            it.get("id").and_then(Value::as_str) == Some(clarification)
                && it.get("resolved").and_then(Value::as_bool) != Some(true)
        };
        let mut clarifications = clarifications_of(&mut self.document);
        let open = clarifications.find(|it| is_meant(it))?;
        mark(open);
        drop(clarifications);
        self.resolved.insert(clarification.to_owned());
        Some(self)
    }

    /// Takes over what was resolved in an earlier version of the same run.
    #[must_use]
    pub fn over(mut self, earlier: Self) -> Self {
        let resolved = earlier.resolved;
        for clarification in clarifications_of(&mut self.document) {
            let id = clarification.get("id").and_then(Value::as_str);
            if id.is_some_and(|id| resolved.contains(id)) {
                mark(clarification);
            }
        }
        Self { resolved, ..self }
    }
}

/// Clarifications of a run's document: `outputs.clarifications`.
fn clarifications_of(
    document: &mut Map<String, Value>,
) -> impl Iterator<Item = &mut Map<String, Value>> {
    let list = document.get_mut("outputs").and_then(|outputs| outputs.get_mut("clarifications"));
    list.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Marks a clarification as the client does it itself.
fn mark(clarification: &mut Map<String, Value>) {
    clarification.insert("resolved".into(), true.into());
    clarification.insert("response".into(), "complete".into());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::UserId;

    fn run(clarifications: &Value) -> PlanRun {
        let document = json!({ "outputs": { "clarifications": clarifications } });
        let Value::Object(document) = document else { panic!("an object") };
        PlanRun {
            id: "prun-1".into(),
            caller: Caller::local(UserId::new("ana")),
            plan: "plan-1".into(),
            state: "NEED_CLARIFICATION".into(),
            document,
            changed_at: Time::from_millis(1),
            resolved: BTreeSet::new(),
        }
    }

    fn clarification(id: &str, resolved: bool) -> Value {
        let response = resolved.then_some("complete");
        json!({"id": id, "category": "Action", "resolved": resolved, "response": response})
    }

    #[test]
    fn a_clarification_is_resolved_once_and_stays_so() {
        let open = json!([clarification("clar-1", false), clarification("clar-2", false)]);
        let found = run(&open).resolve("clar-1").unwrap();
        let expected = json!([clarification("clar-1", true), clarification("clar-2", false)]);
        assert_eq!(found.document["outputs"]["clarifications"], expected);
        assert_eq!(found.clone().resolve("clar-1"), None, "nothing is left to do");
        assert_eq!(found.clone().resolve("clar-3"), None);
        // The client writes its older copy, with another clarification.
        let older = json!([clarification("clar-1", false), clarification("clar-4", false)]);
        let kept = run(&older).over(found);
        let expected = json!([clarification("clar-1", true), clarification("clar-4", false)]);
        assert_eq!(kept.document["outputs"]["clarifications"], expected);
        assert!(kept.resolved.contains("clar-1"));
    }

    #[test]
    fn a_document_of_any_shape_is_left_alone() {
        for odd in [json!(null), json!({}), json!([1, null, {"id": 5}]), json!("clar-1")] {
            assert_eq!(run(&odd).resolve("clar-1"), None, "{odd}");
        }
        let mut none = run(&json!([]));
        none.document.clear();
        assert_eq!(none.resolve("clar-1"), None);
    }

    #[test]
    fn a_clarification_s_id_is_that_of_its_request_in_a_run() {
        let id = clarification_id("link", "prun-1");
        assert!(uuid::is_uuid(id.strip_prefix("clar-").unwrap()), "{id}");
        assert_eq!(id, clarification_id("link", "prun-1"));
        assert_ne!(id, clarification_id("link", "prun-2"));
        assert_ne!(id, clarification_id("link-2", "prun-1"));
    }
}
