//! `countersign tools`

mod connections;

use std::io::{self, Write};

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use serde_json::{Map, Value, json};
use tracing::level_filters::LevelFilter;

use super::next_command::{NextCommand, login};
use super::report::{self, Hint, Usage};
use super::stdout::{MAX_LINE_CHARS, Stdout};
use super::store_options::StoreOptions;
use super::{Exit, block_on};
use crate::broker::code::CodeTools;
use crate::broker::{Call, CallError};
use crate::config::{Config, shipped_tool};
use crate::model::authorization::MAX_REFUSALS_PER_HOUR;
use crate::model::face::Face;
use crate::model::public_ids::id_of;
use crate::model::text::nearest;
use crate::model::text::shown;
use crate::model::tool::{Action, CONNECTIONS, Effect, Piece, Template};
use crate::model::{
    AccountName, Failure, FailureKind, InputRequired, Outcome, Principal, ProviderId, Scopes, Tool,
    ToolResult, UnaskedBecause,
};
use crate::registry;
use crate::words;

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
        /// The tool, by its name in tools.toml; `tools list` shows the names.
        name: String,
        /// Write it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Call a tool and write its result.
    #[command(
        after_help = "Exits 2 when there is no such tool or it takes no such arguments, 4 when a consent is needed first."
    )]
    Call {
        /// The tool, by its name in tools.toml; `tools list` shows the names.
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
        /// Show what the API answers, before `select`, `reply` and `output`.
        #[arg(long)]
        raw: bool,
        #[command(flatten)]
        local: StoreOptions,
    },
}

fn show_json<W: Write>(tool: &Tool, out: &mut Stdout<W>) -> anyhow::Result<()> {
    let mut shown = describe(tool, true);
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("version".into(), 1.into());
    }
    out.line(&serde_json::to_string_pretty(&shown)?)?;
    Ok(())
}

/// Writes one line for each tool: name, effect, needed consent.
fn list<W: Write>(config: &Config, out: &mut Stdout<W>) -> io::Result<()> {
    let width = config.tools.iter().map(|tool| tool.name.as_str().len()).max().unwrap_or(0);
    for tool in &config.tools {
        let (name, effect, needs) = (tool.name.as_str(), effect(tool.effect), needs(tool));
        out.line(&format!("{name:width$}  {effect:7}  {needs}"))?;
    }
    Ok(())
}

pub(super) fn run<W: Write>(
    command: Command,
    mut config: Config,
    code: &CodeTools,
    next_command: &NextCommand,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    match command {
        Command::Call { name, values, arguments, json, raw: _, local } if name == CONNECTIONS => {
            let arguments = arguments_of(&values, arguments.as_deref())?;
            return connections::run(arguments, config, next_command, local, json, out);
        }
        Command::Call { name, values, arguments, json, raw, local } => {
            if raw
                && let Some(tool) = config.tools.iter_mut().find(|tool| tool.name.as_str() == name)
            {
                unfiltered(tool);
            }
            let tool = find(&name, &config, next_command)?;
            let show = || {
                Hint(format!(
                    "`{}` says what it takes",
                    next_command.command(&["tools", "show", &name])
                ))
            };
            let arguments = arguments_of(&values, arguments.as_deref()).with_context(show)?;
            registry::accept(tool, Some(arguments.clone()))
                .map_err(|problem| FailureKind::InvalidArguments(problem).into())
                .map_err(|failure| Usage(words::failure_text(&failure)))
                .with_context(show)?;
            return block_on(LevelFilter::WARN, async move {
                let app = local.app_with(config, code, "tools call")?;
                let principal = Principal::local(local.caller()?);
                let call = Call { arguments: Some(arguments), ..Call::new(&principal, &name) };
                // No link: it would lead to this process, which is about to end.
                let outcome = app.broker.call_without_link(call).await;
                app.close().await;
                let next = |needed: &Needed| needed.next(next_command, &local);
                report_outcome(outcome, next, json, out)
            });
        }
        Command::List { json: true } => {
            let tools: Vec<Value> = config.tools.iter().map(|tool| describe(tool, false)).collect();
            out.line(&serde_json::to_string_pretty(&json!({ "version": 1, "tools": tools }))?)?;
        }
        Command::List { json: false } => {
            list(&config, out)?;
        }
        Command::Show { name, json } => {
            let tool = find(&name, &config, next_command)?;
            if json {
                show_json(tool, out)?;
            } else {
                show(tool, out)?;
            }
        }
    }
    Ok(Exit::Done)
}

/// Removes the filters, to show the API's answer as it comes.
fn unfiltered(tool: &mut Tool) {
    tool.output = None;
    match &mut tool.action {
        Action::Http(action) => {
            (action.select, action.reply) = (None, None);
            action.max_chars = usize::MAX;
        }
        Action::Code(action) => action.max_chars = usize::MAX,
    }
}

