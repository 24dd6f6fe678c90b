//! The types of our clients, `clients/python` and `clients/typescript`, are made from the OpenAPI
//! document: those that the operations of [`OPERATIONS`] need.
//!
//! `COUNTERSIGN_UPDATE_SNAPSHOTS=1 cargo test --test it -- client_types` writes them anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use countersign::web::rest::openapi;
use serde_json::Value;

use crate::command::package;
use crate::snapshot::hold_file;

/// Operations that the clients call.
const OPERATIONS: [&str; 7] = [
    "askRequirements",
    "authorizationStatus",
    "authorize",
    "authorizeTool",
    "endConnection",
    "executeTool",
    "listConnections",
];

/// A string that is a secret: a client must not show it by accident.
const SECRET: &str = "HandedOutToken";

const SCHEMAS: &str = "#/components/schemas/";
const RESPONSES: &str = "#/components/responses/";

/// Whether a program sends a type or receives it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Sent,
    Received,
}

/// The document, and the named schemas of it that the clients need.
struct Api<'a> {
    document: &'a Value,
    used: BTreeMap<&'a str, Direction>,
}

impl<'a> Api<'a> {
    fn of(document: &'a Value) -> Self {
        let mut api = Self { document, used: BTreeMap::new() };
        let paths = document["paths"].as_object().unwrap().values();
        let operations = paths.flat_map(|path| path.as_object().unwrap().values());
        let mut found = 0;
        for operation in operations {
            if OPERATIONS.iter().any(|id| operation["operationId"] == *id) {
                api.collect(&operation["requestBody"], Direction::Sent);
                api.collect(&operation["responses"], Direction::Received);
                found += 1;
            }
        }
        assert_eq!(found, OPERATIONS.len(), "an operation of the clients is gone");
        api
    }

    /// Adds every schema that a part of the document refers to.
    fn collect(&mut self, part: &'a Value, direction: Direction) {
        match part {
            Value::Object(fields) => {
                if let Some(Value::String(target)) = fields.get("$ref") {
                    if let Some(name) = target.strip_prefix(SCHEMAS) {
                        if self.used.insert(name, direction).is_none() {
                            self.collect(self.schema(name), direction);
                        }
                    } else if let Some(name) = target.strip_prefix(RESPONSES) {
                        let response = &self.document["components"]["responses"][name];
                        self.collect(response, direction);
                    }
                }
                fields.values().for_each(|value| self.collect(value, direction));
            }
            Value::Array(items) => items.iter().for_each(|item| self.collect(item, direction)),
            _ => {}
        }
    }

    fn schema(&self, name: &str) -> &'a Value {
        &self.document["components"]["schemas"][name]
    }
}

#[test]
fn the_types_of_the_clients_are_current() {
    let api = Api::of(openapi::document());
    hold_file(&package("clients/python/src/countersign/types.py"), &python(&api));
    hold_file(&package("clients/typescript/src/types.ts"), &typescript(&api));
}

/// Words of a language for the types of JSON.
struct Words {
    any: &'static str,
    string: &'static str,
    integer: &'static str,
    number: &'static str,
    boolean: &'static str,
    null: &'static str,
    list: fn(&str) -> String,
    map: fn(&str) -> String,
}

const PYTHON: Words = Words {
    any: "Any",
    string: "str",
    integer: "int",
    number: "float",
    boolean: "bool",
    null: "None",
    list: |item| format!("list[{item}]"),
    map: |value| format!("dict[str, {value}]"),
};

const TYPESCRIPT: Words = Words {
    any: "unknown",
    string: "string",
    integer: "number",
    number: "number",
    boolean: "boolean",
    null: "null",
    list: |item| format!("Array<{item}>"),
    map: |value| format!("Record<string, {value}>"),
};

impl Words {
    /// Returns the type of a schema that has no name.
    fn type_of(&self, schema: &Value) -> String {
        if schema == &Value::Bool(true) {
            return self.any.into();
        }
        if let Some(target) = schema["$ref"].as_str() {
            return target.strip_prefix(SCHEMAS).expect("a reference to a schema").into();
        }
        if let Some(choices) = schema["anyOf"].as_array() {
            return Self::union(choices.iter().map(|choice| self.type_of(choice)));
        }
        match &schema["type"] {
            Value::Array(names) => {
                Self::union(names.iter().map(|name| self.plain(name.as_str().unwrap(), schema)))
            }
            Value::String(name) => self.plain(name, schema),
            _ => panic!("a schema that no client has a type for: {schema}"),
        }
    }

    fn union(types: impl Iterator<Item = String>) -> String {
        types.collect::<Vec<_>>().join(" | ")
    }

    /// Returns the type of a schema with one `type`.
    fn plain(&self, name: &str, schema: &Value) -> String {
        match name {
            "string" => self.string.into(),
            "integer" => self.integer.into(),
            "number" => self.number.into(),
            "boolean" => self.boolean.into(),
            "null" => self.null.into(),
            "array" => (self.list)(&self.type_of(&schema["items"])),
            "object" => (self.map)(&self.type_of(&schema["additionalProperties"])),
            _ => panic!("a type that no client knows: {name}"),
        }
    }
}

