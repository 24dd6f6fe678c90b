//! `[toolkits]`: tools that are compiled in, lowered as if they were written in `[tools.*]`.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::super::file::face::ToolkitEntry;
use super::super::file::{File, ToolTable};
use super::super::findings::Findings;
use super::super::read::{Named, Read as _};
use super::super::span::{Span, Text};
use super::{Surroundings, provider, tool};
use crate::catalog::toolkits;
use crate::model::Tool;
use crate::model::text::nearest;

const CODE: &str = "toolkits::unknown";

/// A toolkit as it is without a `tools.toml`.
#[derive(Clone, Debug)]
pub struct Toolkit {
    /// Id of the provider with whose credential its tools act.
    pub provider: String,
    /// Sorted by name.
    pub tools: Vec<ToolkitTool>,
}

/// A tool of a toolkit.
#[derive(Clone, Debug)]
pub struct ToolkitTool {
    /// Whole name, e.g. `github_star_repo`.
    pub name: String,
    pub title: String,
    /// Without the provider's prefix.
    pub scopes: Vec<String>,
    /// Ids in the contracts of Portia and Arcade, if the tool has others than those made from its
    /// name.
    pub portia: Option<String>,
    pub arcade: Option<String>,
}

/// Returns a toolkit; `None` for an unknown id.
pub fn toolkit(id: &str) -> Option<Toolkit> {
    let source = toolkits::toolkit(id)?;
    let tables = tables(source, &mut Findings::new(source));
    let provider = tables.values().next()?.provider.as_ref()?.value.clone();
    let value = |text: Option<Text>| text.map(|text| text.value);
    let tools = tables.into_iter().map(|(name, table)| {
        let ids = table.ids.unwrap_or_default();
        ToolkitTool {
            name,
            title: value(table.title).unwrap_or_default(),
            scopes: table.scopes.into_iter().flatten().map(|scope| scope.value).collect(),
            portia: value(ids.portia),
            arcade: value(ids.arcade),
        }
    });
    Some(Toolkit { provider, tools: tools.collect() })
}

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
            ToolkitEntry::Tools(names) => {
                names.iter().filter_map(|name| full_name(&id, name, &tables, find)).collect()
            }
        };
        tools.extend(lowered(&id, wanted, &mut tables, own, around, find));
    }
    tools
}

/// The tables of a toolkit, by the tool's whole name.
type Tables = BTreeMap<String, Box<ToolTable>>;

fn tables(source: &str, find: &mut Findings<'_>) -> Tables {
    let Ok(root) = DeTable::parse(source) else { return Tables::new() };
    let root = toml::Spanned::new(0..source.len(), DeValue::Table(root.into_inner()));
    let file = File::read(&root, find).and_then(|file| file.tools).unwrap_or_default();
    file.entries.into_iter().map(|(name, table)| (name.value, table)).collect()
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
    // A whole name is a likely mistake.
    let bare = short.value.strip_prefix(&prefix).filter(|bare| known().any(|name| name == *bare));
    let near = bare.or_else(|| nearest(short.as_str(), known()));
    let draft = find.error(CODE, &short.span, message).label("no such tool");
    match near {
        Some(near) => draft.hint(format!("did you mean `{near}`?")),
        None => draft.hint(format!("`countersign toolkits show {}` lists its tools", id.value)),
    };
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
        if own.iter().any(|own| own.eq_ignore_ascii_case(&name)) {
            find.error(
                "toolkits::taken",
                &span,
                format!("[tools.{name}] and the toolkit `{}` have the same tool", id.value),
            )
            .hint("rename your own tool, or list the tools of the toolkit without it");
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

fn report_unknown_toolkit(id: &Text, find: &mut Findings<'_>) {
    let near = nearest(id.as_str(), toolkits::ids());
    let message = format!("there is no toolkit `{}`", id.value);
    let draft = find.error(CODE, &id.span, message).label("no such toolkit");
    match near {
        Some(near) => draft.hint(format!("did you mean `{near}`?")),
        None => draft.hint("`countersign toolkits list` lists them"),
    };
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_toolkit_is_read_without_a_mistake() {
        for id in toolkits::ids() {
            let source = toolkits::toolkit(id).unwrap();
            let mut find = Findings::new(source);
            assert!(!tables(source, &mut find).is_empty(), "{id}");
            let problems = find.finish(Path::new("toolkit.toml"));
            assert!(problems.list.is_empty(), "{id}: {problems}");
        }
    }
}
