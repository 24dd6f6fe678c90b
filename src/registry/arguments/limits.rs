//! Limits on the size of arguments.

use serde_json::{Map, Value};

use crate::model::arguments::ArgumentLimit;

/// Maximum bytes of text in all arguments together; more are refused.
const MAX_TEXT_BYTES: usize = 1024 * 1024;
/// Maximum nesting levels; deeper arguments are refused.
const MAX_DEPTH: usize = 64;
/// Maximum list items and object entries in all arguments together; more are refused.
const MAX_ITEMS: usize = 10_000;

/// Refuses arguments whose size alone is an attack, before they are processed.
///
/// # Errors
/// The limit that they exceed.
pub(super) fn measure(arguments: &Map<String, Value>) -> Result<(), ArgumentLimit> {
    let mut left = Left::all();
    for (name, value) in arguments {
        left.take_text(name)?;
        left.take_item()?;
        left.take(value, MAX_DEPTH - 1)?;
    }
    Ok(())
}

/// Whether a value parsed from a string keeps the limits, which it bypassed as a string.
pub(super) fn fits(value: &Value) -> bool {
    Left::all().take(value, MAX_DEPTH).is_ok()
}

/// The unused part of the limits.
struct Left {
    text: usize,
    items: usize,
}

impl Left {
    fn all() -> Self {
        Self { text: MAX_TEXT_BYTES, items: MAX_ITEMS }
    }

    fn take(&mut self, value: &Value, depth: usize) -> Result<(), ArgumentLimit> {
        let deeper = || depth.checked_sub(1).ok_or(ArgumentLimit::Levels(MAX_DEPTH));
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

    fn take_text(&mut self, text: &str) -> Result<(), ArgumentLimit> {
        let left = self.text.checked_sub(text.len());
        self.text = left.ok_or(ArgumentLimit::TextBytes(MAX_TEXT_BYTES))?;
        Ok(())
    }

    fn take_item(&mut self) -> Result<(), ArgumentLimit> {
        self.items = self.items.checked_sub(1).ok_or(ArgumentLimit::Items(MAX_ITEMS))?;
        Ok(())
    }
}
