//! Problems and failures as people see them: `error`, `caused by`, `help`.
//!
//! On a terminal a problem of `tools.toml` is drawn with its line and a caret; otherwise it is one
//! greppable line, `file:line:column: error[code]: message`, and its help.

use std::borrow::Cow;
use std::fmt;
use std::io::{IsTerminal as _, Write as _};

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
};

use crate::broker::ConnectError;
use crate::broker::consent::device::DeviceError;
use crate::config::trust::TrustError;
use crate::config::{Config, Problem, Problems, Severity, environment};
use crate::model::text::tame;
use crate::store::{ArchiveError, ExportError, ImportError, StoreError};

/// Columns of a drawn problem: narrower is unreadable, wider is tiring.
const REPORT_COLUMNS: usize = 100;

/// How to write problems to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Drawn { colour: bool },
}

impl Style {
    pub(super) fn of(stream: &impl std::io::IsTerminal) -> Self {
        if stream.is_terminal() {
            Self::Drawn { colour: !environment::no_color() }
        } else {
            Self::Plain
        }
    }
}

/// Formats all problems, one after the other.
pub(super) fn problems(problems: &Problems, style: Style) -> String {
    let source = NamedSource::new(problems.path.display().to_string(), problems.source.clone());
    let mut text = String::new();
    for problem in &problems.list {
        match style {
            Style::Plain => text.push_str(&plain(problems, problem)),
            Style::Drawn { colour } => {
                let theme = if colour {
                    GraphicalTheme::unicode()
                } else {
                    GraphicalTheme::unicode_nocolor()
                };
                let handler = GraphicalReportHandler::new_themed(theme)
                    .with_width(REPORT_COLUMNS)
                    .with_links(false);
                let drawn = Drawn { problem, source: &source };
                // Writing into a string cannot fail; a problem that cannot be drawn is written as
                // plain text.
                if handler.render_report(&mut text, &drawn).is_err() {
                    text.push_str(&plain(problems, problem));
                }
                text.push('\n');
            }
        }
    }
    text
}

fn plain(problems: &Problems, problem: &Problem) -> String {
    let severity = word(problem.severity);
    let place = match problem.line {
        0 => problems.path.display().to_string(),
        line => format!("{}:{line}:{}", problems.path.display(), problem.column),
    };
    let help = problem.hint.as_ref().map(|hint| format!("  help: {hint}\n")).unwrap_or_default();
    format!("{place}: {severity}[{}]: {}\n{help}", problem.code, problem.message)
}

/// `error` or `warning`
pub(super) fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// One problem, as miette draws it.
#[derive(Debug)]
struct Drawn<'p> {
    problem: &'p Problem,
    source: &'p NamedSource<std::sync::Arc<str>>,
}

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Drawn<'_> {}

impl Diagnostic for Drawn<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.problem.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.problem.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.hint.as_ref().map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.problem.span.clone()?;
        let label = LabeledSpan::new_with_span(Some(self.problem.label.clone()), span);
        Some(Box::new(std::iter::once(label)))
    }
}

/// Writes a remark to standard error.
pub(super) fn note(text: &str) {
    write_stderr(&for_reader(&format!("{text}\n")));
}

/// Writes the warnings, which do not keep a configuration from being served, to standard error.
pub(super) fn warnings(config: &Config) {
    let Config { path, warnings, source, .. } = config;
    let found = Problems {
        path: path.clone(),
        source: source.clone(),
        list: warnings.clone(),
        tools: Vec::new(),
    };
    write_stderr(&problems(&found, Style::of(&std::io::stderr())));
}

/// Advice, attached to an error as its context.
#[derive(Debug)]
pub(super) struct Hint(pub(super) String);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The command line is wrong or names a thing that does not exist: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

/// The named file does not exist: exit code 5, as for a tools.toml that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Missing(pub(super) String);

/// An error that has advice.
pub(super) trait Hinted: std::error::Error + Send + Sync + 'static {
    fn hint(&self) -> String;
}

impl Hinted for DeviceError {
    fn hint(&self) -> String {
        self.hint()
    }
}

impl Hinted for StoreError {
    fn hint(&self) -> String {
        self.hint()
    }
}

impl Hinted for ArchiveError {
    fn hint(&self) -> String {
        self.hint().into()
    }
}

