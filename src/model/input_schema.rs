//! Arguments that a JSON Schema describes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::param::{Item, Kind, Param};

/// Keywords that say nothing about which values fit.
const ANNOTATIONS: [&str; 6] = ["title", "$schema", "$id", "examples", "deprecated", "$comment"];

/// Keywords of a property that a parameter keeps.
const PLAIN: [&str; 12] = [
    "type",
    "description",
    "default",
    "enum",
    "const",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "items",
];

/// Arguments with a JSON Schema that parameters alone cannot express.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchemaInput {
    schema: Arc<Map<String, Value>>,
    params: Vec<Param>,
    /// Parameters whose value the schema alone describes.
    complex: Vec<String>,
}

impl SchemaInput {
    /// The whole schema, an object at the root.
    pub fn schema(&self) -> &Arc<Map<String, Value>> {
        &self.schema
    }

    /// The properties, as far as parameters can describe them.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Whether only the schema says which values of this parameter fit.
    pub fn is_complex(&self, name: &str) -> bool {
        self.complex.iter().any(|complex| complex == name)
    }
}

/// A JSON Schema that has been read.
#[derive(Debug)]
pub enum ReadSchema {
    /// Named parameters say all of it.
    Params(Vec<Param>),
    Whole(SchemaInput),
}

impl ReadSchema {
    /// Reads the JSON Schema of an object. A schema that named parameters can express becomes
    /// [`ReadSchema::Params`]: its arguments are accepted with the leniency and the messages of tools in
    /// `tools.toml`, and every host reads it. `None` if its root is no object with properties.
    pub fn of(mut schema: Map<String, Value>) -> Option<Self> {
        if schema.get("type").and_then(Value::as_str) != Some("object") {
            return None;
        }
        remove_annotations(&mut schema);
        // A name that the schema does not have is a mistake of the model.
        schema.entry("additionalProperties").or_insert(Value::Bool(false));
        let properties = schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(properties) = properties else { return None };
        for property in properties.values_mut() {
            *property = without_null(std::mem::take(property));
        }
        let properties = properties.clone();
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let (mut params, mut complex) = (Vec::with_capacity(properties.len()), Vec::new());
        for (name, property) in &properties {
            let required = required.contains(&name.as_str());
            let param = plain(name, property, required);
            if param.is_none() {
                complex.push(name.clone());
            }
            params.push(param.unwrap_or_else(|| projection(name, property, required)));
        }
        let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
        let known = ["type", "properties", "required", "additionalProperties", "description"];
        let is_plain = schema.keys().all(|key| known.contains(&key.as_str()));
        if complex.is_empty() && is_closed && is_plain {
            return Some(Self::Params(params));
        }
        Some(Self::Whole(SchemaInput { schema: Arc::new(schema), params, complex }))
    }
}

/// Removes keywords without meaning for a value, at every depth. Names of properties stay.
fn remove_annotations(schema: &mut Map<String, Value>) {
    schema.retain(|key, _| !ANNOTATIONS.contains(&key.as_str()));
    // Formats of numbers (`int64`) are not known to every host; those of texts are no constraint.
    schema.shift_remove("format");
    for (key, value) in schema.iter_mut() {
        match (key.as_str(), value) {
            (
                "properties" | "$defs" | "definitions" | "patternProperties",
                Value::Object(named),
            ) => {
                named.values_mut().filter_map(Value::as_object_mut).for_each(remove_annotations);
            }
            ("default" | "const" | "enum", _) => {}
            (_, Value::Object(schema)) => remove_annotations(schema),
            (_, Value::Array(schemas)) => {
                schemas.iter_mut().filter_map(Value::as_object_mut).for_each(remove_annotations);
            }
            _ => {}
        }
    }
}

/// Returns a property without its `null`: an absent argument means the same, and models write
/// `null` for it.
fn without_null(property: Value) -> Value {
    let Value::Object(mut property) = property else { return property };
    if let Some(Value::Array(kinds)) = property.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            property.insert("type".into(), only);
        }
        if let Some(Value::Array(choices)) = property.get_mut("enum") {
            choices.retain(|choice| !choice.is_null());
        }
    }
    if let Some(Value::Array(choices)) = property.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
        if let [Value::Object(only)] = choices.as_mut_slice() {
            let only = std::mem::take(only);
            property.shift_remove("anyOf");
            for (key, value) in only {
                property.entry(key).or_insert(value);
            }
        }
    }
    if property.get("default").is_some_and(Value::is_null) {
        property.shift_remove("default");
    }
    Value::Object(with_choices(property))
}

/// Writes an enumeration with a description for each value (`oneOf` of `const`) as `enum`.
fn with_choices(mut property: Map<String, Value>) -> Map<String, Value> {
    let Some(Value::Array(variants)) = property.get("oneOf") else { return property };
    let (mut values, mut words) = (Vec::new(), Vec::new());
    for variant in variants {
        let described = variant.get("description").and_then(Value::as_str);
        let of_one = variant.get("const").and_then(Value::as_str).map(|value| vec![value]);
        let of_several = || {
            let choices = variant.get("enum")?.as_array()?;
            choices.iter().map(Value::as_str).collect::<Option<Vec<_>>>()
        };
        let Some(found) = of_one.or_else(of_several) else { return property };
        for value in found {
            words
                .extend(described.map(|text| format!("`{value}`: {}", text.trim_end_matches('.'))));
            values.push(value.to_owned());
        }
    }
    let own = property.get("description").and_then(Value::as_str);
    let own = own.map(|text| text.trim_end_matches('.').to_owned());
    let description: Vec<String> = own.into_iter().chain(words).collect();
    property.shift_remove("oneOf");
    property.insert("type".into(), "string".into());
    property.insert("enum".into(), values.into());
    if !description.is_empty() {
        property.insert("description".into(), description.join(". ").into());
    }
    property
}

