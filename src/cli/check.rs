//! `countersign check`

use std::io::Write;

use serde_json::json;

use super::out::Out;
use super::{Exit, report};
use crate::config::environment::Found;
use crate::config::{self, Config, Problems};

/// Looks at a file and writes what was found.
///
/// # Errors
/// Only what writing fails with: what is wrong with the file is a result.
pub(super) fn run<W: Write>(found: Found, json: bool, out: &mut Out<W>) -> anyhow::Result<Exit> {
    let (problems, tools) = match config::check(found) {
        Ok(Config { path, warnings, source, tools, .. }) => {
            (Problems { path, source, list: warnings }, tools.len())
        }
        Err(problems) => (problems, 0),
    };
    let errors = problems.errors().count();
    let warnings = problems.list.len() - errors;
    if json {
        out.line(&serde_json::to_string_pretty(&as_json(&problems, tools, errors == 0))?)?;
    } else {
        let style = report::Style::of(&std::io::stdout());
        let text = report::problems(&problems, style);
        if !text.is_empty() {
            out.drawing(text.trim_end_matches('\n'))?;
        }
        out.line(&summary(errors, warnings, tools))?;
    }
    Ok(if errors == 0 { Exit::Done } else { Exit::ConfigInvalid })
}

fn summary(errors: usize, warnings: usize, tools: usize) -> String {
    let warned = match warnings {
        0 => String::new(),
        n => format!(", {}", counted(n, "warning")),
    };
    match errors {
        0 => format!("ok: {}{warned}", counted(tools, "tool")),
        n => format!("{}{warned}", counted(n, "error")),
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn as_json(problems: &Problems, tools: usize, ok: bool) -> serde_json::Value {
    let list: Vec<_> = problems
        .list
        .iter()
        .map(|problem| {
            json!({
                "severity": report::word(problem.severity),
                "code": problem.code,
                "message": problem.message,
                "hint": problem.hint,
                "line": problem.line,
                "column": problem.column,
            })
        })
        .collect();
    json!({ "version": 1, "file": problems.path, "ok": ok, "tools": tools, "problems": list })
}
