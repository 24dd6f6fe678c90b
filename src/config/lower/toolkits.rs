//! `[toolkits]`: tools that are compiled in, lowered as if they were written in `[tools.*]`.

use super::super::file::face::ToolkitEntry;
use super::super::findings::Findings;
use super::super::read::Named;
use super::super::span::{At, Span, Text};
use super::shipped::{Tables, shipped_tool, tables};
use super::{Surroundings, provider, tool};
use crate::catalog::toolkits;
use crate::model::Tool;
use crate::model::text::nearest;

const CODE: &str = "toolkits::unknown";
/// Words that newcomers write for all tools of a toolkit in a list.
pub(super) const WORDS_FOR_ALL: [&str; 2] = ["*", "all"];

/// Returns the tools that `[toolkits]` asks for. `own` are the names in `[tools]`.
pub(super) fn tools(
    written: Named<ToolkitEntry>,
    own: &[String],
    around: &mut Surroundings,
    find: &mut Findings<'_>,
) -> Vec<Tool> {
    let mut tools = Vec::new();
    for (id, entry) in written.entries {
        let Some(source) = toolkits::toolkit(id.as_str()) else {
            report_unknown_toolkit(&id, find);
            continue;
        };
        let mut tables = tables(source, &mut Findings::new(source));
        let wanted = match entry {
            ToolkitEntry::All(span) => {
                tables.keys().map(|name| (name.clone(), span.clone())).collect()
            }
            ToolkitEntry::Tools(At { value: names, span }) => {
                if names.is_empty() {
                    report_empty(&id, &span, find);
                }
                names.iter().filter_map(|name| full_name(&id, name, &tables, find)).collect()
            }
        };
        tools.extend(lowered(&id, wanted, &mut tables, own, around, find));
    }
    tools
}

/// Returns a tool's whole name and where it is asked for; `None` after reporting that the toolkit
/// does not have it.
fn full_name(
    id: &Text,
    short: &Text,
    tables: &Tables,
    find: &mut Findings<'_>,
) -> Option<(String, Span)> {
    let name = format!("{}_{}", id.value, short.value);
    if tables.contains_key(&name) {
        return Some((name, short.span.clone()));
    }
    let prefix = format!("{}_", id.value);
    let known = || tables.keys().filter_map(|name| name.strip_prefix(&prefix));
    let message = format!("the toolkit `{}` has no tool `{}`", id.value, short.value);
    let draft = find.error(CODE, &short.span, message).label("no such tool");
    // A whole name or an id of a contract is a likely mistake, also for a tool of another toolkit.
    let hint = match shipped_tool(short.as_str()) {
        _ if WORDS_FOR_ALL.contains(&short.as_str()) => {
            format!("write `{} = \"*\"`, without brackets, for all of its tools", id.value)
        }
        Some(meant) if meant.toolkit == id.value => format!("did you mean `{}`?", meant.short()),
        Some(meant) => {
            format!("that is a tool of the toolkit `{}`: write `{}`", meant.toolkit, meant.line())
        }
        None => match nearest(short.as_str(), known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("`countersign toolkits show {}` lists its tools", id.value),
        },
    };
    draft.hint(hint);
    None
}

/// Lowers the wanted tools. Problems of the provider are reported at the place where the toolkit is
/// asked for; a toolkit itself has none.
fn lowered(
    id: &Text,
    wanted: Vec<(String, Span)>,
    tables: &mut Tables,
    own: &[String],
    around: &mut Surroundings,
    find: &mut Findings<'_>,
) -> Vec<Tool> {
    let mut tools = Vec::with_capacity(wanted.len());
    for (name, span) in wanted {
        if let Some(own) = own.iter().find(|own| own.eq_ignore_ascii_case(&name)) {
            report_taken(id, own, &name, &span, find);
            continue;
        }
        // Each tool is asked for once; a second time it is gone.
        let Some(table) = tables.remove(&name) else { continue };
        if let Some(provider) = &table.provider {
            let provider = Text::new(provider.value.clone(), id.span.clone());
            provider::ensure(&provider, around, find);
        }
        let name = Text::new(name, span);
        tools.extend(tool::tool(&name, table, around, &mut Findings::new("")));
    }
    tools
}

fn report_taken(id: &Text, own: &str, name: &str, span: &Span, find: &mut Findings<'_>) {
    let toolkit = &id.value;
    let short = name.get(toolkit.len() + 1..).unwrap_or(name);
    find.error(
        "toolkits::taken",
        span,
        format!("[tools.{own}] and the toolkit `{toolkit}` have the same tool"),
    )
    .hint(format!(
        "give [tools.{own}] another name, or let `{toolkit}` list the tools that you want of the toolkit, without `{short}`"
    ));
}

fn report_empty(id: &Text, span: &Span, find: &mut Findings<'_>) {
    let id = &id.value;
    find.warning("toolkits::empty", span, format!("no tool of the toolkit `{id}` is listed"))
        .hint(format!(
            "list the names that `countersign toolkits show {id}` shows, or write `{id} = \"*\"` for all"
        ));
}

fn report_unknown_toolkit(id: &Text, find: &mut Findings<'_>) {
    let message = format!("there is no toolkit `{}`", id.value);
    let draft = find.error(CODE, &id.span, message).label("no such toolkit");
    let hint = match (shipped_tool(id.as_str()), &*with_a_word_of(id.as_str())) {
        (Some(tool), _) => format!("that is a tool: write `{}`", tool.line()),
        (None, [one]) => format!("did you mean `{one}`?"),
        (None, []) => match nearest(id.as_str(), toolkits::ids()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`countersign toolkits list` lists them; declare tools of another service yourself, in [tools.NAME]".into(),
        },
        (None, several) => format!("did you mean one of `{}`?", several.join("`, `")),
    };
    draft.hint(hint);
}

/// Returns the toolkits whose id has a word of this name: `google` is part of four ids.
fn with_a_word_of(name: &str) -> Vec<&'static str> {
    let words = |text: &str| -> Vec<String> {
        text.split(['_', '-', ' ']).map(str::to_ascii_lowercase).collect()
    };
    let written = words(name);
    let has_one = |id: &&str| words(id).iter().any(|word| written.contains(word));
    toolkits::ids().filter(has_one).collect()
}
