//! Parameters of a tool.

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

/// A parameter as the model sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Param {
    pub name: String,
    pub description: Option<String>,
    pub kind: Kind,
    pub required: bool,
    pub default: Option<Value>,
    /// Allowed texts.
    pub choices: Vec<String>,
    /// Least and greatest value of a number, length of a string, count of a list.
    pub min: Option<f64>,
    pub max: Option<f64>,
}

impl Param {
    /// Whether it is a text.
    pub fn is_text(&self) -> bool {
        self.kind == Kind::String
    }
}

/// Type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    String,
    Integer,
    Number,
    Boolean,
    Object,
    /// A list of texts, integers…; lists do not nest.
    Array(Item),
}

impl Kind {
    /// Returns the type's name in JSON Schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Object => "object",
            Self::Array(_) => "array",
        }
    }
}

/// Type of the items of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    String,
    Integer,
    Number,
    Boolean,
    Object,
}

impl Item {
    /// Returns the type's name in JSON Schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Object => "object",
        }
    }
}

/// Converts a bound to a JSON number: a whole number becomes `10`, not `10.0`. `None` if it is not
/// finite.
#[expect(clippy::cast_possible_truncation, reason = "only within the range of exact integers")]
pub fn json_number(bound: f64) -> Option<Number> {
    const MAX_EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;
    if bound.fract() == 0.0 && bound.abs() <= MAX_EXACT_INTEGER {
        return Some(Number::from(bound as i64));
    }
    Number::from_f64(bound)
}
