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
use memchr::memmem::{self, Finder};
use serde_json::Value;

use super::Credential;
use super::response::Content;

const REDACTED: &str = "[redacted]";
/// A shorter "secret" would redact half of every text.
const SHORTEST: usize = 4;
/// Three bytes of base64 are four characters; below this an encoded form is too short to be told
/// from chance.
const SHORTEST_ENCODED: usize = 8;

/// All forms in which the secrets of one call may come back.
///
/// The searches are vectorized: with a dozen forms, the standard library's would cost more than the
/// rest of the work on an answer.
#[derive(Default)]
pub(super) struct Scrubber {
    forms: Vec<Form>,
}

struct Form {
    text: String,
    finder: Finder<'static>,
}

impl Form {
    fn is_in(&self, text: &str) -> bool {
        self.finder.find(text.as_bytes()).is_some()
    }
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
        let ready = |text: String| Form { finder: Finder::new(&text).into_owned(), text };
        Self { forms: forms.into_iter().map(ready).collect() }
    }

    /// A text without secrets and without deceiving characters.
    ///
    /// A text is scrubbed before it is cut: a secret cut in two would not be found any more.
    pub(super) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.redacted(clean(text))
    }

    fn redacted<'a>(&self, mut text: Cow<'a, str>) -> Cow<'a, str> {
        for form in &self.forms {
            if form.is_in(&text) {
                text = Cow::Owned(text.replace(&form.text, REDACTED));
            }
        }
        text
    }

    /// Whether a value that is written out as `json` holds anything to remove.
    pub(super) fn concerns(&self, json: &str) -> bool {
        let escape = |mark: &str| memmem::find(json.as_bytes(), mark.as_bytes()).is_some();
        self.forms.iter().any(|form| form.is_in(json))
            || escape("\\u00")
            || escape("\\b")
            || escape("\\f")
            || !is_clean(json)
    }

    /// Cleans all texts and keys of a value.
    pub(super) fn value(&self, value: Value) -> Value {
        each_text(value, &|text| self.text(text))
    }

    /// What an answer says, for filters and quotations: without secrets, and otherwise as it came.
    ///
    /// A filter that saw a secret could give it another shape (`split("") | join(" ")`), in which
    /// nobody finds it afterwards.
    pub(super) fn content(&self, content: Content, body: &[u8]) -> Content {
        match content {
            Content::Json(value) if self.may_be_in(body) => {
                Content::Json(each_text(value, &|text| self.redacted(Cow::Borrowed(text))))
            }
            Content::Text(text) => Content::Text(self.owned(text)),
            Content::Html { title, text } => {
                Content::Html { title: title.map(|it| self.owned(it)), text: self.owned(text) }
            }
            other => other,
        }
    }

    fn owned(&self, text: String) -> String {
        match self.text(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(text) => text,
        }
    }

    /// Whether JSON that came from outside may hold a secret. It can hide one by escapes that need
    /// not be there, `\u0061` for `a` and `\/` for `/`.
    fn may_be_in(&self, json: &[u8]) -> bool {
        let finds = |mark: &str| memmem::find(json, mark.as_bytes()).is_some();
        !self.forms.is_empty()
            && (finds("\\u")
                || finds("\\/")
                || self.forms.iter().any(|form| form.finder.find(json).is_some()))
    }
}

/// A value with all its texts and keys changed.
fn each_text(value: Value, change: &impl Fn(&str) -> Cow<'_, str>) -> Value {
    match value {
        Value::String(text) => match change(&text) {
            Cow::Borrowed(_) => Value::String(text),
            Cow::Owned(text) => Value::String(text),
        },
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| each_text(item, change)).collect())
        }
        Value::Object(entries) => Value::Object(
            entries
                .into_iter()
                .map(|(key, value)| (change(&key).into_owned(), each_text(value, change)))
                .collect(),
        ),
        other => other,
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
    fn a_secret_is_gone_before_a_filter_sees_the_answer() {
        for written in ["abcdefgh/ij", "abcdefgh\\/ij", "\\u0061bcdefgh/ij"] {
            let body = format!("{{\"echo\": \"{written}\"}}");
            let value: Value = serde_json::from_str(&body).expect("JSON");
            let scrubber = Scrubber::new(Some(&Credential::Bearer("abcdefgh/ij".into())));
            let content = scrubber.content(Content::Json(value), body.as_bytes());
            assert_eq!(content, Content::Json(json!({"echo": REDACTED})), "{body}");
        }
        let windows = json!({"lines": "one\r\ntwo"});
        let content = scrubber().content(Content::Json(windows.clone()), b"\\u0000");
        assert_eq!(content, Content::Json(windows), "what is no secret is left to the filter");
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
