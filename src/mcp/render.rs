//! Renders outcomes and registry entries as MCP. Pure; the words of results and failures are in
//! [`words`](crate::words).

mod consent_form;
mod consent_text;
mod input_required;
mod result;
#[cfg(test)]
mod tests;
mod url_elicitation_required;

use std::sync::Arc;

use rmcp::model::{Tool, ToolAnnotations};
use serde_json::{Map, Value};

use crate::registry::{BuiltInTool, Entry, Hints};

pub(super) use consent_form::ConsentForm;
pub(super) use consent_text::{declined, refused, still_waiting, text, text_after};
pub(super) use input_required::input_required;
pub(super) use result::{failed, input_needed, result};
pub(super) use url_elicitation_required::{URL_ELICITATION_REQUIRED, url_elicitation_required};

/// Renders a tool for `tools/list`.
pub(super) fn tool(entry: &Entry) -> Tool {
    let (tool, hints) = (entry.tool(), entry.hints());
    let name = tool.name.as_str().to_owned();
    let described = Tool::new(name, tool.description.clone(), Arc::clone(entry.schema()));
    with_hints(described, hints, tool.output.as_ref())
}

/// Renders a tool of the server's own for `tools/list`.
pub(super) fn built_in(tool: &BuiltInTool) -> Tool {
    let described = Tool::new(tool.name, tool.description, Arc::clone(&tool.input));
    with_hints(described, tool.hints.clone(), Some(&tool.output))
}

fn with_hints(tool: Tool, hints: Hints, output: Option<&Arc<Map<String, Value>>>) -> Tool {
    let annotations = ToolAnnotations::from_raw(
        Some(hints.title.clone()),
        Some(hints.read_only),
        Some(hints.destructive),
        Some(hints.idempotent),
        Some(hints.open_world),
    );
    let described = tool.with_title(hints.title).with_annotations(annotations);
    match output {
        Some(schema) => described.with_raw_output_schema(Arc::clone(schema)),
        None => described,
    }
}
