//! Collects the problems of a `tools.toml` while it is read.

use std::cell::OnceCell;
use std::path::Path;

use super::problem::{Problem, Problems, Severity};
use super::redaction::Redaction;
use super::span::Span;
use super::unknown_key::{LanguageTable, UnknownKey};
use crate::model::declared_tool::ToolProblem;

/// Code of the problem that a needed secret is not set.
const UNSET: &str = "secret::unset";

/// Collects problems while a source text is read.
#[derive(Debug)]
pub(crate) struct Findings<'s> {
    source: &'s str,
    /// Tables of the language, to explain keys that are in the wrong one.
    tables: &'static [LanguageTable],
    list: Vec<Problem>,
    /// Positions of secrets in the source.
    secrets: Vec<Span>,
    /// Parts of the source that are not valid TOML.
    damage: Vec<Span>,
    /// Misspelt keys: the start of their table, and the key that was most likely meant.
    misspelt: Vec<(usize, String)>,
    /// Unknown keys that are explained once the whole file has been read.
    unknown_keys: Vec<UnknownKey>,
    /// Names in references to secrets, and their positions.
    references: Vec<(String, Span)>,
    lines: OnceCell<Lines>,
    /// Problems of tools that are code.
    tools: Vec<ToolProblem>,
}

impl<'s> Findings<'s> {
    pub(crate) fn new(source: &'s str) -> Self {
        Self {
            source,
            tables: &[],
            list: Vec::new(),
            secrets: Vec::new(),
            damage: Vec::new(),
            misspelt: Vec::new(),
            unknown_keys: Vec::new(),
            references: Vec::new(),
            lines: OnceCell::new(),
            tools: Vec::new(),
        }
    }

    /// Adds the tables of the language.
    #[must_use]
    pub(crate) fn of_language(self, tables: &'static [LanguageTable]) -> Self {
        Self { tables, ..self }
    }

    pub(crate) fn source(&self) -> &'s str {
        self.source
    }

    pub(crate) fn tables(&self) -> &'static [LanguageTable] {
        self.tables
    }

    /// Adds an error, which prevents serving the file.
    pub(crate) fn error(
        &mut self,
        code: &'static str,
        at: &Span,
        message: impl Into<String>,
    ) -> Draft<'_> {
        self.push(Severity::Error, code, Some(at.clone()), message.into())
    }

    /// Adds a warning, which does not prevent serving the file.
    pub(crate) fn warning(
        &mut self,
        code: &'static str,
        at: &Span,
        message: impl Into<String>,
    ) -> Draft<'_> {
        self.push(Severity::Warning, code, Some(at.clone()), message.into())
    }

    /// Adds a problem of the file as a whole.
    pub(crate) fn whole(
        &mut self,
        severity: Severity,
        code: &'static str,
        message: impl Into<String>,
    ) -> Draft<'_> {
        self.push(severity, code, None, message.into())
    }

    /// Adds a problem of a tool that is code. `at` is its table in `tools.toml`, if it has one.
    pub(crate) fn code(&mut self, problem: ToolProblem, at: Option<&Span>) {
        let (code, message, hint) = (problem.code(), problem.to_string(), problem.hint());
        self.push(Severity::Error, code, at.cloned(), message).hint(hint);
        self.tools.push(problem);
    }

    fn push(
        &mut self,
        severity: Severity,
        code: &'static str,
        span: Option<Span>,
        message: String,
    ) -> Draft<'_> {
        self.list.push(Problem {
            severity,
            code,
            message,
            label: "here".into(),
            hint: None,
            span,
            line: 0,
            column: 0,
        });
        Draft(self.list.last_mut())
    }

    /// Redacts this part of the source.
    pub(crate) fn redact(&mut self, span: &Span) {
        self.secrets.push(span.clone());
    }

    /// Notes a part of the source that cannot be read, and so may contain a key that seems missing.
    pub(crate) fn damaged(&mut self, span: &Span) {
        self.damage.push(span.clone());
    }

    /// Whether a part of the table that begins at `start` cannot be read. Keys missing from such a
    /// table are not reported: one mistake, one problem.
    pub(crate) fn is_damaged(&self, start: usize) -> bool {
        self.damage.iter().any(|damage| {
            damage.start >= start
                && !self.source.get(start..damage.start).is_some_and(|between| {
                    between.lines().skip(1).any(|line| line.trim_start().starts_with('['))
                })
        })
    }

    /// Notes that a key of the table at `table` has been reported that most likely means `key`.
    pub(crate) fn misspelt(&mut self, table: &Span, key: &str) {
        self.misspelt.push((table.start, key.to_owned()));
    }

    /// Adds an unknown key that the next problem is about; `key` receives the problem's index.
    pub(crate) fn unknown_key(&mut self, key: impl FnOnce(usize) -> UnknownKey) {
        self.unknown_keys.push(key(self.list.len()));
    }

    /// Takes the unknown keys out of the findings, for [`misplaced`](super::misplaced) to explain.
    pub(crate) fn take_unknown_keys(&mut self) -> Vec<UnknownKey> {
        std::mem::take(&mut self.unknown_keys)
    }

    /// Sets the hint of the problem with this index.
    pub(crate) fn set_hint(&mut self, problem: usize, hint: String) {
        if let Some(problem) = self.list.get_mut(problem) {
            problem.hint = Some(hint);
        }
    }

    /// Returns the key in front of a value, as written; `None` for an item of a list.
    pub(crate) fn key_of(&self, value: &Span) -> Option<&'s str> {
        let before = self.source.get(..value.start)?.trim_end().strip_suffix('=')?.trim_end();
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let rest = before.trim_end_matches(is_part);
        before.get(rest.len()..).filter(|key| !key.is_empty())
    }

    /// Notes the position of a reference to the secret called `name`.
    pub(crate) fn reference(&mut self, name: String, at: &Span) {
        self.references.push((name, at.clone()));
    }

    /// Reports a required key as missing, unless it [may be there](Self::may_be_there) after all:
    /// one mistake, one problem.
    pub(crate) fn missing(&mut self, table: &Span, key: &str, hint: impl Into<String>) {
        if !self.may_be_there(table, key) {
            self.error("config::missing", table, format!("`{key}` is missing"))
                .label(format!("no `{key}`"))
                .hint(hint);
        }
    }

    /// Whether a missing key may be in a part that cannot be read, or has been reported under
    /// another name.
    pub(crate) fn may_be_there(&self, table: &Span, key: &str) -> bool {
        self.misspelt.iter().any(|(start, meant)| *start == table.start && meant == key)
            || self.is_damaged(table.start)
    }

    /// Whether a key of any table has been reported that most likely means `key`.
    pub(crate) fn is_misspelt(&self, key: &str) -> bool {
        self.misspelt.iter().any(|(_, meant)| meant == key)
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.count_errors() > 0
    }

    pub(crate) fn count_errors(&self) -> usize {
        self.list.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    /// Whether a problem has been reported in this part of the source.
    pub(crate) fn has_error_within(&self, part: &Span) -> bool {
        self.list
            .iter()
            .filter_map(|problem| problem.span.as_ref())
            .any(|span| part.contains(&span.start))
    }

    /// Returns the span from the start of a table to that of the next.
    pub(crate) fn table_at(&self, start: usize) -> Span {
        let rest = self.source.get(start..).unwrap_or_default();
        let len = rest.find("\n[").map_or(rest.len(), |at| at + 1);
        start..start + len
    }

    /// Returns the line, from 1, of a byte offset in the source.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.lines().at(offset).0
    }

    fn lines(&self) -> &Lines {
        self.lines.get_or_init(|| Lines::of(self.source))
    }

    /// Moves problems about unset secrets from the tool that needs the secret to the reference, if
    /// the file has one.
    fn point_at_references(&mut self) {
        for problem in self.list.iter_mut().filter(|problem| problem.code == UNSET) {
            let stands =
                |(name, _): &&(String, Span)| problem.message.contains(&format!("`{name}`"));
            if let Some((_, span)) = self.references.iter().find(stands) {
                problem.span = Some(span.clone());
            }
        }
    }

    /// Sorts the problems, computes their lines and columns, and redacts the source.
    pub(crate) fn finish(mut self, path: &Path) -> Problems {
        self.point_at_references();
        self.list.sort_by_key(|problem| problem.span.as_ref().map(|span| (span.start, span.end)));
        let lines = self.lines.take().unwrap_or_else(|| Lines::of(self.source));
        for problem in &mut self.list {
            if let Some(span) = &problem.span {
                let (line, start) = lines.at(span.start);
                let before = self.source.get(start..span.start).unwrap_or_default();
                (problem.line, problem.column) = (line, before.chars().count() + 1);
            }
        }
        let redaction = Redaction::new(self.source, self.secrets);
        for span in self.list.iter_mut().filter_map(|problem| problem.span.as_mut()) {
            *span = redaction.moved(span.start)..redaction.moved(span.end);
        }
        let source = redaction.text().into();
        Problems { path: path.into(), source, list: self.list, tools: self.tools }
    }
}

