//! What must not reach a model: our own secrets, and characters that are there to deceive.
//!
//! An API that echoes the request (or an error page that does) would hand the access token to the
//! model, and through it to whoever reads along. Escape sequences drive terminals; bidirectional
//! overrides and invisible tag characters make a text read differently from what it says.
//!
//! The common case is that there is nothing to remove, and it costs one look over the finished text.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::Credential;

const REDACTED: &str = "[redacted]";
/// A shorter "secret" would redact half of every text.
const SHORTEST: usize = 4;
/// Three bytes of base64 are four characters; below this an encoded form is too short to be told
/// from chance.
const SHORTEST_ENCODED: usize = 8;

/// All forms in which the secrets of one call may come back.
#[derive(Default)]
pub(super) struct Scrubber {
    forms: Vec<String>,
}

impl Scrubber {
    pub(super) fn new(credential: Option<&Credential>) -> Self {
        let mut forms = Vec::new();
        for secret in credential.into_iter().flat_map(Credential::secrets) {
            if secret.len() >= SHORTEST {
                add_forms(secret, &mut forms);
            }
        }
        // Longer ones first: a form may contain another one.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self { forms }
    }

    /// A text without secrets and without deceiving characters.
    pub(super) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = clean(text);
        for form in &self.forms {
            if text.contains(form.as_str()) {
                text = Cow::Owned(text.replace(form.as_str(), REDACTED));
            }
        }
        if text.contains('…') {
            text = self.cut_off(text);
        }
        text
    }

    /// Whoever shortened a text before may have cut a secret in two; its beginning then stands
    /// before the `…`.
    fn cut_off<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        let begun = |before: &str| {
            self.forms.iter().find_map(|form| {
                let starts = (SHORTEST..form.len()).rev().filter_map(|end| form.get(..end));
                starts.into_iter().find(|start| before.ends_with(start)).map(str::len)
            })
        };
        let mut cleaned = String::new();
        let mut rest = &*text;
        while let Some((before, after)) = rest.split_once('…') {
            match begun(before) {
                Some(length) => {
                    cleaned.push_str(before.get(..before.len() - length).unwrap_or_default());
                    cleaned.push_str(REDACTED);
                }
                None => cleaned.push_str(before),
            }
            cleaned.push('…');
            rest = after;
        }
        cleaned.push_str(rest);
        if cleaned == *text { text } else { Cow::Owned(cleaned) }
    }

    /// Whether a value that is written out as `json` holds anything to remove.
    pub(super) fn concerns(&self, json: &str) -> bool {
        self.forms.iter().any(|form| json.contains(form.as_str()))
            || json.contains("\\u00")
            || json.contains("\\b")
            || json.contains("\\f")
            || !is_clean(json)
    }

    /// Cleans all texts and keys of a value.
    pub(super) fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => match self.text(&text) {
                Cow::Borrowed(_) => Value::String(text),
                Cow::Owned(text) => Value::String(text),
            },
            Value::Array(items) => {
                Value::Array(items.into_iter().map(|item| self.value(item)).collect())
            }
            Value::Object(entries) => Value::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| (self.text(&key).into_owned(), self.value(value)))
                    .collect(),
            ),
            other => other,
        }
    }
}

fn add_forms(secret: &str, forms: &mut Vec<String>) {
    let bytes = secret.as_bytes();
    forms.push(secret.to_owned());
    // As it stands inside JSON, inside a form and inside a path.
    if let Ok(json) = serde_json::to_string(secret) {
        forms.push(json.trim_matches('"').to_owned());
    }
    forms.push(url::form_urlencoded::byte_serialize(bytes).collect());
    let percent = percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC);
    forms.push(percent.to_string());
    if bytes.len() < SHORTEST_ENCODED {
        return;
    }
    let hex = hex(bytes);
    forms.push(hex.to_ascii_uppercase());
    forms.push(hex);
    // Inside a longer base64 (`user:secret`) a text has three looks, by where it starts in a group
    // of three bytes; its first and last characters are shared with its neighbours.
    for offset in 0..3_usize {
        let mut padded = vec![0; offset];
        padded.extend_from_slice(bytes);
        let from = (offset * 8).div_ceil(6);
        let until = padded.len() * 8 / 6;
        for encoded in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            forms.extend(encoded.get(from..until).map(str::to_owned));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Removes control and deceiving characters, and whole terminal escape sequences.
fn clean(text: &str) -> Cow<'_, str> {
    if is_clean(text) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_escape(&mut rest),
            '\r' => {
                if rest.peek() != Some(&'\n') {
                    kept.push('\n');
                }
            }
            c if is_unwanted(c) => {}
            c => kept.push(c),
        }
    }
    Cow::Owned(kept)
}

