//! `ids` and `args` of a tool: its names in other products' contracts.

use std::collections::{BTreeSet, HashMap};

use super::super::file::face::{ArgNamesTable, IdsTable};
use super::super::findings::Findings;
use super::super::read::Named;
use super::super::span::{Span, Text};
use super::param::Params;
use crate::model::Tool;
use crate::model::declared_tool::ToolProblem;
use crate::model::face::{Face, FaceNames, NamesAtFace, RenamedParams};
use crate::model::public_ids::PublicIds;
use crate::model::text::nearest;
use crate::model::tool::ACCOUNT;

/// Maximum bytes of an id for Portia's clients.
const MAX_ID_BYTES: usize = 200;

pub(super) fn names(
    ids: Option<IdsTable>,
    args: Option<ArgNamesTable>,
    params: &Params,
    find: &mut Findings<'_>,
) -> FaceNames {
    let (ids, args) = (ids.unwrap_or_default(), args.unwrap_or_default());
    FaceNames {
        arcade: NamesAtFace {
            id: ids.arcade.and_then(|text| arcade_id(text, find)),
            args: renamed(args.arcade, params, find),
        },
        portia: NamesAtFace {
            id: ids.portia.and_then(|text| portia_id(text, find)),
            args: renamed(args.portia, params, find),
        },
    }
}

/// Reads the ids alone, of a tool whose parameters keep their names.
pub(super) fn ids(ids: Option<IdsTable>, find: &mut Findings<'_>) -> FaceNames {
    let ids = ids.unwrap_or_default();
    let named = |id| NamesAtFace { id, args: Vec::new() };
    FaceNames {
        arcade: named(ids.arcade.and_then(|text| arcade_id(text, find))),
        portia: named(ids.portia.and_then(|text| portia_id(text, find))),
    }
}

fn arcade_id(text: Text, find: &mut Findings<'_>) -> Option<String> {
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let parts = text.value.split_once('.');
    if parts.is_some_and(|(toolkit, tool)| is_name(toolkit) && is_name(tool)) {
        return Some(text.value);
    }
    find.error("tool::ids", &text.span, "this is no id of a tool for Arcade's clients")
        .hint("write a toolkit and a tool, letters and digits each, e.g. `Github.StarRepo`");
    None
}

/// Whether Portia's clients take this id.
pub(super) fn is_portia_id(id: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-');
    (1..=MAX_ID_BYTES).contains(&id.len()) && id.chars().all(is_plain)
}

fn portia_id(text: Text, find: &mut Findings<'_>) -> Option<String> {
    if is_portia_id(&text.value) {
        return Some(text.value);
    }
    find.error("tool::ids", &text.span, "this is no id of a tool for Portia's clients").hint(
        format!(
            "write 1 to {MAX_ID_BYTES} letters, digits, `:`, `_` and `-`, e.g. `portia:github::star_repo`"
        ),
    );
    None
}

/// Reports tools that clients of a contract cannot tell apart: an error where such clients are
/// expected, because the operator has written ids or serves applications.
pub(in crate::config) fn report_ids_alike(
    tools: &[Tool],
    spans: &HashMap<String, Span>,
    is_reached: bool,
    find: &mut Findings<'_>,
) {
    for (face, whose) in [(Face::Arcade, "Arcade"), (Face::Portia, "Portia")] {
        let ids = PublicIds::of(tools.iter(), face);
        for (at, tool) in tools.iter().enumerate() {
            let alike = ids.find(ids.id(at), face);
            let other = alike.iter().find(|other| **other < at).and_then(|other| tools.get(*other));
            let Some(other) = other else { continue };
            if let Some(problem) = code_alike(tool, other, whose) {
                find.code(problem, None);
                continue;
            }
            let span = [tool, other].into_iter().find_map(|tool| spans.get(tool.name.as_str()));
            // Two tools of toolkits are never alike.
            let Some(span) = span else { continue };
            let is_written = [tool, other].iter().any(|tool| tool.faces.at(face).id.is_some());
            let message =
                format!("`{}` and `{}` are one name to {whose}'s clients", tool.name, other.name);
            let draft = if is_reached || is_written {
                find.error("tool::ids", span, message)
            } else {
                find.warning("tool::ids", span, message)
            };
            let key = whose.to_ascii_lowercase();
            draft.hint(format!(
                "write another `ids.{key}` for one of the two, e.g. `ids = {{ {key} = … }}`"
            ));
        }
    }
}

/// Returns the problem of two tools that clients cannot tell apart, if one of them is code.
fn code_alike(tool: &Tool, other: &Tool, product: &'static str) -> Option<ToolProblem> {
    let is_code = |tool: &Tool| tool.action.request().is_none();
    let (code, other) = if is_code(tool) { (tool, other) } else { (other, tool) };
    let (tool, other_name) = (code.name.to_string(), other.name.to_string());
    is_code(code).then_some(ToolProblem::IdTaken { tool, other: other_name, product })
}

fn renamed(
    written: Option<Named<Text>>,
    params: &Params,
    find: &mut Findings<'_>,
) -> Vec<RenamedParams> {
    let mut taken = BTreeSet::new();
    let mut renamed: Vec<(RenamedParams, _)> = Vec::new();
    for (ours, theirs) in written.unwrap_or_default().entries {
        let names: Vec<String> = ours.value.splitn(2, '/').map(str::to_owned).collect();
        for name in &names {
            report_unknown(name, &ours, params, find);
            if !taken.insert(name.clone()) {
                find.error("tool::args", &ours.span, format!("`{name}` has a name there already"))
                    .hint("write each parameter once");
            }
        }
        if renamed.iter().any(|(earlier, _)| earlier.theirs == theirs.value) {
            find.error(
                "tool::args",
                &theirs.span,
                format!("`{}` stands for another parameter already", theirs.value),
            )
            .hint(
                "give each parameter a name of its own, or join two: `\"owner/repo\" = \"repo\"`",
            );
        }
        if theirs.value == ACCOUNT {
            find.error("tool::args", &theirs.span, "`account` names the user's account")
                .hint("leave the parameter under its own name: `account` is taken at every face");
        }
        renamed.push((RenamedParams { ours: names, theirs: theirs.value }, theirs.span));
    }
    for (one, span) in &renamed {
        // One argument would have two meanings.
        if params.get(&one.theirs).is_some() && !taken.contains(&one.theirs) {
            let message = format!("`{}` is another parameter of this tool", one.theirs);
            find.error("tool::args", span, message)
                .hint("give that parameter another name there too, or choose another one here");
        }
    }
    renamed.into_iter().map(|(renamed, _)| renamed).collect()
}

fn report_unknown(name: &str, written: &Text, params: &Params, find: &mut Findings<'_>) {
    if params.is_lenient() || params.get(name).is_some() {
        return;
    }
    let message = format!("the tool has no parameter `{name}`");
    let draft = find.error("tool::args", &written.span, message).label("no such parameter");
    match nearest(name, params.names()) {
        Some(near) => draft.hint(format!("did you mean `{near}`?")),
        None => draft.hint("write the tool's own name first, e.g. `limit = \"n_emails\"`"),
    };
}