/// Adds `name=value` pairs to a JSON object. Values are texts, converted later to the tool's types.
fn arguments_of(values: &[String], json: Option<&str>) -> Result<Map<String, Value>, Usage> {
    let mut arguments = match json {
        Some(json) => serde_json::from_str(json)
            .map_err(|error| Usage(format!("`--arguments` is not a JSON object: {error}")))?,
        None => Map::new(),
    };
    for value in values {
        let Some((name, value)) = value.split_once('=') else {
            return Err(Usage(format!("`{value}` is not of the form NAME=VALUE")));
        };
        arguments.insert(name.to_owned(), value.into());
    }
    Ok(arguments)
}

fn report_outcome<W: Write>(
    outcome: Result<Outcome, CallError>,
    next: impl Fn(&Needed) -> String,
    as_json: bool,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    let shown = match outcome? {
        Outcome::Complete(result) => Shown::from(result),
        Outcome::Failed(failure) => failure.into(),
        Outcome::InputRequired(required) => required.into(),
        Outcome::AuthorizationRequired(prompt) => {
            let why = format!("{} access is needed first.", prompt.title);
            let needed = Needed::new(prompt.provider, prompt.account, prompt.scopes);
            return needed.report(&why, &next(&needed), as_json, out);
        }
        Outcome::Refused(refused) => {
            let why = match refused.because {
                UnaskedBecause::LinkWithheld => {
                    format!("{} access is needed first.", refused.title)
                }
                UnaskedBecause::RefusedOften => format!(
                    "{} access is needed first, and was refused {MAX_REFUSALS_PER_HOUR} times within the last hour.",
                    refused.title
                ),
            };
            let needed = Needed::new(refused.provider, refused.account, refused.scopes);
            return needed.report(&why, &next(&needed), as_json, out);
        }
    };
    shown.write(as_json, out)
}

/// A result or a failure, as it is written, in the words that a model gets.
struct Shown {
    text: String,
    structured: Option<Value>,
    is_error: bool,
    note: Option<String>,
    for_operator: Option<String>,
}

impl Shown {
    fn write<W: Write>(self, as_json: bool, out: &mut Stdout<W>) -> anyhow::Result<Exit> {
        if as_json {
            let shown = json!({
                "version": 1,
                "text": self.text,
                "structured": self.structured,
                "is_error": self.is_error,
                "note": self.note,
                "for_operator": self.for_operator,
            });
            out.line(&serde_json::to_string_pretty(&shown)?)?;
        } else if self.is_error {
            report::note(&self.text);
            // The user of the command line is the operator.
            if let Some(hint) = &self.for_operator {
                report::note(&format!("  help: {hint}"));
            }
        } else {
            out.line(&self.text)?;
        }
        if let (Some(note), false) = (&self.note, as_json) {
            report::note(note);
        }
        Ok(if self.is_error { Exit::Failed } else { Exit::Done })
    }
}

impl From<ToolResult> for Shown {
    fn from(result: ToolResult) -> Self {
        Self {
            note: words::result_note(&result),
            text: words::result_text(&result),
            structured: result.structured,
            is_error: result.unfit.is_some(),
            for_operator: result.unfit.and_then(|unfit| unfit.for_operator),
        }
    }
}

impl From<Failure> for Shown {
    fn from(failure: Failure) -> Self {
        Self {
            text: words::failure_text(&failure),
            structured: None,
            is_error: true,
            note: None,
            for_operator: failure.for_operator,
        }
    }
}

impl From<InputRequired> for Shown {
    fn from(required: InputRequired) -> Self {
        Self {
            text: words::input_needed(&required),
            structured: None,
            is_error: true,
            note: None,
            for_operator: None,
        }
    }
}

/// A consent that is needed first.
struct Needed {
    provider: ProviderId,
    account: AccountName,
    scopes: Scopes,
}

impl Needed {
    fn new(provider: ProviderId, account: AccountName, scopes: Scopes) -> Self {
        Self { provider, account, scopes }
    }

    /// Returns the command that starts it.
    fn next(&self, next_command: &NextCommand, local: &StoreOptions) -> String {
        let mut words = login(self.provider.as_str(), &self.account);
        if !self.scopes.is_empty() {
            // An API may have named them, in the challenge of a refusal.
            words.extend(["--scopes".into(), shown(&self.scopes.join(","), MAX_LINE_CHARS)]);
        }
        next_command.local(&words.iter().map(String::as_str).collect::<Vec<_>>(), local)
    }

    fn report<W: Write>(
        &self,
        why: &str,
        next: &str,
        as_json: bool,
        out: &mut Stdout<W>,
    ) -> anyhow::Result<Exit> {
        report::note(&format!("{why}\nNext: {next}"));
        if as_json {
            let needed = json!({
                "provider": self.provider,
                "account": self.account,
                "scopes": self.scopes,
                "next": next,
            });
            let shown = json!({ "version": 1, "consent_needed": needed });
            out.line(&serde_json::to_string_pretty(&shown)?)?;
        }
        Ok(Exit::ConsentNeeded)
    }
}

