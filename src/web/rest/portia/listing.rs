//! `GET /api/v0/tools/descriptions-v2/` and its older form: the tools that a client may use.

use std::collections::HashMap;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::schema::{Unlisted, schema};
use super::user;
use crate::broker::Catalogue;
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::model::{Principal, Tool};
use crate::registry::Offer;
use crate::web::rest::RestState;
use crate::web::rest::answer::json;

/// Path of the list.
pub(in crate::web) const PATH: &str = "/api/v0/tools/descriptions-v2/";
/// Path of the list for older clients.
pub(in crate::web) const OLD_PATH: &str = "/api/v0/tools/descriptions/";

/// Limit of the clients on a tool's description together with its arguments, in characters.
const MAX_CHARS: usize = 16_384;
/// Limit of the model APIs on a function's name, in characters.
const MAX_NAME_CHARS: usize = 64;
/// Application that is named for a tool without a provider.
const OWN_NAME: &str = "Countersign";

/// Answer of [`PATH`].
#[derive(Serialize, JsonSchema)]
pub(in crate::web::rest) struct Descriptions {
    tools: Vec<Description>,
    /// Tools that are not listed, and why. Clients write these to their log.
    errors: Vec<AppError>,
}

/// A tool. Its clients raise if a key is missing.
#[derive(Serialize, JsonSchema)]
#[expect(clippy::struct_field_names, reason = "the keys of the contract")]
pub(in crate::web::rest) struct Description {
    tool_id: String,
    /// Name of the model's function, once spaces have become `_`.
    tool_name: String,
    should_summarize: bool,
    description: Described,
    /// JSON Schema of the arguments.
    schema: Map<String, Value>,
}

/// Description of a tool and of its output.
#[derive(Serialize, JsonSchema)]
pub(in crate::web::rest) struct Described {
    /// Type of the output, in a word.
    overview: String,
    overview_description: String,
    output_description: String,
}

/// A tool that is not listed.
#[derive(Serialize, JsonSchema)]
pub(in crate::web::rest) struct AppError {
    app_name: String,
    error: String,
}

pub(in crate::web) async fn descriptions(
    State(state): State<RestState>,
    Extension(caller): Extension<RestCaller>,
) -> Response {
    match user(&caller, None) {
        Ok(principal) => json(StatusCode::OK, &listed(&state.broker.catalogue(), &principal)),
        Err(response) => *response,
    }
}

pub(in crate::web) async fn old_descriptions(
    State(state): State<RestState>,
    Extension(caller): Extension<RestCaller>,
) -> Response {
    match user(&caller, None) {
        Ok(principal) => json(StatusCode::OK, &listed(&state.broker.catalogue(), &principal).tools),
        Err(response) => *response,
    }
}

/// Lists the tools that this user may use.
fn listed(catalogue: &Catalogue, principal: &Principal) -> Descriptions {
    let offers: Vec<Offer<'_>> = catalogue.registry().offers(Face::Portia, principal).collect();
    let names = function_names(offers.iter().map(|offer| offer.entry.tool()));
    let mut all = Descriptions { tools: Vec::new(), errors: Vec::new() };
    for (offer, tool_name) in offers.into_iter().zip(names) {
        let tool = offer.entry.tool();
        match description(offer.id, tool_name, tool) {
            Ok(description) => all.tools.push(description),
            Err(unlisted) => {
                let provider =
                    tool.provider.as_ref().and_then(|id| catalogue.provider(id.as_str()));
                let app_name = provider.map_or(OWN_NAME, |provider| &provider.title).to_owned();
                let error = format!("`{}` is not listed: {unlisted}", tool.name);
                all.errors.push(AppError { app_name, error });
            }
        }
    }
    all
}

