//! Text for people: makes text from outside safe to show, and completes our own sentences.

use std::borrow::Cow;

use super::secret::{self, ExposeSecret as _};

/// Returns text from outside on one line of at most `most` characters, without control and
/// invisible characters: control characters steer a terminal, bidirectional ones turn `gnp.exe`
/// around, and other invisible ones make two names look alike or carry words for a model only.
pub fn shown(text: &str, most: usize) -> String {
    let visible = text.chars().filter(|c| !c.is_control() && !is_invisible(*c));
    visible.take(most).collect()
}

/// Returns text of several lines without characters that steer a terminal or deceive a reader.
pub fn tame(text: &str) -> Cow<'_, str> {
    let is_wild = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || is_invisible(c);
    if text.contains(is_wild) { text.replace(is_wild, "").into() } else { text.into() }
}

/// Returns a text from outside for a field of the log. Control and invisible characters are written
/// as `\u{…}` instead of being dropped, so that different texts stay different.
pub fn escaped(text: &str) -> Cow<'_, str> {
    let is_wild = |c: char| c.is_control() || is_invisible(c);
    if !text.contains(is_wild) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_wild(c) { escaped.extend(c.escape_unicode()) } else { escaped.push(c) }
    }
    escaped.into()
}

/// Quotes one word of a command line for a POSIX shell.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

/// Maximum characters of a label in a sentence; the rest is cut.
const MAX_LABEL_CHARS: usize = 40;

/// Quotes a name from outside in a sentence of ours: short, in quotation marks that it cannot end.
pub fn label(text: &str) -> String {
    let inner = shown(text.trim(), usize::MAX).replace(['“', '”', '„', '‟', '"'], "'");
    match inner.char_indices().nth(MAX_LABEL_CHARS) {
        Some((end, _)) => format!("“{}…”", inner.get(..end).unwrap_or_default()),
        None => format!("“{inner}”"),
    }
}

/// Whether a character is invisible: `Default_Ignorable_Code_Point` (Unicode,
/// DerivedCoreProperties) with the line and paragraph separators and interlinear annotations.
///
/// Soft hyphen, joiners, zero-width spaces, fillers, invisible operators, variation selectors and
/// tags, in which whole texts can be hidden; bidirectional marks, embeddings, overrides and
/// isolates (Trojan Source).
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a character of an identifier is invisible: line and paragraph separators, bidirectional
/// controls (UAX #9 §2), and `Default_Ignorable_Code_Point` (DerivedCoreProperties.txt).
pub fn is_ignorable(c: char) -> bool {
    is_invisible(c)
        || matches!(c,
            '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Turns a fragment, such as an error or a hint, into a sentence.
pub fn sentence(fragment: &str) -> String {
    let mut letters = fragment.chars();
    let Some(first) = letters.next() else { return String::new() };
    let rest = letters.as_str();
    let end = if rest.ends_with(['.', '`']) { "" } else { "." };
    // A command or a name keeps its case.
    if rest.starts_with(|c: char| c.is_uppercase() || c == '_') {
        return format!("{fragment}{end}");
    }
    format!("{}{rest}{end}", first.to_uppercase())
}

/// Creates an incident id: the user sees only the id, and the log says more under it.
pub fn incident() -> String {
    secret::random_ticket().expose_secret().chars().take(8).collect()
}

/// Returns the name among `known` that a mistyped one most likely stands for.
///
/// Skips long input: a comparison costs the product of the lengths, and a name that is far too long
/// is no typing error but an attempt to keep the server busy.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const MAX_COMPARED_CHARS: usize = 128;
    if name.len() > MAX_COMPARED_CHARS {
        return None;
    }
    let wanted = name.to_lowercase();
    let is_beginning = |candidate: &str| {
        wanted.len() >= 3 && (candidate.starts_with(&*wanted) || wanted.starts_with(candidate))
    };
    // A third of the letters may be wrong; a name that begins with the other is near too.
    let may_differ_by = |candidate: &str| (candidate.len().max(wanted.len()) / 3).max(1);
    known
        .into_iter()
        // Each letter more or less is a difference, so most names need no comparison.
        .filter(|candidate| {
            candidate.len().abs_diff(wanted.len()) <= may_differ_by(candidate)
                || is_beginning(candidate)
        })
        .map(|candidate| {
            (strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase()), candidate)
        })
        .filter(|(distance, candidate)| {
            *distance <= may_differ_by(candidate) || is_beginning(candidate)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_not_shown() {
        let steered = "a\u{1b}[2Jb\u{202e}c\u{2066}d\u{200b}e\u{feff}f\u{2060}g\u{e0041}h\ni";
        assert_eq!(shown(steered, 60), "a[2Jbcdefghi");
        assert_eq!(shown("Zoë’s 日本 – ✓", 60), "Zoë’s 日本 – ✓");
        assert_eq!(shown("abc", 2), "ab");
    }

    #[test]
    fn lines_stay_and_a_terminal_is_not_steered() {
        assert_eq!(tame("a\n\tb\u{1b}[2J\u{9b}1m\r\u{7}c\u{202e}"), "a\n\tb[2J1mc");
        assert_eq!(tame("Zoë\n日本"), "Zoë\n日本");
    }

    #[test]
    fn a_shell_reads_back_one_word() {
        assert_eq!(quoted("/a/b.toml"), "/a/b.toml");
        for (word, written) in [("", "''"), ("a b", "'a b'"), ("~", "'~'"), ("a'b", r"'a'\''b'")] {
            assert_eq!(quoted(word), written);
        }
    }

    #[test]
    fn a_fragment_becomes_a_sentence() {
        assert_eq!(sentence("try again"), "Try again.");
        assert_eq!(sentence("COUNTERSIGN_KEY is not set"), "COUNTERSIGN_KEY is not set.");
        assert_eq!(sentence("say `auth login`"), "Say `auth login`");
        assert_eq!(sentence(""), "");
    }

    #[test]
    fn the_nearest_name_is_near() {
        let known = ["scopes", "select", "description", "url"];
        assert_eq!(nearest("scope", known), Some("scopes"));
        assert_eq!(nearest("descripton", known), Some("description"));
        assert_eq!(nearest("desc", known), Some("description"));
        assert_eq!(nearest("banana", known), None);
    }
}
