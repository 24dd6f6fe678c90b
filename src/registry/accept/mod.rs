//! Taking arguments from a model: forgiving in form, strict in meaning.
//!
//! Models write numbers as texts, absent values as `null` or `""`, and names in another spelling. What
//! can only be meant one way is taken that way; anything else is refused, and all problems are told
//! at once, so that the model needs one more try and not five. `tests/it/mistakes.rs` lists the kinds
//! of mistakes with what comes of each.
//!
//! This is our own code rather than a schema validator, because of coercion and because of the
//! messages: a model reads them and has to find its way back from `"agent"` to an integer between 1
//! and 99, or from `repository` to `repo`.

mod absent;
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

/// Arguments that a tool takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accepted {
    /// Known names only, of the right type, defaults filled in. Absent optional ones stay absent.
    pub arguments: Map<String, Value>,
    /// The account to act with; it decides whose credential the request carries and is never part
    /// of the request. `None`: the default one.
    pub account: Option<String>,
}

/// Takes the arguments of a call.
///
/// # Errors
/// One message for a model that names every problem.
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
        // Order does not matter here, and `remove` would shift all that follow.
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

/// The arguments of a `tools/call` that are no JSON object: nothing, the empty list that some languages
/// write for an empty object, or an object written into a text.
///
/// # Errors
/// A message for a model.
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

/// The account's name; `None` also for an empty text or a word for "no value".
fn name_of_account(value: Value) -> Result<Option<String>, String> {
    let name = coerce(&account(), value)?;
    let name = name.as_str().map(str::trim).filter(|name| !absent::is_word(name));
    Ok(name.map(str::to_owned))
}

/// `__proto__`, `_meta`, `user_id`, `access_token`: unknown names like any other. Who calls is never
/// taken from arguments.
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