impl Hinted for ExportError {
    fn hint(&self) -> String {
        self.hint()
    }
}

impl Hinted for ImportError {
    fn hint(&self) -> String {
        self.hint()
    }
}

impl Hinted for ConnectError {
    fn hint(&self) -> String {
        self.hint()
    }
}

impl Hinted for TrustError {
    fn hint(&self) -> String {
        self.hint()
    }
}

impl Hinted for environment::NotFound {
    fn hint(&self) -> String {
        self.hint().into()
    }
}

/// Attaches the error's advice as its context.
pub(super) fn hinted(error: impl Hinted) -> anyhow::Error {
    let hint = Hint(error.hint());
    anyhow::Error::new(error).context(hint)
}

/// Writes why a command failed, the causes, and what helps.
pub(super) fn failure(error: &anyhow::Error) {
    match error.downcast_ref::<Problems>() {
        Some(found) => write_stderr(&problems(found, Style::of(&std::io::stderr()))),
        None => write_stderr(&for_reader(&lines(error))),
    }
}

fn lines(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for (depth, message) in causes(error).iter().enumerate() {
        text.push_str(if depth == 0 { "error: " } else { "  caused by: " });
        text.push_str(message);
        text.push('\n');
    }
    if let Some(Hint(hint)) = error.downcast_ref() {
        text.push_str("  help: ");
        text.push_str(hint);
        text.push('\n');
    }
    text
}

/// Formats a failure in one line, for a host that shows the server's answer.
pub(super) fn line(error: &anyhow::Error) -> String {
    let causes = causes(error).join(": ");
    match error.downcast_ref() {
        Some(Hint(hint)) => format!("{causes}; help: {hint}"),
        None => causes,
    }
}

/// Returns the error and its causes, outermost first, without repetitions and without the hint.
fn causes(error: &anyhow::Error) -> Vec<String> {
    let hint = error.downcast_ref::<Hint>().map(|hint| hint.0.as_str());
    let told = crate::model::causes(error.as_ref());
    told.into_iter().filter(|cause| hint != Some(cause)).collect()
}

/// Removes control characters for a terminal, which text from outside must not steer.
fn for_reader(text: &str) -> Cow<'_, str> {
    if std::io::stderr().is_terminal() { tame(text) } else { text.into() }
}

/// Writes to standard error; errors are ignored, since then there is no reader to tell.
fn write_stderr(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn sample() -> Problems {
        let problem = Problem {
            severity: Severity::Error,
            code: "config::unknown_key",
            message: "unknown key `scope`".into(),
            label: "no such key".into(),
            hint: Some("did you mean `scopes`?".into()),
            span: Some(10..15),
            line: 2,
            column: 1,
        };
        Problems {
            tools: Vec::new(),
            path: PathBuf::from("tools.toml"),
            source: "[tools.x]\nscope = [\"repo\"]\n".into(),
            list: vec![problem],
        }
    }

    #[test]
    fn a_failure_is_said_once_and_its_hint_last() {
        #[derive(Debug, thiserror::Error)]
        #[error("the app is not set up: {0}")]
        struct Outer(#[source] std::fmt::Error);
        let cause = std::fmt::Error.to_string();
        let error = anyhow::Error::new(Outer(std::fmt::Error))
            .context(Hint("set it".into()))
            .context("no link");
        assert_eq!(
            lines(&error),
            format!(
                "error: no link\n  caused by: the app is not set up: {cause}\n  help: set it\n"
            )
        );
        assert_eq!(line(&error), format!("no link: the app is not set up: {cause}; help: set it"));
    }

    #[test]
    fn a_pipe_gets_lines() {
        assert_eq!(
            problems(&sample(), Style::Plain),
            "tools.toml:2:1: error[config::unknown_key]: unknown key `scope`\n  help: did you mean `scopes`?\n"
        );
    }

    #[test]
    fn a_terminal_gets_a_drawing() {
        let drawing = problems(&sample(), Style::Drawn { colour: false });
        for part in [
            "config::unknown_key",
            "× unknown key `scope`",
            "tools.toml:2:1",
            "╰── no such key",
            "help: did you mean `scopes`?",
        ] {
            assert!(drawing.contains(part), "{part} in\n{drawing}");
        }
        assert!(!drawing.contains('\u{1b}'));
    }
}
