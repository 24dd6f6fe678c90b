//! Recognizes how models say that an optional parameter is absent instead of leaving it out.

use serde_json::Value;

use super::choice::choice_of;
use super::literal::parsed;
use crate::model::tool::{Item, Kind, Param};

/// Words that stand for "no value", in lower case.
const WORDS: [&str; 7] = ["null", "none", "nil", "undefined", "n/a", "<unknown>", "unset"];
/// Spellings of "no value" that programs print. In a list of strings, any other spelling may be a
/// real value.
const PRINTED: [&str; 4] = ["null", "NULL", "None", "undefined"];

/// Whether a value for an optional parameter means that it is absent.
///
/// A parameter that takes any text also takes words such as `none`, so there only an empty string
/// below the minimum length means absence.
pub(super) fn is_absent(param: &Param, value: &Value) -> bool {
    let is_text = param.kind == Kind::String && param.choices.is_empty();
    match value {
        Value::String(text) if is_text => {
            text.is_empty() && param.min.is_some_and(|min| min >= 1.0)
        }
        Value::String(text) => {
            choice_of(param, text).is_none()
                && (is_word(text) || parsed(text).is_some_and(|value| is_empty_list(param, &value)))
        }
        value => is_empty_list(param, value),
    }
}

/// Whether a list has items and each of them means "no value": `["null"]`, `[""]`.
pub(super) fn is_empty_list(param: &Param, value: &Value) -> bool {
    let (Kind::Array(item), Value::Array(items)) = (param.kind, value) else { return false };
    let is_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) if item == Item::String => {
            choice_of(param, text).is_none()
                && (text.trim().is_empty() || PRINTED.contains(&text.trim()))
        }
        Value::String(text) => is_word(text),
        _ => false,
    };
    !items.is_empty() && items.iter().all(is_nothing)
}

/// Whether a text is empty or a word for "no value".
pub(super) fn is_word(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}