/// A problem whose label and hint can still be set.
pub(crate) struct Draft<'f>(Option<&'f mut Problem>);

impl Draft<'_> {
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        if let Some(problem) = &mut self.0 {
            problem.label = label.into();
        }
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(problem) = &mut self.0 {
            problem.hint = Some(hint.into());
        }
        self
    }
}

/// Byte offsets at which the lines of a source begin.
#[derive(Debug)]
struct Lines(Vec<usize>);

impl Lines {
    fn of(source: &str) -> Self {
        let breaks = memchr::memchr_iter(b'\n', source.as_bytes());
        Self(std::iter::once(0).chain(breaks.map(|at| at + 1)).collect())
    }

    /// Returns the line of an offset, from 1, and the offset at which the line begins.
    fn at(&self, offset: usize) -> (usize, usize) {
        let line = self.0.partition_point(|start| *start <= offset);
        (line, self.0.get(line.wrapping_sub(1)).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redacted_secret_is_gone_and_places_hold() {
        let source = "a = \"hunter2\" # b\nc = 1\n";
        let mut find = Findings::new(source);
        find.redact(&(5..12));
        find.error("x", &(4..13), "first");
        find.error("x", &(18..19), "second");
        let problems = find.finish(Path::new("t.toml"));
        assert_eq!(&*problems.source, "a = \"•••\" # b\nc = 1\n");
        assert_eq!(&problems.source[problems.list[0].span.clone().unwrap()], "\"•••\"");
        assert_eq!(&problems.source[problems.list[1].span.clone().unwrap()], "c");
        assert_eq!((problems.list[1].line, problems.list[1].column), (2, 1));
    }

    #[test]
    fn one_line_says_where_and_what_to_do() {
        let mut find = Findings::new("a = 1\n");
        find.error("x", &(0..1), "unknown key `a`").hint("did you mean `b`?");
        let problems = find.finish(Path::new("t.toml"));
        assert_eq!(problems.first_line(), "t.toml:1:1: unknown key `a`; help: did you mean `b`?");
    }
}
