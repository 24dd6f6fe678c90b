//! Searches for secrets in places where none may be, in every form that one may have there.

use std::collections::HashMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode, percent_encode_byte};

/// Percent-encodes everything but the unreserved characters (RFC 3986 §2.3).
const PERCENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Bytes of a form that are looked up at every position of the searched text.
const HEAD: usize = 8;

#[derive(Default)]
pub struct Search {
    forms: HashMap<[u8; HEAD], Vec<Form>>,
}

struct Form {
    name: String,
    rest: Vec<u8>,
}

impl Search {
    /// Adds a secret: plain, in base64 (both alphabets, at any offset within a longer text), in
    /// hex, percent-encoded.
    pub fn add(&mut self, name: &str, secret: &[u8]) {
        assert!(secret.len() >= 12, "{name} is too short to be looked for");
        self.add_form(format!("{name}, plain"), secret);
        for shift in 0..3 {
            for (alphabet, how) in [(&STANDARD_NO_PAD, "base64"), (&URL_SAFE_NO_PAD, "base64url")] {
                let mut shifted = vec![0; shift];
                shifted.extend(secret);
                let encoded = alphabet.encode(&shifted).into_bytes();
                // Only the characters that depend on the secret alone.
                let (first, last) = ((shift * 8).div_ceil(6), shifted.len() * 8 / 6);
                self.add_form(format!("{name}, {how} at {shift}"), &encoded[first..last]);
            }
        }
        let percent = percent_encode(secret, PERCENT).to_string();
        let thorough = percent_encode(secret, NON_ALPHANUMERIC).to_string();
        let forms = [
            ("hex", hex(secret)),
            ("upper-case hex", hex(secret).to_uppercase()),
            ("percent, lower-case", lower_escapes(&percent)),
            ("percent", percent),
            ("percent, but letters and digits", thorough),
            ("percent, all of it", percent_encode_byte_by_byte(secret)),
        ];
        for (how, form) in forms {
            self.add_form(format!("{name}, {how}"), form.as_bytes());
        }
    }

    fn add_form(&mut self, name: String, form: &[u8]) {
        let (head, rest) = form.split_first_chunk::<HEAD>().expect("a form is long enough");
        let known = self.forms.entry(*head).or_default();
        if known.iter().all(|other| other.rest != rest) {
            known.push(Form { name, rest: rest.to_vec() });
        }
    }

    /// Returns the names of the secrets that are found.
    pub fn find(&self, haystack: &[u8]) -> Vec<&str> {
        let mut found = Vec::new();
        for at in 0..haystack.len().saturating_sub(HEAD - 1) {
            let (head, rest) = haystack[at..].split_first_chunk::<HEAD>().expect("as long as that");
            for form in self.forms.get(head).into_iter().flatten() {
                if rest.starts_with(&form.rest) && !found.contains(&form.name.as_str()) {
                    found.push(&form.name);
                }
            }
        }
        found
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn percent_encode_byte_by_byte(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| percent_encode_byte(*byte)).collect()
}

/// `%2F` as some libraries write it, `%2f`.
fn lower_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (digits, rest) = part.split_at(2);
        format!("{text}%{}{rest}", digits.to_ascii_lowercase())
    })
}

#[test]
fn a_planted_secret_is_found_in_every_form() {
    const SECRET: &str = "canary+of/the:coal%mine";
    let mut search = Search::default();
    search.add("canary", SECRET.as_bytes());
    search.add("other", b"another secret altogether");
    let mut planted = vec![
        SECRET.to_owned(),
        "63616e6172792b6f662f7468653a636f616c256d696e65".to_owned(),
        "63616E6172792B6F662F7468653A636F616C256D696E65".to_owned(),
        "canary%2Bof%2Fthe%3Acoal%25mine".to_owned(),
        "canary%2bof%2fthe%3acoal%25mine".to_owned(),
        SECRET.bytes().map(percent_encode_byte).collect(),
    ];
    for before in ["", "u", "us", "user:"] {
        for after in ["", ":", "::", " and more"] {
            let text = format!("{before}{SECRET}{after}");
            planted.push(STANDARD_NO_PAD.encode(&text));
            planted.push(URL_SAFE_NO_PAD.encode(&text));
        }
    }
    for form in planted {
        let haystack = format!("\u{1}\u{2}something {form} something");
        let found = search.find(haystack.as_bytes());
        assert!(!found.is_empty(), "not found: {haystack}");
        assert!(found.iter().all(|name| name.starts_with("canary")), "{found:?}");
    }
    assert_eq!(search.find(b"a canary of the coal mine, and nothing else"), Vec::<&str>::new());
}
