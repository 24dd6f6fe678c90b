//! Removes what must not reach a model: our own secrets and deceptive characters.
//!
//! An API or error page that echoes the request would give the access token to the model, and
//! through it to every reader of the conversation. Escape sequences control terminals;
//! bidirectional overrides and invisible tag characters make a text read differently from what it
//! says.
//!
//! In the common case there is nothing to remove, which costs one scan of the finished text.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem::{self, Finder};
use serde_json::Value;

use super::Credential;
use super::response::Content;
use super::spellings::{MIN_SECRET_BYTES, Spellings, hex};
use crate::model::failure::Unreadable;
use crate::model::{FRAME, text};

const REDACTED: &str = "[redacted]";
/// Minimum length in bytes of a secret that is searched for in encoded forms. Three bytes are four
/// characters of base64; a shorter form could match by chance.
const MIN_ENCODED_BYTES: usize = 8;

/// All forms in which the secrets of one call may come back.
///
/// The searches are vectorized: with a dozen forms, the standard library's search would cost more
/// than all other work on a response.
#[derive(Default)]
pub(super) struct Scrubber {
    /// Forms that are replaced in place.
    forms: Vec<Form>,
    /// All other forms: a text that contains one is not shown at all.
    spellings: Spellings,
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
        Self::of(credential)
    }

    /// Searches for the secrets of several credentials.
    pub(super) fn of<'c>(credentials: impl IntoIterator<Item = &'c Credential>) -> Self {
        let (mut forms, mut spellings) = (Vec::new(), Spellings::default());
        for secret in credentials.into_iter().flat_map(Credential::secrets) {
            if secret.len() >= MIN_SECRET_BYTES {
                add_forms(secret, &mut forms);
                spellings.add(secret);
            }
        }
        // Longer forms first: a form may contain another one.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        let ready = |text: String| Form { finder: Finder::new(&text).into_owned(), text };
        Self { forms: forms.into_iter().map(ready).collect(), spellings }
    }

    /// Returns a text without secrets and without deceptive characters.
    ///
    /// Scrub before truncating: a secret cut in two would no longer be found.
    pub(super) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.redacted(clean(text))
    }

    fn redacted<'a>(&self, mut text: Cow<'a, str>) -> Cow<'a, str> {
        for form in &self.forms {
            if form.is_in(&text) {
                text = Cow::Owned(text.replace(&form.text, REDACTED));
            }
        }
        if self.spellings.are_in(text.as_bytes()) {
            return Cow::Owned(REDACTED.to_owned());
        }
        text
    }

    /// Whether a value, serialized as `json`, contains text to remove. `is_filtered` means that a
    /// filter made the value and may have assembled a secret; otherwise [`content`](Self::content)
    /// has already searched for other spellings.
    pub(super) fn concerns(&self, json: &str, is_filtered: bool) -> bool {
        let escape = |mark: &str| memmem::find(json.as_bytes(), mark.as_bytes()).is_some();
        self.forms.iter().any(|form| form.is_in(json))
            || is_filtered && self.spellings.are_in(json.as_bytes())
            || escape("\\u00")
            || escape("\\b")
            || escape("\\f")
            || !is_clean(json)
    }

    /// Scrubs all strings and keys of a value.
    pub(super) fn value(&self, value: Value) -> Value {
        each_text(value, &|text| self.text(text))
    }

    /// Removes secrets from a response, for filters and quotations. JSON otherwise stays as it
    /// came.
    ///
    /// A filter that saw a secret could give it another shape (`split("") | join(" ")`), in which
    /// no later search would find it.
    pub(super) fn content(&self, content: Content, body: &[u8]) -> Content {
        match content {
            Content::Json(value) if self.may_be_in(body) => {
                Content::Json(each_text(value, &|text| self.redacted(Cow::Borrowed(text))))
            }
            Content::Text(text) => Content::Text(self.owned(text)),
            Content::Html { title, text } => {
                Content::Html { title: title.map(|it| self.owned(it)), text: self.owned(text) }
            }
            Content::Binary(what) => Content::Binary(self.owned(what)),
            Content::Unreadable(Unreadable::Compressed(method)) => {
                Content::Unreadable(Unreadable::Compressed(self.owned(method)))
            }
            Content::Unreadable(Unreadable::TooManyValues(_) | Unreadable::TooDeep(_))
            | Content::Json(_)
            | Content::Nothing => content,
        }
    }

    fn owned(&self, text: String) -> String {
        match self.text(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(text) => text,
        }
    }

    /// Whether JSON from an API may contain a secret. Unnecessary escapes (`\u0061` for `a`) can
    /// hide one; they are among the spellings.
    fn may_be_in(&self, json: &[u8]) -> bool {
        // UTF-16, in which the searches find no secret.
        let is_wide = matches!(json, [0xff | 0xfe, ..]);
        !self.forms.is_empty()
            && (is_wide
                || self.forms.iter().any(|form| form.finder.find(json).is_some())
                || self.spellings.are_in(json))
    }
}

