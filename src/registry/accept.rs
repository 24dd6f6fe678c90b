//! Taking arguments from a model: forgiving in form, strict in meaning.
//!
//! Models write numbers as texts, texts as numbers and absent values as `null`. What can only be
//! meant one way is taken that way; anything else is refused, and all problems are told at once, so
//! that the model needs one more try and not five.
//!
//! This is our own code rather than a schema validator, because of coercion and because of the
//! messages: a model reads them and has to find its way back from `"agent"` to an integer between 1
//! and 99, or from `repository` to `repo`.

use serde_json::{Map, Number, Value};

use super::schema::{account, item_name, kind_name, number};
use crate::model::Tool;
use crate::model::text::nearest;
use crate::model::tool::{ACCOUNT, Item, Kind, Param};

/// Most bytes of text in all arguments together.
const MOST_TEXT: usize = 1024 * 1024;
const DEEPEST: usize = 64;
/// Most items and entries in all arguments together.
const MOST_ITEMS: usize = 10_000;

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
    let mut given = arguments.unwrap_or_default();
    measure(&given)?;
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
                problems.push(format!("`{}` is missing: {}", param.name, wanted(param)));
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
    Err(format!(
        "The arguments of {} were not accepted; nothing was done.\n- {}",
        tool.name,
        problems.join("\n- ")
    ))
}

/// Models say "no account in particular" by an empty text too.
fn name_of_account(value: Value) -> Result<Option<String>, String> {
    let name = coerce(&account(), value)?;
    let name = name.as_str().map(str::trim).filter(|name| !name.is_empty());
    Ok(name.map(str::to_owned))
}

/// `__proto__`, `_meta`, `user_id`, `access_token`: unknown names like any other. Who calls is never
/// taken from arguments.
fn unknown(tool: &Tool, name: &str) -> String {
    let names = || tool.params.iter().map(|param| param.name.as_str());
    let shown = shorten(name, 60);
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

fn coerce(param: &Param, value: Value) -> Result<Value, String> {
    let misfit = |value: &Value| format!("must be {}, not {}", wanted(param), seen(value));
    let value = match param.kind {
        Kind::String => text(value),
        Kind::Integer => integer(value),
        Kind::Number => real(value),
        Kind::Boolean => truth(value),
        Kind::Object => object(value),
        Kind::Array(item) => return list(param, item, value),
    }
    .map_err(|value| misfit(&value))?;
    match &value {
        Value::String(text) => {
            check_choice(param, text)?;
            check_count(param, text.chars().count(), "characters")?;
        }
        Value::Number(number) => check_range(param, number)?,
        _ => {}
    }
    Ok(value)
}

/// A text, or a number or truth value that somebody forgot to quote.
fn text(value: Value) -> Result<Value, Value> {
    match value {
        Value::String(_) => Ok(value),
        Value::Number(_) | Value::Bool(_) => Ok(Value::String(value.to_string())),
        other => Err(other),
    }
}

/// `10`, `10.0` and `"10"`. Integers are kept to the digit: a float beyond 2^53 stands for several
/// integers, and none of them is known to be meant.
fn integer(value: Value) -> Result<Value, Value> {
    match &value {
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok(value),
        Value::Number(number) => whole(number.as_f64()).ok_or(value),
        Value::String(text) => {
            let digits = text.trim();
            if let Ok(int) = digits.parse::<i64>() {
                return Ok(int.into());
            }
            if let Ok(int) = digits.parse::<u64>() {
                return Ok(int.into());
            }
            whole(decimal(digits)).ok_or(value)
        }
        _ => Err(value),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "only whole and within ±2^53")]
fn whole(number: Option<f64>) -> Option<Value> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number = number.filter(|number| number.fract() == 0.0 && number.abs() < EXACT)?;
    Some(Value::from(number as i64))
}

/// A number in a text, as JSON writes it; `NaN`, `inf` and `1e400` are none.
fn decimal(text: &str) -> Option<f64> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn real(value: Value) -> Result<Value, Value> {
    let Value::String(text) = &value else {
        return if value.is_number() { Ok(value) } else { Err(value) };
    };
    let digits = text.trim();
    if let Ok(int) = digits.parse::<i64>() {
        return Ok(int.into());
    }
    decimal(digits).and_then(Number::from_f64).map(Value::Number).ok_or(value)
}

fn truth(value: Value) -> Result<Value, Value> {
    match &value {
        Value::Bool(_) => Ok(value),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(value),
        },
        _ => Err(value),
    }
}

/// An object, or one that was written into a text.
fn object(value: Value) -> Result<Value, Value> {
    match &value {
        Value::Object(_) => Ok(value),
        Value::String(text) => parsed(text).filter(Value::is_object).ok_or(value),
        _ => Err(value),
    }
}

/// JSON inside a text, held to the limits that the text itself has passed by.
fn parsed(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text.trim()).ok()?;
    let mut rest = Rest { text: MOST_TEXT, items: MOST_ITEMS };
    rest.take(&value, DEEPEST).ok()?;
    Some(value)
}

