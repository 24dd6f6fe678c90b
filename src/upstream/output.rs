//! Turns data into a result: scrubs it, truncates it and checks it against the tool's `output`
//! schema.
//!
//! The `jsonschema` crate does the checking: the operator writes the schema, in any draft and
//! shape, and only the operator can act on the message.

use std::collections::HashMap;
use std::sync::Arc;

use jsonschema::Validator;
use parking_lot::RwLock;
use serde_json::{Map, Value};

use super::scrub::Scrubber;
use super::truncate::{self, Fitted};
use crate::model::result::{Misfit, Remark, ResultBlock};
use crate::model::{ToolName, ToolResult, Unfit};

pub(super) type Schema = Arc<Map<String, Value>>;

/// Owned inputs for turning data into a result, so that the work can move to another thread.
pub(super) struct Finish {
    pub(super) scrubber: Arc<Scrubber>,
    pub(super) validators: Arc<Validators>,
    pub(super) schema: Option<Schema>,
    pub(super) max_chars: usize,
    pub(super) paging: truncate::Paging,
    pub(super) tool: ToolName,
    /// How the response deviates from its format.
    pub(super) remark: Option<Remark>,
    /// Host of the API.
    pub(super) host: String,
    /// Whether `select` produced the data.
    pub(super) is_filtered: bool,
}

impl Finish {
    /// Returns the data as text, and also as structured content if the tool has an output schema
    /// and the data matches it.
    ///
    /// Data that does not match is still shown, as a text, see [`ToolResult::unfit`].
    pub(super) fn result(self, mut value: Value) -> ToolResult {
        let mut text = truncate::write(&value);
        // Scrub before truncating: a secret cut in two would no longer be found.
        if self.scrubber.concerns(&text, self.is_filtered) {
            value = self.scrubber.value(value);
            text = truncate::write(&value);
        }
        let Some(schema) = &self.schema else {
            let fitted = truncate::fit(value, text, self.max_chars, &self.paging);
            let (remarks, host) = (self.remark.into_iter().collect(), Some(self.host));
            return ToolResult { remarks, host, ..ToolResult::text(beside(fitted)) };
        };
        // Check the whole value, as the API sent it: truncation alone could take a list below its
        // `minItems`.
        if let Err(problem) = self.validators.check(schema, &value) {
            let fitted = truncate::fit(value, text, self.max_chars, &self.paging);
            return self.unfit(fitted, Misfit::Schema(problem), "`select` or `output`");
        }
        let is_cut = truncate::is_longer(&text, self.max_chars);
        let fitted = truncate::fit(value, text, self.max_chars, &self.paging);
        let fits = |value: &Value| !is_cut || self.validators.check(schema, value).is_ok();
        if fitted.value.as_ref().is_some_and(fits) {
            return ToolResult {
                content: vec![ResultBlock::Text(fitted.text)],
                structured: fitted.value,
                remarks: self.remark.into_iter().chain(fitted.note.map(Remark::Cut)).collect(),
                host: Some(self.host),
                unfit: None,
            };
        }
        let problem = Misfit::Cut(self.max_chars);
        self.unfit(fitted, problem, "`max_chars` or `select`")
    }

    fn unfit(self, fitted: Fitted, problem: Misfit, keys: &str) -> ToolResult {
        let hint = format!("change {keys} of [tools.{}] in tools.toml", self.tool);
        ToolResult {
            content: vec![ResultBlock::Text(beside(fitted))],
            structured: None,
            remarks: self.remark.into_iter().collect(),
            host: Some(self.host),
            unfit: Some(Unfit { problem, for_operator: Some(hint) }),
        }
    }
}

fn beside(fitted: Fitted) -> String {
    match fitted.note {
        Some(note) => format!("{}\n{note}", fitted.text),
        None => fitted.text,
    }
}

/// Schemas, compiled at first use and keyed by address. Each entry keeps its schema alive, so that
/// no other schema can get the same address.
#[derive(Default)]
pub struct Validators(RwLock<HashMap<usize, (Schema, Arc<Validator>)>>);

