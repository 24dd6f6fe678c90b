//! Arguments that a tool does not accept, as data: which argument, what it takes, and what came
//! instead.
//!
//! Text of the client is cut and on one line ([`Received`]), so that a face can quote it.

use serde_json::Number;

use super::ToolName;
use super::tool::{Kind, Param};

/// Why the arguments of a call are not accepted. Nothing was sent to the API.
#[derive(Clone, Debug, PartialEq)]
pub enum InvalidArguments {
    /// All arguments together exceed a limit.
    TooLarge(ArgumentLimit),
    /// They are not a JSON object.
    NotAnObject { tool: ToolName, received: Received },
    /// Problems of single arguments: all of them, in the order of the parameters, unknown names
    /// last.
    Unfit { tool: ToolName, problems: Vec<ArgumentProblem> },
}

impl InvalidArguments {
    /// Whether answers of the user solve every problem: each is a missing argument, or a text beside
    /// a choice that is probably meant. Only a model can correct the others.
    pub fn is_for_user(&self) -> bool {
        match self {
            Self::Unfit { problems, .. } => problems.iter().all(|problem| {
                matches!(
                    problem.mismatch,
                    Mismatch::Missing { .. } | Mismatch::Choice { nearest: Some(_), .. }
                )
            }),
            Self::TooLarge(_) | Self::NotAnObject { .. } => false,
        }
    }
}

/// Limit on all arguments of a call together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentLimit {
    /// Nesting levels.
    Levels(usize),
    /// Bytes of text.
    TextBytes(usize),
    /// List items and object entries.
    Items(usize),
}

/// An argument that does not fit.
#[derive(Clone, Debug, PartialEq)]
pub struct ArgumentProblem {
    /// The parameter's name; for [`Mismatch::Unknown`], the client's, cut like [`Received::Text`].
    pub name: String,
    pub mismatch: Mismatch,
}

/// Why an argument does not fit.
#[derive(Clone, Debug, PartialEq)]
pub enum Mismatch {
    /// It is required, and absent. `description` is the beginning of the parameter's description,
    /// on one line.
    Missing { expected: Expected, description: Option<String> },
    /// The tool has no such parameter. `known` are its parameters.
    Unknown { nearest: Option<String>, known: Vec<String> },
    /// It has another type.
    Type { expected: Expected, received: Received },
    /// A text for a list that is not written as JSON, and could be one item or several.
    UnclearList { expected: Expected, received: Received },
    /// An item of a list has another type. `position` counts from 1.
    ItemType { expected: Expected, position: usize, received: Received },
    /// A list whose items all mean "no value".
    EmptyList { expected: Expected },
    /// A text that is none of the choices. `given` is cut like [`Received::Text`].
    Choice { expected: Expected, given: String, nearest: Option<String> },
    /// A text or list that is too short.
    TooShort { min: f64, count: usize, unit: CountedUnit },
    /// A text or list that is too long.
    TooLong { max: f64, count: usize, unit: CountedUnit },
    /// A number below the minimum.
    TooSmall { min: f64, given: Number },
    /// A number above the maximum.
    TooLarge { max: f64, given: Number },
    /// It does not match the tool's JSON Schema, or not the type that the tool's code reads. `why`
    /// is the validator's message, on one line.
    Schema { why: String },
}

/// Unit of a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedUnit {
    Characters,
    Items,
}

/// Values that a parameter takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    pub kind: Kind,
    /// Allowed texts; empty if all are.
    pub choices: Vec<String>,
    /// Bounds as in [`Param`].
    pub min: Option<f64>,
    pub max: Option<f64>,
}

impl From<&Param> for Expected {
    fn from(param: &Param) -> Self {
        let Param { kind, min, max, .. } = *param;
        Self { kind, choices: param.choices.clone(), min, max }
    }
}

/// A value from the client, as far as a face may show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    Null,
    Boolean(bool),
    Number(Number),
    /// A text without a visible character.
    EmptyText,
    /// The beginning of a text, on one line; ends in `…` if it is cut.
    Text(String),
    /// A list with this many items.
    List(usize),
    Object,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_can_supply_what_is_missing_and_choose_what_is_meant() {
        let expected =
            || Expected { kind: Kind::String, choices: Vec::new(), min: None, max: None };
        let missing = || Mismatch::Missing { expected: expected(), description: None };
        let choice = |nearest: Option<&str>| Mismatch::Choice {
            expected: expected(),
            given: "star".into(),
            nearest: nearest.map(str::to_owned),
        };
        let unknown = || Mismatch::Unknown { nearest: None, known: Vec::new() };
        let is_for_user = |mismatches: Vec<Mismatch>| {
            let problem = |mismatch| ArgumentProblem { name: "x".into(), mismatch };
            let problems = mismatches.into_iter().map(problem).collect();
            InvalidArguments::Unfit { tool: ToolName::new("t"), problems }.is_for_user()
        };
        assert!(is_for_user(vec![missing()]));
        assert!(is_for_user(vec![choice(Some("stars")), missing()]));
        assert!(!is_for_user(vec![choice(None)]));
        assert!(!is_for_user(vec![missing(), unknown()]));
        let (tool, received) = (ToolName::new("t"), Received::Null);
        assert!(!InvalidArguments::NotAnObject { tool, received }.is_for_user());
        assert!(!InvalidArguments::TooLarge(ArgumentLimit::Levels(64)).is_for_user());
    }
}
