//! `[gateways]`: named lists of tools.

use std::collections::BTreeSet;

use super::super::file::ToolTable;
use super::super::file::face::ToolNames;
use super::super::findings::Findings;
use super::super::read::Named;
use super::super::span::Text;
use super::shipped::shipped_tool;
use super::toolkits::WORDS_FOR_ALL;
use crate::model::gateway::{ALL, Gateways};
use crate::model::text::nearest;
use crate::model::tool::CONNECTIONS;
use crate::model::{Tool, ToolName};

const CODE: &str = "gateways::name";
const MAX_NAME_BYTES: usize = 64;
/// Tools that a hint lists; of more, it lists none.
const MAX_LISTED_TOOLS: usize = 12;

/// The names in `[tools]`.
pub(super) struct OwnTools {
    /// All, those of disabled tools and of tools with mistakes included.
    pub(super) names: Vec<String>,
    disabled: Vec<String>,
}

impl OwnTools {
    pub(super) fn of(written: &Named<Box<ToolTable>>) -> Self {
        let names = |is_wanted: fn(&ToolTable) -> bool| {
            let wanted = written.entries.iter().filter(|(_, table)| is_wanted(table));
            wanted.map(|(name, _)| name.value.clone()).collect()
        };
        Self { names: names(|_| true), disabled: names(ToolTable::is_disabled) }
    }
}

/// Returns the gateways. `tools` are all that the server offers.
pub(super) fn gateways(
    written: Named<ToolNames>,
    tools: &[Tool],
    own: &OwnTools,
    find: &mut Findings<'_>,
) -> Gateways {
    written
        .entries
        .into_iter()
        .filter_map(|(name, ToolNames(list))| {
            check_name(&name, find)?;
            if list.value.is_empty() {
                find.warning(CODE, &list.span, format!("the gateway `{}` has no tool", name.value))
                    .hint("list the names of its tools");
            }
            let tools: BTreeSet<ToolName> =
                list.value.iter().filter_map(|text| known(text, tools, own, find)).collect();
            Some((name.value, tools))
        })
        .collect()
}

/// Checks that a name can be a part of a path; `None` after reporting one that cannot.
fn check_name(name: &Text, find: &mut Findings<'_>) -> Option<()> {
    let written = name.as_str();
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if written == ALL {
        find.error(CODE, &name.span, format!("the gateway `{ALL}` has every tool already"))
            .hint("choose another name");
        return None;
    }
    if written.is_empty() || written.len() > MAX_NAME_BYTES || !written.bytes().all(is_plain) {
        find.error(CODE, &name.span, "a gateway's name is a part of its path, /mcp/NAME").hint(
            format!("use lower-case letters, digits and `-`, at most {MAX_NAME_BYTES} characters"),
        );
        return None;
    }
    Some(())
}

/// Returns the tool that a gateway lists; `None` after reporting one that is unknown or disabled, and
/// for one that has a mistake of its own.
fn known(text: &Text, tools: &[Tool], own: &OwnTools, find: &mut Findings<'_>) -> Option<ToolName> {
    let written = text.as_str();
    if let Some(tool) = tools.iter().find(|tool| tool.name.as_str() == written) {
        return Some(tool.name.clone());
    }
    if own.disabled.iter().any(|own| own == written) {
        find.warning(
            "gateways::disabled",
            &text.span,
            format!("the gateway does not have `{written}`, which is disabled"),
        )
        .hint(format!("remove it from the list, or `disabled` from [tools.{written}]"));
        return None;
    }
    if own.names.iter().any(|own| own == written) {
        return None;
    }
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    find.error("gateways::tool", &text.span, format!("there is no tool `{written}`"))
        .label("no such tool")
        .hint(instead(written, &names));
    None
}

/// Says what to write instead of a name that none of these tools has.
fn instead(written: &str, names: &[&str]) -> String {
    if WORDS_FOR_ALL.contains(&written) {
        return format!(
            "`/mcp/{ALL}` has every tool without a gateway; list the names of some here"
        );
    }
    if written == CONNECTIONS {
        return "remove it: every gateway lists it where a tool needs an account".into();
    }
    // A toolkit's tool by the name that [toolkits] has for it.
    let is_short =
        |name: &&&str| name.strip_suffix(written).is_some_and(|toolkit| toolkit.ends_with('_'));
    match shipped_tool(written) {
        Some(tool) if names.contains(&tool.name) => format!("did you mean `{}`?", tool.name),
        Some(tool) => format!(
            "`{}` is a tool of the toolkit `{}`: add it in [toolkits], e.g. `{}`, and list it here as `{}`",
            tool.short(),
            tool.toolkit,
            tool.line(),
            tool.name
        ),
        None => match names.iter().find(is_short).copied().or_else(|| nearest(written, names.iter().copied())) {
            Some(near) => format!("did you mean `{near}`?"),
            None if (1..=MAX_LISTED_TOOLS).contains(&names.len()) => {
                format!("the tools are `{}`", names.join("`, `"))
            }
            None => "write the name of a table in [tools], or the whole name of a tool that [toolkits] asks for, e.g. `github_star_repo`".into(),
        },
    }
}
