//! Reads JSON as services write it: strictly first, then with repairs that lose only the faulty
//! part.
//!
//! A string cut between the two halves of an emoji, a byte of another encoding, or Python's `NaN`
//! in one field would otherwise make the whole response unreadable.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

use crate::model::result::{JsonFault, Remark};

/// Reads a value and returns a remark on the repaired faults, if any.
///
/// # Errors
/// The error of the strict reader if the JSON cannot be repaired.
pub(super) fn read(body: &[u8]) -> Result<(Value, Option<Remark>), serde_json::Error> {
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
    Ok((value, Some(Remark::Repaired(faults))))
}

struct Mended {
    json: String,
    faults: Vec<JsonFault>,
}

impl Mended {
    fn fault(&mut self, fault: JsonFault, instead: &str) {
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
        self.json.push_str(instead);
    }
}

fn mend(body: &[u8]) -> (String, Vec<JsonFault>) {
    let text = String::from_utf8_lossy(body);
    let mut mended = Mended { json: String::with_capacity(text.len()), faults: Vec::new() };
    if matches!(text, Cow::Owned(_)) {
        mended.fault(JsonFault::Encoding, "");
    }
    let mut rest: &str = &text;
    for prefix in [")]}',", ")]}'", "while(1);", "for(;;);"] {
        if let Some(json) = rest.trim_start().strip_prefix(prefix) {
            mended.fault(JsonFault::Prefix, "");
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
                mended.fault(JsonFault::Control, "");
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
                mended.fault(JsonFault::Surrogate, "\u{fffd}");
                6
            }
            Some(0xdc00..=0xdfff) => {
                mended.fault(JsonFault::Surrogate, "\u{fffd}");
                6
            }
            Some(_) => {
                mended.json.push_str(rest.get(..6).unwrap_or_default());
                6
            }
            None => {
                mended.fault(JsonFault::Escape, "\u{fffd}");
                2
            }
        },
        // `\'`, `\x`: keep the backslash as a character, so that no text is lost.
        Some(_) => {
            mended.fault(JsonFault::Escape, "\\\\");
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
        "NaN" | "Infinity" | "Inf" => mended.fault(JsonFault::NotANumber, "null"),
        digits
            if digits.starts_with(|c: char| c.is_ascii_digit())
                && token.parse().is_ok_and(f64::is_infinite) =>
        {
            let text = format!("\"{token}\"");
            mended.fault(JsonFault::Range, &text);
        }
        _ => mended.json.push_str(token),
    }
    end
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn repaired(body: &[u8]) -> (Value, Vec<JsonFault>) {
        match read(body).expect("JSON") {
            (value, None) => (value, Vec::new()),
            (value, Some(Remark::Repaired(faults))) => (value, faults),
            (_, Some(other)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn strict_json_is_as_it_is() {
        let pair = r#"{"a": "\ud83d\ude00 \\ud83d", "n": -1.5e3}"#;
        assert_eq!(
            repaired(pair.as_bytes()),
            (json!({"a": "😀 \\ud83d", "n": -1500.0}), Vec::new())
        );
    }

    #[test]
    fn each_fault_costs_itself_only() {
        for (body, value, fault) in [
            (
                &br#"{"a":"x\ud83dy","b":1}"#[..],
                json!({"a": "x\u{fffd}y", "b": 1}),
                JsonFault::Surrogate,
            ),
            (br#"["\ude00"]"#, json!(["\u{fffd}"]), JsonFault::Surrogate),
            (br#"["\ud83d\ud83d\ude00"]"#, json!(["\u{fffd}😀"]), JsonFault::Surrogate),
            (
                br#"["\ud83d\u0041", "\ud83d"]"#,
                json!(["\u{fffd}A", "\u{fffd}"]),
                JsonFault::Surrogate,
            ),
            (br#"{"\ud83d": [1]}"#, json!({"\u{fffd}": [1]}), JsonFault::Surrogate),
            (
                b"{\"a\":\"gr\xfc\xdf\",\"b\":1}",
                json!({"a": "gr\u{fffd}\u{fffd}", "b": 1}),
                JsonFault::Encoding,
            ),
            // CESU-8, as MySQL and Java write emoji.
            (b"[\"\xed\xa0\xbd\", 1]", json!(["\u{fffd}\u{fffd}\u{fffd}", 1]), JsonFault::Encoding),
            (
                b"{\"a\":\"one\ntwo\tthree\0\"}",
                json!({"a": "one\ntwo\tthree\0"}),
                JsonFault::Control,
            ),
            (
                br#"["it\'s", "\x41", "\u12"]"#,
                json!(["it\\'s", "\\x41", "\u{fffd}12"]),
                JsonFault::Escape,
            ),
            (
                b"[NaN, Infinity, -Infinity, -5, \"NaN\"]",
                json!([null, null, null, -5, "NaN"]),
                JsonFault::NotANumber,
            ),
            (b"[1e999, -1e999, 1]", json!(["1e999", "-1e999", 1]), JsonFault::Range),
            (b")]}'\n{\"a\":1}", json!({"a": 1}), JsonFault::Prefix),
        ] {
            let (read, faults) = repaired(body);
            assert_eq!(read, value, "{}", String::from_utf8_lossy(body));
            assert!(faults.contains(&fault), "{faults:?}");
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
