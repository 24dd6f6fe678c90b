//! Finds a secret that is spelled differently from how it was sent.
//!
//! An echo is seldom literal: .NET writes `%2f` in lower case, an error page writes `&#x2B;`, a
//! gateway wraps the request as JSON inside a JSON string (`\/`, `\u002b`), a log keeps the first
//! half of a key. So a text is searched as it is and after each of up to [`MAX_DECODINGS`]
//! decodings. Only letters and digits are compared, in lower case. This removes the differences
//! between encodings, alphabets (base64url for base64), line breaks and invisible characters, and
//! keeps the characters that make a secret unique.
//!
//! Each view takes one pass with a sliding window of [`WINDOW_CHARS`] characters.
//!
//! Not found: a secret that is reversed, encrypted, compressed, in base32, or spread over several
//! strings of a response.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use memchr::{memchr3, memmem};

/// Minimum length of a secret in bytes. A shorter one is not scrubbed: it would redact half of
/// every text.
pub(super) const MIN_SECRET_BYTES: usize = 4;
/// Maximum decodings of a text: JSON, and two more inside its strings.
const MAX_DECODINGS: usize = 3;
/// Folded characters per comparison; a shorter part of a secret does not count as the secret.
const WINDOW_CHARS: usize = 14;
const WINDOW_MASK: u128 = u128::MAX >> (128 - 8 * WINDOW_CHARS);
/// Distance between the windows kept of a secret. Any `WINDOW_CHARS + WINDOW_STRIDE - 1`
/// consecutive letters and digits of it contain a whole window, and so do any 20 consecutive
/// characters of which at most four are others.
const WINDOW_STRIDE: usize = 3;
/// Approximate number of windows kept of each encoded form of a secret; such a form is searched for
/// as a whole.
const WINDOWS_PER_ENCODED_FORM: usize = 32;
/// Minimum letters and digits for a folded comparison. A secret with fewer is compared literally,
/// since its folded form resembles many words.
const MIN_FOLDED_CHARS: usize = 12;
/// Size in bits, as a power of two, of the filter that is checked before the windows.
const FILTER_BITS: u32 = 15;

/// The secrets of one call, prepared for the search.
#[derive(Default)]
pub(super) struct Spellings {
    windows: Vec<u128>,
    /// Secrets shorter than a window: the mask of their length, and the secret.
    short: Vec<(u128, u128)>,
    /// One bit for the hash of each window.
    filter: Vec<u64>,
    /// Secrets too short to be folded, in each of their own decodings.
    literal: Vec<Vec<u8>>,
}

impl Spellings {
    pub(super) fn add(&mut self, secret: &str) {
        let mut form = secret.as_bytes().to_vec();
        let is_short = folded(&form).len() < MIN_FOLDED_CHARS;
        // A secret may itself look encoded; then decoding a text also decodes the secret in it.
        for _ in 0..=MAX_DECODINGS {
            if form.len() < MIN_SECRET_BYTES {
                break;
            }
            if is_short {
                self.literal.push(form.clone());
            } else {
                self.add_folded(&folded(without_header(&form)), WINDOW_STRIDE);
            }
            match decode(&form) {
                Some(decoded) => form = decoded,
                None => break,
            }
        }
        if is_short {
            return;
        }
        self.add_encoded(hex(secret.as_bytes()).as_bytes());
        // Inside longer base64, a secret has three forms, depending on its offset in a group of
        // three bytes. Its first and last characters also encode adjacent bytes and are left out.
        for offset in 0..3_usize {
            let mut padded = vec![0; offset];
            padded.extend_from_slice(secret.as_bytes());
            let encoded = STANDARD_NO_PAD.encode(&padded);
            let (from, until) = ((offset * 8).div_ceil(6), padded.len() * 8 / 6);
            self.add_encoded(encoded.get(from..until).unwrap_or_default().as_bytes());
        }
        self.windows.sort_unstable();
        self.windows.dedup();
    }

    fn add_encoded(&mut self, form: &[u8]) {
        let form = folded(form);
        self.add_folded(&form, WINDOW_STRIDE.max(form.len() / WINDOWS_PER_ENCODED_FORM));
    }

    fn add_folded(&mut self, form: &[u8], stride: usize) {
        let number = |part: &[u8]| part.iter().fold(0, |number, c| number << 8 | u128::from(*c));
        if form.len() < MIN_FOLDED_CHARS {
            return;
        }
        if form.len() < WINDOW_CHARS {
            let mask = u128::MAX >> (128 - 8 * form.len());
            self.short.push((mask, number(form)));
            return;
        }
        if self.filter.is_empty() {
            self.filter = vec![0; 1 << (FILTER_BITS - 6)];
        }
        for window in form.windows(WINDOW_CHARS).step_by(stride) {
            let window = number(window);
            let (word, bit) = place(window);
            if let Some(word) = self.filter.get_mut(word) {
                *word |= bit;
            }
            self.windows.push(window);
        }
    }

