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
