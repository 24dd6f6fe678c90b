//! A call that runs at most once, however often its client sends it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Caller, InstanceId, Time};

/// A call under the key that its client has given it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Once {
    pub caller: Caller,
    /// Digest of tool and arguments.
    pub request: String,
    pub at: Time,
    /// How long the key stands for this call.
    pub life: Duration,
    pub state: OnceState,
}

/// How far the call has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum OnceState {
    Running {
        /// The process that runs it.
        by: InstanceId,
    },
    Ended {
        /// The answer as the face wrote it; `None` if it is too large to keep.
        answer: Option<Value>,
    },
}

impl Once {
    /// Whether its key may stand for another call.
    pub fn is_over(&self, now: Time) -> bool {
        now.is_past(self.at, self.life)
    }
}
