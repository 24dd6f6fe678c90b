//! A tool in the shape of Arcade's contract.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::format::Format;
use crate::broker::Catalogue;
use crate::model::face::Face;
use crate::model::tool::{Effect, Item, Kind, Param};
use crate::model::{Provider, Tool};
use crate::registry::{Offer, face_params, is_required};
use crate::web::rest::arcade::authorization::AuthorizationStatus;
use crate::web::rest::arcade::requirements::{Activity, ConsentStanding};

/// The only version of each tool. Clients ask for a version with `@1.0.0` behind a name, which is
/// ignored.
pub(in crate::web::rest::arcade) const VERSION: &str = "1.0.0";

/// A tool.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::web) struct ToolAnswer {
    /// e.g. `StarRepo`
    name: String,
    /// e.g. `Github.StarRepo`
    qualified_name: String,
    /// e.g. `Github.StarRepo@1.0.0`
    fully_qualified_name: String,
    description: String,
    toolkit: Toolkit,
    input: ToolInput,
    output: ToolOutput,
    metadata: ToolMetadata,
    requirements: Requirements,
    /// The tool in each form that the query asks for with `include_format`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) formatted_schema: Option<BTreeMap<Format, Value>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::web) struct Toolkit {
    name: String,
    description: String,
    version: &'static str,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::web) struct ToolInput {
    parameters: Vec<ToolParameter>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::web) struct ToolParameter {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    required: bool,
    /// Whether a model may choose the value: always.
    inferrable: bool,
    value_schema: ValueSchema,
}

#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::web) struct ValueSchema {
    val_type: ValueType,
    /// Type of the items; present exactly with `array`.
    #[serde(skip_serializing_if = "Option::is_none")]
    inner_val_type: Option<ValueType>,
    /// Allowed texts.
    #[serde(rename = "enum", skip_serializing_if = "Option::is_none")]
    choices: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::web) enum ValueType {
    String,
    Integer,
    Number,
    Boolean,
    Json,
    Array,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::web) struct ToolOutput {
    description: String,
    available_modes: [&'static str; 3],
    value_schema: ValueSchema,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::web) struct ToolMetadata {
    classification: Classification,
    behavior: Behavior,
    /// Always empty.
    extras: Map<String, Value>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::web) struct Classification {
    /// Always empty: tools.toml does not say.
    service_domains: Vec<String>,
}

/// Effects that a call of the tool may have.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "Arcade's contract has these four")]
pub(in crate::web) struct Behavior {
    pub(super) operations: &'static [&'static str],
    pub(super) read_only: bool,
    pub(super) destructive: bool,
    pub(super) idempotent: bool,
    pub(super) open_world: bool,
}

/// Conditions that a call needs before it runs.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::web) struct Requirements {
    /// Whether a call may run now: for the user of the query or, without one, for every user.
    pub(super) met: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) authorization: Option<RequiredAuthorization>,
    /// Always empty: the operator's secrets are no concern of a caller.
    secrets: Vec<RequiredSecret>,
}

/// A consent that each user must give once.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::web) struct RequiredAuthorization {
    provider_id: String,
    provider_type: &'static str,
    oauth2: OAuth2Scopes,
    status: Activity,
    /// Sentence that says why it is inactive.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    /// Present if the query names a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_status: Option<AuthorizationStatus>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::web) struct OAuth2Scopes {
    scopes: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::web) struct RequiredSecret {
    key: String,
    met: bool,
}

impl ToolAnswer {
    /// Conditions that its calls need.
    pub(super) fn requirements(&mut self) -> &mut Requirements {
        &mut self.requirements
    }

    /// Describes a tool.
    pub(super) fn of(catalogue: &Catalogue, offer: Offer<'_>) -> Self {
        let tool = offer.entry.tool();
        let (toolkit, name) = split(offer.id);
        let provider = tool.provider.as_ref().and_then(|id| catalogue.provider(id.as_str()));
        let title = provider.map_or_else(|| toolkit.to_owned(), |it| it.title.clone());
        Self {
            name: name.to_owned(),
            qualified_name: offer.id.to_owned(),
            fully_qualified_name: format!("{}@{VERSION}", offer.id),
            description: tool.description.clone(),
            toolkit: Toolkit { name: toolkit.to_owned(), description: title, version: VERSION },
            input: ToolInput::of(tool),
            output: ToolOutput::of(tool),
            metadata: ToolMetadata {
                classification: Classification { service_domains: Vec::new() },
                behavior: Behavior::of(offer),
                extras: Map::new(),
            },
            requirements: Requirements::of(tool, provider.map(AsRef::as_ref)),
            formatted_schema: None,
        }
    }
}

/// Splits an id into the names of its toolkit and tool.
pub(in crate::web::rest::arcade) fn split(id: &str) -> (&str, &str) {
    id.split_once('.').unwrap_or((id, id))
}

impl Toolkit {
    /// Whether two names mean one toolkit.
    pub(super) fn is_same(a: &str, b: &str) -> bool {
        a.eq_ignore_ascii_case(b)
    }
}

impl ToolInput {
    fn of(tool: &Tool) -> Self {
        let params = face_params(tool, Face::Arcade).into_iter();
        Self { parameters: params.map(ToolParameter::of).collect() }
    }
}

impl ToolParameter {
    fn of(param: Param) -> Self {
        let required = is_required(&param);
        let value_schema = ValueSchema::of(param.kind, param.choices);
        let Param { name, description, .. } = param;
        Self { name, description, required, inferrable: true, value_schema }
    }
}

