//! Reads JSON as services write it: strictly first, then with repairs that lose only the faulty
//! part.
//!
//! A string cut between the two halves of an emoji, a byte of another encoding, or Python's `NaN`
//! in one field would otherwise make the whole response unreadable.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

/// A fault in JSON that can be repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Half of a surrogate pair (RFC 8259 §8.2).
    Surrogate,
    /// Bytes that are not UTF-8 (RFC 8259 §8.1).
    Encoding,
    /// An unescaped control character (RFC 8259 §7).
    Control,
    /// An escape that JSON does not define.
    Escape,
    /// `NaN`, `Infinity`.
    NotANumber,
    /// A number beyond the range of a double.
    Range,
    /// A prefix that some services write before JSON, so that it cannot run as a script.
    Prefix,
}

impl Fault {
    fn words(self) -> &'static str {
        match self {
            Self::Surrogate => "half characters are shown as \u{fffd}",
            Self::Encoding => "bytes that are not UTF-8 are shown as \u{fffd}",
            Self::Control => "control characters stood in its texts",
            Self::Escape => "it has escapes that JSON does not know",
            Self::NotANumber => "NaN and Infinity are shown as null",
            Self::Range => "numbers that are too large are shown as texts",
            Self::Prefix => "a prefix that is no JSON is left out",
        }
    }
}

/// Reads a value and returns a note on the repaired faults, if any.
///
/// # Errors
/// The error of the strict reader if the JSON cannot be repaired.
pub(super) fn read(body: &[u8]) -> Result<(Value, Option<String>), serde_json::Error> {
    let error = match serde_json::from_slice(body) {
        Ok(value) => return Ok((value, None)),
        Err(error) => error,
    };
    // Excessive nesting cannot be repaired.
    if error.to_string().starts_with("recursion limit exceeded") {
        return Err(error);
    }
    let (mended, faults) = mend(body);
    if faults.is_empty() {
        return Err(error);
    }
    let Ok(value) = serde_json::from_str(&mended) else { return Err(error) };
    let faults: Vec<&str> = faults.into_iter().map(Fault::words).collect();
    let note = format!("The service's answer is not quite JSON: {}.", faults.join("; "));
    Ok((value, Some(note)))
}

struct Mended {
    json: String,
    faults: Vec<Fault>,
}

impl Mended {
    fn fault(&mut self, fault: Fault, instead: &str) {
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
        self.json.push_str(instead);
    }
}

fn mend(body: &[u8]) -> (String, Vec<Fault>) {
    let text = String::from_utf8_lossy(body);
    let mut mended = Mended { json: String::with_capacity(text.len()), faults: Vec::new() };
    if matches!(text, Cow::Owned(_)) {
        mended.fault(Fault::Encoding, "");
    }
    let mut rest: &str = &text;
    for prefix in [")]}',", ")]}'", "while(1);", "for(;;);"] {
        if let Some(json) = rest.trim_start().strip_prefix(prefix) {
            mended.fault(Fault::Prefix, "");
            rest = json;
            break;
        }
    }
    let mut in_text = false;
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        match c {
            '"' => {
                in_text = !in_text;
                mended.json.push(c);
            }
            '\\' if in_text => length = escape(rest, &mut mended),
            c if in_text && c < ' ' => {
                mended.fault(Fault::Control, "");
                let _ = write!(mended.json, "\\u{:04x}", u32::from(c));
            }
            'N' | 'I' | '-' | '0'..='9' if !in_text => length = number(rest, &mut mended),
            c => mended.json.push(c),
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    (mended.json, mended.faults)
}

/// Writes one escape or surrogate pair and returns its length in bytes.
fn escape(rest: &str, mended: &mut Mended) -> usize {
    match rest.as_bytes().get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
            mended.json.push_str(rest.get(..2).unwrap_or_default());
            2
        }
        Some(b'u') => match unit(rest) {
            Some(0xd800..=0xdbff) => {
                let low = rest.get(6..).and_then(unit);
                if matches!(low, Some(0xdc00..=0xdfff)) {
                    mended.json.push_str(rest.get(..12).unwrap_or_default());
                    return 12;
                }
                mended.fault(Fault::Surrogate, "\u{fffd}");
                6
            }
            Some(0xdc00..=0xdfff) => {
                mended.fault(Fault::Surrogate, "\u{fffd}");
                6
            }
            Some(_) => {
                mended.json.push_str(rest.get(..6).unwrap_or_default());
                6
            }
            None => {
                mended.fault(Fault::Escape, "\u{fffd}");
                2
            }
        },
        // `\'`, `\x`: keep the backslash as a character, so that no text is lost.
        Some(_) => {
            mended.fault(Fault::Escape, "\\\\");
            1
        }
        None => 1,
    }
}

