//! Parses JSON that a model has written into a string, also in the syntax of another language:
//! Python's `{'a': True}`, JavaScript's `{a: 1}`, or JSON within a Markdown fence.

use serde_json::{Map, Number, Value};

use super::limits;

/// Maximum nesting levels; deeper text is refused while it is read, since the reader recurses.
const MAX_DEPTH: usize = 64;

/// Parses an object, list or quoted string; `None` for any other text, and for a value that exceeds
/// the limits on arguments.
pub(super) fn parsed(text: &str) -> Option<Value> {
    let text = unfenced(text.trim());
    if !text.starts_with(['{', '[', '"']) {
        return None;
    }
    let value = serde_json::from_str(text).ok().or_else(|| lenient(text))?;
    limits::fits(&value).then_some(value)
}

/// Returns the content of a Markdown code fence, or the text itself.
fn unfenced(text: &str) -> &str {
    let inner = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    let Some(inner) = inner else { return text };
    inner.trim_start_matches(|c: char| c.is_ascii_alphanumeric()).trim()
}

fn lenient(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text };
    let value = reader.value(MAX_DEPTH)?;
    reader.rest.trim_start().is_empty().then_some(value)
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        match self.peek()? {
            '{' => self.object(depth),
            '[' => self.list(depth),
            '\'' | '"' => self.quoted().map(Value::String),
            _ => bare(self.word()?),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        self.take('{')?;
        let mut entries = Map::new();
        while self.peek()? != '}' {
            let key = match self.peek()? {
                '\'' | '"' => self.quoted()?,
                _ => self.word().filter(|word| is_identifier(word))?.to_owned(),
            };
            self.take(':')?;
            let value = self.value(depth)?;
            // A key given twice is ambiguous.
            if entries.insert(key, value).is_some() {
                return None;
            }
            if self.peek()? != '}' {
                self.take(',')?;
            }
        }
        self.take('}')?;
        Some(Value::Object(entries))
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        self.take('[')?;
        let mut items = Vec::new();
        while self.peek()? != ']' {
            items.push(self.value(depth)?);
            if self.peek()? != ']' {
                self.take(',')?;
            }
        }
        self.take(']')?;
        Some(Value::Array(items))
    }

    /// Reads a string in single or double quotes, with the escapes that JSON, Python and JavaScript
    /// share.
    fn quoted(&mut self) -> Option<String> {
        let quote = self.peek()?;
        self.take(quote)?;
        let mut text = String::new();
        loop {
            let c = self.next()?;
            match c {
                '\\' => text.push(self.escaped()?),
                '\n' | '\r' => return None,
                c if c == quote => return Some(text),
                c => text.push(c),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        Some(match self.next()? {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'u' => {
                let digits = self.rest.get(..4)?;
                self.rest = self.rest.get(4..)?;
                // Half of a surrogate pair is not a character; only strict JSON may contain it.
                char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
            }
            c @ ('\\' | '\'' | '"' | '/') => c,
            _ => return None,
        })
    }

    /// Reads letters, digits and the signs of a number.
    fn word(&mut self) -> Option<&str> {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_$.+-".contains(c)));
        let (word, rest) = self.rest.split_at_checked(end.unwrap_or(self.rest.len()))?;
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    /// Returns the next character that is not white space.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn take(&mut self, wanted: char) -> Option<()> {
        if self.peek()? != wanted {
            return None;
        }
        self.next().map(|_| ())
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next()?;
        self.rest = chars.as_str();
        Some(next)
    }
}

fn is_identifier(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '$')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
}

fn bare(word: &str) -> Option<Value> {
    match word {
        "true" | "True" => Some(true.into()),
        "false" | "False" => Some(false.into()),
        "null" | "None" | "undefined" => Some(Value::Null),
        _ => serde_json::from_str::<Number>(word).ok().map(Value::Number),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn other_spellings_of_json_are_read() {
        for (text, value) in [
            (r#"{"a": [1, "x"]}"#, json!({"a": [1, "x"]})),
            ("{'n': 'A'}", json!({"n": "A"})),
            (
                "{'a': True, 'b': None, 'c': [1.5, -2,],}",
                json!({"a": true, "b": null, "c": [1.5, -2]}),
            ),
            (r#"{'say': "it's", 'q': 'a\'b\n'}"#, json!({"say": "it's", "q": "a'b\n"})),
            ("{name: 'A', nested: {$x: 1}}", json!({"name": "A", "nested": {"$x": 1}})),
            ("```json\n{\"a\": 1}\n```", json!({"a": 1})),
            ("```\n['a']\n```", json!(["a"])),
            ("['\\u00e9', 'é']", json!(["é", "é"])),
            ("\"quoted\"", json!("quoted")),
            ("{}", json!({})),
        ] {
            assert_eq!(parsed(text), Some(value), "{text}");
        }
    }

    #[test]
    fn anything_with_two_meanings_is_not() {
        for text in [
            "",
            "a",
            "5",
            "true",
            "{",
            "{'a'}",
            "{'a': }",
            "{'a': 1} x",
            "[1 2]",
            "[a, b]",
            "{1: 2}",
            "{'a': 1, 'a': 2}",
            "('a', 'b')",
            "{'a': b'x'}",
            "[01]",
            "['\\x41']",
            "[1, 2",
            "[0x10]",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
        assert_eq!(parsed(&"[".repeat(100_000)), None);
        assert_eq!(parsed(&format!("{}'x'{}", "[".repeat(80), "]".repeat(80))), None);
    }
}
