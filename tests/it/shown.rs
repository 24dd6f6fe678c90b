//! What a call gives, in the words that a model gets.

use countersign::model::event::CallOutcome;
use countersign::model::{Failure, Outcome, ToolResult};
use countersign::words;
use serde_json::Value;

/// A result or a failure.
#[derive(Debug, PartialEq)]
pub struct Shown {
    pub text: String,
    pub structured: Option<Value>,
    pub note: Option<String>,
    pub is_error: bool,
    pub outcome: CallOutcome,
    pub for_operator: Option<String>,
}

impl Shown {
    /// A successful result without anything beside its text.
    pub fn text(text: &str) -> Self {
        ToolResult::text(text).into()
    }
}

impl From<ToolResult> for Shown {
    fn from(result: ToolResult) -> Self {
        let note = words::result_note(&result);
        let outcome = Outcome::Complete(result.clone()).outcome();
        let text = words::result_text(&result);
        let ToolResult { structured, unfit, .. } = result;
        let is_error = unfit.is_some();
        let for_operator = unfit.and_then(|unfit| unfit.for_operator);
        Self { text, structured, note, is_error, outcome, for_operator }
    }
}

impl From<Failure> for Shown {
    fn from(failure: Failure) -> Self {
        Self {
            text: words::failure_text(&failure),
            structured: None,
            note: None,
            is_error: true,
            outcome: failure.kind.outcome(),
            for_operator: failure.for_operator,
        }
    }
}
