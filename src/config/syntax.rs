//! Parses TOML text into a table with the position of every key and value, in spite of mistakes.
//!
//! After a mistake the parser reads on, but its view is distorted: after an array that is never
//! closed, it takes all that follows for items of the array. So a statement with a mistake is
//! reported once and replaced by blanks, which keeps all other positions, and the text is parsed
//! again.

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::findings::Findings;
use super::span::Span;

/// A parsed value and its position.
pub(crate) type Value<'i> = Spanned<DeValue<'i>>;

/// Limit on the parses of one file; further mistakes in its syntax are not reported.
const MAX_PARSES: usize = 50;
/// Limit on the bytes parsed in total, so that a large invalid file is not parsed 50 times. A file
/// is parsed at least twice.
const MAX_PARSED_BYTES: usize = 8 * 1024 * 1024;
/// Lines searched upwards for the beginning of an unclosed statement; the last one counts as it.
const MAX_SEARCHED_LINES: usize = 500;

/// Reports the statements that are not valid TOML and blanks them out.
///
/// The result is as long as the source and, below [`MAX_PARSES`] mistakes, free of them. Mistakes
/// beyond syntax (a key given twice) are reported but stay.
pub(crate) fn mend(source: &str, find: &mut Findings<'_>) -> String {
    let mut text = source.to_owned();
    let mut last: Option<Span> = None;
    let readings = (MAX_PARSED_BYTES / source.len().max(1)).clamp(2, MAX_PARSES);
    for _ in 0..readings {
        let (_, errors) = DeTable::parse_recoverable(&text);
        let first = errors
            .iter()
            .filter(|error| !is_about_meaning(error))
            .min_by_key(|error| error.span().map(|span| span.start));
        let Some(error) = first else {
            report_duplicates(&errors, find);
            break;
        };
        let mistake = Mistake::locate(error, &text);
        // A mistake that follows directly is the rest of the same one.
        let is_rest = last.as_ref().is_some_and(|last| {
            text.get(last.end..mistake.lines.start).is_some_and(|between| between.trim().is_empty())
        });
        if !is_rest {
            find.error("config::syntax", &mistake.place, mistake.message.clone())
                .label(mistake.label)
                .hint(hint(&mistake.message));
        }
        find.damaged(&mistake.lines);
        hide_secrets(source, &mistake.lines, find);
        blank(&mut text, &mistake.lines);
        last = Some(mistake.lines);
    }
    text
}

/// Whether an error is about the meaning of the text, not its syntax.
fn is_about_meaning(error: &Error) -> bool {
    error.message() == "duplicate key" || error.message().starts_with("cannot extend")
}

fn report_duplicates(errors: &[Error], find: &mut Findings<'_>) {
    let source = find.source();
    // A table given twice repeats all its keys, which is one mistake.
    let mut same_table = 0..0;
    for error in errors {
        let span = error.span().unwrap_or_default();
        if same_table.contains(&span.start) {
            continue;
        }
        let line = line_around(source, span.start);
        if source.get(line.clone()).is_some_and(|line| line.trim_start().starts_with('[')) {
            same_table = line.end..next_header(source, line.end);
        }
        let key = source.get(span.clone()).unwrap_or_default();
        find.error("config::duplicate", &span, format!("`{key}` is given twice"))
            .label("second time")
            .hint("remove one of the two, or rename it");
    }
}

/// Returns the usual fix for a message of the parser.
fn hint(message: &str) -> &'static str {
    const HINTS: [(&str, &str); 8] = [
        ("must be quoted", "put the text in quotes"),
        ("escape", "write `\\\\` for a backslash, or the whole text in single quotes"),
        ("never closed", "close it with the mark that closes what opened it: a quote, `]` or `}`"),
        (
            "string",
            "a text begins and ends with the same quotes, on one line unless there are three",
        ),
        ("key with no value", "write `key = value`; a remark begins with `#`"),
        ("missing comma", "put a comma between the two"),
        ("unclosed", "add the bracket that closes it"),
        ("unquoted key", "a key has letters, digits, `_` and `-`, or stands in quotes"),
    ];
    HINTS
        .iter()
        .find(|(part, _)| message.contains(part))
        .map_or("toml.io describes the syntax", |(_, hint)| hint)
}