    /// Whether a text contains a secret, or 20 consecutive characters of one, in any spelling.
    pub(super) fn are_in(&self, text: &[u8]) -> bool {
        if self.windows.is_empty() && self.short.is_empty() && self.literal.is_empty() {
            return false;
        }
        if self.is_seen(text) {
            return true;
        }
        let mut view = decode(text);
        for _ in 0..MAX_DECODINGS {
            let Some(decoded) = view else { return false };
            if self.is_seen(&decoded) {
                return true;
            }
            view = decode(&decoded);
        }
        false
    }

    fn is_seen(&self, view: &[u8]) -> bool {
        if self.literal.iter().any(|secret| memmem::find(view, secret).is_some()) {
            return true;
        }
        if self.windows.is_empty() && self.short.is_empty() {
            return false;
        }
        let mut window: u128 = 0;
        for byte in view {
            let Some(&folded) = FOLDED.get(usize::from(*byte)) else { continue };
            if folded == 0 {
                continue;
            }
            window = (window << 8 | u128::from(folded)) & WINDOW_MASK;
            let (word, bit) = place(window);
            if self.filter.get(word).is_some_and(|word| word & bit != 0)
                && self.windows.binary_search(&window).is_ok()
            {
                return true;
            }
            if self.short.iter().any(|(mask, secret)| window & mask == *secret) {
                return true;
            }
        }
        false
    }
}

/// Returns a window's word and bit in the filter.
#[allow(clippy::cast_possible_truncation, reason = "a hash is made of what is left")]
fn place(window: u128) -> (usize, u64) {
    let mixed = (window as u64) ^ (window >> 64) as u64;
    let hash = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_BITS);
    ((hash >> 6) as usize, 1 << (hash & 63))
}

/// Strips a JWT's header. It says how the token is signed and is equal in all tokens of an issuer,
/// including those that the API may show.
fn without_header(secret: &[u8]) -> &[u8] {
    match secret.iter().position(|byte| *byte == b'.') {
        Some(at) if secret.starts_with(b"eyJ") => secret.get(at..).unwrap_or_default(),
        _ => secret,
    }
}

/// Maps ASCII letters and digits to lower case, and every other byte to 0.
const FOLDED: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() {
            #[allow(clippy::indexing_slicing, reason = "a byte, into a table of 256")]
            {
                table[byte as usize] = byte.to_ascii_lowercase();
            }
        }
        byte += 1;
    }
    table
};

fn folded(text: &[u8]) -> Vec<u8> {
    text.iter().filter(|c| c.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect()
}

/// Decodes one level of percent-encoding, HTML entities and backslash escapes, in any mixture.
/// `None` if the text has none.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded: Option<Vec<u8>> = None;
    let (mut rest, mut kept) = (text, 0);
    // `rest` is the part not scanned yet; `text[..kept]` is already in `decoded`.
    while let Some(at) = memchr3(b'%', b'&', b'\\', rest) {
        let place = text.len() - rest.len() + at;
        let mark = rest.get(at..).unwrap_or_default();
        let Some((character, length)) = escape(mark) else {
            rest = mark.get(1..).unwrap_or_default();
            continue;
        };
        let decoded = decoded.get_or_insert_with(|| Vec::with_capacity(text.len()));
        decoded.extend_from_slice(text.get(kept..place).unwrap_or_default());
        match u8::try_from(character) {
            Ok(byte) => decoded.push(byte),
            Err(_) => decoded.extend_from_slice("\u{fffd}".as_bytes()),
        }
        kept = place + length;
        rest = text.get(kept..).unwrap_or_default();
    }
    let mut decoded = decoded?;
    decoded.extend_from_slice(text.get(kept..).unwrap_or_default());
    Some(decoded)
}

/// Returns the character that an escape encodes, and the length of the escape in bytes.
fn escape(mark: &[u8]) -> Option<(u32, usize)> {
    let hex = |from: usize, digits: usize| {
        let digits = std::str::from_utf8(mark.get(from..from + digits)?).ok()?;
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
        u32::from_str_radix(digits, 16).ok()
    };
    match (mark.first()?, mark.get(1)?) {
        (b'%', b'u') => Some((hex(2, 4)?, 6)),
        (b'%', _) => Some((hex(1, 2)?, 3)),
        (b'&', _) => entity(mark),
        (b'\\', b'u') if mark.get(2) == Some(&b'{') => {
            let end = mark.iter().take(10).position(|byte| *byte == b'}')?;
            Some((hex(3, end.checked_sub(3)?)?, end + 1))
        }
        (b'\\', b'u') => Some((hex(2, 4)?, 6)),
        (b'\\', b'x') => Some((hex(2, 2)?, 4)),
        (b'\\', b'n' | b'r' | b't' | b'b' | b'f') => Some((u32::from(b' '), 2)),
        (b'\\', other) if !other.is_ascii_alphanumeric() => Some((u32::from(*other), 2)),
        _ => None,
    }
}

