//! Converts the value of one argument to its parameter's type.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use super::absent::is_empty_list;
use super::choice::choice_of;
use super::literal::parsed;
use super::received::{MAX_QUOTED_CHARS, received, shorten};
use crate::model::arguments::{CountedUnit, Expected, Mismatch};
use crate::model::text::nearest;
use crate::model::tool::{Item, Kind, Param};

/// Converts a value to the parameter's type.
///
/// # Errors
/// [`Mismatch`] if the value has no meaning, or more than one, for the parameter.
pub(super) fn coerce(param: &Param, value: Value) -> Result<Value, Mismatch> {
    let value = match param.kind {
        Kind::String => text(value),
        Kind::Integer => integer(value),
        Kind::Number => real(value),
        Kind::Boolean => truth(value),
        Kind::Object => object(value),
        Kind::Array(item) => return list(param, item, value),
    }
    .map_err(|value| other_type(param, &value))?;
    match value {
        Value::String(text) => {
            let text = chosen(param, text)?;
            check_count(param, text.chars().count(), CountedUnit::Characters)?;
            return Ok(Value::String(text));
        }
        Value::Number(ref number) => check_range(param, number)?,
        _ => {}
    }
    Ok(value)
}

fn other_type(param: &Param, value: &Value) -> Mismatch {
    Mismatch::Type { expected: Expected::from(param), received: received(value) }
}

/// Accepts a string, or a number or boolean without its quotes.
fn text(value: Value) -> Result<Value, Value> {
    match value {
        Value::String(_) => Ok(value),
        Value::Number(_) | Value::Bool(_) => Ok(Value::String(value.to_string())),
        other => Err(other),
    }
}

/// Accepts `10`, `10.0` and `"10"`. Integers keep every digit: a float beyond 2^53 stands for
/// several integers and is refused.
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
    const MAX_EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;
    let number =
        number.filter(|number| number.fract() == 0.0 && number.abs() < MAX_EXACT_INTEGER)?;
    Some(Value::from(number as i64))
}

/// Parses a number from a string; `NaN`, `inf` and `1e400` are not numbers here.
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
    let word = match &value {
        Value::Bool(_) => return Ok(value),
        Value::Number(number) if number.as_f64() == Some(1.0) => Cow::Borrowed("1"),
        Value::Number(number) if number.as_f64() == Some(0.0) => Cow::Borrowed("0"),
        Value::String(text) => Cow::Owned(text.trim().to_ascii_lowercase()),
        _ => return Err(value),
    };
    match word.as_ref() {
        "true" | "yes" | "y" | "on" | "1" => Ok(true.into()),
        "false" | "no" | "n" | "off" | "0" => Ok(false.into()),
        _ => Err(value),
    }
}

/// Accepts an object, one written as a string, or the empty list that some languages write for an
/// empty object.
fn object(value: Value) -> Result<Value, Value> {
    match &value {
        Value::Object(_) => Ok(value),
        Value::Array(items) if items.is_empty() => Ok(Value::Object(Map::new())),
        Value::String(text) => parsed(text).filter(Value::is_object).ok_or(value),
        _ => Err(value),
    }
}

/// Accepts a list, one written as a string, or a lone item.
fn list(param: &Param, item: Item, value: Value) -> Result<Value, Mismatch> {
    let items = items(param, item, value)?;
    check_count(param, items.len(), CountedUnit::Items)?;
    let mut accepted = Vec::with_capacity(items.len());
    for (at, value) in items.into_iter().enumerate() {
        let value = match item {
            Item::String => text(value),
            Item::Integer => integer(value),
            Item::Number => real(value),
            Item::Boolean => truth(value),
            Item::Object => object(value),
        };
        let value = value.map_err(|value| Mismatch::ItemType {
            expected: Expected::from(param),
            position: at + 1,
            received: received(&value),
        })?;
        accepted.push(match value {
            Value::String(text) => Value::String(chosen(param, text)?),
            other => other,
        });
    }
    Ok(Value::Array(accepted))
}

fn items(param: &Param, item: Item, value: Value) -> Result<Vec<Value>, Mismatch> {
    let value = match value {
        Value::String(text) => match parsed(&text) {
            Some(parsed) => parsed,
            None => return written_out(param, item, text),
        },
        other => other,
    };
    if is_empty_list(param, &value) {
        return Err(Mismatch::EmptyList { expected: Expected::from(param) });
    }
    match value {
        Value::Array(items) => Ok(items),
        // An object's keys would be lost where strings or numbers are expected.
        Value::Object(_) if item != Item::Object => Err(other_type(param, &value)),
        lone => Ok(vec![lone]),
    }
}

/// Accepts a string for a list that is not written as JSON: a lone item, or several separated by
/// commas if no item can contain a comma itself.
fn written_out(param: &Param, item: Item, text: String) -> Result<Vec<Value>, Mismatch> {
    let refused = |text: String| {
        let received = received(&Value::String(text));
        Err(Mismatch::UnclearList { expected: Expected::from(param), received })
    };
    let is_free = item == Item::String && param.choices.is_empty();
    let is_broken = text.trim_start().starts_with(['[', '{']);
    if text.trim().is_empty() || is_broken || (is_free && text.contains([',', ';', '\n'])) {
        return refused(text);
    }
    if is_free || item == Item::Object || !text.contains(',') || choice_of(param, &text).is_some() {
        return Ok(vec![Value::String(text)]);
    }
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    // `1,000` and `1,5` may be one number.
    let has_zeros = |part: &&str| {
        let digits = part.trim_start_matches('-');
        digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.")
    };
    let is_decimal = item == Item::Number
        && parts.len() == 2
        && !text.contains([' ', '.'])
        && parts.iter().all(|part| !part.is_empty());
    let is_number = matches!(item, Item::Integer | Item::Number);
    if is_number && (is_decimal || parts.iter().any(has_zeros)) {
        return refused(text);
    }
    Ok(parts.into_iter().map(Value::from).collect())
}

/// Returns the allowed choice that a text stands for; without choices, the text itself.
fn chosen(param: &Param, text: String) -> Result<String, Mismatch> {
    if param.choices.is_empty() {
        return Ok(text);
    }
    if let Some(choice) = choice_of(param, &text) {
        return Ok(choice.to_owned());
    }
    let near = nearest(&text, param.choices.iter().map(String::as_str));
    Err(Mismatch::Choice {
        expected: Expected::from(param),
        given: shorten(&text, MAX_QUOTED_CHARS),
        nearest: near.map(str::to_owned),
    })
}

fn check_count(param: &Param, count: usize, unit: CountedUnit) -> Result<(), Mismatch> {
    #[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
    let size = count as f64;
    match (param.min, param.max) {
        (Some(min), _) if size < min => Err(Mismatch::TooShort { min, count, unit }),
        (_, Some(max)) if size > max => Err(Mismatch::TooLong { max, count, unit }),
        _ => Ok(()),
    }
}

fn check_range(param: &Param, given: &Number) -> Result<(), Mismatch> {
    let value = given.as_f64().unwrap_or(f64::NAN);
    match (param.min, param.max) {
        (Some(min), _) if value < min => Err(Mismatch::TooSmall { min, given: given.clone() }),
        (_, Some(max)) if value > max => Err(Mismatch::TooLarge { max, given: given.clone() }),
        _ => Ok(()),
    }
}
