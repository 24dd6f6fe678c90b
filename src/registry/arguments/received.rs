//! Cuts what came from the client to what a failure holds of it.

use serde_json::Value;

use crate::model::arguments::Received;

/// Maximum characters of a parameter's description in a problem; the rest is cut.
pub(super) const MAX_DESCRIPTION_CHARS: usize = 200;
/// Maximum characters of a name or value from the arguments; the rest is cut.
pub(super) const MAX_QUOTED_CHARS: usize = 60;

/// Returns what a face may show of a value.
pub(super) fn received(value: &Value) -> Received {
    match value {
        Value::Null => Received::Null,
        Value::Bool(value) => Received::Boolean(*value),
        Value::Number(number) => Received::Number(number.clone()),
        Value::String(text) if text.trim().is_empty() => Received::EmptyText,
        Value::String(text) => Received::Text(shorten(text, MAX_QUOTED_CHARS)),
        Value::Array(items) => Received::List(items.len()),
        Value::Object(_) => Received::Object,
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
