//! Explains keys in a table that does not have them: which table has them, or what they are called
//! in this one.

use toml::de::DeValue;

use super::findings::Findings;
use super::span::{Span, Text};
use super::syntax::Value;
use super::unknown_key::{Keys, LanguageTable, UnknownKey, UnknownKeyKind};

/// Other words for keys, by table, and what to write instead.
const SYNONYMS: [(&str, &[&str], &str); 28] = [
    ("File", &["provider"], "write `providers`, as in [providers.acme]"),
    ("File", &["tool"], "write `tools`, as in [tools.acme_items]"),
    ("File", &["webhook"], "write `webhooks`, as in [webhooks.my-app]"),
    ("WebhookTable", &["target", "endpoint", "uri"], "write `url`"),
    ("WebhookTable", &["signing_secret", "signing_key"], "write `secret`"),
    (
        "WebhookTable",
        &["types", "event", "event_types"],
        "write `events = [\"connection.created\"]`",
    ),
    ("ParamTable", &["required"], "every parameter is required unless it says `optional = true`"),
    ("ParamTable", &["nullable"], "write `optional = true`"),
    (
        "ParamTable",
        &["choices", "options", "values", "allowed", "one_of"],
        "write `enum = [\"…\"]`",
    ),
    ("ParamTable", &["minimum", "min_length", "minLength", "min_items"], "write `min`"),
    ("ParamTable", &["maximum", "max_length", "maxLength", "max_items"], "write `max`"),
    (
        "ParamTable",
        &["name", "alias", "rename", "wire"],
        "what the API calls it is written as `as`",
    ),
    ("ParamTable", &["kind"], "write `type`"),
    (
        "ParamTable",
        &["in", "location"],
        "a parameter goes where the request names it as `{name}`, else into the query or the body",
    ),
    ("ToolTable", &["required"], "every parameter is required unless it says `optional = true`"),
    (
        "ToolTable",
        &["url", "uri", "endpoint", "path", "method", "http"],
        "method and address are one text: `request = \"GET https://…\"`",
    ),
    (
        "ToolTable",
        &["parameters", "arguments", "args", "inputs", "input", "input_schema", "inputSchema"],
        "write `params.NAME = \"What it is\"`",
    ),
    ("ToolTable", &["jq", "filter", "transform", "jsonpath"], "write `select`, a jq filter"),
    ("ToolTable", &["permissions"], "write `scopes`"),
    ("ToolTable", &["summary", "about", "help"], "write `description`"),
    ("ToolTable", &["output_schema", "outputSchema"], "write `output`"),
    ("ToolTable", &["json", "payload", "data"], "write `body`"),
    ("ToolTable", &["enabled"], "write `disabled = true` for a tool that is not offered"),
    ("ToolTable", &["readonly", "read_only", "readOnly"], "write `effect = \"read\"`"),
    ("ToolTable", &["destructive"], "write `effect = \"destroy\"`"),
    ("ProviderTable", &["url", "api_url", "endpoint"], "write `base_url`"),
    ("ProviderTable", &["token"], "write `bearer`"),
    ("ProviderTable", &["name", "label"], "write `title`"),
];

/// Looks for the meaning of an unknown key. Returns the hint if it does not depend on the names
/// around the key; otherwise [`name_places`] sets it later.
pub(crate) fn explain(
    key: &Text,
    value: &Value<'_>,
    table: &Span,
    keys: &Keys,
    find: &mut Findings<'_>,
) -> Option<&'static str> {
    if keys.table == "ToolTable"
        && let Some(steps) = dotted(value)
    {
        // The keys that this table lacks are in the table below it.
        find.misspelt(table, "description");
        find.misspelt(table, "request");
        let steps = std::iter::once(key.value.clone()).chain(steps).collect();
        find.unknown_key(|problem| UnknownKey {
            problem,
            key: key.clone(),
            kind: UnknownKeyKind::Dotted(steps),
        });
        return None;
    }
    let synonym = SYNONYMS
        .iter()
        .find(|(name, words, _)| *name == keys.table && words.contains(&key.as_str()));
    if let Some((_, _, hint)) = synonym {
        // The intended key is present, under another name.
        for quoted in hint.split('`').skip(1).step_by(2) {
            let word = quoted.split([' ', '.']).next().unwrap_or_default();
            find.misspelt(table, word);
        }
        return Some(hint);
    }
    let homes = homes(key.as_str(), keys, find);
    for home in &homes {
        if let Some(step) = home.path.get(own(keys, find).map_or(0, |own| own.path.len())) {
            find.misspelt(table, step);
        }
    }
    if !homes.is_empty() {
        find.unknown_key(|problem| UnknownKey {
            problem,
            key: key.clone(),
            kind: UnknownKeyKind::OfTables(homes),
        });
    }
    None
}