/// Returns the parameter that a property is; `None` if one cannot say all of it.
fn plain(name: &str, property: &Value, required: bool) -> Option<Param> {
    let property = property.as_object()?;
    if !property.keys().all(|key| PLAIN.contains(&key.as_str())) {
        return None;
    }
    let kind = kind(property)?;
    // An object with properties of its own, or a list of such, is more than `Kind` says.
    let items = property.get("items").and_then(Value::as_object);
    let is_said = |schema: &Map<String, Value>, keys: &[&str]| {
        schema.keys().all(|key| keys.contains(&key.as_str()))
    };
    if items.is_some_and(|items| !is_said(items, &["type", "enum", "description"])) {
        return None;
    }
    let texts = |schema: &Map<String, Value>| -> Option<Vec<String>> {
        match schema.get("enum") {
            None => Some(Vec::new()),
            Some(Value::Array(values)) => {
                values.iter().map(|value| value.as_str().map(str::to_owned)).collect()
            }
            Some(_) => None,
        }
    };
    let choices = match (kind, items) {
        (Kind::String, _) => texts(property)?,
        (Kind::Array(Item::String), Some(items)) => texts(items)?,
        _ if property.contains_key("enum") => return None,
        _ => Vec::new(),
    };
    if property.contains_key("const") {
        return None;
    }
    let (min, max) = bounds(kind, property);
    let description = description(property);
    let default = property.get("default").cloned();
    Some(Param { name: name.to_owned(), description, kind, required, default, choices, min, max })
}

/// Returns the nearest parameter to a property that is more than one, for clients that know
/// parameters only.
fn projection(name: &str, property: &Value, required: bool) -> Param {
    let empty = Map::new();
    let property = property.as_object().unwrap_or(&empty);
    Param {
        name: name.to_owned(),
        description: description(property),
        kind: kind(property).unwrap_or(Kind::Object),
        required,
        default: property.get("default").cloned(),
        choices: Vec::new(),
        min: None,
        max: None,
    }
}

fn description(property: &Map<String, Value>) -> Option<String> {
    property.get("description").and_then(Value::as_str).map(str::to_owned)
}

fn kind(property: &Map<String, Value>) -> Option<Kind> {
    Some(match property.get("type")?.as_str()? {
        "string" => Kind::String,
        "integer" => Kind::Integer,
        "number" => Kind::Number,
        "boolean" => Kind::Boolean,
        "object" => Kind::Object,
        "array" => {
            let items = property.get("items")?.as_object()?;
            Kind::Array(match items.get("type")?.as_str()? {
                "string" => Item::String,
                "integer" => Item::Integer,
                "number" => Item::Number,
                "boolean" => Item::Boolean,
                "object" => Item::Object,
                _ => return None,
            })
        }
        _ => return None,
    })
}

fn bounds(kind: Kind, property: &Map<String, Value>) -> (Option<f64>, Option<f64>) {
    let (min, max) = match kind {
        Kind::Integer | Kind::Number => ("minimum", "maximum"),
        Kind::String => ("minLength", "maxLength"),
        Kind::Array(_) => ("minItems", "maxItems"),
        Kind::Boolean | Kind::Object => return (None, None),
    };
    let at = |key: &str| property.get(key).and_then(Value::as_f64);
    (at(min), at(max))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn input(schema: Value) -> ReadSchema {
        let Value::Object(schema) = schema else { panic!("an object") };
        ReadSchema::of(schema).expect("an object with properties")
    }

    #[test]
    fn a_plain_schema_becomes_parameters() {
        let input = input(json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Args",
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "What to look for", "minLength": 1},
                "limit": {"type": ["integer", "null"], "format": "uint8", "minimum": 0, "maximum": 255, "default": null},
                "sort": {"anyOf": [{"type": "string", "enum": ["stars", "forks"]}, {"type": "null"}]},
                "order": {"description": "Order.", "oneOf": [
                    {"type": "string", "const": "asc", "description": "Least first."},
                    {"type": "string", "const": "desc"},
                ]},
                "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
            },
            "required": ["query"],
        }));
        let ReadSchema::Params(params) = &input else { panic!("{input:?}") };
        let summary: Vec<_> = params
            .iter()
            .map(|it| (it.name.as_str(), it.kind, it.required, it.min, it.max, it.choices.len()))
            .collect();
        assert_eq!(
            summary,
            [
                ("query", Kind::String, true, Some(1.0), None, 0),
                ("limit", Kind::Integer, false, Some(0.0), Some(255.0), 0),
                ("sort", Kind::String, false, None, None, 2),
                ("order", Kind::String, false, None, None, 2),
                ("tags", Kind::Array(Item::String), false, None, Some(3.0), 0),
            ]
        );
        assert_eq!(params[3].description.as_deref(), Some("Order. `asc`: Least first"));
        assert_eq!(params[1].default, None);
    }

    #[test]
    fn a_schema_that_says_more_stays_whole() {
        let nested = json!({"type": "object", "properties": {"id": {"type": "integer"}}});
        for complex in [
            nested.clone(),
            json!({"type": "array", "items": nested}),
            json!({"type": "string", "pattern": "^a"}),
            json!({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
            json!(true),
        ] {
            let input = input(json!({"type": "object", "properties": {
                "plain": {"type": "string"}, "more": complex,
            }}));
            let ReadSchema::Whole(schema) = &input else { panic!("{input:?}") };
            assert!(schema.is_complex("more") && !schema.is_complex("plain"));
            assert_eq!(schema.params().len(), 2);
            assert_eq!(schema.schema()["additionalProperties"], false);
        }
        assert!(ReadSchema::of(Map::new()).is_none());
    }
}