/// Returns the fields of an object: name, schema, whether it is always there.
fn fields(schema: &Value) -> impl Iterator<Item = (&String, &Value, bool)> {
    let required = schema["required"].as_array();
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields.map(move |(name, schema)| {
        let is_required = required.is_some_and(|all| all.iter().any(|one| one == name));
        (name, schema, is_required)
    })
}

/// Returns the allowed texts of a schema that is a list of them.
fn allowed(schema: &Value) -> Option<Vec<String>> {
    let texts = schema["enum"].as_array()?.iter();
    Some(texts.map(|text| format!("\"{}\"", text.as_str().unwrap())).collect())
}

/// Returns the description on one line.
fn description(schema: &Value) -> Option<String> {
    let words = schema["description"].as_str()?.split_whitespace();
    Some(words.collect::<Vec<_>>().join(" "))
}

/// `not_found` as the name of a class.
fn class_name(name: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('_').map(capital).collect()
}

/// Returns `clients/python/src/countersign/types.py`.
fn python(api: &Api<'_>) -> String {
    let mut text = String::from(
        "\"\"\"Types of the server's /openapi.json. Generated by tests/it/rest/client_types.rs; do not edit.\"\"\"\n\n\
         from __future__ import annotations\n\n\
         from dataclasses import dataclass, field\n\
         from typing import Any, Literal, Required, TypedDict\n\n\
         from .errors import ApiError\n",
    );
    for (name, direction) in &api.used {
        let schema = api.schema(name);
        let about = description(schema);
        if let Some(texts) = allowed(schema) {
            let _ = writeln!(text, "\n{name} = Literal[\n    {},\n]", texts.join(",\n    "));
        } else if schema["type"] == "string" {
            let _ = writeln!(text, "\n{name} = str");
        } else {
            text.push_str(&python_class(name, schema, *direction));
            continue;
        }
        if let Some(about) = &about {
            let _ = writeln!(text, "\"\"\"{about}\"\"\"");
        }
    }
    text.push_str(&python_errors(api));
    text.replace("\n\n\n\n", "\n\n\n")
}

/// A class for each name of an error.
fn python_errors(api: &Api<'_>) -> String {
    let names = api.schema("ErrorName")["enum"].as_array().unwrap().iter();
    let names: Vec<&str> = names.map(|name| name.as_str().unwrap()).collect();
    let mut text = String::new();
    for name in &names {
        let class = class_name(name);
        let _ = write!(text, "\n\nclass {class}(ApiError):\n    \"\"\"`{name}`\"\"\"\n");
    }
    text.push_str("\n\nERRORS: dict[str, type[ApiError]] = {\n");
    for name in &names {
        let _ = writeln!(text, "    \"{name}\": {},", class_name(name));
    }
    text.push_str("}\n");
    text
}

/// A dictionary that programs send, or a class that they receive.
fn python_class(name: &str, schema: &Value, direction: Direction) -> String {
    let mut text = match direction {
        Direction::Sent => format!("\n\nclass {name}(TypedDict, total=False):\n"),
        Direction::Received => {
            format!("\n\n@dataclass(frozen=True, kw_only=True, slots=True)\nclass {name}:\n")
        }
    };
    if let Some(about) = description(schema) {
        let _ = writeln!(text, "    \"\"\"{about}\"\"\"\n");
    }
    for (field, schema, is_required) in fields(schema) {
        text.push_str(&python_field(field, schema, is_required, direction));
    }
    text.push('\n');
    text
}

fn python_field(name: &str, schema: &Value, is_required: bool, direction: Direction) -> String {
    let mut kind = PYTHON.type_of(schema);
    let is_secret = kind.contains(SECRET);
    let value = match (direction, is_required) {
        (Direction::Sent, true) => {
            kind = format!("Required[{kind}]");
            ""
        }
        (Direction::Sent, false) | (Direction::Received, true) => "",
        (Direction::Received, false) => {
            if !kind.ends_with("| None") {
                kind.push_str(" | None");
            }
            if is_secret { " = field(default=None, repr=False)" } else { " = None" }
        }
    };
    let about = description(schema);
    let about = about.map(|about| format!("    \"\"\"{about}\"\"\"\n")).unwrap_or_default();
    format!("    {name}: {kind}{value}\n{about}")
}

/// Returns `clients/typescript/src/types.ts`.
fn typescript(api: &Api<'_>) -> String {
    let mut text = String::from(
        "// Types of the server's /openapi.json. Generated by tests/it/rest/client_types.rs; do not edit.\n",
    );
    for name in api.used.keys() {
        let schema = api.schema(name);
        text.push('\n');
        text.push_str(&comment(schema, ""));
        if let Some(texts) = allowed(schema) {
            let _ = writeln!(text, "export type {name} =\n  | {};", texts.join("\n  | "));
        } else if schema["type"] == "string" {
            let _ = writeln!(text, "export type {name} = string;");
        } else {
            let _ = writeln!(text, "export interface {name} {{");
            for (field, schema, is_required) in fields(schema) {
                text.push_str(&comment(schema, "  "));
                let mark = if is_required { "" } else { "?" };
                let _ = writeln!(text, "  {field}{mark}: {};", TYPESCRIPT.type_of(schema));
            }
            text.push_str("}\n");
        }
    }
    text
}

fn comment(schema: &Value, indent: &str) -> String {
    description(schema).map(|about| format!("{indent}/** {about} */\n")).unwrap_or_default()
}