/// Returns the code unit of `\uXXXX` at the beginning of a text.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
    u32::from_str_radix(digits, 16).ok()
}

/// Writes a number, with a replacement for `NaN`, `Infinity` and values out of range. Returns its
/// length in bytes.
fn number(rest: &str, mended: &mut Mended) -> usize {
    let end = rest
        .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '.'))
        .unwrap_or(rest.len());
    let token = rest.get(..end).unwrap_or_default();
    match token.trim_start_matches('-') {
        "NaN" | "Infinity" | "Inf" => mended.fault(Fault::NotANumber, "null"),
        digits
            if digits.starts_with(|c: char| c.is_ascii_digit())
                && token.parse().is_ok_and(f64::is_infinite) =>
        {
            let text = format!("\"{token}\"");
            mended.fault(Fault::Range, &text);
        }
        _ => mended.json.push_str(token),
    }
    end
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mended(body: &[u8]) -> (Value, String) {
        let (value, note) = read(body).expect("mended");
        (value, note.unwrap_or_default())
    }

    #[test]
    fn strict_json_is_as_it_is() {
        let pair = r#"{"a": "\ud83d\ude00 \\ud83d", "n": -1.5e3}"#;
        assert_eq!(
            mended(pair.as_bytes()),
            (json!({"a": "😀 \\ud83d", "n": -1500.0}), String::new())
        );
    }

    #[test]
    fn each_fault_costs_itself_only() {
        for (body, value, words) in [
            (&br#"{"a":"x\ud83dy","b":1}"#[..], json!({"a": "x\u{fffd}y", "b": 1}), "half"),
            (br#"["\ude00"]"#, json!(["\u{fffd}"]), "half"),
            (br#"["\ud83d\ud83d\ude00"]"#, json!(["\u{fffd}😀"]), "half"),
            (br#"["\ud83d\u0041", "\ud83d"]"#, json!(["\u{fffd}A", "\u{fffd}"]), "half"),
            (br#"{"\ud83d": [1]}"#, json!({"\u{fffd}": [1]}), "half"),
            (
                b"{\"a\":\"gr\xfc\xdf\",\"b\":1}",
                json!({"a": "gr\u{fffd}\u{fffd}", "b": 1}),
                "UTF-8",
            ),
            // CESU-8, as MySQL and Java write emoji.
            (b"[\"\xed\xa0\xbd\", 1]", json!(["\u{fffd}\u{fffd}\u{fffd}", 1]), "UTF-8"),
            (b"{\"a\":\"one\ntwo\tthree\0\"}", json!({"a": "one\ntwo\tthree\0"}), "control"),
            (br#"["it\'s", "\x41", "\u12"]"#, json!(["it\\'s", "\\x41", "\u{fffd}12"]), "escapes"),
            (
                b"[NaN, Infinity, -Infinity, -5, \"NaN\"]",
                json!([null, null, null, -5, "NaN"]),
                "null",
            ),
            (b"[1e999, -1e999, 1]", json!(["1e999", "-1e999", 1]), "too large"),
            (b")]}'\n{\"a\":1}", json!({"a": 1}), "prefix"),
        ] {
            let (read, note) = mended(body);
            assert_eq!(read, value, "{}", String::from_utf8_lossy(body));
            assert!(note.contains(words), "{note}");
        }
    }

    #[test]
    fn what_is_no_json_stays_none() {
        let deep = "[".repeat(1000);
        for body in
            ["", "{\"a\":", "<html>", "{'a': 1}", "[1,]", "NaNo", "-", "\"\\", "[\"\\ud8", &deep]
        {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
