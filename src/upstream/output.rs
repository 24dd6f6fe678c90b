//! From data to a result: scrubbed, cut, and checked against the tool's `output` schema.
//!
//! The `jsonschema` crate does the checking: the schema is the operator's own, of any draft and
//! shape, and nobody but the operator reads the message.

use std::collections::HashMap;
use std::sync::Arc;

use jsonschema::Validator;
use parking_lot::RwLock;
use serde_json::{Map, Value};

use super::scrub::Scrubber;
use super::truncate;
use crate::model::event::CallOutcome;
use crate::model::{ToolName, ToolResult};

type Schema = Arc<Map<String, Value>>;

/// All that makes a result of data, so that it can be taken to another thread.
pub(super) struct Finish {
    pub(super) scrubber: Arc<Scrubber>,
    pub(super) validators: Arc<Validators>,
    pub(super) schema: Option<Schema>,
    pub(super) max_chars: usize,
    pub(super) tool: ToolName,
}

impl Finish {
    /// # Errors
    /// The data is not what the tool promises; in words.
    pub(super) fn result(&self, mut value: Value) -> Result<ToolResult, String> {
        let mut text = truncate::write(&value);
        // Before cutting: a secret cut in two would not be found any more.
        if self.scrubber.concerns(&text) {
            value = self.scrubber.value(value);
            text = truncate::write(&value);
        }
        let Some(schema) = &self.schema else {
            let fitted = truncate::fit(value, text, self.max_chars);
            return Ok(ToolResult::text(match fitted.note {
                Some(note) => format!("{}\n{note}", fitted.text),
                None => fitted.text,
            }));
        };
        // All of it, since that is what the API answered: a list may miss its `minItems` only
        // because we cut it.
        if let Err(problem) = self.validators.check(schema, &value) {
            return Err(format!(
                "The request succeeded; do not repeat it. But the answer does not fit what this \
                 tool promises ({problem}): the operator must mend `select` or `output` of \
                 [tools.{}] in tools.toml.",
                self.tool
            ));
        }
        let is_cut = truncate::is_longer(&text, self.max_chars);
        let fitted = truncate::fit(value, text, self.max_chars);
        let fits = |value: &Value| !is_cut || self.validators.check(schema, value).is_ok();
        match fitted.value {
            Some(value) if fits(&value) => Ok(ToolResult {
                text: fitted.text,
                structured: Some(value),
                note: fitted.note,
                is_error: false,
                outcome: CallOutcome::Ok,
                for_operator: None,
            }),
            _ => Err(format!(
                "The request succeeded; do not repeat it as it is. But the answer is longer than \
                 {} characters, and cut to that it would not be what this tool promises. Ask for \
                 less; or the operator raises `max_chars` or narrows `select` of [tools.{}] in \
                 tools.toml.",
                self.max_chars, self.tool
            )),
        }
    }
}

/// Schemas, compiled at first use. Keyed by the schema's address; the schema is kept along, so that
/// no other ever has that address.
#[derive(Default)]
pub(super) struct Validators(RwLock<HashMap<usize, (Schema, Arc<Validator>)>>);

impl Validators {
    /// # Errors
    /// What does not fit and where, in words that quote nothing of the value.
    fn check(&self, schema: &Schema, value: &Value) -> Result<(), String> {
        let validator = self.validator(schema)?;
        let Err(error) = validator.validate(value) else { return Ok(()) };
        let place = error.instance_path().to_string();
        let place = if place.is_empty() { "the whole".to_owned() } else { format!("`{place}`") };
        Err(truncate::cut_text(&format!("{place}: {}", error.masked()), 300))
    }

    fn validator(&self, schema: &Schema) -> Result<Arc<Validator>, String> {
        let address = Arc::as_ptr(schema).addr();
        if let Some((_, validator)) = self.0.read().get(&address) {
            return Ok(Arc::clone(validator));
        }
        let whole = Value::Object(Map::clone(schema));
        let validator = jsonschema::validator_for(&whole)
            .map_err(|error| format!("`output` is not a JSON Schema: {error}"))?;
        let validator = Arc::new(validator);
        self.0.write().insert(address, (Arc::clone(schema), Arc::clone(&validator)));
        Ok(validator)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_result_fits_or_the_place_is_named() {
        let schema = json!({"type": "object", "properties": {"id": {"type": "string"}}});
        let schema = Arc::new(schema.as_object().expect("an object").clone());
        let validators = Validators::default();
        assert_eq!(validators.check(&schema, &json!({"id": "a"})), Ok(()));
        let problem = validators.check(&schema, &json!({"id": 4711})).expect_err("a number");
        assert!(problem.contains("/id") && problem.contains("string"), "{problem}");
        assert!(!problem.contains("4711"), "{problem}");
    }

    #[test]
    fn a_broken_schema_is_told() {
        let schema = json!({"type": 5});
        let schema = Arc::new(schema.as_object().expect("an object").clone());
        let problem = Validators::default().check(&schema, &json!(1)).expect_err("no schema");
        assert!(problem.contains("`output`"), "{problem}");
    }

    fn finish(schema: &Value, max_chars: usize) -> Finish {
        Finish {
            scrubber: Arc::default(),
            validators: Arc::default(),
            schema: schema.as_object().cloned().map(Arc::new),
            max_chars,
            tool: ToolName::new("acme_tool"),
        }
    }

    #[test]
    fn what_is_cut_is_the_same_data_in_both_places_and_says_so_beside() {
        let whole = json!({"ids": (0..5000).collect::<Vec<_>>()});
        let result = finish(&json!({"type": "object"}), 1000).result(whole).expect("it fits");
        assert_eq!(serde_json::from_str(&result.text).ok(), result.structured);
        assert!(result.note.is_some_and(|note| note.contains(" of 5000 shown")));
    }

    #[test]
    fn cutting_is_not_blamed_on_the_schema() {
        let many = json!({"type": "object", "properties": {"ids": {"minItems": 5000}}});
        let whole = json!({"ids": (0..5000).collect::<Vec<_>>()});
        let problem = finish(&many, 1000).result(whole).expect_err("too long");
        assert!(problem.contains("`max_chars`") && !problem.contains("`output`"), "{problem}");
        let problem = finish(&many, 1000).result(json!({"ids": [1]})).expect_err("too few");
        assert!(problem.contains("`output`"), "{problem}");
        // Nothing in it can be cut.
        let wide: Value = (0..500).map(|n| (format!("key{n}"), json!(n))).collect();
        let problem = finish(&json!({"type": "object"}), 500).result(wide).expect_err("too long");
        assert!(problem.contains("`max_chars`"), "{problem}");
    }
}
