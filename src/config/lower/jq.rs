//! Checks that jq filters compile, and reports where they do not.

use super::super::findings::Findings;
use super::super::span::Text;
use crate::upstream::jq;

/// Reports the position at which a filter does not compile.
pub(super) fn check(filter: &Text, find: &mut Findings<'_>) {
    // This compiler also runs the filter later, so the check knows what jq can do here.
    let Err(problem) = jq::compile_check(filter.as_str()) else { return };
    let written = filter.as_str().trim();
    if is_json_path(written) {
        let draft = find
            .error("tool::jq", &filter.span, "this is JSONPath, and a jq filter is wanted")
            .label("JSONPath");
        match compiled(&from_json_path(written)) {
            Some(jq) => draft.hint(format!("in jq: `{jq}`")),
            None => {
                draft.hint("in jq a path is `.items[].name`, and a condition `select(.price < 10)`")
            }
        };
        return;
    }
    let span = filter.part(problem.range, find.source());
    let message = format!("this jq filter does not compile: {}", problem.message);
    let draft = find.error("tool::jq", &span, message);
    let with_dot = format!(".{written}");
    match compiled(&with_dot) {
        Some(jq) if is_plain_path(written) => {
            draft.hint(format!("a path begins with a dot: `{jq}`"))
        }
        _ => draft.hint("try it with `jq` on an answer of the API"),
    };
}

fn compiled(filter: &str) -> Option<&str> {
    jq::compile_check(filter).is_ok().then_some(filter)
}

/// Whether a text is JSONPath (RFC 9535), a path from the root `$`. jq has neither a lone `$` nor
/// `[*]`.
fn is_json_path(text: &str) -> bool {
    text == "$" || text.starts_with("$.") || text.starts_with("$[") || text.contains("[*]")
}

fn from_json_path(text: &str) -> String {
    let path = text.strip_prefix('$').unwrap_or(text);
    let path = path.replace("[*]", "[]").replace(".*", "[]").replace('\'', "\"");
    if let Some(name) = path.strip_prefix("..") {
        return format!("[.. | .{name}? | values]");
    }
    if path.starts_with('.') { path } else { format!(".{path}") }
}

/// Whether a text is a path without its leading dot, e.g. `data.items[].name`.
fn is_plain_path(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.[]".contains(c))
}
