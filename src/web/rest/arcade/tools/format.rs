//! Forms in which model APIs take a tool.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::model::face::Face;
use crate::registry::{Offer, face_schema};

/// A form of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::web) enum Format {
    /// The form of `/v1/tools`.
    Arcade,
    Openai,
    Anthropic,
}

impl Format {
    /// Reads a form's name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "arcade" => Some(Self::Arcade),
            "openai" => Some(Self::Openai),
            "anthropic" => Some(Self::Anthropic),
            _ => None,
        }
    }
}

impl Format {
    /// Returns a tool in this form. `arcade` is the tool in Arcade's form.
    pub(super) fn of(self, offer: Offer<'_>, arcade: &impl Serialize) -> Value {
        match self {
            Self::Openai => openai(offer),
            Self::Anthropic => anthropic(offer),
            Self::Arcade => serde_json::to_value(arcade).unwrap_or_default(),
        }
    }
}

/// A function as OpenAI's chat API takes it.
fn openai(offer: Offer<'_>) -> Value {
    json!({
        "type": "function",
        "function": {
            "name": function_name(offer.id),
            "description": offer.entry.tool().description,
            "parameters": face_schema(offer.entry.tool(), Face::Arcade),
        },
    })
}

/// A tool as Anthropic's messages API takes it.
fn anthropic(offer: Offer<'_>) -> Value {
    json!({
        "name": function_name(offer.id),
        "description": offer.entry.tool().description,
        "input_schema": face_schema(offer.entry.tool(), Face::Arcade),
    })
}

/// Model APIs allow no `.` in a name. A call that writes `_` instead means the same tool.
fn function_name(id: &str) -> String {
    id.replace('.', "_")
}