/// Like [`escape`], for an entity: `&#47;`, `&#x2f;`, `&sol;`. A numeric one may lack its semicolon
/// (HTML, 13.2.5.80).
fn entity(mark: &[u8]) -> Option<(u32, usize)> {
    let inner = mark.get(1..)?;
    let name = |from: usize, is: fn(&u8) -> bool| {
        let name = inner.get(from..)?;
        let length = name.iter().take(12).take_while(|byte| is(byte)).count();
        let name = std::str::from_utf8(name.get(..length)?).ok()?;
        let end = 1 + from + length;
        Some((name, end, mark.get(end) == Some(&b';')))
    };
    if let [b'#', b'x' | b'X', ..] = inner {
        let (digits, end, is_closed) = name(2, u8::is_ascii_hexdigit)?;
        return Some((u32::from_str_radix(digits, 16).ok()?, end + usize::from(is_closed)));
    }
    if inner.first() == Some(&b'#') {
        let (digits, end, is_closed) = name(1, u8::is_ascii_digit)?;
        return Some((digits.parse().ok()?, end + usize::from(is_closed)));
    }
    let (name, end, true) = name(0, u8::is_ascii_alphanumeric)? else { return None };
    let (_, character) = ENTITIES.iter().find(|(known, _)| *known == name)?;
    Some((u32::from(*character), end + 1))
}

