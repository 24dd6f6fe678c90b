//! One operation of the document.

use axum::http::{Method, StatusCode};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::{Schemas, tag};
use crate::model::face::Face;

/// Errors of every operation whose caller has a key.
const ERRORS: [StatusCode; 6] = [
    StatusCode::BAD_REQUEST,
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::MISDIRECTED_REQUEST,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::SERVICE_UNAVAILABLE,
];
/// Further errors of operations that read a body.
const BODY_ERRORS: [StatusCode; 3] = [
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
];

/// A method of a path, and what it takes and answers.
pub struct Operation {
    /// The contract to which it belongs.
    pub face: Face,
    /// Method of the request.
    pub method: Method,
    /// With `{name}` for a segment that varies.
    pub path: &'static str,
    /// Name for generated clients.
    pub id: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Schemas of variable segments that take less than any text.
    variables: Vec<(&'static str, Value)>,
    query: Vec<Value>,
    body: Option<(&'static str, Value)>,
    answers: Vec<(StatusCode, Option<(&'static str, Value)>)>,
    errors: Vec<StatusCode>,
    takes_key: bool,
}

impl Operation {
    /// Creates an operation of a face. A path with a variable segment may name nothing (404).
    pub(super) fn new(
        face: Face,
        method: Method,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        let mut errors = ERRORS.to_vec();
        if path.contains('{') {
            errors.push(StatusCode::NOT_FOUND);
        }
        Self {
            face,
            method,
            path,
            id,
            summary,
            variables: Vec::new(),
            query: Vec::new(),
            body: None,
            answers: Vec::new(),
            errors,
            takes_key: true,
        }
    }

    /// Sets the regular expression of a variable segment.
    pub(super) fn variable(mut self, name: &'static str, pattern: &str) -> Self {
        self.variables.push((name, json!({ "type": "string", "pattern": pattern })));
        self
    }

    /// Adds a parameter of the query. `schema` is its JSON Schema.
    #[expect(clippy::needless_pass_by_value, reason = "callers write the schema in place")]
    pub(super) fn query(mut self, name: &str, schema: Value, description: &str) -> Self {
        self.query.push(json!({
            "name": name, "in": "query", "description": description, "schema": schema,
        }));
        self
    }

    /// As [`Self::query`], for a list that commas separate.
    pub(super) fn list_in_query(self, name: &str, schema: Value, description: &str) -> Self {
        let mut with = self.query(name, schema, description);
        if let Some(Value::Object(parameter)) = with.query.last_mut() {
            parameter.insert("explode".into(), false.into());
        }
        with
    }

    /// As [`Self::query`], for a parameter whose value is JSON.
    #[expect(clippy::needless_pass_by_value, reason = "callers write the schema in place")]
    pub(super) fn json_in_query(mut self, name: &str, schema: Value, description: &str) -> Self {
        let content = json!({ "application/json": { "schema": schema } });
        self.query.push(json!({
            "name": name, "in": "query", "description": description, "content": content,
        }));
        self
    }

    /// As [`Self::query`], for a parameter that must be there.
    pub(super) fn required_query(self, name: &str, schema: Value, description: &str) -> Self {
        let mut with = self.query(name, schema, description);
        if let Some(Value::Object(parameter)) = with.query.last_mut() {
            parameter.insert("required".into(), true.into());
        }
        with
    }

    /// Sets the body: JSON of this type.
    pub(super) fn body<T: JsonSchema>(self, schemas: &mut Schemas) -> Self {
        let schema = schemas.written::<T>();
        self.body_as("application/json", schema.to_value())
    }

    /// Sets the body: another media type.
    pub(super) fn body_as(mut self, media_type: &'static str, schema: Value) -> Self {
        self.body = Some((media_type, schema));
        self.errors.extend(BODY_ERRORS);
        self
    }

    /// Adds an answer: JSON of this type.
    pub(super) fn answer<T: JsonSchema>(self, status: StatusCode, schemas: &mut Schemas) -> Self {
        let schema: Schema = schemas.answered::<T>();
        self.answer_as(status, "application/json", schema.to_value())
    }

    /// Adds an answer: another media type.
    pub(super) fn answer_as(
        mut self,
        status: StatusCode,
        media_type: &'static str,
        schema: Value,
    ) -> Self {
        self.answers.push((status, Some((media_type, schema))));
        self
    }

    /// Adds an answer without a body.
    pub(super) fn empty(mut self, status: StatusCode) -> Self {
        self.answers.push((status, None));
        self
    }

    /// Adds errors of this operation alone.
    pub(super) fn errors(mut self, statuses: &[StatusCode]) -> Self {
        self.errors.extend_from_slice(statuses);
        self
    }

    /// Marks an operation for which no key is needed.
    pub(super) fn without_key(mut self) -> Self {
        self.takes_key = false;
        let needs_key = [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS];
        self.errors.retain(|status| !needs_key.contains(status));
        self
    }

    /// Marks an operation whose answer is the same for all callers.
    pub(super) fn for_anyone(mut self) -> Self {
        self.takes_key = false;
        self.errors.clear();
        self
    }

    /// Writes the Operation Object.
    pub(in crate::web) fn describe(&self) -> Value {
        let mut parameters: Vec<Value> = variables(self.path)
            .map(|name| {
                let own = self.variables.iter().find(|(known, _)| *known == name);
                let schema = own.map_or_else(
                    || json!({ "type": "string", "minLength": 1 }),
                    |(_, schema)| schema.clone(),
                );
                json!({ "name": name, "in": "path", "required": true, "schema": schema })
            })
            .collect();
        parameters.extend(self.query.iter().cloned());
        let described = [
            ("operationId", json!(self.id)),
            ("summary", json!(self.summary)),
            ("tags", json!([tag(self.face)])),
            ("parameters", json!(parameters)),
        ];
        let mut written: Map<String, Value> =
            described.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        if let Some((media_type, schema)) = &self.body {
            let content = json!({ *media_type: { "schema": schema } });
            let body = json!({ "required": true, "content": content });
            written.insert("requestBody".to_owned(), body);
        }
        written.insert("responses".to_owned(), Value::Object(self.responses()));
        if !self.takes_key {
            written.insert("security".to_owned(), json!([]));
        }
        Value::Object(written)
    }

    fn responses(&self) -> Map<String, Value> {
        let words = |status: StatusCode| status.canonical_reason().unwrap_or_default();
        let answers = self.answers.iter().map(|(status, content)| {
            let description = words(*status);
            let response = match content {
                Some((media_type, schema)) => {
                    let content = json!({ *media_type: { "schema": schema } });
                    json!({ "description": description, "content": content })
                }
                None => json!({ "description": description }),
            };
            (status.as_str().to_owned(), response)
        });
        let error = format!("#/components/responses/{}", tag(self.face));
        let mut errors = self.errors.clone();
        errors.sort();
        // An answer of this status was described with its own body.
        errors.retain(|status| self.answers.iter().all(|(answer, _)| answer != status));
        let errors =
            errors.iter().map(|status| (status.as_str().to_owned(), json!({ "$ref": error })));
        answers.chain(errors).collect()
    }
}

/// Names of the variable segments of a path.
fn variables(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}