fn description(id: &str, tool_name: String, tool: &Tool) -> Result<Description, Unlisted> {
    let schema = schema(tool)?;
    let overview = tool.returns.kind.clone().unwrap_or_else(|| output_type(tool).to_owned());
    let output = tool.returns.description.clone();
    let output_description = output.unwrap_or_else(|| format!("The result of “{}”.", tool.title));
    // The clients count the description that they write from these.
    let written = Value::Object(schema.clone()).to_string();
    let texts = [&tool.description, &output_description, &overview, &written];
    let chars = texts.iter().map(|text| text.chars().count()).sum();
    if chars > MAX_CHARS {
        return Err(Unlisted::TooLong(chars, MAX_CHARS));
    }
    let overview_description = tool.description.clone();
    Ok(Description {
        tool_id: id.to_owned(),
        tool_name,
        should_summarize: tool.returns.should_summarize,
        description: Described { overview, overview_description, output_description },
        schema,
    })
}

/// Returns the type of a tool's output, as Python calls it.
fn output_type(tool: &Tool) -> &'static str {
    let has_reply = tool.action.request().is_some_and(|action| action.reply.is_some());
    let declared = tool.output.as_ref().and_then(|schema| schema.get("type")?.as_str());
    match declared {
        Some("object") => "dict",
        Some("array") => "list",
        None if has_reply => "str",
        _ => "json",
    }
}

/// Returns a name for each tool, in their order: the title, or the tool's own name where the title
/// has no letter that a function's name takes, or is not the only one of its kind.
fn function_names<'a>(tools: impl Iterator<Item = &'a Tool> + Clone) -> Vec<String> {
    let function = |name: &str| name.replace(' ', "_").to_ascii_lowercase();
    let mut uses: HashMap<String, usize> = HashMap::new();
    for tool in tools.clone() {
        let (own, title) = (function(tool.name.as_str()), function(&plain(&tool.title)));
        if title != own {
            *uses.entry(title).or_default() += 1;
        }
        *uses.entry(own).or_default() += 1;
    }
    let name = |tool: &Tool| {
        let title = plain(&tool.title);
        let is_only = uses.get(&function(&title)) == Some(&1);
        if is_only && !title.is_empty() { title } else { tool.name.to_string() }
    };
    tools.map(name).collect()
}

/// Reduces a title to the letters of a function's name and single spaces.
fn plain(title: &str) -> String {
    let without_apostrophes = title.replace(['\'', '’'], "");
    let kept = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let words = without_apostrophes.split(|c: char| !kept(c)).filter(|word| !word.is_empty());
    let mut plain = words.collect::<Vec<_>>().join(" ");
    plain.truncate(MAX_NAME_CHARS);
    plain.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ToolName;

    fn tool(name: &str, title: &str) -> Tool {
        let (name, title) = (ToolName::new(name), title.to_owned());
        Tool { name, title, ..super::super::testing::tool() }
    }

    fn names(tools: &[(&str, &str)]) -> Vec<String> {
        let tools: Vec<Tool> = tools.iter().map(|(name, title)| tool(name, title)).collect();
        function_names(tools.iter())
    }

    #[test]
    fn a_title_becomes_a_name_that_every_model_takes() {
        for (title, name) in [
            ("List an organization’s repositories", "List an organizations repositories"),
            ("Issues/PRs (all)", "Issues PRs all"),
            ("  Star  it ", "Star it"),
            ("Notizen für Ana", "Notizen f r Ana"),
            ("笔记", "read"),
            ("read", "read"),
        ] {
            assert_eq!(names(&[("read", title)]), [name], "{title}");
        }
        let long = names(&[("read", &"word ".repeat(20))]);
        assert!(long[0].len() <= 64 && !long[0].ends_with(' '), "{long:?}");
    }

    #[test]
    fn no_two_tools_have_one_name() {
        let found = names(&[
            ("a_star", "Star it"),
            ("b_star", "star_it"),
            ("c_read", "a_star"),
            ("other", "Other"),
        ]);
        assert_eq!(found, ["a_star", "b_star", "c_read", "Other"]);
    }

    #[test]
    fn a_description_that_is_too_long_is_not_listed() {
        let described = |chars| {
            let tool = Tool { description: "x".repeat(chars), ..tool("read", "Read") };
            description("countersign:tools:read", "Read".into(), &tool).map(|_| ())
        };
        assert_eq!(described(15_000), Ok(()));
        assert!(matches!(described(16_384), Err(Unlisted::TooLong(..))));
    }
}
