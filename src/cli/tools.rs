//! `countersign tools`

use std::io::Write;

use anyhow::bail;
use clap::Subcommand;
use serde_json::{Value, json};

use super::Exit;
use super::out::Out;
use crate::config::Config;
use crate::config::problem::nearest;
use crate::model::Tool;
use crate::model::tool::{Action, Effect, Param, Piece, Template};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the tools.
    List {
        /// Write them as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one tool: what the model sees, and the request behind it.
    Show {
        name: String,
        /// Write it as JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run<W: Write>(
    command: &Command,
    config: &Config,
    out: &mut Out<W>,
) -> anyhow::Result<Exit> {
    match command {
        Command::List { json: true } => {
            let tools: Vec<Value> = config.tools.iter().map(|tool| describe(tool, false)).collect();
            out.line(&serde_json::to_string_pretty(&json!({ "version": 1, "tools": tools }))?)?;
        }
        Command::List { json: false } => {
            let width = config.tools.iter().map(|tool| tool.name.as_str().len()).max().unwrap_or(0);
            for tool in &config.tools {
                out.line(&format!(
                    "{:width$}  {:7}  {}",
                    tool.name.as_str(),
                    effect(tool.effect),
                    needs(tool)
                ))?;
            }
        }
        Command::Show { name, json } => {
            let tool = find(name, config)?;
            if *json {
                let mut shown = describe(tool, true);
                if let Some(shown) = shown.as_object_mut() {
                    shown.insert("version".into(), 1.into());
                }
                out.line(&serde_json::to_string_pretty(&shown)?)?;
            } else {
                show(tool, out)?;
            }
        }
    }
    Ok(Exit::Done)
}

fn find<'c>(name: &str, config: &'c Config) -> anyhow::Result<&'c Tool> {
    if let Some(tool) = config.tools.iter().find(|tool| tool.name.as_str() == name) {
        return Ok(tool);
    }
    match nearest(name, config.tools.iter().map(|tool| tool.name.as_str())) {
        Some(near) => bail!("there is no tool `{name}`; did you mean `{near}`?"),
        None => bail!("there is no tool `{name}`; `countersign tools list` shows them all"),
    }
}

fn show<W: Write>(tool: &Tool, out: &mut Out<W>) -> std::io::Result<()> {
    out.line(&format!("{} ({})", tool.name, tool.title))?;
    out.line(&format!("  {}", tool.description))?;
    out.line(&format!("  request  {}", request(tool)))?;
    out.line(&format!("  effect   {}", effect(tool.effect)))?;
    out.line(&format!("  needs    {}", needs(tool)))?;
    for param in &tool.params {
        let required = if param.required { "" } else { " (optional)" };
        let about = param.description.as_deref().unwrap_or_default();
        out.line(&format!("  {}{required}: {about}", param.name))?;
    }
    Ok(())
}

fn describe(tool: &Tool, whole: bool) -> Value {
    let mut shown = json!({
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "provider": tool.provider,
        "scopes": tool.scopes,
        "effect": effect(tool.effect),
        "request": request(tool),
    });
    if whole && let Some(shown) = shown.as_object_mut() {
        shown.insert("params".into(), tool.params.iter().map(describe_param).collect());
    }
    shown
}

fn describe_param(param: &Param) -> Value {
    json!({
        "name": param.name,
        "description": param.description,
        "type": format!("{:?}", param.kind).to_lowercase(),
        "required": param.required,
        "default": param.default,
        "enum": param.choices,
        "min": param.min,
        "max": param.max,
    })
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "read",
        Effect::Write => "write",
        Effect::Destroy => "destroy",
    }
}

fn needs(tool: &Tool) -> String {
    match &tool.provider {
        None => "nothing".into(),
        Some(provider) if tool.scopes.is_empty() => provider.to_string(),
        Some(provider) => format!("{provider}: {}", tool.scopes),
    }
}

/// The request line, with its placeholders.
fn request(tool: &Tool) -> String {
    let Action::Http(action) = &tool.action;
    let mut line =
        format!("{} {}", action.method.as_str(), action.origin.as_str().trim_end_matches('/'));
    for segment in &action.path {
        line.push('/');
        line.push_str(&written(segment));
    }
    for (index, (name, value)) in action.query.iter().enumerate() {
        line.push(if index == 0 { '?' } else { '&' });
        line.push_str(name);
        line.push('=');
        line.push_str(&written(value));
    }
    line
}

fn written(template: &Template) -> String {
    template
        .0
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Param(name) => format!("{{{name}}}"),
        })
        .collect()
}