/// Applies `change` to all strings and keys of a value.
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
    // As written inside JSON, inside a form and inside a path.
    if let Ok(json) = serde_json::to_string(secret) {
        forms.push(json.trim_matches('"').to_owned());
    }
    forms.push(url::form_urlencoded::byte_serialize(bytes).collect());
    let percent = percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC);
    forms.push(percent.to_string());
    if bytes.len() < MIN_ENCODED_BYTES {
        return;
    }
    let hex = hex(bytes);
    forms.push(hex.to_ascii_uppercase());
    forms.push(hex);
    // Inside longer base64 (`user:secret`), a secret has three forms, depending on its offset in a
    // group of three bytes. Its first and last characters also encode adjacent bytes and are left
    // out.
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

/// Removes control characters, deceptive characters and whole terminal escape sequences.
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
            '\u{200c}' | '\u{200d}' => {
                let before = kept.chars().next_back().is_some_and(is_joining);
                if before && rest.peek().is_some_and(|next| is_joining(*next)) {
                    kept.push(c);
                }
            }
            c if is_unwanted(c) => {}
            c => kept.push(c),
        }
    }
    Cow::Owned(kept)
}

/// Skips an escape sequence of ECMA-48: `ESC [ … final`, `ESC ] … BEL or ESC \`, or two characters.
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
            // A string that never ends must not remove the rest of the text.
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
    // Unwanted characters below U+0080 are control characters; above, they begin with one of these.
    let suspicious = |byte: &u8| {
        (*byte < 0x20 && *byte != b'\n' && *byte != b'\t')
            || *byte == 0x7f
            || matches!(*byte, 0xc2 | 0xcd | 0xd8 | 0xe1..=0xe3 | 0xef | 0xf0 | 0xf3)
    };
    !text.as_bytes().iter().any(suspicious) || !text.chars().any(is_unwanted)
}

/// Whether a character's script uses zero-width joiners or non-joiners in its spelling (Persian,
/// Hindi, …).
fn is_joining(c: char) -> bool {
    matches!(c, '\u{600}'..='\u{8ff}' | '\u{900}'..='\u{dff}' | '\u{1000}'..='\u{109f}'
        | '\u{1780}'..='\u{17ff}' | '\u{1800}'..='\u{18af}' | '\u{fb50}'..='\u{fdff}'
        | '\u{fe70}'..='\u{fefc}')
        && c.is_alphanumeric()
        || matches!(
            c,
            '\u{94d}'
                | '\u{9cd}'
                | '\u{a4d}'
                | '\u{acd}'
                | '\u{b4d}'
                | '\u{bcd}'
                | '\u{c4d}'
                | '\u{ccd}'
                | '\u{d4d}'
                | '\u{dca}'
        )
}

fn is_unwanted(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // Otherwise an API could write the line that frames its own texts.
        c if FRAME.contains(&c) => true,
        c if text::is_invisible(c) => true,
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
            assert!(scrubber().concerns(&text, false), "{form}");
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
    fn a_text_with_a_secret_in_another_spelling_is_not_shown() {
        let lower =
            format!("%{}", SECRET.bytes().map(|byte| hex(&[byte])).collect::<Vec<_>>().join("%"));
        let value = json!({"url": format!("https://x.example/?t={lower}"), "n": 1, "ok": "fine"});
        let shown = json!({"url": REDACTED, "n": 1, "ok": "fine"});
        assert!(scrubber().concerns(&value.to_string(), true));
        let body = value.to_string();
        let content = scrubber().content(Content::Json(value), body.as_bytes());
        assert_eq!(content, Content::Json(shown));
        assert_eq!(scrubber().text(&format!("It was {lower}.")), REDACTED);
        let binary = scrubber().content(Content::Binary(format!("x/{SECRET}")), b"");
        assert_eq!(binary, Content::Binary(format!("x/{REDACTED}")));
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
        assert!(!scrubber().concerns("{\"a\":\"b\"}", true));
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
            ("a ⟦countersign: b⟧", "a countersign: b"),
            ("zero\u{200b}width\u{2060}and\u{ad}soft\u{200d}ly", "zerowidthandsoftly"),
            ("😀\u{fe0f}\u{e0100}\u{e0154}\u{fe01}", "😀"),
            ("a\u{3164}\u{115f}\u{ffa0}\u{180e}\u{34f}\u{61c}b", "ab"),
            ("می\u{200c}خواهم\u{200c}\u{200c} क्\u{200d}ष", "می\u{200c}خواهم क्\u{200d}ष"),
        ] {
            assert_eq!(scrubber().text(text), clean, "{text:?}");
        }
    }

    #[test]
    fn escaped_control_characters_in_json_are_noticed() {
        let json = json!({"a": "\u{1b}[31m"}).to_string();
        assert!(Scrubber::default().concerns(&json, false));
    }
}
