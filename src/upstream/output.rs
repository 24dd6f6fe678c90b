//! Checking results against a tool's `output` schema, compiled at first use.
//!
//! The `jsonschema` crate does this: the schema is the operator's own, of any draft and shape, and
//! nobody but the operator reads the message.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use jsonschema::Validator;
use serde_json::{Map, Value};

type Schema = Arc<Map<String, Value>>;

/// Keyed by the schema's address. The schema is kept along, so that no other ever has that address.
#[derive(Default)]
pub(super) struct Validators(RwLock<HashMap<usize, (Schema, Arc<Validator>)>>);

impl Validators {
    /// # Errors
    /// What does not fit and where, in words.
    pub(super) fn check(&self, schema: &Schema, value: &Value) -> Result<(), String> {
        let validator = self.validator(schema)?;
        let Err(error) = validator.validate(value) else { return Ok(()) };
        let place = error.instance_path().to_string();
        let place = if place.is_empty() { "the whole".to_owned() } else { format!("`{place}`") };
        Err(super::truncate::cut_text(&format!("{place}: {error}"), 300))
    }

    fn validator(&self, schema: &Schema) -> Result<Arc<Validator>, String> {
        let address = Arc::as_ptr(schema).addr();
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, validator)) = known.get(&address) {
            return Ok(Arc::clone(validator));
        }
        drop(known);
        let whole = Value::Object(Map::clone(schema));
        let validator = jsonschema::validator_for(&whole)
            .map_err(|error| format!("`output` is not a JSON Schema: {error}"))?;
        let validator = Arc::new(validator);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(address, (Arc::clone(schema), Arc::clone(&validator)));
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
        let problem = validators.check(&schema, &json!({"id": 1})).expect_err("a number");
        assert!(problem.contains("/id"), "{problem}");
    }

    #[test]
    fn a_broken_schema_is_told() {
        let schema = json!({"type": 5});
        let schema = Arc::new(schema.as_object().expect("an object").clone());
        let problem = Validators::default().check(&schema, &json!(1)).expect_err("no schema");
        assert!(problem.contains("`output`"), "{problem}");
    }
}