/// Whether an unknown key belongs to a related table.
pub(crate) fn belongs_elsewhere(key: &str, keys: &Keys, find: &Findings<'_>) -> bool {
    !homes(key, keys, find).is_empty()
}

fn own(keys: &Keys, find: &Findings<'_>) -> Option<&'static LanguageTable> {
    find.tables().iter().find(|table| table.keys.table == keys.table)
}

/// Returns the tables that have a key: tables directly around or within its own table, else tables
/// that are often confused with its own.
fn homes(key: &str, keys: &Keys, find: &Findings<'_>) -> Vec<&'static LanguageTable> {
    let Some(own) = own(keys, find) else { return Vec::new() };
    let all = || find.tables().iter().filter(|table| table.keys.known.contains(&key));
    let near: Vec<_> = all().filter(|table| is_near(own.path, table.path)).collect();
    if !near.is_empty() {
        return near;
    }
    all().filter(|table| is_confused(own.path, table.path)).collect()
}

/// Whether two tables are one level apart. A name that the operator chooses is no level of its own.
fn is_near(a: &[&str], b: &[&str]) -> bool {
    let (outer, inner) = if a.len() < b.len() { (a, b) } else { (b, a) };
    let Some(more) = inner.strip_prefix(outer) else { return false };
    more.iter().filter(|step| **step != "*").count() == 1
}

fn is_confused(a: &[&str], b: &[&str]) -> bool {
    let pairs: [[&[&str]; 2]; 3] = [
        [&["tools", "*"], &["providers", "*"]],
        [&["tools", "*"], &["providers", "*", "oauth"]],
        [&["server"], &["store"]],
    ];
    pairs.iter().any(|[one, other]| (a == *one && b == *other) || (a == *other && b == *one))
}

/// Returns the steps from a table to the tool in it, if there is one.
fn dotted(value: &Value<'_>) -> Option<Vec<String>> {
    const MAX_STEPS: usize = 4;
    let mut steps = Vec::new();
    let mut value = value;
    for _ in 0..MAX_STEPS {
        let DeValue::Table(table) = value.get_ref() else { return None };
        if table.keys().any(|key| matches!(key.get_ref().as_ref(), "request" | "description")) {
            return Some(steps);
        }
        let (key, inner) = table.iter().next()?;
        steps.push(key.get_ref().to_string());
        value = inner;
    }
    None
}

/// Sets the hints of all unknown keys, using the names around them in the file.
pub(crate) fn name_places(root: &Value<'_>, find: &mut Findings<'_>) {
    for unknown in find.take_unknown_keys() {
        let mut path = Vec::new();
        walk(root, &unknown.key.span, &mut path);
        let hint = match unknown.kind {
            UnknownKeyKind::OfTables(tables) => {
                let mut names: Vec<String> =
                    tables.iter().map(|table| header(table, &path)).collect();
                names.dedup();
                let which = if path.first().is_some_and(|step| step == "tools")
                    && tables.iter().all(|table| table.path.first() == Some(&"providers"))
                {
                    ", whose NAME the tool gives in `provider`"
                } else {
                    ""
                };
                format!("`{}` belongs in {}{which}", unknown.key.value, names.join(" or "))
            }
            UnknownKeyKind::Dotted(steps) => {
                let own = path.last().map_or("", String::as_str);
                format!("a tool's name has no dot: write [tools.{own}_{}]", steps.join("_"))
            }
        };
        find.set_hint(unknown.problem, hint);
    }
}

/// Formats a table's header with the names around the key, e.g. `[providers.acme.oauth]`.
fn header(table: &LanguageTable, around: &[String]) -> String {
    let is_same = |at: usize| {
        table.path.iter().zip(around).take(at).all(|(step, own)| *step == "*" || step == own)
    };
    let steps = table.path.iter().enumerate().map(|(at, step)| match around.get(at) {
        Some(own) if *step == "*" && is_same(at) => own.as_str(),
        _ if *step == "*" => "NAME",
        _ => step,
    });
    let path = steps.collect::<Vec<_>>().join(".");
    match table.path.last() {
        None => "the top of the file, before any table".into(),
        Some(&("api_keys" | "tests")) => format!("[[{path}]]"),
        Some(_) => format!("[{path}]"),
    }
}

/// Finds the table that contains `key` and writes its path into `path`. False if there is none.
fn walk(value: &Value<'_>, key: &Span, path: &mut Vec<String>) -> bool {
    match value.get_ref() {
        DeValue::Table(table) => table.iter().any(|(name, inner)| {
            if name.span() == *key {
                return true;
            }
            path.push(name.get_ref().to_string());
            let is_found = walk(inner, key, path);
            if !is_found {
                path.pop();
            }
            is_found
        }),
        DeValue::Array(items) => items.iter().any(|item| walk(item, key, path)),
        _ => false,
    }
}
