//! Turns the tables as written into the model, by every rule of the language beyond its form.

mod address;
mod advice;
mod allow;
mod assertion;
mod body;
mod built_in;
mod caller_key;
mod code;
mod credential;
mod endpoints;
mod example;
mod face;
mod gateways;
mod guide;
mod identity;
mod jq;
mod json_pointer;
mod oauth;
mod oauth_client;
mod output;
mod param;
mod placeholder;
mod provider;
mod references;
mod refresh;
mod request;
mod rest_provider;
mod rest_request;
mod scope_rule;
mod secret;
mod server;
mod server_auth;
mod shipped;
mod template;
mod tool;
mod toolkits;
mod unconfigured;
mod webhooks;

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use super::file::face::ToolkitEntry;
use super::file::{File, Later, ToolTable};
use super::findings::Findings;
use super::read::{Named, not_yet};
use super::span::{At, Span, Text};
use super::{Depth, Server};
use crate::model::declared_tool::DeclaredTool;
use crate::model::gateway::Gateways;
use crate::model::retention::Retention;
use crate::model::webhook::Webhook;
use crate::model::{Provider, ProviderId, Tool};
use allow::Callers;
use provider::Known;
pub use rest_provider::{RestRules, rest_provider};
pub use rest_request::UnfitField;
pub use shipped::{ShippedTool, Toolkit, ToolkitTool, shipped_tool, toolkit};
pub use unconfigured::{BuiltIn, built_in};

/// Content of a file; complete only if no error was found.
#[derive(Default)]
pub(super) struct Lowered {
    pub(super) server: Server,
    pub(super) providers: BTreeMap<ProviderId, Arc<Provider>>,
    pub(super) tools: Vec<Tool>,
    pub(super) gateways: Gateways,
    pub(super) webhooks: Vec<Webhook>,
    pub(super) store: Option<PathBuf>,
}

/// Context in which tools are lowered.
pub(super) struct Surroundings {
    depth: Depth,
    max_chars: usize,
    callers: Callers,
    /// Whether browsers reach this server by https.
    https: bool,
    /// Default for providers that set no retention.
    retention: Retention,
    /// By id; `None` for a provider with errors.
    providers: HashMap<String, Option<Known>>,
}

pub(super) fn lower(
    file: File,
    code: &[DeclaredTool],
    depth: Depth,
    find: &mut Findings<'_>,
) -> Lowered {
    let server = file.server.unwrap_or_default();
    let callers = Callers::of(server.auth.as_ref());
    let webhooks = webhooks::webhooks(file.webhooks, server.auth.as_ref(), depth, find);
    if let (Depth::Check, Some(text)) = (depth, &server.instructions) {
        advice::instructions(text, find);
    }
    let store = file.store.unwrap_or_default();
    let server = server::server(server, store.keep_runs.as_ref(), depth, find);
    let retention = store.retention.and_then(|text| server::retention(&text, find));
    let store = store.url.and_then(|url| server::store(&url, find));
    report_later_tables([("openapi", file.openapi), ("mcp", file.mcp)], find);
    let providers = file.providers.unwrap_or_default().entries.into_iter();
    let retention = retention.unwrap_or_default();
    let mut around = Surroundings {
        depth,
        max_chars: server.max_chars,
        callers,
        https: server.auth.is_some()
            && server.public_url.as_ref().is_some_and(|url| url.scheme() == "https"),
        retention,
        providers: providers
            .map(|(id, table)| {
                (id.value.clone(), provider::provider(&id, Some(table), retention, find))
            })
            .collect(),
    };
    let written = file.tools.unwrap_or_default();
    let toolkits = file.toolkits.unwrap_or_default();
    let LoweredTools { mut tools, own, spans } =
        tools_of(written, toolkits, code, &server.name, &mut around, find);
    tools.sort_by(|a, b| a.name.cmp(&b.name));
    let gateways = file.gateways.unwrap_or_default();
    let is_reached = server.auth.is_some() || !gateways.entries.is_empty();
    face::report_ids_alike(&tools, &spans, is_reached, find);
    let gateways = gateways::gateways(gateways, &tools, &own, find);
    let known = around.providers.into_values().flatten();
    let mut providers: BTreeMap<_, _> =
        known.map(|known| (known.provider.id.clone(), known.provider)).collect();
    add_known_scopes(&tools, &mut providers);
    let server = Server { retention, ..server };
    Lowered { server, providers, tools, gateways, webhooks, store }
}

/// The tools of a file and of the program.
struct LoweredTools {
    tools: Vec<Tool>,
    /// Those in `[tools]` and those that are code.
    own: gateways::OwnTools,
    /// Places of the names in `[tools]`.
    spans: HashMap<String, Span>,
}

