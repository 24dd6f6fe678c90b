//! Tables and keys for clients of other products, and `[toolkits]`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::super::findings::Findings;
use super::super::read::{Named, Read, table};
use super::super::span::{Span, Text};
use super::super::syntax::Value;

table! {
    /// Ids of a tool in the contracts of other products.
    IdsTable {
        /// Id for Portia's clients, e.g. `portia:github::star_repo`. Default: `countersign:`, the first word of the name, `:` and the rest.
        "portia" => portia: Text,
        /// Id for Arcade's clients, e.g. `Github.StarRepo`. Default: made from the name.
        "arcade" => arcade: Text,
    }
}

table! {
    /// Other products' names for parameters: `parameter = "their_name"`. Two parameters in one of theirs are written `"owner/repo" = "repo"`; its value is split at the first `/`.
    ArgNamesTable {
        /// Names for Portia's clients.
        "portia" => portia: Named<Text>,
        /// Names for Arcade's clients.
        "arcade" => arcade: Named<Text>,
    }
}

table! {
    /// Result of a call.
    ReturnsTable {
        /// Type of the result in a word, e.g. `list` or `str`.
        "type" => kind: Text,
        /// Description of the result.
        "description" => description: Text,
    }
}

/// The wanted tools of a toolkit.
#[derive(Clone, Debug)]
pub enum ToolkitEntry {
    /// `"*"`
    All(Span),
    /// Names without the toolkit's.
    Tools(Vec<Text>),
}

impl Read for ToolkitEntry {
    fn read(value: &Value<'_>, find: &mut Findings<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(text) if text == "*" => Some(Self::All(value.span())),
            _ => Vec::read(value, find).map(Self::Tools),
        }
    }
}

impl JsonSchema for ToolkitEntry {
    fn schema_name() -> Cow<'static, str> {
        "Toolkit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Names of the wanted tools, without that of the toolkit, or \"*\" for all.",
            "anyOf": [{ "const": "*" }, { "type": "array", "items": { "type": "string" } }],
        })
    }
}
