//! Warnings about files that can be served but are unwise.

use super::super::file::{ParamEntry, ToolTable};
use super::super::findings::Findings;
use super::super::problem::Severity;
use super::super::read::Named;
use super::super::span::{Span, Text};
use super::tool::MAX_NAME_CHARS;
use crate::model::Tool;
use crate::model::tool::{Effect, Method};
use crate::upstream;

/// Characters of a tool's name; longer names get a warning. Hosts put `mcp__{server}__` before it.
const ADVISED_NAME_CHARS: usize = 40;
/// Tools in a file; more get a warning. Cursor's limit, and about where models begin to choose
/// badly.
const ADVISED_TOOLS: usize = 40;
/// Tools in a file; OpenAI refuses a request with more.
const MAX_TOOLS: usize = 128;
/// Characters of a tool's description. OpenAI refuses the whole request if one is longer, and
/// Claude Code cuts it at twice as many.
const MAX_DESCRIPTION_CHARS: usize = 1024;
/// Characters of the server's instructions; Claude Code cuts longer ones.
const MAX_INSTRUCTIONS_CHARS: usize = 2048;
/// Choices of an enumeration; OpenAI's structured mode restricts longer ones.
const MAX_CHOICES: usize = 250;

/// Facts about a tool's table that the lowered tool does not contain.
pub(super) struct Written {
    request: Span,
    /// Whether the operator has limited how much of an answer the model gets.
    has_max_chars: bool,
}

impl Written {
    pub(super) fn of(table: &ToolTable) -> Self {
        Self {
            request: table.request.as_ref().map_or(table.span.clone(), |text| text.span.clone()),
            has_max_chars: table.max_chars.is_some(),
        }
    }
}

/// Warns about tools beyond the limits of hosts and model providers, some of which then refuse or
/// cut all tools. `has_toolkits`: whether `[toolkits]` asks for tools, or tries to.
pub(super) fn tables(
    tools: &Named<Box<ToolTable>>,
    has_toolkits: bool,
    server: &str,
    find: &mut Findings<'_>,
) {
    let enabled = tools.entries.iter().filter(|(_, table)| !table.is_disabled());
    count(enabled.clone().count(), has_toolkits, find);
    for (name, table) in enabled {
        names(name, server, find);
        if let Some(text) = &table.description {
            description(text, find);
        }
        for (key, entry) in table.params.iter().flat_map(|params| &params.entries) {
            let ParamEntry::Table(param) = entry else { continue };
            if param.description.is_none() && !find.may_be_there(&param.span, "description") {
                find.warning(
                    "param::description",
                    &key.span,
                    format!("`{}` has no description", key.value),
                )
                .hint("models guess what it is");
            }
            if let Some(choices) = param.choices.as_ref()
                && choices.value.len() > MAX_CHOICES
            {
                find.warning(
                    "param::enum",
                    &choices.span,
                    format!(
                        "{} choices are more than every model's API takes",
                        choices.value.len()
                    ),
                )
                .hint(format!("list at most {MAX_CHOICES}, or take any text"));
            }
        }
    }
}

/// Warns about server instructions that a host cuts.
pub(super) fn instructions(text: &Text, find: &mut Findings<'_>) {
    let count = text.value.chars().count();
    if count > MAX_INSTRUCTIONS_CHARS {
        find.warning(
            "server::instructions",
            &text.span,
            format!("the instructions have {count} characters; Claude Code cuts them at {MAX_INSTRUCTIONS_CHARS}"),
        )
        .label("too long")
        .hint("say what concerns one tool in its description");
    }
}

fn count(count: usize, has_toolkits: bool, find: &mut Findings<'_>) {
    // The tools may be in a part that could not be read.
    let has_errors = find.has_errors();
    let mut warn = |message: String, hint: String| {
        find.whole(Severity::Warning, "tools::count", message).hint(hint);
    };
    if count == 0 && has_toolkits {
        // A toolkit without tools is reported at its own line.
    } else if count == 0 && !has_errors {
        warn(
            "there are no tools in this file".into(),
            "add one: [tools.NAME] with `description` and `request`, or a toolkit such as `github = \"*\"` in [toolkits]".into(),
        );
    } else if count > MAX_TOOLS {
        warn(
            format!("{count} tools: OpenAI refuses a request with more than {MAX_TOOLS}"),
            format!("keep at most {ADVISED_TOOLS} in a file"),
        );
    } else if count > ADVISED_TOOLS {
        warn(
            format!("{count} tools are more than models choose well from"),
            format!("keep at most {ADVISED_TOOLS} in a file; some hosts cut the list or refuse it"),
        );
    }
}

fn names(name: &Text, server: &str, find: &mut Findings<'_>) {
    let shown = "mcp__".len() + server.len() + "__".len() + name.value.len();
    if name.value.len() <= MAX_NAME_CHARS
        && (name.value.len() > ADVISED_NAME_CHARS || shown > MAX_NAME_CHARS)
    {
        find.warning(
            "tool::name",
            &name.span,
            format!("hosts show this tool as `mcp__{server}__{}`, {shown} characters", name.value),
        )
        .hint(format!(
            "keep names to {ADVISED_NAME_CHARS} characters, and this to {MAX_NAME_CHARS}"
        ));
    }
    if name.value.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        find.warning(
            "tool::name",
            &name.span,
            "Gemini refuses all tools where one's name begins with a digit or `-`",
        )
        .hint("begin it with a letter");
    }
}

fn description(text: &Text, find: &mut Findings<'_>) {
    let count = text.value.chars().count();
    if count > MAX_DESCRIPTION_CHARS {
        find.warning(
            "tool::description",
            &text.span,
            format!("the description has {count} characters; OpenAI refuses all tools over more than {MAX_DESCRIPTION_CHARS}"),
        )
        .label("too long")
        .hint(format!("shorten it to {MAX_DESCRIPTION_CHARS} characters: what it does, and when to use it"));
    }
}

/// Warns about answers that waste the model's context: unfiltered ones, and lists without a limit.
pub(super) fn answers(tool: &Tool, written: &Written, find: &mut Findings<'_>) {
    let Some(action) = tool.action.request() else { return };
    if tool.effect != Effect::Read || action.method == Method::Head || action.reply.is_some() {
        return;
    }
    let Some(select) = &action.select else {
        if action.method == Method::Get && !written.has_max_chars {
            find.warning(
                "tool::select",
                &written.request,
                format!("the model gets the whole answer of `{}`", tool.name),
            )
            .label("no `select`")
            .hint("pick what it needs, e.g. `select = \"[.items[] | {id, name}]\"`; or write `max_chars` if it is to have all");
        }
        return;
    };
    if is_list(&select.text) && !upstream::limits_its_list(&tool.input, action) {
        find.warning(
            "tool::limit",
            &written.request,
            format!("nothing limits the list that `{}` answers with", tool.name),
        )
        .label("no limit")
        .hint("add e.g. `params.limit = { as = \"per_page\", default = 20, max = 100, description = \"How many\" }`, or a fixed `query.per_page = 20`");
    }
}

/// Whether a filter's result is a list of the answer's items.
fn is_list(select: &str) -> bool {
    let select = select.trim();
    let cuts = ["first(", "limit(", "[:", "| first", "| last"];
    !select.starts_with('{')
        && (select.contains("[]") || select.contains("map("))
        && !cuts.iter().any(|cut| select.contains(cut))
}