fn tools_of(
    mut written: Named<Box<ToolTable>>,
    toolkits: Named<ToolkitEntry>,
    code: &[DeclaredTool],
    server_name: &str,
    around: &mut Surroundings,
    find: &mut Findings<'_>,
) -> LoweredTools {
    let settings = code::settings(&mut written, code);
    if around.depth == Depth::Check {
        let has_toolkits = !toolkits.entries.is_empty();
        advice::tables(&written, has_toolkits, server_name, find);
    }
    tool::report_names_alike(&written, find);
    let mut tools: Vec<Tool> = Vec::with_capacity(written.entries.len());
    let mut places = Vec::new();
    let mut own = gateways::OwnTools::of(&written);
    let spans = spans(&written);
    for (name, table) in written.entries {
        let place = advice::Written::of(&table);
        if let Some(tool) = tool::tool(&name, table, around, find) {
            tools.push(tool);
            places.push(place);
        }
    }
    if around.depth == Depth::Check {
        advise(&tools, &places, find);
    }
    tools.extend(code::tools(code, settings, &own.names, around, find));
    own.names.extend(code.iter().map(|declared| declared.name.clone()));
    tools.extend(toolkits::tools(toolkits, &own.names, around, find));
    LoweredTools { tools, own, spans }
}

/// Gives advice on the tools' answers, once there are no errors.
fn advise(tools: &[Tool], places: &[advice::Written], find: &mut Findings<'_>) {
    if find.has_errors() {
        return;
    }
    for (tool, place) in tools.iter().zip(places) {
        advice::answers(tool, place, find);
    }
}

/// Places of the tools' names.
fn spans(tools: &Named<Box<ToolTable>>) -> HashMap<String, Span> {
    let names = tools.entries.iter().map(|(name, _)| name);
    names.map(|name| (name.value.clone(), name.span.clone())).collect()
}

/// Reports tables that a later version will read.
fn report_later_tables(tables: [(&str, Option<Later>); 2], find: &mut Findings<'_>) {
    for (kind, later) in tables {
        for name in later.into_iter().flat_map(|later| later.0) {
            let what = if name.value.is_empty() {
                format!("`[{kind}]`")
            } else {
                format!("`[{kind}.{}]`", name.value)
            };
            not_yet(&name.span, &what, find);
        }
    }
}

/// Adds the tools' scopes to their providers: an API may require for one tool a scope that another
/// tool declares.
fn add_known_scopes(tools: &[Tool], providers: &mut BTreeMap<ProviderId, Arc<Provider>>) {
    for tool in tools {
        let provider = tool.provider.as_ref().and_then(|id| providers.get_mut(id));
        if let Some(provider) = provider
            && !tool.scopes.is_subset(&provider.known_scopes)
        {
            let provider = Arc::make_mut(provider);
            provider.known_scopes = provider.known_scopes.union(&tool.scopes);
        }
    }
}

/// Returns a number within bounds; `None` after reporting one outside.
fn within(
    name: &str,
    bounds: RangeInclusive<i64>,
    given: &At<i64>,
    find: &mut Findings<'_>,
) -> Option<i64> {
    if bounds.contains(&given.value) {
        return Some(given.value);
    }
    let (least, most) = (bounds.start(), bounds.end());
    find.error("config::range", &given.span, format!("`{name}` lies between {least} and {most}"))
        .hint(format!("write a number from {least} to {most}"));
    None
}

/// Returns the choice that a word means; `None` after reporting any other word.
fn choice<T: Copy>(text: &Text, choices: &[(&str, T)], find: &mut Findings<'_>) -> Option<T> {
    if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text.as_str()) {
        return Some(*choice);
    }
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let message = format!("{} is not {}", named(text.as_str()), role(find.key_of(&text.span)));
    let draft = find.error("config::choice", &text.span, message).label("no such choice");
    let synonym = SYNONYMS
        .iter()
        .find(|(word, meant)| *word == text.as_str().to_ascii_lowercase() && words.contains(meant));
    let near = synonym
        .map(|(_, meant)| *meant)
        .or_else(|| crate::model::text::nearest(text.as_str(), words.iter().copied()));
    match near {
        Some(near) => draft.hint(format!(
            "did you mean `{near}`? The choices are {}",
            super::read::listed(&words)
        )),
        None => draft.hint(format!("the choices are {}", super::read::listed(&words))),
    };
    None
}

/// Other languages' words for choices, and ours.
const SYNONYMS: [(&str, &str); 14] = [
    ("int", "integer"),
    ("long", "integer"),
    ("float", "number"),
    ("double", "number"),
    ("decimal", "number"),
    ("list", "array"),
    ("dict", "object"),
    ("map", "object"),
    ("table", "object"),
    ("text", "string"),
    ("delete", "destroy"),
    ("update", "write"),
    ("create", "write"),
    ("readonly", "read"),
];

/// Puts a word in backticks; a longer text may be a secret and is not repeated.
fn named(text: &str) -> String {
    let is_word = (1..=24).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if is_word { format!("`{text}`") } else { "this".into() }
}

/// Describes the values that a key takes.
fn role(key: Option<&str>) -> String {
    match key {
        Some("type") => "a type".into(),
        Some("items") => "a type of items".into(),
        Some("effect") => "an effect".into(),
        Some("grant") => "a grant".into(),
        Some("algorithm") => "an algorithm that is supported".into(),
        Some("retention") => "a retention".into(),
        Some("loopback") => "a rule for loopback redirect URIs".into(),
        Some(key) if key != "request" => format!("a value of `{key}`"),
        _ => "among the choices".into(),
    }
}
