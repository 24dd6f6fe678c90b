//! `countersign tools`

use std::io::Write;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::{Map, Value, json};
use tracing::level_filters::LevelFilter;

use super::local::Local;
use super::out::Out;
use super::{Exit, block_on, report};
use crate::broker::{Call, CallError};
use crate::config::Config;
use crate::model::text::nearest;
use crate::model::text::shown;
use crate::model::tool::{Action, Effect, Piece, Template};
use crate::model::{ConnectPrompt, Outcome, Tool};
use crate::registry;

/// Of a line of somebody else's words.
const LONGEST: usize = 2000;

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
    /// Call a tool and write its result.
    #[command(after_help = "Exits 4 when somebody has to give a consent first.")]
    Call {
        name: String,
        /// Arguments, e.g. `city=Oslo limit=3`.
        #[arg(value_name = "NAME=VALUE")]
        values: Vec<String>,
        /// Arguments as a JSON object, e.g. `'{"limit": 3}'`.
        #[arg(long, value_name = "JSON")]
        arguments: Option<String>,
        /// Write the result as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        local: Local,
    },
}

pub(super) fn run<W: Write>(
    command: Command,
    config: Config,
    out: &mut Out<W>,
) -> anyhow::Result<Exit> {
    match command {
        Command::Call { name, values, arguments, json, local } => {
            let arguments = arguments_of(&values, arguments.as_deref())?;
            return block_on(LevelFilter::WARN, async move {
                let app = local.app(config, "tools call")?;
                let call = Call {
                    caller: &local.caller()?,
                    tool: &name,
                    arguments: Some(arguments),
                    client: Some("countersign tools call".into()),
                };
                let outcome = app.broker.call(call).await;
                app.close().await;
                report_outcome(outcome, json, out)
            });
        }
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
            let tool = find(&name, &config)?;
            if json {
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

/// `name=value` pairs over a JSON object. Values are texts; the tool's types are made of them.
fn arguments_of(values: &[String], json: Option<&str>) -> anyhow::Result<Map<String, Value>> {
    let mut arguments = match json {
        Some(json) => serde_json::from_str(json).context("`--arguments` is not a JSON object")?,
        None => Map::new(),
    };
    for value in values {
        let Some((name, value)) = value.split_once('=') else {
            bail!("`{value}` is not of the form NAME=VALUE");
        };
        arguments.insert(name.to_owned(), value.into());
    }
    Ok(arguments)
}

fn report_outcome<W: Write>(
    outcome: Result<Outcome, CallError>,
    as_json: bool,
    out: &mut Out<W>,
) -> anyhow::Result<Exit> {
    let result = match outcome? {
        Outcome::Complete(result) => result,
        Outcome::AuthorizationRequired(prompt) => {
            report::note(&format!(
                "{} access is needed first.\nNext: {}",
                prompt.title,
                next(&prompt)
            ));
            if as_json {
                let needed = json!({
                    "provider": prompt.provider,
                    "scopes": prompt.scopes,
                    "next": next(&prompt),
                });
                let shown = json!({ "version": 1, "consent_needed": needed });
                out.line(&serde_json::to_string_pretty(&shown)?)?;
            }
            return Ok(Exit::ConsentNeeded);
        }
    };
    if as_json {
        let shown = json!({
            "version": 1,
            "text": result.text,
            "structured": result.structured,
            "is_error": result.is_error,
        });
        out.line(&serde_json::to_string_pretty(&shown)?)?;
    } else if result.is_error {
        report::note(&result.text);
    } else {
        out.line(&result.text)?;
    }
    Ok(if result.is_error { Exit::Failed } else { Exit::Done })
}

/// No link: it would lead to this process, which is about to end.
fn next(prompt: &ConnectPrompt) -> String {
    let scopes = match prompt.scopes.join(",") {
        none if none.is_empty() => none,
        // An API may have named them, in the challenge of a refusal.
        scopes => format!(" --scopes {}", shown(&scopes, LONGEST)),
    };
    format!("countersign auth login {}{scopes}", prompt.provider)
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
    out.line(&format!("{} ({})", tool.name, shown(&tool.title, LONGEST)))?;
    for line in tool.description.lines() {
        out.line(&format!("  {}", shown(line, LONGEST)))?;
    }
    out.line(&format!("  request  {}", request(tool)))?;
    out.line(&format!("  effect   {}", effect(tool.effect)))?;
    out.line(&format!("  needs    {}", needs(tool)))?;
    let schema = registry::input_schema(tool);
    let required = schema.get("required").and_then(Value::as_array);
    for (name, param) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let text = |key| param.get(key).and_then(Value::as_str).unwrap_or_default();
        let is_required = required.is_some_and(|all| all.iter().any(|one| one == name));
        let optional = if is_required { "" } else { ", optional" };
        let about = shown(text("description"), LONGEST);
        out.line(&format!("  {name} ({}{optional}): {about}", text("type")))?;
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
        let hints = registry::hints(tool);
        shown.insert("input_schema".into(), registry::input_schema(tool).into());
        shown.insert(
            "annotations".into(),
            json!({
                "title": hints.title,
                "readOnlyHint": hints.read_only,
                "destructiveHint": hints.destructive,
                "idempotentHint": hints.idempotent,
                "openWorldHint": hints.open_world,
            }),
        );
    }
    shown
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
        Some(provider) => format!("{provider}: {}", shown(&tool.scopes.to_string(), LONGEST)),
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
