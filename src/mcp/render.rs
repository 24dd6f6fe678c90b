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

use crate::registry::Entry;

pub(super) use consent_form::ConsentForm;
pub(super) use consent_text::{declined, refused, still_waiting, text, text_after};
pub(super) use input_required::input_required;
pub(super) use result::{failed, input_needed, result};
pub(super) use url_elicitation_required::{URL_ELICITATION_REQUIRED, url_elicitation_required};

/// Renders a tool for `tools/list`.
pub(super) fn tool(entry: &Entry) -> Tool {
    let (tool, hints) = (entry.tool(), entry.hints());
    let annotations = ToolAnnotations::from_raw(
        Some(hints.title.clone()),
        Some(hints.read_only),
        Some(hints.destructive),
        Some(hints.idempotent),
        Some(hints.open_world),
    );
    let described = Tool::new(
        tool.name.as_str().to_owned(),
        tool.description.clone(),
        Arc::clone(entry.schema()),
    )
    .with_title(hints.title)
    .with_annotations(annotations);
    match &tool.output {
        Some(schema) => described.with_raw_output_schema(Arc::clone(schema)),
        None => described,
    }
}
