//! `countersign trust`

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;

use super::report::{Hint, Missing, Usage, hinted};
use super::stdout::Stdout;
use super::store_options::expanded;
use super::{Exit, Program, report};
use crate::config::environment::FILE_NAME;
use crate::config::trust::{Need, Power, Trusted};
use crate::config::{self, Config};

#[derive(Debug, Args)]
pub(super) struct Trust {
    /// The file to trust, instead of ./tools.toml.
    file: Option<PathBuf>,
    /// Write which files are trusted.
    #[arg(long, conflicts_with_all = ["file", "remove"])]
    list: bool,
    /// Stop trusting the file.
    #[arg(long)]
    remove: bool,
}

/// Trusts a file, or shows or shortens the list of trusted files.
///
/// # Errors
/// [`Usage`] with `--config`, whose file is trusted by being named; the file's own problems; a list
/// that cannot be read or written.
pub(super) fn run<W: Write>(
    trust: &Trust,
    program: &Program,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    if program.argument.is_some() {
        let problem =
            "`trust` takes the file by itself: a file named with `--config` needs no trust";
        return Err(Usage(problem.into()).into());
    }
    let mut trusted = Trusted::load().map_err(hinted)?;
    if trust.list {
        for entry in trusted.entries() {
            out.line(&format!("{}  {}", entry.digest, entry.path.display()))?;
        }
        return Ok(Exit::Done);
    }
    let path = match &trust.file {
        Some(file) => expanded(file)?,
        None => FILE_NAME.into(),
    };
    if trust.remove {
        return if trusted.remove(&path).map_err(hinted)? {
            out.line(&format!("{} is no longer trusted.", path.display()))?;
            Ok(Exit::Done)
        } else {
            report::note(&format!("{} was not trusted", path.display()));
            Ok(Exit::Failed)
        };
    }
    if !path.exists() {
        return Err(no_file(&path, trust.file.is_some()));
    }
    // Reads the file once: it may change between being checked, shown and trusted.
    let (text, config) = config::read_for_trust(&path, &program.code.declared())?;
    for line in powers(&config) {
        out.line(&line)?;
    }
    let entry = trusted.add(&path, text.as_bytes()).map_err(hinted)?;
    out.line(&format!("Trusted as it is now: {}", entry.path.display()))?;
    Ok(Exit::Done)
}

/// Returns the error for a missing file: its path, and what to do.
fn no_file(path: &Path, is_named: bool) -> anyhow::Error {
    let looked_at = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let problem = format!("there is no file `{}`", looked_at.display());
    let hint = if is_named {
        "check the path; without one, `countersign trust` trusts the tools.toml of the current folder"
    } else {
        "run `countersign trust` in the folder of the tools.toml that you want to trust, or name the file: `countersign trust FILE`"
    };
    anyhow!(Missing(problem)).context(Hint(hint.into()))
}

/// Describes what the file can do, for the user to read once more.
fn powers(config: &Config) -> Vec<String> {
    let named = |power: Power| {
        let mut names: Vec<&str> = config
            .needs
            .iter()
            .filter(|need| need.power == power)
            .map(|Need { what, .. }| what.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    let mut lines = Vec::new();
    let secrets = named(Power::Secret);
    if !secrets.is_empty() {
        lines.push(format!("It reads {}.", secrets.join(", ")));
    }
    for provider in named(Power::Credential) {
        let hosts = config
            .providers
            .get(provider)
            .map(|provider| provider.hosts.iter().collect::<Vec<_>>().join(", "));
        match hosts {
            Some(hosts) if !hosts.is_empty() => {
                lines.push(format!("It uses your {provider} account at {hosts}."));
            }
            _ => lines.push(format!("It uses your {provider} account.")),
        }
    }
    lines
}
