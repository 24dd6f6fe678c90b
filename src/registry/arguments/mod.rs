//! Accepts arguments from a model: lenient in form, strict in meaning.
//!
//! Models write numbers as strings, absent values as `null` or `""`, and names in another spelling.
//! An argument with only one possible meaning is accepted; any other is refused. All problems are
//! reported at once, so that the model needs one more try and not five. `tests/it/mistakes.rs`
//! lists the kinds of mistakes and their results.
//!
//! This is our own code instead of a schema validator, because of coercion and messages: a message
//! must lead a model from `"agent"` to an integer between 1 and 99, or from `repository` to `repo`.

mod absent;
mod choice;
mod coerce;
mod limits;
mod literal;
mod names;
mod words;

use serde_json::{Map, Value};

use super::schema::account;
use crate::model::Tool;
use crate::model::text::nearest;
use crate::model::tool::ACCOUNT;
use coerce::coerce;
use words::{MAX_QUOTED, missing, seen, shorten};

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
/// A message for the model that names every problem, or the size limit that was exceeded.
pub fn accept(tool: &Tool, arguments: Option<Map<String, Value>>) -> Result<Accepted, String> {
    let given = arguments.unwrap_or_default();
    limits::measure(&given)?;
    let mut given = names::resolve(tool, given);
    let mut accepted = Map::with_capacity(tool.params.len());
    let mut problems = Vec::new();
    let account = if tool.accounts { given.swap_remove(ACCOUNT) } else { None };
    let account = match account.filter(|value| !value.is_null()).map(name_of_account) {
        Some(Ok(account)) => account,
        Some(Err(problem)) => {
            problems.push(format!("`{ACCOUNT}` {problem}"));
            None
        }
        None => None,
    };
    for param in &tool.params {
        // Order does not matter here, and `remove` would shift all later entries.
        let value = given.swap_remove(&param.name).filter(|value| !value.is_null());
        let is_optional = !param.required || param.default.is_some();
        let value = value.filter(|value| !(is_optional && absent::is_absent(param, value)));
        match (value, &param.default) {
            (Some(value), _) => match coerce(param, value) {
                Ok(value) => {
                    accepted.insert(param.name.clone(), value);
                }
                Err(problem) => problems.push(format!("`{}` {problem}", param.name)),
            },
            (None, Some(default)) => {
                accepted.insert(param.name.clone(), default.clone());
            }
            (None, None) if param.required => {
                problems.push(missing(param));
            }
            (None, None) => {}
        }
    }
    for name in given.keys() {
        problems.push(unknown(tool, name));
    }
    if problems.is_empty() {
        return Ok(Accepted { arguments: accepted, account });
    }
    Err(refusal(tool.name.as_str(), &problems.join("\n- ")))
}

/// Returns the arguments of a `tools/call`; `None` for `null`, the empty list that some languages
/// write for an empty object, or a word for "no value". Also accepts an object written as a string.
///
/// # Errors
/// A message for the model if the arguments contain no object.
pub fn envelope(tool: &str, arguments: Value) -> Result<Option<Map<String, Value>>, String> {
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
    let problem = format!(
        "they must be a JSON object of names and values, `{{\"name\": value}}`, not {}",
        seen(&arguments)
    );
    Err(refusal(&shorten(tool, MAX_QUOTED), &problem))
}

fn refusal(tool: &str, problems: &str) -> String {
    format!("The arguments of {tool} were not accepted; nothing was done.\n- {problems}")
}

/// Returns the account's name; `None` also for an empty string or a word for "no value".
fn name_of_account(value: Value) -> Result<Option<String>, String> {
    let name = coerce(&account(), value)?;
    let name = name.as_str().map(str::trim).filter(|name| !absent::is_word(name));
    Ok(name.map(str::to_owned))
}

/// Returns the problem of an unknown name. `__proto__`, `_meta`, `user_id` and `access_token` are
/// unknown like any other: the caller's identity is never taken from arguments.
fn unknown(tool: &Tool, name: &str) -> String {
    let names = || tool.params.iter().map(|param| param.name.as_str());
    let shown = shorten(name, MAX_QUOTED);
    if let Some(near) = nearest(name, names()) {
        return format!("`{shown}` is not known, did you mean `{near}`?");
    }
    let all = names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if all.is_empty() {
        format!("`{shown}` is not known: this tool takes no arguments")
    } else {
        format!("`{shown}` is not known: there are {all}")
    }
}
