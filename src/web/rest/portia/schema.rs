//! JSON Schemas of arguments as Portia's clients can read them.
//!
//! Their converter from JSON Schema to a class of pydantic loses some keywords without a word, and
//! raises at others, which takes all tools of the server with it. A tool with such a schema is left
//! out of the list.

use serde_json::{Map, Value};

use crate::model::Tool;
use crate::model::face::Face;
use crate::model::public_ids::pascal_case;
use crate::registry::face_schema;

/// Names that a field of pydantic's `BaseModel` must not have: pydantic raises at some of them, in
/// some versions at all.
const RESERVED: [&str; 16] = [
    "model_computed_fields",
    "model_config",
    "model_construct",
    "model_copy",
    "model_dump",
    "model_dump_json",
    "model_extra",
    "model_fields",
    "model_fields_set",
    "model_json_schema",
    "model_parametrized_name",
    "model_post_init",
    "model_rebuild",
    "model_validate",
    "model_validate_json",
    "model_validate_strings",
];

/// Why a tool is not listed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unlisted {
    #[error(
        "its parameter `{0}` has a name that Portia's clients cannot use; give it another one there with `args = {{ portia = {{ … }} }}`"
    )]
    Parameter(String),
    #[error("its description and parameters have {0} characters together, and {1} are allowed")]
    TooLong(usize, usize),
}

/// Returns the schema of a tool's arguments under the names of the contract.
///
/// # Errors
/// [`Unlisted::Parameter`] if the clients cannot use a parameter's name.
pub(super) fn schema(tool: &Tool) -> Result<Map<String, Value>, Unlisted> {
    let mut schema = face_schema(tool, Face::Portia);
    // Objects that forbid further keys are not among the forms that the clients are known to read.
    schema.shift_remove("additionalProperties");
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (name, property) in properties {
            if name.starts_with('_') || RESERVED.contains(&name.as_str()) {
                return Err(Unlisted::Parameter(name.clone()));
            }
            if let Value::Object(property) = property {
                *property = readable(name, std::mem::take(property));
            }
        }
    }
    let title = format!("{}Schema", pascal_case(tool.name.as_str()));
    let mut titled = Map::from_iter([("title".to_owned(), title.into())]);
    titled.append(&mut schema);
    Ok(titled)
}

/// Gives a property its title, and words for what the clients lose.
fn readable(name: &str, mut property: Map<String, Value>) -> Map<String, Value> {
    let mut words = Vec::new();
    let described = property.get("description").and_then(Value::as_str);
    words.extend(described.map(|text| text.trim_end_matches('.').to_owned()));
    open(&mut property);
    words.extend(choices_in_words(&mut property));
    if let Some(Value::Object(items)) = property.get_mut("items") {
        open(items);
        words.extend(choices_in_words(items));
    }
    words.extend(range_in_words(&property));
    if !words.is_empty() {
        property.insert("description".into(), words.join(". ").into());
    }
    property.insert("title".into(), title(name).into());
    property
}

/// Lets an object have keys: without that, the clients drop all of them.
fn open(schema: &mut Map<String, Value>) {
    if schema.get("type").is_some_and(|kind| kind == "object") {
        schema.insert("additionalProperties".into(), true.into());
    }
}

/// Replaces an enumeration that the clients read wrongly by words. They make a Python `Enum` whose
/// members are named after the values in upper case: of two equal names the last stays, and an empty
/// name, or one with underscores around it, raises.
fn choices_in_words(schema: &mut Map<String, Value>) -> Option<String> {
    let values: Vec<&str> =
        schema.get("enum")?.as_array()?.iter().filter_map(Value::as_str).collect();
    let mut members: Vec<String> = values.iter().map(|value| value.to_uppercase()).collect();
    members.sort_unstable();
    members.dedup();
    let is_odd = |value: &&str| value.is_empty() || value.starts_with('_');
    if members.len() == values.len() && !values.iter().any(is_odd) {
        return None;
    }
    let quoted: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
    schema.shift_remove("enum");
    Some(format!("One of {}", quoted.join(", ")))
}

/// Says the bounds of a number, which the clients lose.
fn range_in_words(schema: &Map<String, Value>) -> Option<String> {
    match (schema.get("minimum"), schema.get("maximum")) {
        (Some(min), Some(max)) => Some(format!("From {min} to {max}")),
        (Some(min), None) => Some(format!("At least {min}")),
        (None, Some(max)) => Some(format!("At most {max}")),
        (None, None) => None,
    }
}

/// Writes `issue_number` as `Issue Number`.
fn title(name: &str) -> String {
    let words = name.split(['_', '-']).filter(|word| !word.is_empty()).map(pascal_case);
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::tool::{Input, Item, Kind, Param};

    fn param(name: &str, kind: Kind) -> Param {
        Param {
            name: name.into(),
            description: None,
            kind,
            required: false,
            default: None,
            choices: Vec::new(),
            min: None,
            max: None,
        }
    }

    fn schema_of(params: Vec<Param>) -> Result<Value, Unlisted> {
        let tool = super::super::testing::tool();
        schema(&Tool { input: Input::Params(params), ..tool }).map(Value::Object)
    }

    #[test]
    fn a_schema_keeps_to_what_the_clients_read() {
        let choices = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
        let labels = Kind::Array(Item::String);
        let found = schema_of(vec![
            Param {
                description: Some("Which.".into()),
                required: true,
                ..param("issue_number", Kind::Integer)
            },
            Param {
                min: Some(1.0),
                max: Some(100.0),
                default: Some(json!(10)),
                ..param("limit", Kind::Integer)
            },
            Param { choices: choices(&["open", "closed"]), ..param("state", Kind::String) },
            Param {
                choices: choices(&["a", "A", ""]),
                description: Some("How".into()),
                ..param("odd", Kind::String)
            },
            Param { choices: choices(&["_x_"]), ..param("labels", labels) },
            param("free", Kind::Object),
            param("list", Kind::Array(Item::Object)),
        ]);
        let found = found.unwrap();
        assert_eq!(found["required"], json!(["issue_number"]));
        assert!(found.get("additionalProperties").is_none());
        assert!(found["title"].as_str().unwrap().ends_with("Schema"), "{found}");
        let expected = json!({
            "issue_number": {"type": "integer", "description": "Which", "title": "Issue Number"},
            "limit": {"type": "integer", "default": 10, "minimum": 1, "maximum": 100, "description": "From 1 to 100", "title": "Limit"},
            "state": {"type": "string", "enum": ["open", "closed"], "title": "State"},
            "odd": {"type": "string", "description": "How. One of `a`, `A`, ``", "title": "Odd"},
            "labels": {"type": "array", "items": {"type": "string"}, "description": "One of `_x_`", "title": "Labels"},
            "free": {"type": "object", "additionalProperties": true, "title": "Free"},
            "list": {"type": "array", "items": {"type": "object", "additionalProperties": true}, "title": "List"},
        });
        assert_eq!(found["properties"], expected);
    }

    #[test]
    fn a_name_at_which_pydantic_raises_is_no_parameter() {
        for bad in ["_id", "_", "model_dump", "model_config"] {
            let unlisted = Unlisted::Parameter(bad.into());
            assert_eq!(schema_of(vec![param(bad, Kind::String)]), Err(unlisted), "{bad}");
        }
        for good in ["schema", "class", "x-y", "model", "model_name"] {
            assert!(schema_of(vec![param(good, Kind::String)]).is_ok(), "{good}");
        }
    }
}
