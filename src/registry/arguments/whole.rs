//! Accepts arguments that a whole JSON Schema describes.
//!
//! Properties that are plain parameters are converted like those of any tool. The others are taken
//! as they come, or parsed from a string, and the schema judges the whole.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::literal::parsed;
use super::{Accepted, accept_each, argument};
use crate::model::ToolName;
use crate::model::arguments::{ArgumentProblem, InvalidArguments, Mismatch};
use crate::model::input_schema::SchemaInput;
use crate::model::tool::Param;
use crate::upstream::Validators;

static VALIDATORS: LazyLock<Validators> = LazyLock::new(Validators::default);

/// Like [`accept_params`](super::accept_params), for a whole schema.
pub(super) fn accept(
    tool: &ToolName,
    input: &SchemaInput,
    accounts: bool,
    arguments: Option<Map<String, Value>>,
) -> Result<Accepted, InvalidArguments> {
    let one = |param: &Param, value: Option<Value>| match value {
        Some(value) if input.is_complex(&param.name) && !value.is_null() => {
            Ok(Some(unquoted(param, value)))
        }
        value => argument(param, value),
    };
    let Accepted { arguments, account } =
        accept_each(tool, input.params(), accounts, arguments, one)?;
    let whole = Value::Object(arguments);
    let checked = VALIDATORS.check_at(input.schema(), &whole);
    let Value::Object(arguments) = whole else { return Ok(Accepted::default()) };
    match checked {
        Ok(()) => Ok(Accepted { arguments, account }),
        Err((place, why)) => {
            let name = place.trim_start_matches('/').to_owned();
            let problems = vec![ArgumentProblem { name, mismatch: Mismatch::Schema { why } }];
            Err(InvalidArguments::Unfit { tool: tool.clone(), problems })
        }
    }
}

/// Parses an object or a list that a model has written as a string.
fn unquoted(param: &Param, value: Value) -> Value {
    match &value {
        Value::String(text) if !param.is_text() => parsed(text).unwrap_or(value),
        _ => value,
    }
}
