//! `output`: the JSON Schema of a tool's result.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::super::findings::Findings;
use super::super::read::{Branch, Tree};
use super::Depth;

/// Reads a schema.
///
/// The root must be an object, because hosts otherwise reject the whole list of tools, and without
/// references, which many hosts do not follow.
pub(super) fn output(
    tree: &Tree,
    depth: Depth,
    find: &mut Findings<'_>,
) -> Option<Arc<Map<String, Json>>> {
    let Json::Object(schema) = tree.to_json() else {
        find.error("tool::output", &tree.span, "an output schema is a table")
            .hint("write `output = { type = \"object\", … }`");
        return None;
    };
    if schema.get("type").and_then(Json::as_str) != Some("object") {
        find.error(
            "tool::output",
            &tree.span,
            "the result that a schema describes must be an object",
        )
        .label("`type` is not `\"object\"`")
        .hint("write `type = \"object\"`, and let `select` put lists into an object");
        return None;
    }
    if let Some(reference) = reference(tree) {
        find.error("tool::output", &reference.span, "`$ref` is not understood by every host")
            .hint("write out what it refers to");
        return None;
    }
    let schema = Json::Object(schema);
    if depth == Depth::Check
        && let Err(error) = jsonschema::draft202012::meta::validate(&schema)
    {
        let place = at_pointer(tree, &error.instance_path().to_string());
        find.error("tool::output", &place.span, "this is no valid JSON Schema")
            .hint("see json-schema.org, draft 2020-12");
        return None;
    }
    match schema {
        Json::Object(schema) => Some(Arc::new(schema)),
        _ => None,
    }
}

fn reference(tree: &Tree) -> Option<&Tree> {
    match &tree.branch {
        Branch::Table(entries) => entries.iter().find_map(|(key, value)| {
            if key.value == "$ref" { Some(value) } else { reference(value) }
        }),
        Branch::List(items) => items.iter().find_map(reference),
        Branch::Text(_) | Branch::Fixed(_) => None,
    }
}

/// Returns the part of a tree that a JSON pointer names, or the nearest one around it.
fn at_pointer<'t>(tree: &'t Tree, pointer: &str) -> &'t Tree {
    let mut here = tree;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        let next = match &here.branch {
            Branch::Table(entries) => {
                entries.iter().find(|(key, _)| key.value == step).map(|(_, value)| value)
            }
            Branch::List(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
            Branch::Text(_) | Branch::Fixed(_) => None,
        };
        match next {
            Some(next) => here = next,
            None => break,
        }
    }
    here
}
