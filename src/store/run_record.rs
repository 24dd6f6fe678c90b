//! The form in which a run is stored; see [`super::plan_runs`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::run::{PlanRun, PlanRunHead};
use crate::model::{Caller, Time};

/// A run as it is stored.
#[derive(Serialize, Deserialize)]
pub(super) struct RunRecord {
    pub(super) id: String,
    pub(super) caller: Caller,
    pub(super) plan: String,
    pub(super) state: String,
    /// `None` if it is a record of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) document: Option<Map<String, Value>>,
    pub(super) changed_at: Time,
    #[serde(default)]
    pub(super) resolved: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) apart: Option<Apart>,
}

/// A document that is a record of its own.
#[derive(Serialize, Deserialize)]
pub(super) struct Apart {
    /// Last part of its key.
    pub(super) name: String,
    pub(super) bytes: usize,
    /// See [`PlanRunHead::open`].
    pub(super) open: BTreeSet<String>,
}

/// The large document of a run.
#[derive(Serialize, Deserialize)]
pub(super) struct RunDocument {
    pub(super) caller: Caller,
    pub(super) document: Map<String, Value>,
    pub(super) stored_at: Time,
}

impl RunRecord {
    /// Bytes of the document.
    pub(super) fn bytes(&self) -> usize {
        let within = self.document.as_ref();
        let within = within.and_then(|document| serde_json::to_vec(document).ok());
        self.apart.as_ref().map_or(0, |it| it.bytes) + within.map_or(0, |json| json.len())
    }

    /// Id of the run.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn into_head(self) -> PlanRunHead {
        let apart = self.apart.as_ref().map(|apart| apart.open.clone());
        let run = self.into_run(None);
        let open = apart.unwrap_or_else(|| run.open());
        let PlanRun { id, caller, plan, state, changed_at, .. } = run;
        PlanRunHead { id, caller, plan, state, changed_at, open }
    }

    pub(super) fn into_run(self, apart: Option<Map<String, Value>>) -> PlanRun {
        let Self { id, caller, plan, state, document, changed_at, resolved, .. } = self;
        let document = document.or(apart).unwrap_or_default();
        PlanRun { id, caller, plan, state, document, changed_at, resolved }
    }
}
