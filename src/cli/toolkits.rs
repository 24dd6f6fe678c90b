//! `countersign toolkits`

use std::io::Write;

use anyhow::anyhow;
use clap::Subcommand;
use serde_json::{Value, json};

use super::Exit;
use super::report::{Hint, Usage};
use super::stdout::Stdout;
use crate::catalog::toolkits;
use crate::config::{self, Toolkit, ToolkitTool};
use crate::model::text::nearest;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the toolkits that are built in.
    List {
        /// Write them as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the tools of a toolkit.
    #[command(after_help = "Exits 2 when there is no such toolkit.")]
    Show {
        /// The toolkit's name; `toolkits list` shows the names.
        name: String,
        /// Write it as JSON.
        #[arg(long)]
        json: bool,
        /// Write its tables in the language of tools.toml, to copy and change them.
        #[arg(long, conflicts_with = "json")]
        toml: bool,
    },
}

pub(super) fn run<W: Write>(command: Command, out: &mut Stdout<W>) -> anyhow::Result<Exit> {
    match command {
        Command::List { json } => list(json, out)?,
        Command::Show { name, toml: true, .. } => {
            let text = toolkits::toolkit(&name).ok_or_else(|| unknown(&name))?;
            for line in text.lines() {
                out.line(line)?;
            }
        }
        Command::Show { name, json, .. } => {
            let toolkit = config::toolkit(&name).ok_or_else(|| unknown(&name))?;
            if json {
                let mut shown = describe(&name, &toolkit);
                if let Some(shown) = shown.as_object_mut() {
                    shown.insert("version".into(), 1.into());
                }
                out.line(&serde_json::to_string_pretty(&shown)?)?;
            } else {
                show(&name, &toolkit, out)?;
            }
        }
    }
    Ok(Exit::Done)
}

fn list<W: Write>(json: bool, out: &mut Stdout<W>) -> anyhow::Result<()> {
    let all: Vec<(&str, Toolkit)> =
        toolkits::ids().filter_map(|id| Some((id, config::toolkit(id)?))).collect();
    if json {
        let all: Vec<Value> = all.iter().map(|(id, toolkit)| describe(id, toolkit)).collect();
        out.line(&serde_json::to_string_pretty(&json!({ "version": 1, "toolkits": all }))?)?;
        return Ok(());
    }
    let width = all.iter().map(|(id, _)| id.len()).max().unwrap_or_default();
    for (id, Toolkit { provider, tools }) in all {
        let count = tools.len();
        out.line(&format!("{id:width$}  {count:>2} tools  provider {provider}"))?;
    }
    Ok(())
}

fn show<W: Write>(name: &str, toolkit: &Toolkit, out: &mut Stdout<W>) -> anyhow::Result<()> {
    let Toolkit { provider, tools } = toolkit;
    let prefix = format!("{name}_");
    let short =
        |tool: &ToolkitTool| tool.name.strip_prefix(&prefix).unwrap_or(&tool.name).to_owned();
    let width = tools.iter().map(|tool| short(tool).len()).max().unwrap_or_default();
    for tool in tools {
        let scopes = match tool.scopes.join(" ") {
            none if none.is_empty() => String::new(),
            scopes => format!(" ({scopes})"),
        };
        out.line(&format!("{:width$}  {}{scopes}", short(tool), tool.title))?;
        let ToolkitTool { portia, arcade, .. } = tool;
        out.line(&format!("{:width$}    Arcade's clients: {arcade}; Portia's: {portia}", ""))?;
    }
    let example = tools.first().map(short).unwrap_or_default();
    out.line("")?;
    out.line(&format!(
        "Its provider is {provider}: `countersign providers show {provider}` says how to set it up."
    ))?;
    out.line("In tools.toml, with a list of names or \"*\" for all:")?;
    out.line("")?;
    out.line("[toolkits]")?;
    out.line(&format!("{name} = [\"{example}\"]"))?;
    Ok(())
}

fn describe(id: &str, Toolkit { provider, tools }: &Toolkit) -> Value {
    let tools: Vec<Value> = tools
        .iter()
        .map(|tool| {
            json!({
                "name": tool.name,
                "title": tool.title,
                "scopes": tool.scopes,
                "portia": tool.portia,
                "arcade": tool.arcade,
            })
        })
        .collect();
    json!({ "name": id, "provider": provider, "tools": tools })
}

fn unknown(name: &str) -> anyhow::Error {
    let hint = match nearest(name, toolkits::ids()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`countersign toolkits list` shows them all".to_owned(),
    };
    anyhow!(Usage(format!("there is no toolkit `{name}`"))).context(Hint(hint))
}
