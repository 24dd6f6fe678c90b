//! What hosts are shown of a tool: a schema of its arguments and hints of what it does.
//!
//! The schema keeps to the subset that every host and model API accepts: an object at the root with
//! `additionalProperties: false`, single types, enumerations of texts, `description`, `default`,
//! `minimum`, `maximum`, `items`. No `$ref`, no combinators, no `format`, `pattern` or lengths: one
//! host or another rejects the whole list of tools over each of these. Limits on lengths are
//! checked all the same ([`super::accept()`]) and put into words here.

use serde_json::{Map, Number, Value, json};

use crate::model::Tool;
use crate::model::tool::{ACCOUNT, Effect, Item, Kind, Param};

/// The annotation hints of MCP. A host that sees none assumes the worst (`destructiveHint` is true
/// when absent), so all four are always given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "MCP's ToolAnnotations has these four")]
pub struct Hints {
    pub title: String,
    pub read_only: bool,
    pub destructive: bool,
    pub idempotent: bool,
    pub open_world: bool,
}

/// Hints, from the tool's effect. Every tool here talks to a service outside, hence `open_world`.
pub fn hints(tool: &Tool) -> Hints {
    Hints {
        title: tool.title.clone(),
        read_only: tool.effect == Effect::Read,
        destructive: tool.effect == Effect::Destroy,
        idempotent: tool.idempotent || tool.effect == Effect::Read,
        open_world: true,
    }
}

/// `{"type": "object", "properties": …, "required": […], "additionalProperties": false}`
pub fn input_schema(tool: &Tool) -> Map<String, Value> {
    let mut properties = Map::with_capacity(tool.params.len());
    for param in &tool.params {
        properties.insert(param.name.clone(), Value::Object(property(param)));
    }
    if tool.accounts {
        properties.insert(ACCOUNT.into(), Value::Object(property(&account())));
    }
    let required: Vec<&str> = tool
        .params
        .iter()
        .filter(|param| param.required && param.default.is_none())
        .map(|param| param.name.as_str())
        .collect();
    let mut schema = Map::with_capacity(4);
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), Value::Object(properties));
    // An empty `required` was invalid until draft 6, and some hosts still check against draft 4.
    if !required.is_empty() {
        schema.insert("required".into(), json!(required));
    }
    schema.insert("additionalProperties".into(), false.into());
    schema
}

/// Which of the person's accounts to act with. The accounts themselves are not listed: the list of
/// tools must not change because somebody connects one.
pub(super) fn account() -> Param {
    Param {
        name: ACCOUNT.into(),
        description: Some(
            "Name of the connected account to act with, if the user has several. Leave it out for \
             the default"
                .into(),
        ),
        kind: Kind::String,
        required: false,
        default: None,
        choices: Vec::new(),
        min: None,
        max: Some(200.0),
    }
}

fn property(param: &Param) -> Map<String, Value> {
    let mut property = Map::new();
    property.insert("type".into(), kind_name(param.kind).into());
    if let Some(description) = description(param) {
        property.insert("description".into(), description.into());
    }
    if let Kind::Array(item) = param.kind {
        let mut items = Map::new();
        items.insert("type".into(), item_name(item).into());
        if item == Item::String && !param.choices.is_empty() {
            items.insert("enum".into(), json!(param.choices));
        }
        property.insert("items".into(), Value::Object(items));
    } else if param.kind == Kind::String && !param.choices.is_empty() {
        property.insert("enum".into(), json!(param.choices));
    }
    if let Some(default) = &param.default {
        property.insert("default".into(), default.clone());
    }
    if matches!(param.kind, Kind::Integer | Kind::Number) {
        for (key, bound) in [("minimum", param.min), ("maximum", param.max)] {
            if let Some(bound) = bound.and_then(number) {
                property.insert(key.into(), bound);
            }
        }
    }
    property
}

pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "string",
        Kind::Integer => "integer",
        Kind::Number => "number",
        Kind::Boolean => "boolean",
        Kind::Object => "object",
        Kind::Array(_) => "array",
    }
}

pub(super) fn item_name(item: Item) -> &'static str {
    match item {
        Item::String => "string",
        Item::Integer => "integer",
        Item::Number => "number",
        Item::Boolean => "boolean",
        Item::Object => "object",
    }
}

/// The description, with limits on lengths in words.
fn description(param: &Param) -> Option<String> {
    let unit = match param.kind {
        Kind::String => "characters",
        Kind::Array(_) => "items",
        Kind::Integer | Kind::Number | Kind::Boolean | Kind::Object => {
            return param.description.clone();
        }
    };
    let limit = match (param.min, param.max) {
        (Some(min), Some(max)) => format!("{min} to {max} {unit}"),
        (Some(min), None) => format!("at least {min} {unit}"),
        (None, Some(max)) => format!("at most {max} {unit}"),
        (None, None) => return param.description.clone(),
    };
    Some(match &param.description {
        Some(description) => format!("{} ({limit})", description.trim_end_matches('.')),
        None => limit,
    })
}

/// `10`, not `10.0`, where a bound is whole.
#[expect(clippy::cast_possible_truncation, reason = "only within the range of exact integers")]
pub(super) fn number(bound: f64) -> Option<Value> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if bound.fract() == 0.0 && bound.abs() <= EXACT {
        return Some(Value::from(bound as i64));
    }
    Number::from_f64(bound).map(Value::Number)
}
