//! The parts of a tool that hosts see: the schema of its arguments, and hints on its effect.
//!
//! The schema keeps to the subset that every host and model API accepts: an object at the root with
//! `additionalProperties: false`, single types, enumerations of strings, `description`, `default`,
//! `minimum`, `maximum`, `items`. It has no `$ref`, combinators, `format`, `pattern` or lengths:
//! for each of these, some host rejects the whole list of tools. Length limits are still checked
//! ([`super::accept()`]), and are described in words here.

use serde_json::{Map, Value, json};

use crate::model::Tool;
use crate::model::tool::{ACCOUNT, Effect, Input, Item, Kind, Param, json_number};

/// The annotation hints of MCP. If a hint is missing, a host assumes the worst (`destructiveHint`
/// is true when absent), so all four are always given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "MCP's ToolAnnotations has these four")]
pub struct Hints {
    pub title: String,
    pub read_only: bool,
    pub destructive: bool,
    pub idempotent: bool,
    pub open_world: bool,
}

/// Returns the hints that follow from a tool's effect. Every tool here calls an outside service,
/// hence `open_world`.
pub fn hints(tool: &Tool) -> Hints {
    Hints {
        title: tool.title.clone(),
        read_only: tool.effect == Effect::Read,
        destructive: tool.effect == Effect::Destroy,
        idempotent: tool.idempotent || tool.effect == Effect::Read,
        open_world: true,
    }
}

/// Returns `{"type": "object", "properties": …, "required": […], "additionalProperties": false}`.
pub fn input_schema(tool: &Tool) -> Map<String, Value> {
    let account = tool.accounts.then(account);
    match &tool.input {
        Input::Params(params) => schema_of(&params.iter().chain(&account).collect::<Vec<_>>()),
        Input::Schema(input) => with_account(input.schema(), account.as_ref()),
    }
}

/// Returns a whole schema with the parameter that names an account, if there is one. Hosts that
/// refuse a keyword of it refuse the list of tools; the author of the tool has chosen its types.
pub(super) fn with_account(
    schema: &Map<String, Value>,
    account: Option<&Param>,
) -> Map<String, Value> {
    let mut schema = schema.clone();
    if let (Some(account), Some(Value::Object(properties))) =
        (account, schema.get_mut("properties"))
    {
        properties.insert(account.name.clone(), Value::Object(property(account)));
    }
    schema
}

/// Returns the schema of these parameters.
pub(super) fn schema_of(params: &[&Param]) -> Map<String, Value> {
    let mut properties = Map::with_capacity(params.len());
    for param in params {
        properties.insert(param.name.clone(), Value::Object(property(param)));
    }
    let required = params.iter().filter(|param| is_required(param));
    let required: Vec<&str> = required.map(|param| param.name.as_str()).collect();
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

/// Whether a call must have this parameter.
pub fn is_required(param: &Param) -> bool {
    param.required && param.default.is_none()
}

/// Parameter for the user's account to act with. It does not list the accounts: the list of tools
/// must not change when a user connects one.
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
    property.insert("type".into(), param.kind.as_str().into());
    if let Some(description) = description(param) {
        property.insert("description".into(), description.into());
    }
    if let Kind::Array(item) = param.kind {
        let mut items = Map::new();
        items.insert("type".into(), item.as_str().into());
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
            if let Some(bound) = bound.and_then(json_number) {
                property.insert(key.into(), bound.into());
            }
        }
    }
    property
}

/// Returns the description, with length limits in words.
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
