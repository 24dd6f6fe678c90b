//! Problems of a `tools.toml`, all reported at once, each with its position and a fix.
//!
//! [`Findings`](super::findings::Findings) collects problems while the file is read; [`Problems`] is
//! the result.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::span::Span;
use crate::model::declared_tool::ToolProblem;
use crate::model::text::quoted;

/// Whether a problem prevents serving the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file cannot be served.
    Error,
    /// The file can be served, but the operator should know.
    Warning,
}

/// One problem of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// Stable, short identifier, e.g. `tool::placeholder`.
    pub code: &'static str,
    /// Lower-case fragment that names its subject in backticks, never a value.
    pub message: String,
    /// Text under the caret.
    pub label: String,
    /// The exact fix.
    pub hint: Option<String>,
    /// Position in [`Problems::source`]; `None` for a problem of the whole file.
    pub span: Option<Span>,
    /// Line in the file on disk, from 1; 0 for a problem of the whole file.
    pub line: usize,
    /// Column in characters in the file on disk, from 1; 0 for a problem of the whole file.
    pub column: usize,
}

impl Problem {
    /// Sets the label.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Sets the hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Formats the problem as `12:3: message; help: hint`, always on one line.
    pub fn line(&self) -> String {
        let mut line = match self.line {
            0 => self.message.clone(),
            _ => format!("{}:{}: {}", self.line, self.column, self.message),
        };
        if let Some(hint) = &self.hint {
            line.push_str("; help: ");
            line.push_str(hint);
        }
        line.replace(['\n', '\r'], " ")
    }
}

/// All problems of one file, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    pub path: PathBuf,
    /// The file's text, with literal secrets redacted.
    pub source: Arc<str>,
    pub list: Vec<Problem>,
    /// The problems of tools that are code, which are in `list`, too.
    pub tools: Vec<ToolProblem>,
}

impl Problems {
    /// Yields the problems that prevent serving the file.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter().filter(|problem| problem.severity == Severity::Error)
    }

    /// Formats the first error as one line, for hosts that show only one:
    /// `tools.toml:12:3: …; help: …`.
    pub fn first_line(&self) -> String {
        let first = self.errors().next().or(self.list.first());
        let Some(first) = first else { return String::new() };
        let separator = if first.line == 0 { ": " } else { ":" };
        format!("{}{separator}{}", self.path.display(), first.line())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first_line())?;
        let path = self.path.to_string_lossy();
        let path = quoted(&path);
        match self.errors().count() {
            0 | 1 => Ok(()),
            2 => write!(f, " (and 1 more problem: run `countersign check {path}`)"),
            n => write!(f, " (and {} more problems: run `countersign check {path}`)", n - 1),
        }
    }
}

impl std::error::Error for Problems {}