/// Maximum tools listed in the hint for an unknown tool; for more, the hint names `tools list`.
const MAX_LISTED_TOOLS: usize = 12;

fn find<'c>(
    name: &str,
    config: &'c Config,
    next_command: &NextCommand,
) -> anyhow::Result<&'c Tool> {
    if let Some(tool) = config.tools.iter().find(|tool| tool.name.as_str() == name) {
        return Ok(tool);
    }
    let names: Vec<&str> = config.tools.iter().map(|tool| tool.name.as_str()).collect();
    let shipped = shipped_tool(name);
    // A tool by the id that a contract has for it.
    let served = shipped.map(|tool| tool.name).filter(|name| names.contains(name));
    let near = served.or_else(|| nearest(name, names.iter().copied()));
    let hint = match (shipped, near) {
        (Some(tool), _) if served.is_none() => {
            format!("`{}` is {}", tool.name, registry::to_serve(&tool))
        }
        (_, Some(near)) => format!("did you mean `{near}`?"),
        _ if names.is_empty() => format!("`{}` has no tools", config.path.display()),
        _ if names.len() <= MAX_LISTED_TOOLS => format!("the tools are {}", names.join(", ")),
        _ => format!("`{}` shows them all", next_command.command(&["tools", "list"])),
    };
    Err(anyhow!(Usage(format!("there is no tool `{name}`"))).context(Hint(hint)))
}

fn show<W: Write>(tool: &Tool, out: &mut Stdout<W>) -> std::io::Result<()> {
    out.line(&format!("{} ({})", tool.name, shown(&tool.title, MAX_LINE_CHARS)))?;
    for line in tool.description.lines() {
        out.line(&format!("  {}", shown(line, MAX_LINE_CHARS)))?;
    }
    out.line(&format!("  request  {}", request(tool)))?;
    out.line(&format!("  effect   {} ({})", effect(tool.effect), why(tool)))?;
    out.line(&format!("  needs    {}", needs(tool)))?;
    for (face, whose) in [(Face::Arcade, "arcade"), (Face::Portia, "portia")] {
        out.line(&format!("  {whose}   {}", id_of(tool, face)))?;
    }
    let schema = registry::input_schema(tool);
    let required = schema.get("required").and_then(Value::as_array);
    for (name, param) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let about = param.get("description").and_then(Value::as_str).unwrap_or_default();
        let is_required = required.is_some_and(|all| all.iter().any(|one| one == name));
        let line = format!("{name} ({}): {about}", traits(param, is_required));
        out.line(&format!("  {}", shown(&line, MAX_LINE_CHARS)))?;
    }
    Ok(())
}

/// Describes a parameter: `integer, optional, default 10, 1 to 100`.
fn traits(param: &Value, is_required: bool) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = param.get("items");
    let mut traits = vec![match items.and_then(|items| items.get("type")) {
        Some(item) => format!("array of {}s", text(item)),
        None => param.get("type").map(text).unwrap_or_default(),
    }];
    if !is_required {
        traits.push("optional".into());
    }
    if let Some(default) = param.get("default") {
        traits.push(format!("default {default}"));
    }
    match (param.get("minimum"), param.get("maximum")) {
        (Some(min), Some(max)) => traits.push(format!("{min} to {max}")),
        (Some(min), None) => traits.push(format!("at least {min}")),
        (None, Some(max)) => traits.push(format!("at most {max}")),
        (None, None) => {}
    }
    let choices = param.get("enum").or_else(|| items?.get("enum")).and_then(Value::as_array);
    if let Some(choices) = choices {
        let choices: Vec<String> = choices.iter().map(|one| format!("`{}`", text(one))).collect();
        traits.push(format!("one of {}", choices.join(", ")));
    }
    traits.join(", ")
}

/// Says what decides the effect.
fn why(tool: &Tool) -> String {
    let Some(action) = tool.action.request() else { return "as its code says".into() };
    let method = action.method;
    match method.effect() {
        usual if usual != tool.effect => "as `effect` says".into(),
        Effect::Read => format!("{} is read-only unless `effect` says otherwise", method.as_str()),
        Effect::Write | Effect::Destroy => {
            format!("{} may destroy unless `effect` says otherwise", method.as_str())
        }
    }
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
        let ids = json!({
            "arcade": id_of(tool, Face::Arcade),
            "portia": id_of(tool, Face::Portia),
        });
        shown.insert("ids".into(), ids);
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
        None => "no account".into(),
        Some(provider) if tool.scopes.is_empty() => provider.to_string(),
        Some(provider) => {
            format!("{provider}: {}", shown(&tool.scopes.to_string(), MAX_LINE_CHARS))
        }
    }
}

/// Returns the request line, with its placeholders.
fn request(tool: &Tool) -> String {
    let Some(action) = tool.action.request() else { return "code of this program".into() };
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
