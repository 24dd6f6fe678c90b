//! Accepts arguments from a model: lenient in form, strict in meaning.
//!
//! Models write numbers as strings, absent values as `null` or `""`, and names in another spelling.
//! An argument with only one possible meaning is accepted; any other is refused. All problems are
//! reported at once, so that the model needs one more try and not five. `tests/it/mistakes.rs`
//! lists the kinds of mistakes and their results.
//!
//! This is our own code instead of a schema validator, because of coercion and messages: a message
//! must lead a model from `"agent"` to an integer between 1 and 99, or from `repository` to `repo`.
//! The problems are values ([`InvalidArguments`]); each face writes its words from them.

mod absent;
mod choice;
mod coerce;
mod limits;
mod literal;
mod names;
mod received;
mod whole;

use serde_json::{Map, Value};

use super::schema::account;
use crate::model::arguments::{ArgumentProblem, Expected, InvalidArguments, Mismatch};
use crate::model::text::nearest;
use crate::model::tool::{ACCOUNT, Input, Param};
use crate::model::{Tool, ToolName};
use coerce::coerce;
use names::Names;
use received::{MAX_DESCRIPTION_CHARS, MAX_QUOTED_CHARS, received, shorten};

/// The accepted arguments of a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accepted {
    /// Only known names, with values of the right type and defaults filled in. Absent optional
    /// arguments stay absent.
    pub arguments: Map<String, Value>,
    /// The account to act with. It decides which credential the request carries and is never part
    /// of the request. `None` means the default account.
    pub account: Option<String>,
}

/// Checks and converts the arguments of a call.
///
/// # Errors
/// [`InvalidArguments`] with every problem, or with the size limit that was exceeded.
pub fn accept(
    tool: &Tool,
    arguments: Option<Map<String, Value>>,
) -> Result<Accepted, InvalidArguments> {
    match &tool.input {
        Input::Params(params) => accept_params(&tool.name, params, tool.accounts, arguments),
        Input::Schema(input) => whole::accept(&tool.name, input, tool.accounts, arguments),
    }
}

/// Like [`accept`], for the parameters of any tool. `accounts`: see [`Tool::accounts`].
pub(super) fn accept_params(
    tool: &ToolName,
    params: &[Param],
    accounts: bool,
    arguments: Option<Map<String, Value>>,
) -> Result<Accepted, InvalidArguments> {
    accept_each(tool, params, accounts, arguments, argument)
}

/// Like [`accept_params`]; `argument` checks and converts one argument, as [`argument()`].
fn accept_each(
    tool: &ToolName,
    params: &[Param],
    accounts: bool,
    arguments: Option<Map<String, Value>>,
    argument: impl Fn(&Param, Option<Value>) -> Result<Option<Value>, Mismatch>,
) -> Result<Accepted, InvalidArguments> {
    let given = arguments.unwrap_or_default();
    limits::measure(&given).map_err(InvalidArguments::TooLarge)?;
    let mut given = names::resolve(&Names::of(tool, params, accounts), given);
    let mut accepted = Map::with_capacity(params.len());
    let mut problems = Vec::new();
    let account = if accounts { given.swap_remove(ACCOUNT) } else { None };
    let account = account.filter(|value| !value.is_null()).and_then(|value| {
        name_of_account(value).unwrap_or_else(|mismatch| {
            problems.push(ArgumentProblem { name: ACCOUNT.to_owned(), mismatch });
            None
        })
    });
    for param in params {
        // Order does not matter here, and `remove` would shift all later entries.
        let value = given.swap_remove(&param.name);
        match argument(param, value) {
            Ok(Some(value)) => drop(accepted.insert(param.name.clone(), value)),
            Ok(None) => {}
            Err(mismatch) => problems.push(ArgumentProblem { name: param.name.clone(), mismatch }),
        }
    }
    problems.extend(given.keys().map(|name| unknown(params, name)));
    if problems.is_empty() {
        return Ok(Accepted { arguments: accepted, account });
    }
    Err(InvalidArguments::Unfit { tool: tool.clone(), problems })
}

/// Returns the value of a parameter; `None` for an optional one that is absent.
fn argument(param: &Param, value: Option<Value>) -> Result<Option<Value>, Mismatch> {
    let is_optional = !param.required || param.default.is_some();
    let value = value
        .filter(|value| !value.is_null())
        .filter(|value| !(is_optional && absent::is_absent(param, value)));
    match (value, &param.default) {
        (Some(value), _) => coerce(param, value).map(Some),
        (None, Some(default)) => Ok(Some(default.clone())),
        (None, None) if param.required => {
            let description = param.description.as_deref().map(str::trim);
            let description = description.filter(|text| !text.is_empty());
            Err(Mismatch::Missing {
                expected: Expected::from(param),
                description: description.map(|text| shorten(text, MAX_DESCRIPTION_CHARS)),
            })
        }
        (None, None) => Ok(None),
    }
}

/// Returns the arguments of a `tools/call`; `None` for `null`, the empty list that some languages
/// write for an empty object, or a word for "no value". Also accepts an object written as a string.
///
/// # Errors
/// [`InvalidArguments::NotAnObject`] if the arguments contain no object.
pub fn envelope(
    tool: &ToolName,
    arguments: Value,
) -> Result<Option<Map<String, Value>>, InvalidArguments> {
    match &arguments {
        Value::Null => return Ok(None),
        Value::Array(items) if items.is_empty() => return Ok(None),
        Value::String(text) if absent::is_word(text) => return Ok(None),
        Value::String(text) => match literal::parsed(text) {
            Some(Value::Object(object)) => return Ok(Some(object)),
            Some(Value::Array(items)) if items.is_empty() => return Ok(None),
            _ => {}
        },
        _ => {}
    }
    if let Value::Object(object) = arguments {
        return Ok(Some(object));
    }
    Err(InvalidArguments::NotAnObject { tool: tool.clone(), received: received(&arguments) })
}

/// Returns the account's name; `None` also for an empty string or a word for "no value".
fn name_of_account(value: Value) -> Result<Option<String>, Mismatch> {
    let name = coerce(&account(), value)?;
    let name = name.as_str().map(str::trim).filter(|name| !absent::is_word(name));
    Ok(name.map(str::to_owned))
}

/// Returns the problem of an unknown name. `__proto__`, `_meta`, `user_id` and `access_token` are
/// unknown like any other: the caller's identity is never taken from arguments.
fn unknown(params: &[Param], name: &str) -> ArgumentProblem {
    let names = || params.iter().map(|param| param.name.as_str());
    let mismatch = Mismatch::Unknown {
        nearest: nearest(name, names()).map(str::to_owned),
        known: names().map(str::to_owned).collect(),
    };
    ArgumentProblem { name: shorten(name, MAX_QUOTED_CHARS), mismatch }
}
