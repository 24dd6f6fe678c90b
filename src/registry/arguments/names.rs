//! Maps the names of arguments to the parameters that they stand for.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::literal::parsed;
use crate::model::ToolName;
use crate::model::tool::{ACCOUNT, Param};

/// Keys in which models wrap all arguments, unless the tool has such a parameter.
const WRAPPERS: [&str; 8] =
    ["arguments", "args", "input", "inputs", "kwargs", "parameters", "params", "tool_input"];
/// Keys beside a wrapper that repeat the tool's name.
const TOOL_NAMES: [&str; 4] = ["name", "tool", "tool_name", "function"];
/// Parameters that hosts invent for a tool without parameters, because their model's API requires
/// one.
const PLACEHOLDERS: [&str; 4] = ["random_string", "dummy", "_placeholder", "noop"];

/// The names that the arguments of a tool can have.
pub(super) struct Names<'t> {
    tool: &'t str,
    /// The parameters' names and, if the tool takes it, [`ACCOUNT`].
    known: Vec<&'t str>,
    has_params: bool,
}

impl<'t> Names<'t> {
    pub(super) fn of(tool: &'t ToolName, params: &'t [Param], accounts: bool) -> Self {
        let account = accounts.then_some(ACCOUNT);
        let known = params.iter().map(|param| param.name.as_str()).chain(account).collect();
        Self { tool: tool.as_str(), known, has_params: !params.is_empty() }
    }

    fn has(&self, name: &str) -> bool {
        self.known.contains(&name)
    }

    /// Returns the only parameter that a name can stand for: `dueDate`, `Due_Date` and `due-date`
    /// for `due_date`.
    fn meant_by(&self, name: &str) -> Option<&'t str> {
        if let Some(same) = self.known.iter().find(|one| **one == name) {
            return Some(same);
        }
        // `_meta`, `__proto__`: reserved names, not spellings.
        if name.starts_with('_') {
            return None;
        }
        let folded = fold(name);
        let mut alike = self.known.iter().filter(|one| fold(one) == folded);
        match (alike.next(), alike.next()) {
            (Some(one), None) => Some(one),
            _ => None,
        }
    }
}

/// Renames arguments to the tool's parameters where each given name can stand for only one of them.
/// Other names stay, and are refused as unknown.
pub(super) fn resolve(names: &Names<'_>, given: Map<String, Value>) -> Map<String, Value> {
    // Most calls need no renaming.
    if given.keys().all(|name| names.has(name)) {
        return given;
    }
    let mut given = unwrapped(names, given);
    if !names.has_params {
        given.retain(|name, _| names.has(name) || !PLACEHOLDERS.contains(&name.as_str()));
    }
    let meant: Vec<Option<&str>> = given.keys().map(|name| names.meant_by(name)).collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for name in meant.iter().flatten() {
        *counts.entry(name).or_default() += 1;
    }
    let renamed = given.into_iter().zip(&meant).map(|((name, value), meant)| match meant {
        Some(meant) if counts.get(meant) == Some(&1) => ((*meant).to_owned(), value),
        _ => (name, value),
    });
    renamed.collect()
}

/// Returns the content of a lone key that wraps the arguments.
fn unwrapped(names: &Names<'_>, mut given: Map<String, Value>) -> Map<String, Value> {
    let repeats_name = |(name, value): (&String, &Value)| {
        TOOL_NAMES.contains(&name.as_str())
            && names.meant_by(name).is_none()
            && value.as_str() == Some(names.tool)
    };
    let rest = given.iter().filter(|entry| !repeats_name(*entry)).map(|(name, _)| name);
    let rest: Vec<&str> = rest.map(String::as_str).collect();
    let [wrapper] = rest[..] else { return given };
    if !WRAPPERS.contains(&wrapper) || names.meant_by(wrapper).is_some() {
        return given;
    }
    let wrapper = wrapper.to_owned();
    let inner = match given.get(&wrapper) {
        Some(Value::String(text)) => parsed(text),
        Some(value) => Some(value.clone()),
        None => None,
    };
    match inner {
        Some(Value::Object(inner)) => inner,
        Some(Value::Array(items)) if items.is_empty() => Map::new(),
        _ => {
            // Keep the wrapper for the message.
            given.retain(|name, _| *name == wrapper);
            given
        }
    }
}

/// Normalizes a name or word: lower case, without white space, `_` and `-`.
pub(super) fn fold(name: &str) -> String {
    name.chars()
        .filter(|c| !(c.is_whitespace() || matches!(c, '_' | '-')))
        .flat_map(char::to_lowercase)
        .collect()
}
