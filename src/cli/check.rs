//! `countersign check`

use std::io::Write;

use serde_json::json;

use tracing::level_filters::LevelFilter;

use super::stdout::Stdout;
use super::{Exit, Program, block_on, report};
use crate::config::{self, Config, Problem, Problems, Server, Severity};
use crate::identity::Authenticator;
use crate::model::server_auth::{ResolvedAuth, ResolvedIssuer};
use crate::model::{Clock, chain};
use crate::net::{Net, Policy};

/// Checks a file and writes the findings.
///
/// # Errors
/// If the check cannot run or its result cannot be written; problems of the file are a result.
pub(super) fn run<W: Write>(
    program: &Program,
    json: bool,
    online: bool,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    let declared = program.code.declared();
    let (problems, tools) = match config::check(program.find()?, &declared) {
        Ok(Config { path, mut warnings, source, tools, server, .. }) => {
            if online {
                warnings.extend(issuer(&server)?);
            }
            (Problems { path, source, list: warnings, tools: Vec::new() }, tools.len())
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

/// Returns the problem of the issuer of `[server.auth]`, as far as its publications show one.
fn issuer(server: &Server) -> anyhow::Result<Option<Problem>> {
    let issuer = server.auth.as_ref().and_then(|auth| auth.issuer.as_ref());
    let Some(issuer) = issuer else { return Ok(None) };
    let settings = ResolvedIssuer::of(issuer.url.clone());
    let auth = ResolvedAuth { issuer: Some(settings), keys: Vec::new() };
    let net = Net::new(Policy { allow_private: server.allow_private.clone() });
    let authenticator = Authenticator::new(auth, issuer.url.clone(), &net, &Clock::system())?;
    let Some(issuer) = authenticator.issuer() else { return Ok(None) };
    // Logging is off because the report has the error.
    let asked = block_on(LevelFilter::OFF, async { Ok(issuer.look_up().await) })?;
    Ok(asked.err().map(|error| Problem {
        severity: Severity::Error,
        code: "auth::issuer",
        message: chain(error.as_ref()),
        label: String::new(),
        hint: Some(error.hint().to_owned()),
        span: None,
        line: 0,
        column: 0,
    }))
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
