//! Messages for a model: what a parameter takes, and what it received instead.

use serde_json::Value;

use super::super::schema::{item_name, kind_name, number};
use crate::model::tool::{Kind, Param};

/// Maximum characters of a parameter's description in a message; the rest is cut.
const MAX_DESCRIPTION: usize = 200;
/// Maximum characters of a name or value from the arguments; the rest is cut.
pub(super) const MAX_QUOTED: usize = 60;

/// Describes a parameter's type: `an integer from 1 to 99`.
pub(super) fn wanted(param: &Param) -> String {
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

/// Describes a required parameter that is absent: its type and its meaning.
pub(super) fn missing(param: &Param) -> String {
    let kind = wanted(param);
    match param.description.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        Some(description) => {
            format!(
                "`{}` is missing: {kind}. {}",
                param.name,
                shorten(description, MAX_DESCRIPTION)
            )
        }
        None => format!("`{}` is missing: {kind}", param.name),
    }
}

/// Describes the received value, in short.
pub(super) fn seen(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("`{value}`"),
        Value::String(text) if text.trim().is_empty() => "an empty text".to_owned(),
        Value::String(text) => format!("the text `{}`", shorten(text, MAX_QUOTED)),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Returns the first `most` characters, on one line.
pub(super) fn shorten(text: &str, most: usize) -> String {
    let text = text.replace(char::is_control, " ");
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
