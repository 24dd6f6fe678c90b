//! The OpenAPI document as a judge of every answer that these tests see.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use countersign::web::rest::openapi;
use jsonschema::Validator;
use serde_json::{Value, json};

const JSON: &str = "application/json";

/// A request and its answer. Bodies are as they were sent.
pub(super) struct Exchange<'a> {
    pub(super) method: &'a str,
    /// Path and query.
    pub(super) path: &'a str,
    pub(super) sent_type: Option<&'a str>,
    pub(super) sent: &'a [u8],
    pub(super) status: u16,
    pub(super) answered_type: Option<&'a str>,
    pub(super) answered: &'a [u8],
}

impl Exchange<'_> {
    /// Checks that the document describes the status, the media type and the shape of the answer;
    /// and the shape of a request that was served. It says nothing about paths and methods that
    /// have no route.
    #[track_caller]
    pub(super) fn check(&self) {
        let Some((template, operation)) = self.operation() else { return };
        let what = format!("{} {template}: {}", self.method, self.status);
        let response = &operation["responses"][self.status.to_string()];
        assert!(response.is_object(), "{what} is not in the document");
        let response = response["$ref"].as_str().map_or(response, look_up);
        match response["content"].as_object() {
            Some(content) => {
                let (media_type, described) = content.iter().next().expect("a media type");
                assert_eq!(self.answered_type.map(essence), Some(media_type.as_str()), "{what}");
                if media_type == JSON {
                    assert_fits(&what, &described["schema"], self.answered);
                }
            }
            None => assert!(self.answered.is_empty(), "{what} has a body"),
        }
        let written = &operation["requestBody"]["content"][JSON]["schema"];
        if self.status < 300 && self.sent_type.map(essence) == Some(JSON) && written.is_object() {
            assert_fits(&format!("request of {what}"), written, self.sent);
        }
    }

    /// Returns the path of the document that this path belongs to, and the method's operation.
    fn operation(&self) -> Option<(&'static str, &'static Value)> {
        let path = self.path.split('?').next().unwrap_or_default();
        let paths = openapi::document()["paths"].as_object().expect("paths");
        let fitting = paths.iter().filter(|(template, _)| is_of(template, path));
        // `/tools/batch/ready/` is also of the form `/tools/{id}/ready/`.
        let (template, methods) =
            fitting.min_by_key(|(template, _)| template.matches('{').count())?;
        let operation = methods.get(self.method.to_lowercase())?;
        Some((template.as_str(), operation))
    }
}

fn is_of(template: &str, path: &str) -> bool {
    let (parts, names) = (path.split('/'), template.split('/'));
    parts.clone().count() == names.clone().count()
        && names.zip(parts).all(|(name, part)| name.starts_with('{') || name == part)
}

fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

fn look_up(reference: &str) -> &'static Value {
    let found = openapi::document().pointer(reference.trim_start_matches('#'));
    found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

#[track_caller]
fn assert_fits(what: &str, schema: &Value, body: &[u8]) {
    let value: Value = serde_json::from_slice(body)
        .unwrap_or_else(|error| panic!("{what}: {error}: {}", String::from_utf8_lossy(body)));
    let faults: Vec<String> = validator(schema)
        .iter_errors(&value)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{what} does not fit the document: {faults:?} in {value}");
}

/// Returns the validator of a schema, built at its first use.
fn validator(schema: &Value) -> Arc<Validator> {
    static BUILT: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().expect("no test panics here");
    let validator = built.entry(schema.to_string()).or_insert_with(|| {
        let components = &openapi::document()["components"];
        let whole = json!({ "allOf": [schema], "components": components });
        Arc::new(jsonschema::draft202012::new(&whole).expect("a schema"))
    });
    Arc::clone(validator)
}

#[test]
fn an_answer_that_is_not_described_is_found_out() {
    let fits = |method, path, status, answered: &str| {
        let exchange = Exchange {
            method,
            path,
            sent_type: None,
            sent: b"",
            status,
            answered_type: Some(JSON),
            answered: answered.as_bytes(),
        };
        std::panic::catch_unwind(|| exchange.check()).is_ok()
    };
    assert!(fits("GET", "/v1/health", 200, r#"{"healthy": true}"#));
    assert!(!fits("GET", "/v1/health", 200, r#"{"healthy": "yes"}"#));
    assert!(!fits("GET", "/v1/health", 200, "healthy"));
    assert!(!fits("GET", "/v1/health", 418, r#"{"healthy": true}"#));
    let error = r#"{"error": "not_found", "detail": "there is no such plan"}"#;
    assert!(fits("GET", "/api/v0/plans/plan-1/?x=1", 404, error));
    assert!(!fits("GET", "/v1/tools/x", 404, error));
    assert!(!fits("DELETE", "/v1/admin/secrets/x", 204, "{}"));
}
