//! Parts of a request besides the request line: body, form, fixed query and headers.

use serde_json::Value as Json;

use super::super::findings::Findings;
use super::super::read::{Branch, Named, Tree};
use super::super::span::Text;
use super::param::Params;
use super::{secret, template};
use crate::model::tool::{self, Node, Piece, Template};

/// Reads a JSON body. A string that is one placeholder becomes the argument itself.
pub(super) fn node(tree: Tree, params: &mut Params, find: &mut Findings<'_>) -> Node {
    match tree.branch {
        Branch::Fixed(value) => Node::Fixed(value),
        Branch::List(items) => {
            Node::List(items.into_iter().map(|item| node(item, params, find)).collect())
        }
        Branch::Table(entries) => Node::Table(
            entries
                .into_iter()
                .map(|(key, value)| (key.value, node(value, params, find)))
                .collect(),
        ),
        Branch::Text(text) => {
            text_node(template::template(&Text::new(text, tree.span), params, find))
        }
    }
}

fn text_node(template: Template) -> Node {
    match template.0.as_slice() {
        [] => Node::Fixed(Json::String(String::new())),
        [Piece::Param(name)] => Node::Param(name.clone()),
        [Piece::Text(text)] => Node::Fixed(Json::String(text.clone())),
        _ => Node::Text(template),
    }
}

/// Reads `query` or `form`: names with one value each.
pub(super) fn fields(
    table: Named<Tree>,
    params: &mut Params,
    find: &mut Findings<'_>,
) -> Vec<(String, Template)> {
    let mut fields = Vec::with_capacity(table.entries.len());
    for (name, value) in table.entries {
        if secret::is_credential(name.as_str(), &value.span, find) {
            continue;
        }
        let text = match value.branch {
            Branch::Text(text) => template::template(&Text::new(text, value.span), params, find),
            Branch::Fixed(fixed) => Template(vec![Piece::Text(fixed.to_string())]),
            Branch::List(_) | Branch::Table(_) => {
                find.error("config::type", &value.span, "a single value is wanted here")
                    .label("a list or table")
                    .hint("lists come from parameters of type `array`");
                continue;
            }
        };
        fields.push((name.value, text));
    }
    fields
}

/// Headers that usually carry credentials, which belong to providers.
const CREDENTIALS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"];

/// Whether a header may have this name; if not, reports why.
pub(super) fn is_header_name(name: &Text, find: &mut Findings<'_>) -> bool {
    let lower = name.value.to_ascii_lowercase();
    if name.value.contains(['{', '}']) {
        find.error("tool::header", &name.span, "the name of a header is fixed")
            .hint("only its value may have placeholders");
    } else if http::HeaderName::from_bytes(name.value.as_bytes()).is_err() {
        find.error("tool::header", &name.span, "this is no name of a header")
            .hint("it has letters, digits and `-`");
    } else if tool::FRAMING_HEADERS.contains(&&*lower) {
        find.error(
            "tool::header",
            &name.span,
            format!("`{}` is written by the client itself", name.value),
        )
        .hint("remove it");
    } else {
        return true;
    }
    false
}

/// Reads headers with fixed names and values of text and placeholders.
pub(super) fn headers(
    table: Named<Text>,
    params: &mut Params,
    find: &mut Findings<'_>,
) -> Vec<(String, Template)> {
    let mut headers = Vec::with_capacity(table.entries.len());
    for (name, value) in table.entries {
        if CREDENTIALS.contains(&&*name.value.to_ascii_lowercase()) {
            secret::hide(&value, find);
            find.error("secret::header", &name.span, format!("`{}` carries a credential", name.value))
                .label("belongs to a provider")
                .hint("give the provider `api_key = { header = \"…\", value = \"env:…\" }` and name it in `provider`");
            continue;
        }
        if !is_header_name(&name, find) {
            continue;
        }
        if value.value.chars().any(char::is_control) {
            find.error("tool::header", &value.span, "a header's value has no control characters")
                .hint("remove line breaks and tabs");
            continue;
        }
        headers.push((name.value, template::template(&value, params, find)));
    }
    headers
}

/// Reads fixed headers, which take no placeholders.
pub(super) fn fixed_headers(table: Named<Text>, find: &mut Findings<'_>) -> Vec<(String, String)> {
    let mut params = Params::none();
    headers(table, &mut params, find)
        .into_iter()
        .map(|(name, template)| {
            let texts = template.0.into_iter().filter_map(|piece| match piece {
                crate::model::tool::Piece::Text(text) => Some(text),
                crate::model::tool::Piece::Param(_) => None,
            });
            (name, texts.collect())
        })
        .collect()
}