struct Mistake {
    message: String,
    label: &'static str,
    place: Span,
    /// Whole lines to blank out.
    lines: Span,
}

impl Mistake {
    fn locate(error: &Error, text: &str) -> Self {
        let place = error.span().unwrap_or_default();
        let message = error.message().to_owned();
        let line = line_around(text, place.start);
        if text.get(line.clone()).is_some_and(|line| line.trim_start().starts_with('['))
            && !stands_alone(text, &line)
        {
            // The table has no valid name: its keys belong to no other table.
            let end = next_header(text, line.end);
            return Self { message, label: "here", place, lines: line.start..end };
        }
        if !stands_alone(text, &line) {
            let start = statement_start(text, line.start);
            let end = statement_end(text, line.end);
            return Self { message, label: "here", place, lines: start..end };
        }
        // The line alone is valid: an earlier statement was never closed and includes it.
        let mut opener = line.clone();
        for _ in 0..MAX_SEARCHED_LINES {
            if opener.start == 0 {
                break;
            }
            opener = line_around(text, opener.start - 1);
            if !stands_alone(text, &opener) && begins_statement(text, &opener) {
                break;
            }
        }
        let written = text.get(opener.clone()).unwrap_or_default();
        let indent = written.len() - written.trim_start().len();
        let place = opener.start + indent..opener.start + written.trim_end().len();
        let end = statement_end(text, opener.end);
        Self {
            message: "a string, list or table is never closed".into(),
            label: "begins here",
            place,
            lines: opener.start..end,
        }
    }
}

/// Returns the line that contains `offset`, without its line break. At the end of the text: the
/// last line that is not empty.
fn line_around(text: &str, offset: usize) -> Span {
    let offset = if text.get(offset..).is_none_or(|rest| rest.trim().is_empty()) {
        text.trim_end().len().min(offset)
    } else {
        offset
    };
    let start = text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let end =
        text.get(offset..).and_then(|after| after.find('\n')).map_or(text.len(), |at| offset + at);
    start..end
}

fn stands_alone(text: &str, line: &Span) -> bool {
    text.get(line.clone()).is_some_and(|line| DeTable::parse(line).is_ok())
}

/// Whether a line begins a statement, as `key =` or `[header]` do.
fn begins_statement(text: &str, line: &Span) -> bool {
    let line = text.get(line.clone()).unwrap_or_default().trim_start();
    let key = line.trim_start_matches(|c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '"' | '\'' | ' ')
    });
    line.starts_with('[') || (key.len() < line.len() && key.starts_with('='))
}

fn statement_start(text: &str, line_start: usize) -> usize {
    let mut line = line_around(text, line_start);
    let given = line.start;
    while !begins_statement(text, &line) && line.start > 0 {
        let before = line_around(text, line.start - 1);
        if before.start >= line.start || before.is_empty() || stands_alone(text, &before) {
            return given;
        }
        line = before;
    }
    line.start
}

/// Skips lines that are not valid alone: they are the rest of the statement before.
fn statement_end(text: &str, mut end: usize) -> usize {
    while end < text.len() {
        let next = end + 1;
        let line_end =
            text.get(next..).and_then(|after| after.find('\n')).map_or(text.len(), |at| next + at);
        let line = next..line_end;
        let is_blank = text.get(line.clone()).is_none_or(|line| line.trim().is_empty());
        if is_blank || stands_alone(text, &line) || begins_statement(text, &line) {
            break;
        }
        end = line_end;
    }
    end.min(text.len())
}

fn next_header(text: &str, from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    rest.match_indices("\n[").next().map_or(text.len(), |(at, _)| from + at)
}

