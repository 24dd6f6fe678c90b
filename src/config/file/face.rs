//! Tables and keys for clients of other products, and `[toolkits]`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::super::findings::Findings;
use super::super::read::{Named, Read, table};
use super::super::span::{At, Span, Text};
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
    Tools(At<Vec<Text>>),
}

/// A list of tools by name.
#[derive(Clone, Debug)]
pub struct ToolNames(pub At<Vec<Text>>);

impl Read for ToolNames {
    fn read(value: &Value<'_>, find: &mut Findings<'_>) -> Option<Self> {
        list_of_names(value, find).map(Self)
    }
}

impl JsonSchema for ToolNames {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ToolNames".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<String>::json_schema(generator)
    }
}

/// Reads a list of names. For a table it says how a list is written: `[gateways.sales]` is the header
/// of a table, and no key in that table would be the right one.
fn list_of_names(value: &Value<'_>, find: &mut Findings<'_>) -> Option<At<Vec<Text>>> {
    let is_table = |value: &Value<'_>| matches!(value.get_ref(), DeValue::Table(_));
    let has_table = match value.get_ref() {
        DeValue::Array(items) => items.iter().any(is_table),
        _ => is_table(value),
    };
    if !has_table {
        return Read::read(value, find);
    }
    find.error("config::type", &value.span(), "a list of names is wanted here, not a table")
        .label("this is a table")
        .hint("write the list in one line below the header of the table above, e.g. `sales = [\"orders_find\"]` below `[gateways]`, or `github = [\"star_repo\"]` below `[toolkits]`");
    None
}

impl Read for ToolkitEntry {
    fn read(value: &Value<'_>, find: &mut Findings<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(text) if text == "*" => Some(Self::All(value.span())),
            _ => list_of_names(value, find).map(Self::Tools),
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
