//! The OpenAPI 3.1 document of the REST faces: `GET /openapi.json`, `countersign schema --openapi`.
//!
//! Its schemas come from the types that parse requests and write answers, so it cannot say anything
//! else than they do. It is the same for every reader: it names no tool and no user.

mod arcade;
mod operation;
mod portia;

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use schemars::generate::{Contract, SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::answer::{ArcadeError, PortiaError};
use crate::model::face::Face;
pub(in crate::web) use operation::Operation;

pub(in crate::web) const PATH: &str = "/openapi.json";
/// Place of the schemas in the document.
const SCHEMAS: &str = "/components/schemas";
/// Name of the one security scheme.
const KEY: &str = "key";

/// Makes the schemas of types, and collects those that they refer to.
struct Schemas {
    written: SchemaGenerator,
    answered: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let generator = |contract| {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = SCHEMAS.into();
            settings.meta_schema = None;
            settings.contract = contract;
            settings.into_generator()
        };
        Self { written: generator(Contract::Deserialize), answered: generator(Contract::Serialize) }
    }

    /// Schema of a type that clients write.
    fn written<T: JsonSchema>(&mut self) -> Schema {
        self.written.subschema_for::<T>()
    }

    /// Schema of a type that the server answers with.
    fn answered<T: JsonSchema>(&mut self) -> Schema {
        self.answered.subschema_for::<T>()
    }

    /// All schemas by name.
    fn collected(mut self) -> Map<String, Value> {
        let mut all = self.written.take_definitions(false);
        all.extend(self.answered.take_definitions(false));
        all.sort_keys();
        all
    }
}

/// All operations, and the document about them.
struct Api {
    operations: Vec<Operation>,
    document: Value,
}

static API: LazyLock<Api> = LazyLock::new(Api::new);

impl Api {
    fn new() -> Self {
        let mut schemas = Schemas::new();
        let operations: Vec<Operation> = arcade::operations(&mut schemas)
            .into_iter()
            .chain(portia::operations(&mut schemas))
            .collect();
        let mut paths = Map::new();
        for operation in &operations {
            let path = paths.entry(operation.path).or_insert_with(|| json!({}));
            if let Value::Object(path) = path {
                path.insert(operation.method.as_str().to_lowercase(), operation.describe());
            }
        }
        let errors = [schemas.answered::<ArcadeError>(), schemas.answered::<PortiaError>()];
        let tags = [Face::Arcade, Face::Portia].map(|face| json!({ "name": tag(face) }));
        let document = json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Countersign",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "Tools that act with a user's own accounts, for the clients of Arcade and of Portia.",
            },
            "servers": [{ "url": "/" }],
            "tags": tags,
            "security": [{ KEY: [] }],
            "paths": paths,
            "components": {
                "securitySchemes": { KEY: {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "The key alone, or `Bearer` and the key.",
                } },
                "responses": responses(errors),
                "schemas": schemas.collected(),
            },
        });
        Self { operations, document }
    }
}

/// Name of a contract's operations, and of its error.
fn tag(face: Face) -> &'static str {
    match face {
        Face::Arcade => "arcade",
        Face::Portia => "portia",
    }
}

/// The errors of the two contracts.
fn responses(errors: [Schema; 2]) -> Map<String, Value> {
    let faces = [Face::Arcade, Face::Portia].map(tag);
    let response = |(name, error): (&str, Schema)| {
        let content = json!({ "application/json": { "schema": error } });
        (name.to_owned(), json!({ "description": "An error.", "content": content }))
    };
    faces.into_iter().zip(errors).map(response).collect()
}

/// Operations of the REST faces, in the order of the document.
pub fn operations() -> &'static [Operation] {
    &API.operations
}

/// The document.
pub fn document() -> &'static Value {
    &API.document
}

/// Answers with the document.
pub(in crate::web) async fn show() -> Response {
    static BODY: LazyLock<Bytes> =
        LazyLock::new(|| Bytes::from(serde_json::to_vec(document()).unwrap_or_default()));
    ([(CONTENT_TYPE, "application/json")], BODY.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::web::routes::{Access, ROUTES, RouteMethod};

    #[test]
    fn every_route_of_the_faces_is_described_and_no_other() {
        let routes: BTreeSet<(String, &str)> = ROUTES
            .iter()
            .filter(|route| {
                let is_of_a_face = matches!(
                    route.access,
                    Access::Rest | Access::RestAdmin | Access::RestDeposit | Access::Ticket
                );
                is_of_a_face || route.path.starts_with("/v1/")
            })
            .map(|route| {
                let method = match route.method {
                    RouteMethod::Get => "GET",
                    RouteMethod::Post => "POST",
                    RouteMethod::Put => "PUT",
                    RouteMethod::Patch => "PATCH",
                    RouteMethod::Delete => "DELETE",
                    other => panic!("{other:?}"),
                };
                (method.to_owned(), route.path)
            })
            .collect();
        let described: BTreeSet<(String, &str)> =
            operations().iter().map(|it| (it.method.to_string(), it.path)).collect();
        assert_eq!(described, routes);
    }

    #[test]
    fn an_operation_has_one_id() {
        let mut ids = BTreeSet::new();
        assert!(operations().iter().all(|operation| ids.insert(operation.id)));
    }

    /// A name of a schema means the same in requests and in answers.
    #[test]
    fn no_name_has_two_schemas() {
        let mut schemas = Schemas::new();
        arcade::operations(&mut schemas);
        portia::operations(&mut schemas);
        let written = schemas.written.take_definitions(false);
        let answered = schemas.answered.take_definitions(false);
        for (name, schema) in &written {
            if let Some(other) = answered.get(name) {
                assert_eq!(schema, other, "{name}");
            }
        }
        // The generator numbers the second of two types of one name.
        for names in [&written, &answered] {
            let is_second =
                |name: &String| names.contains_key(name.strip_suffix('2').unwrap_or_default());
            assert!(!names.keys().any(is_second), "{:?}", names.keys());
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn check(value: &Value) {
            match value {
                Value::Object(object) => {
                    if let Some(Value::String(target)) = object.get("$ref") {
                        let pointer = target.trim_start_matches('#');
                        assert!(document().pointer(pointer).is_some(), "{target}");
                    }
                    object.values().for_each(check);
                }
                Value::Array(items) => items.iter().for_each(check),
                _ => {}
            }
        }
        check(document());
    }
}