/// A list, one written into a text, or a lone item.
fn list(param: &Param, item: Item, value: Value) -> Result<Value, String> {
    let items = match value {
        Value::Array(items) => items,
        Value::String(text) => match parsed(&text) {
            Some(Value::Array(items)) => items,
            _ => vec![Value::String(text)],
        },
        other => vec![other],
    };
    check_count(param, items.len(), "items")?;
    let mut accepted = Vec::with_capacity(items.len());
    for (at, value) in items.into_iter().enumerate() {
        let value = match item {
            Item::String => text(value),
            Item::Integer => integer(value),
            Item::Number => real(value),
            Item::Boolean => truth(value),
            Item::Object => object(value),
        };
        let value = value.map_err(|value| {
            format!("must be {}, but item {} is {}", wanted(param), at + 1, seen(&value))
        })?;
        if let Value::String(text) = &value {
            check_choice(param, text)?;
        }
        accepted.push(value);
    }
    Ok(Value::Array(accepted))
}

fn check_choice(param: &Param, text: &str) -> Result<(), String> {
    if param.choices.is_empty() || param.choices.iter().any(|choice| choice == text) {
        return Ok(());
    }
    let near = nearest(text, param.choices.iter().map(String::as_str));
    let near = near.map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
    Err(format!("must be {}, not `{}`{near}", wanted(param), shorten(text, 60)))
}

fn check_count(param: &Param, count: usize, unit: &str) -> Result<(), String> {
    #[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
    let size = count as f64;
    match (param.min, param.max) {
        (Some(min), _) if size < min => {
            Err(format!("must have at least {min} {unit}, and has {count}"))
        }
        (_, Some(max)) if size > max => {
            Err(format!("must have at most {max} {unit}, and has {count}"))
        }
        _ => Ok(()),
    }
}

fn check_range(param: &Param, given: &Number) -> Result<(), String> {
    let value = given.as_f64().unwrap_or(f64::NAN);
    match (param.min, param.max) {
        (Some(min), _) if value < min => Err(format!("must be at least {min}, not {given}")),
        (_, Some(max)) if value > max => Err(format!("must be at most {max}, not {given}")),
        _ => Ok(()),
    }
}

/// What a parameter takes, in words: `an integer from 1 to 99`.
fn wanted(param: &Param) -> String {
    if !param.choices.is_empty() {
        let all: Vec<String> = param.choices.iter().map(|choice| format!("`{choice}`")).collect();
        let list = if matches!(param.kind, Kind::Array(_)) { "a list of " } else { "one of " };
        return format!("{list}{}", all.join(", "));
    }
    let kind = match param.kind {
        Kind::Array(item) => return format!("a list of {}s", item_name(item)),
        kind @ (Kind::Integer | Kind::Object) => format!("an {}", kind_name(kind)),
        kind => format!("a {}", kind_name(kind)),
    };
    let bound = |bound: Option<f64>| bound.and_then(number).map(|bound| bound.to_string());
    match (param.kind, bound(param.min), bound(param.max)) {
        (Kind::Integer | Kind::Number, Some(min), Some(max)) => {
            format!("{kind} from {min} to {max}")
        }
        (Kind::Integer | Kind::Number, Some(min), None) => format!("{kind} of at least {min}"),
        (Kind::Integer | Kind::Number, None, Some(max)) => format!("{kind} of at most {max}"),
        _ => kind,
    }
}

/// What came instead, short.
fn seen(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("`{value}`"),
        Value::String(text) => format!("the text `{}`", shorten(text, 60)),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn shorten(text: &str, most: usize) -> String {
    let text = text.replace(char::is_control, " ");
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// What of the limits is left.
struct Rest {
    text: usize,
    items: usize,
}

/// Refuses arguments whose size alone is an attack, before anything is done with them.
fn measure(arguments: &Map<String, Value>) -> Result<(), String> {
    let mut rest = Rest { text: MOST_TEXT, items: MOST_ITEMS };
    for (name, value) in arguments {
        rest.take_text(name)?;
        rest.take_item()?;
        rest.take(value, DEEPEST - 1)?;
    }
    Ok(())
}

impl Rest {
    fn take(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        let deeper = || depth.checked_sub(1).ok_or("The arguments nest more than 64 levels deep.");
        match value {
            Value::String(text) => self.take_text(text),
            Value::Array(items) => {
                let depth = deeper()?;
                items.iter().try_for_each(|item| {
                    self.take_item()?;
                    self.take(item, depth)
                })
            }
            Value::Object(entries) => {
                let depth = deeper()?;
                entries.iter().try_for_each(|(key, value)| {
                    self.take_text(key)?;
                    self.take_item()?;
                    self.take(value, depth)
                })
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }

    fn take_text(&mut self, text: &str) -> Result<(), String> {
        self.text = self
            .text
            .checked_sub(text.len())
            .ok_or("The arguments have more than 1 MiB of text.")?;
        Ok(())
    }

    fn take_item(&mut self) -> Result<(), String> {
        self.items =
            self.items.checked_sub(1).ok_or("The arguments have more than 10,000 items.")?;
        Ok(())
    }
}
