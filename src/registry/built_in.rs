//! The server's own tools, which no `tools.toml` declares.

use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value, json};

use super::arguments::accept_params;
use super::schema::{Hints, schema_of};
use crate::model::ToolName;
use crate::model::arguments::InvalidArguments;
use crate::model::tool::{CONNECTIONS, Item, Kind, Param};

/// Most tools that one call of [`CONNECTIONS`] may name.
const MAX_TOOLS: f64 = 100.0;

/// A tool of the server's own, as clients see it.
#[derive(Debug)]
pub struct BuiltInTool {
    pub name: &'static str,
    pub description: &'static str,
    /// JSON Schema of the arguments.
    pub input: Arc<Map<String, Value>>,
    /// JSON Schema of the result.
    pub output: Arc<Map<String, Value>>,
    pub hints: Hints,
}

/// [`CONNECTIONS`]: says what is connected, and what tools still need.
pub static CONNECTIONS_TOOL: LazyLock<BuiltInTool> = LazyLock::new(|| BuiltInTool {
    name: CONNECTIONS,
    description: "Says which accounts the user has connected, and what tools still need. Before \
                  you begin a task, name all tools that you will call in `tools`: for each service \
                  that is not connected yet you get one link, which asks for everything that these \
                  tools need together. Give the user the links and wait until they are done. \
                  Without `tools`, it looks at all tools and gives no links.",
    input: Arc::new(schema_of(&[&tools_param()])),
    output: Arc::new(output()),
    hints: Hints {
        title: "Connected accounts".into(),
        read_only: true,
        destructive: false,
        idempotent: true,
        open_world: false,
    },
});

/// Checks and converts the arguments of [`CONNECTIONS`]. Returns the names of tools, if the call
/// has any.
///
/// # Errors
/// [`InvalidArguments`], as [`accept`](super::accept()).
pub fn accept_connections(
    arguments: Option<Map<String, Value>>,
) -> Result<Option<Vec<String>>, InvalidArguments> {
    let accepted = accept_params(&ToolName::new(CONNECTIONS), &[tools_param()], false, arguments)?;
    let names = accepted.arguments.get("tools").and_then(Value::as_array);
    let names = names.map(|all| all.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    Ok(names)
}

fn tools_param() -> Param {
    Param {
        name: "tools".into(),
        description: Some("Names of the tools that you will call".into()),
        kind: Kind::Array(Item::String),
        required: false,
        default: None,
        choices: Vec::new(),
        min: None,
        max: Some(MAX_TOOLS),
    }
}

fn output() -> Map<String, Value> {
    let text = |description: &str| json!({ "type": "string", "description": description });
    let texts = |description: &str| json!({ "type": "array", "items": { "type": "string" }, "description": description });
    let connected = json!({
        "type": "object",
        "properties": {
            "provider": text("The service's name in tools.toml"),
            "title": text("The service's name for people"),
            "account": text("The account's name among the user's accounts there"),
            "label": text("The service's name for the account"),
            "scopes": texts("Granted permissions"),
            "works": { "type": "boolean", "description": "Whether tools can use it now" },
            "ends": text("When the access ends, if that is known: RFC 3339, UTC"),
        },
        "required": ["provider", "title", "account", "scopes", "works"],
    });
    let needed = json!({
        "type": "object",
        "properties": {
            "provider": text("The service's name in tools.toml"),
            "title": text("The service's name for people"),
            "tools": texts("The tools that need it"),
            "scopes": texts("Permissions that are missing"),
            "authorization_url": text("The link for the user to open; give it to them exactly as it is"),
            "reason": text("Why it is needed, or why there is no link"),
            "message": text("The reason in words"),
        },
        "required": ["provider", "title", "tools", "scopes", "reason", "message"],
    });
    let list = |items: Value, description: &str| json!({ "type": "array", "items": items, "description": description });
    let properties = json!({
        "connected": list(connected, "Accounts that the user has connected"),
        "needed": list(needed, "Services that the user must connect first, or that cannot be used"),
        "ready": texts("Tools that can run now"),
        "unknown": texts("Names that no tool has"),
    });
    Map::from_iter([
        ("type".to_owned(), json!("object")),
        ("properties".to_owned(), properties),
        ("required".to_owned(), json!(["connected", "needed", "ready", "unknown"])),
    ])
}