impl ValueSchema {
    fn of(kind: Kind, choices: Vec<String>) -> Self {
        let (val_type, inner_val_type) = match kind {
            Kind::String => (ValueType::String, None),
            Kind::Integer => (ValueType::Integer, None),
            Kind::Number => (ValueType::Number, None),
            Kind::Boolean => (ValueType::Boolean, None),
            Kind::Object => (ValueType::Json, None),
            Kind::Array(item) => {
                let item = match item {
                    Item::String => ValueType::String,
                    Item::Integer => ValueType::Integer,
                    Item::Number => ValueType::Number,
                    Item::Boolean => ValueType::Boolean,
                    Item::Object => ValueType::Json,
                };
                (ValueType::Array, Some(item))
            }
        };
        // Arcade's clients fail on an empty list of choices.
        let choices = Some(choices).filter(|choices| !choices.is_empty());
        Self { val_type, inner_val_type, choices }
    }

    /// Returns the type of a JSON Schema; `json` where the contract has none that is as wide.
    fn of_schema(schema: &Map<String, Value>) -> Self {
        let (val_type, inner_val_type) = match type_of(schema) {
            ValueType::Array => {
                let inner = schema.get("items").and_then(Value::as_object).map(type_of);
                // Arcade's JavaScript client fails on a list of lists.
                let inner = inner.filter(|inner| *inner != ValueType::Array);
                (ValueType::Array, Some(inner.unwrap_or(ValueType::Json)))
            }
            other => (other, None),
        };
        Self { val_type, inner_val_type, choices: None }
    }
}

fn type_of(schema: &Map<String, Value>) -> ValueType {
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => ValueType::String,
        Some("integer") => ValueType::Integer,
        Some("number") => ValueType::Number,
        Some("boolean") => ValueType::Boolean,
        Some("array") => ValueType::Array,
        _ => ValueType::Json,
    }
}

impl ToolOutput {
    fn of(tool: &Tool) -> Self {
        let description = tool.returns.description.clone();
        let value_schema = tool.output.as_ref().map(|schema| ValueSchema::of_schema(schema));
        Self {
            description: description.unwrap_or_else(|| format!("The result of “{}”.", tool.title)),
            available_modes: ["value", "error", "null"],
            value_schema: value_schema.unwrap_or_else(|| ValueSchema::of(Kind::Object, Vec::new())),
        }
    }
}

impl Behavior {
    pub(super) fn of(offer: Offer<'_>) -> Self {
        let hints = offer.entry.hints();
        Self {
            operations: match offer.entry.tool().effect {
                Effect::Read => &["read"],
                Effect::Write => &["create", "update"],
                Effect::Destroy => &["delete"],
            },
            read_only: hints.read_only,
            destructive: hints.destructive,
            idempotent: hints.idempotent,
            open_world: hints.open_world,
        }
    }
}

impl Requirements {
    fn of(tool: &Tool, provider: Option<&Provider>) -> Self {
        let provider = provider.filter(|provider| provider.is_by_consent());
        let authorization = provider.map(|provider| RequiredAuthorization {
            provider_id: provider.id.to_string(),
            provider_type: "oauth2",
            oauth2: OAuth2Scopes { scopes: tool.scopes.iter().map(str::to_owned).collect() },
            status: Activity::Active,
            status_reason: None,
            token_status: None,
        });
        Self { met: authorization.is_none(), authorization, secrets: Vec::new() }
    }

    /// Adds how far the consent of a user is given. `is_named` says whether the query names them.
    pub(super) fn set(&mut self, standing: ConsentStanding, is_named: bool) {
        let Some(authorization) = &mut self.authorization else { return };
        let ConsentStanding { status, status_reason, token_status } = standing;
        (authorization.status, authorization.status_reason) = (status, status_reason);
        if is_named {
            authorization.token_status = Some(token_status);
            self.met = token_status == AuthorizationStatus::Completed;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(schema: Value) -> ValueSchema {
        let Value::Object(schema) = schema else { panic!("a schema") };
        ValueSchema::of_schema(&schema)
    }

    /// Arcade's JavaScript client throws for an array without, or of, an unknown type of items.
    #[test]
    fn a_list_always_has_a_type_of_items() {
        for (given, inner) in [
            (json!({"type": "array", "items": {"type": "integer"}}), ValueType::Integer),
            (json!({"type": "array", "items": {"type": "object"}}), ValueType::Json),
            (json!({"type": "array", "items": {"type": "array"}}), ValueType::Json),
            (json!({"type": "array", "items": true}), ValueType::Json),
            (json!({"type": "array"}), ValueType::Json),
        ] {
            let schema = schema(given.clone());
            assert_eq!((schema.val_type, schema.inner_val_type), (ValueType::Array, Some(inner)));
        }
        for given in [json!({"type": "object"}), json!({"type": ["string", "null"]}), json!({})] {
            assert_eq!(schema(given).val_type, ValueType::Json);
        }
        assert_eq!(ValueSchema::of(Kind::String, Vec::new()).choices, None);
    }

    #[test]
    fn an_id_is_toolkit_and_tool() {
        assert_eq!(split("Github.StarRepo"), ("Github", "StarRepo"));
        assert!(Toolkit::is_same("GitHub", "github") && !Toolkit::is_same("Git", "Github"));
    }
}