impl Validators {
    /// Checks a value against a schema.
    ///
    /// # Errors
    /// The mismatch and its place, without quoting the value; or why `output` is not a JSON Schema.
    fn check(&self, schema: &Schema, value: &Value) -> Result<(), String> {
        self.check_at(schema, value).map_err(|(place, why)| {
            let place =
                if place.is_empty() { "the whole".to_owned() } else { format!("`{place}`") };
            truncate::cut_text(&format!("{place}: {why}"), 300)
        })
    }

    /// Like `check`; returns the place of the mismatch, a JSON Pointer, beside it.
    ///
    /// # Errors
    /// As `check`.
    pub fn check_at(&self, schema: &Schema, value: &Value) -> Result<(), (String, String)> {
        let validator = self.validator(schema).map_err(|why| (String::new(), why))?;
        let Err(error) = validator.validate(value) else { return Ok(()) };
        Err((
            error.instance_path().to_string(),
            truncate::cut_text(&error.masked().to_string(), 300),
        ))
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

    fn text(result: &ToolResult) -> &str {
        let [ResultBlock::Text(text)] = &result.content[..] else { panic!("{result:?}") };
        text
    }

    fn finish(schema: &Value, max_chars: usize) -> Finish {
        Finish {
            scrubber: Arc::default(),
            validators: Arc::default(),
            schema: schema.as_object().cloned().map(Arc::new),
            max_chars,
            paging: truncate::Paging::default(),
            tool: ToolName::new("acme_tool"),
            remark: None,
            host: "api.acme.example".into(),
            is_filtered: false,
        }
    }

    #[test]
    fn what_is_cut_is_the_same_data_in_both_places_and_says_so_beside() {
        let whole = json!({"ids": (0..5000).collect::<Vec<_>>()});
        let result = finish(&json!({"type": "object"}), 1000).result(whole);
        assert_eq!(result.unfit, None);
        assert_eq!(serde_json::from_str(text(&result)).ok(), result.structured);
        let [Remark::Cut(note)] = &result.remarks[..] else { panic!("{result:?}") };
        assert!(note.contains(" of 5000 shown"), "{note}");
    }

    #[test]
    fn an_answer_that_breaks_the_promise_is_shown_as_a_text() {
        let schema = json!({"type": "object", "properties": {"id": {"type": "string"}}});
        let result = finish(&schema, 1000).result(json!({"id": 5, "name": "ana"}));
        assert_eq!(text(&result), r#"{"id":5,"name":"ana"}"#);
        assert_eq!(result.structured, None);
        let unfit = result.unfit.expect("it does not fit");
        assert!(
            matches!(&unfit.problem, Misfit::Schema(why) if why.contains("`/id`")),
            "{unfit:?}"
        );
        assert!(unfit.for_operator.is_some_and(|hint| hint.contains("`output`")));
        // A response that is not JSON.
        let result = finish(&schema, 1000).result(json!("<not json>"));
        assert_eq!((text(&result), result.unfit.is_some()), ("<not json>", true));
    }

    #[test]
    fn cutting_is_not_blamed_on_the_schema() {
        let many = json!({"type": "object", "properties": {"ids": {"minItems": 5000}}});
        let whole = json!({"ids": (0..5000).collect::<Vec<_>>()});
        let hint = |result: ToolResult| {
            assert_eq!(result.structured, None);
            result.unfit.and_then(|unfit| unfit.for_operator).expect("a hint")
        };
        let result = finish(&many, 1000).result(whole);
        assert!(text(&result).starts_with("{\"ids\":[0,1,2"), "{result:?}");
        let problem = hint(result);
        assert!(problem.contains("`max_chars`") && !problem.contains("`output`"), "{problem}");
        let problem = hint(finish(&many, 1000).result(json!({"ids": [1]})));
        assert!(problem.contains("`output`"), "{problem}");
        // No part of it can be truncated.
        let wide: Value = (0..500).map(|n| (format!("key{n}"), json!(n))).collect();
        let problem = hint(finish(&json!({"type": "object"}), 500).result(wide));
        assert!(problem.contains("`max_chars`"), "{problem}");
    }
}