/// Named entities for ASCII characters.
const ENTITIES: [(&str, char); 37] = [
    ("amp", '&'),
    ("AMP", '&'),
    ("lt", '<'),
    ("LT", '<'),
    ("gt", '>'),
    ("GT", '>'),
    ("quot", '"'),
    ("QUOT", '"'),
    ("apos", '\''),
    ("sol", '/'),
    ("bsol", '\\'),
    ("plus", '+'),
    ("equals", '='),
    ("lowbar", '_'),
    ("UnderBar", '_'),
    ("percnt", '%'),
    ("colon", ':'),
    ("semi", ';'),
    ("comma", ','),
    ("period", '.'),
    ("excl", '!'),
    ("quest", '?'),
    ("num", '#'),
    ("dollar", '$'),
    ("ast", '*'),
    ("midast", '*'),
    ("lpar", '('),
    ("rpar", ')'),
    ("lsqb", '['),
    ("lbrack", '['),
    ("rsqb", ']'),
    ("rbrack", ']'),
    ("lcub", '{'),
    ("rcub", '}'),
    ("verbar", '|'),
    ("commat", '@'),
    ("hat", '^'),
];

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    const SECRET: &str = "gAAAAB/mX+Qz7R=kP2/v9+LwTb=Yx4Nc8Jd";

    type Spell = fn(u32) -> String;

    fn finds(secret: &str, text: &str) -> bool {
        let mut spellings = Spellings::default();
        spellings.add(secret);
        spellings.are_in(text.as_bytes())
    }

    fn each(c: char, spell: impl Fn(u32) -> String) -> String {
        if c.is_ascii_alphanumeric() { c.to_string() } else { spell(u32::from(c)) }
    }

    fn spelled(secret: &str, spell: impl Fn(u32) -> String) -> String {
        secret.chars().map(|c| each(c, &spell)).collect()
    }

    #[test]
    fn each_spelling_is_found_two_levels_deep() {
        let spellings: [(&str, Spell); 9] = [
            ("lower percent", |c| format!("%{c:02x}")),
            ("upper percent", |c| format!("%{c:02X}")),
            ("old percent", |c| format!("%u{c:04x}")),
            ("hex entity", |c| format!("&#x{c:x};")),
            ("entity", |c| format!("&#{c};")),
            ("unicode escape", |c| format!("\\u{c:04x}")),
            ("braced escape", |c| format!("\\u{{{c:x}}}")),
            ("hex escape", |c| format!("\\x{c:02x}")),
            ("backslash", |c| format!("\\{}", char::from_u32(c).unwrap_or_default())),
        ];
        for (outer_name, outer) in spellings {
            let once = spelled(SECRET, outer);
            assert!(finds(SECRET, &format!("before {once} after")), "{outer_name}: {once}");
            for (inner_name, inner) in spellings {
                let twice = spelled(&once, inner);
                assert!(finds(SECRET, &twice), "{outer_name}, {inner_name}: {twice}");
            }
        }
        let open = spelled(SECRET, |c| format!("&#{c:05}"));
        assert!(finds(SECRET, &open), "{open}");
        let named = SECRET.replace('/', "&sol;").replace('+', "&plus;").replace('=', "&equals;");
        assert!(finds(SECRET, &named), "{named}");
        // Every character encoded, and only some of them.
        let all: Vec<_> = SECRET.bytes().map(|byte| hex(&[byte])).collect();
        let all = format!("%{}", all.join("%"));
        assert!(finds(SECRET, &all) && finds(SECRET, &all.replace("%41", "A")));
    }

    #[test]
    fn json_in_json_and_other_alphabets_are_found() {
        let json = serde_json::to_string(&SECRET.replace('/', "\\/")).expect("JSON");
        let nested = serde_json::to_string(&format!("{{\"token\":{json}}}")).expect("JSON");
        assert!(finds(SECRET, &nested), "{nested}");
        let url_safe = SECRET.replace('+', "-").replace('/', "_").replace('=', "");
        assert!(finds(SECRET, &url_safe), "{url_safe}");
        for text in [format!("{SECRET}x"), format!("u:{SECRET}"), format!("us:{SECRET}")] {
            assert!(
                finds(SECRET, &STANDARD.encode(&text))
                    && finds(SECRET, &URL_SAFE_NO_PAD.encode(&text))
            );
            let escaped = STANDARD.encode(&text).replace('+', "%2b").replace('=', "&#61;");
            assert!(finds(SECRET, &escaped), "{escaped}");
        }
        let wrapped: String = SECRET
            .chars()
            .enumerate()
            .flat_map(|(at, c)| [c, if at % 9 == 8 { '\n' } else { '\u{200b}' }])
            .collect();
        assert!(finds(SECRET, &wrapped), "{wrapped}");
        assert!(finds(SECRET, &SECRET.to_uppercase()));
    }

    #[test]
    fn twenty_consecutive_characters_are_enough_and_thirteen_are_not() {
        let secret: String =
            (0..40_u32).map(|n| char::from_digit(n * 7 % 36, 36).expect("a digit")).collect();
        for at in 0..=20 {
            assert!(finds(&secret, &format!("-{}-", &secret[at..at + 20])), "{at}");
        }
        for at in 0..=27 {
            assert!(!finds(&secret, &format!("-{}-", &secret[at..at + 13])), "{at}");
        }
    }

    #[test]
    fn punctuation_counts_among_the_twenty() {
        let secret = "ab-cd3f/gh1j+kl2m=no4q-rs5u/vw6y";
        for at in 0..=secret.len() - 20 {
            assert!(finds(secret, &secret[at..at + 20]), "{at}");
        }
    }

    #[test]
    fn short_and_encoded_looking_secrets_are_found() {
        assert!(finds("a+b/c=", "x a%2bb%2Fc%3d"));
        assert!(!finds("a+b/c=", "abc"));
        assert!(
            finds("Sesame-0pen/12", "sesame_0pen%2f12") && !finds("Sesame-0pen/12", "sesame open")
        );
        let odd = "abc%41def&amp;ghi\\u0041jklmnop";
        for text in
            [odd.to_owned(), spelled(odd, |c| format!("%{c:02x}")), odd.replace('%', "\\u0025")]
        {
            assert!(finds(odd, &text), "{text}");
        }
    }

    #[test]
    fn what_tokens_have_in_common_is_no_secret() {
        let header = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImtleS0xIn0";
        let ours = format!("{header}.eyJzdWIiOiJhbmEiLCJqdGkiOiI4ZjJjIn0.c2lnbmF0dXJlLW9mLW91cnM");
        assert!(!finds(&ours, &format!("{header}.eyJvdGhlciI6MX0.b3RoZXI")));
        assert!(finds(&ours, "x eyJzdWIiOiJhbmEiLCJqdGkiOiI4ZjJjIn0 x"));
        assert!(!finds(SECRET, "a harmless text with 100% & \\ marks %zz &#; &x \\u12 \\"));
        assert!(!finds("", "anything") && !Spellings::default().are_in(b"anything"));
    }

    #[test]
    fn broken_escapes_end() {
        for text in [
            "%", "%4", "%u", "%u12", "&", "&#", "&#x", "&amp", "\\", "\\u", "\\u{", "\\u{}", "\\x4",
        ] {
            assert!(!finds(SECRET, text), "{text}");
            assert!(
                finds(SECRET, &format!("{text}{SECRET}"))
                    && finds(SECRET, &format!("{SECRET}{text}")),
                "{text}"
            );
        }
    }
}
