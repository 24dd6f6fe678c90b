//! `[gateways]`: named lists of tools.

use std::collections::BTreeSet;

use super::super::findings::Findings;
use super::super::read::Named;
use super::super::span::{At, Text};
use crate::model::gateway::{ALL, Gateways};
use crate::model::text::nearest;
use crate::model::{Tool, ToolName};

const CODE: &str = "gateways::name";
const MAX_NAME_BYTES: usize = 64;

/// Returns the gateways. `tools` are all that the server offers; `own` are the names in `[tools]`,
/// those of disabled tools included.
pub(super) fn gateways(
    written: Named<At<Vec<Text>>>,
    tools: &[Tool],
    own: &[String],
    find: &mut Findings<'_>,
) -> Gateways {
    written
        .entries
        .into_iter()
        .filter_map(|(name, list)| {
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

/// Returns the tool that a gateway lists; `None` after reporting an unknown one, and for one that is
/// disabled or has a mistake of its own.
fn known(text: &Text, tools: &[Tool], own: &[String], find: &mut Findings<'_>) -> Option<ToolName> {
    if let Some(tool) = tools.iter().find(|tool| tool.name.as_str() == text.as_str()) {
        return Some(tool.name.clone());
    }
    if own.iter().any(|own| own == text.as_str()) {
        return None;
    }
    let names = tools.iter().map(|tool| tool.name.as_str());
    let near = nearest(text.as_str(), names);
    let draft = find
        .error("gateways::tool", &text.span, format!("there is no tool `{}`", text.value))
        .label("no such tool");
    match near {
        Some(near) => draft.hint(format!("did you mean `{near}`?")),
        None => draft.hint("write the name of a table in [tools], or of a toolkit's tool"),
    };
    None
}