/// ECMA-48: `ESC [ … final`, `ESC ] … BEL or ESC \`, and two-character sequences.
fn skip_escape(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match rest.peek() {
        Some('[') => {
            rest.next();
            while let Some(c) = rest.next_if(|c| matches!(c, ' '..='~')) {
                if matches!(c, '@'..='~') {
                    break;
                }
            }
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            // A string that never ends must not take the rest of the text along.
            let mut ahead = rest.clone();
            let ends = ahead.position(|c| matches!(c, '\u{7}' | '\u{9c}' | '\u{1b}'));
            if ends.is_some_and(|length| length < 2048) {
                *rest = ahead;
                rest.next_if_eq(&'\\');
            } else {
                rest.next();
            }
        }
        Some('@'..='~') => {
            rest.next();
        }
        _ => {}
    }
}

fn is_clean(text: &str) -> bool {
    // Everything unwanted below U+0080 is a control character; above, it begins with one of these.
    let suspicious = |byte: &u8| {
        (*byte < 0x20 && *byte != b'\n' && *byte != b'\t')
            || *byte == 0x7f
            || matches!(*byte, 0xc2 | 0xe2 | 0xef | 0xf3)
    };
    !text.as_bytes().iter().any(suspicious) || !text.chars().any(is_unwanted)
}

fn is_unwanted(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // Bidirectional embeddings, overrides and isolates (Trojan Source), with the line and
        // paragraph separators between them; byte order mark; invisible tags.
        '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}'
        | '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECRET: &str = "s3cr3t/To+ken=%~\"x";

    fn scrubber() -> Scrubber {
        Scrubber::new(Some(&Credential::Bearer(SECRET.into())))
    }

    #[test]
    fn every_form_of_a_secret_is_redacted() {
        use base64::engine::general_purpose::{STANDARD, URL_SAFE};
        let hex = hex(SECRET.as_bytes());
        assert!(hex.starts_with("733363"));
        let percent =
            percent_encoding::utf8_percent_encode(SECRET, percent_encoding::NON_ALPHANUMERIC);
        for form in [
            SECRET.to_owned(),
            format!("Bearer {SECRET}"),
            serde_json::to_string(SECRET).expect("json"),
            percent.to_string(),
            url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect(),
            hex.clone(),
            hex.to_uppercase(),
            STANDARD.encode(SECRET),
            URL_SAFE.encode(SECRET),
            STANDARD.encode(format!("u:{SECRET}")),
            STANDARD.encode(format!("us:{SECRET}:more")),
            URL_SAFE.encode(format!("use:{SECRET}")),
        ] {
            let text = format!("before {form} after");
            let scrubbed = scrubber().text(&text);
            assert!(scrubbed.contains(REDACTED), "{form} -> {scrubbed}");
            assert!(!scrubbed.contains(&form), "{form} -> {scrubbed}");
            assert!(scrubber().concerns(&text), "{form}");
        }
    }

    #[test]
    fn a_header_s_secret_is_known_without_its_prefix() {
        let credential =
            Credential::Header { name: "Authorization".into(), value: "token abcdefgh".into() };
        let scrubber = Scrubber::new(Some(&credential));
        assert_eq!(scrubber.text("it was abcdefgh."), "it was [redacted].");
    }

    #[test]
    fn a_secret_that_was_cut_in_two_is_redacted() {
        let scrubber = Scrubber::new(Some(&Credential::Bearer("abcdefghijklmnop".into())));
        assert_eq!(scrubber.text("token: abcdefghij…”."), "token: [redacted]…”.");
        assert_eq!(scrubber.text("fine… abc… then"), "fine… abc… then");
    }

    #[test]
    fn keys_and_nested_texts_are_redacted() {
        let value = json!({SECRET: [{"echo": format!("Bearer {SECRET}")}], "n": 1});
        assert_eq!(
            scrubber().value(value),
            json!({"[redacted]": [{"echo": "Bearer [redacted]"}], "n": 1})
        );
    }

    #[test]
    fn a_harmless_text_is_not_copied() {
        let text = "Zürich – “quoted” 漢字 👍🏽\n\ttab";
        assert!(matches!(scrubber().text(text), Cow::Borrowed(_)));
        assert!(!scrubber().concerns("{\"a\":\"b\"}"));
    }

    #[test]
    fn deceiving_characters_are_removed() {
        for (text, clean) in [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]8;;http://evil\u{7}link\u{1b}]8;;\u{7}", "link"),
            ("\u{1b}]0;title\u{1b}\\x", "x"),
            ("a\u{202e}b\u{2066}c", "abc"),
            ("a\u{0}b\u{8}c\u{7f}d\u{9b}31me", "abcd31me"),
            ("one\r\ntwo\rthree", "one\ntwo\nthree"),
            ("\u{e0049}hidden", "hidden"),
            ("\u{1b}]never ends", "never ends"),
        ] {
            assert_eq!(scrubber().text(text), clean, "{text:?}");
        }
    }

    #[test]
    fn escaped_control_characters_in_json_are_noticed() {
        let json = json!({"a": "\u{1b}[31m"}).to_string();
        assert!(Scrubber::default().concerns(&json));
    }
}