fn blank(text: &mut String, span: &Span) {
    let blanks: String = text
        .get(span.clone())
        .unwrap_or_default()
        .bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
        .collect();
    text.replace_range(span.clone(), &blanks);
}

/// Redacts values whose key suggests a secret: the meaning of a statement that is not valid TOML is
/// not known.
fn hide_secrets(source: &str, lines: &Span, find: &mut Findings<'_>) {
    let mut start = lines.start;
    for line in source.get(lines.clone()).unwrap_or_default().split_inclusive('\n') {
        let lower = line.to_ascii_lowercase();
        let sounds =
            SECRET_WORDS.iter().filter_map(|word| lower.find(word).map(|at| at + word.len())).min();
        if let Some(at) = sounds {
            let skipped = line.get(at..).unwrap_or_default();
            let value =
                skipped.find(|c: char| !(c.is_whitespace() || matches!(c, '=' | '"' | '\'')));
            if let Some(value) = value.filter(|&value| {
                !super::secret_ref::SCHEMES
                    .iter()
                    .any(|scheme| skipped.get(value..).is_some_and(|v| v.starts_with(scheme)))
            }) {
                find.redact(&(start + at + value..start + line.trim_end().len()));
            }
        }
        start += line.len();
    }
}

/// Words in a key's name that suggest a secret. The value of such a key is redacted if its meaning
/// is not known.
pub(crate) const SECRET_WORDS: [&str; 8] =
    ["secret", "token", "password", "key", "credential", "value", "bearer", "service_account"];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::problem::Problems;

    fn mended(source: &str) -> (Problems, usize) {
        let mut find = Findings::new(source);
        let text = mend(source, &mut find);
        assert_eq!(text.len(), source.len());
        let keys = DeTable::parse_recoverable(&text).0.get_ref().len();
        (find.finish(Path::new("t")), keys)
    }

    #[test]
    fn one_mistake_is_one_problem_and_hides_nothing_after_it() {
        let table = [
            ("foo \"bar\"", 2),
            ("foo = \"bar", 2),
            ("foo = [1, 2", 2),
            ("foo = \"\"\"abc", 2),
            ("foo = { a = 1", 2),
            ("foo = ", 2),
            ("foo = bar", 2),
            ("foo = \"a\" \"b\"", 2),
            ("foo = \"a\\d\"", 2),
            ("!!! what", 2),
            ("foo = [\n  \"a\" \"b\",\n  \"c\",\n]", 2),
        ];
        for (mistake, line) in table {
            let (problems, keys) = mended(&format!("[x]\n{mistake}\nb = 2\n\n[y]\nc = 3\n"));
            assert_eq!(problems.list.len(), 1, "{mistake}: {:#?}", problems.list);
            assert!(
                (line..=line + 1).contains(&problems.list[0].line),
                "{mistake}: {:#?}",
                problems.list
            );
            assert_eq!(keys, 2, "{mistake}");
        }
    }

    #[test]
    fn a_header_that_is_not_closed_takes_its_keys_along() {
        let (problems, keys) = mended("[x]\na = 1\n[y\na = 1\n[z]\na = 1\n");
        assert_eq!(problems.list.len(), 1, "{:#?}", problems.list);
        assert_eq!(keys, 2);
    }

    #[test]
    fn mistakes_in_different_statements_are_told_apart() {
        let (problems, _) = mended("a = \nb = 1\nc = [1\nd = 2\ne = 'x\nf = 3\nf = 4\n");
        let lines: Vec<usize> = problems.list.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [1, 3, 5, 7], "{:#?}", problems.list);
    }

    #[test]
    fn a_secret_in_a_broken_statement_is_not_shown() {
        let (problems, _) = mended("[x]\nclient_secret = \"hunter2\nb = 1\n");
        assert!(!problems.source.contains("hunter2"), "{}", problems.source);
    }
}
