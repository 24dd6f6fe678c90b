//! Tells a model how to get the rest of a truncated list, by the tool's own parameters.

use std::fmt::Write as _;

use crate::model::tool::{Body, HttpAction, Input, Kind, Node, Param, Piece, Template};

/// Names of parameters that say how many items a page has.
const SIZES: [&str; 24] = [
    "count",
    "first",
    "hitsperpage",
    "howmany",
    "itemsperpage",
    "limit",
    "max",
    "maxcount",
    "maxitems",
    "maxrecords",
    "maxresults",
    "n",
    "num",
    "numresults",
    "pagelimit",
    "pagesize",
    "perpage",
    "results",
    "resultsperpage",
    "rows",
    "rowsperpage",
    "size",
    "take",
    "top",
];
/// Names of parameters that say how many items are skipped.
const OFFSETS: [&str; 9] = [
    "offset",
    "skip",
    "start",
    "startat",
    "startindex",
    "from",
    "fromindex",
    "firstresult",
    "sroffset",
];

/// Parameters by which a tool returns a list in parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::upstream) struct Paging {
    pub(super) size: Option<String>,
    pub(super) offset: Option<String>,
}

impl Paging {
    /// Finds them in a tool's input, by their own names and by those that the request sends.
    pub(in crate::upstream) fn of(input: &Input, action: &HttpAction) -> Self {
        Self::among(input.params(), |names, param| {
            wire_names(action, &param.name).any(|wire| is_among(names, wire))
        })
    }

    /// Finds them among parameters, by their names alone.
    pub(in crate::upstream) fn of_params(params: &[Param]) -> Self {
        Self::among(params, |_, _| false)
    }

    /// `is_meant` says whether a parameter with another name is one of `names`.
    fn among(params: &[Param], is_meant: impl Fn(&[&str], &Param) -> bool) -> Self {
        let find = |names: &[&str]| {
            let mut numbers = params.iter().filter(|param| is_number(param));
            numbers
                .find(|param| is_among(names, &param.name) || is_meant(names, param))
                .map(|param| param.name.clone())
        };
        Self { size: find(&SIZES), offset: find(&OFFSETS) }
    }

    /// Whether the request sets the number of items per page, by a parameter or a fixed value.
    pub(in crate::upstream) fn is_limited(input: &Input, action: &HttpAction) -> bool {
        let names: Vec<&str> = match &action.body {
            Body::Form(fields) => fields.iter().map(|(name, _)| name.as_str()).collect(),
            Body::Json(Node::Table(entries)) => {
                entries.iter().map(|(name, _)| name.as_str()).collect()
            }
            Body::Json(_) | Body::None => Vec::new(),
        };
        let fixed = action.query.iter().map(|(name, _)| name.as_str()).chain(names);
        Self::of(input, action).size.is_some() || { fixed }.any(|name| is_among(&SIZES, name))
    }

    /// Returns advice to the model, as a sentence. `shown` is the number of items that fit;
    /// `left_out` are the removed cursors.
    pub(super) fn rest(&self, shown: Option<usize>, left_out: &[String]) -> String {
        let mut advice = match (&self.size, shown) {
            (Some(size), Some(shown)) if shown > 0 => {
                format!("call again with a `{size}` of at most {shown}")
            }
            (Some(size), _) => format!("call again with a smaller `{size}`"),
            (None, _) => "ask for less: a narrower search or a shorter period".to_owned(),
        };
        if let (Some(offset), Some(shown)) = (&self.offset, shown) {
            let _ = write!(advice, ", or with `{offset}` raised by {shown}");
        }
        if !left_out.is_empty() {
            let names: Vec<String> = left_out.iter().map(|name| format!("`{name}`")).collect();
            let verb = if names.len() == 1 { "is" } else { "are" };
            let _ = write!(advice, "; {} {verb} left out, as it skips the rest", names.join(", "));
        }
        advice
    }
}

fn is_number(param: &Param) -> bool {
    matches!(param.kind, Kind::Integer | Kind::Number)
}

/// Whether `names` contains a name, ignoring case and separators, as in `maxResults`, `max_results`
/// and `page[size]`.
fn is_among(names: &[&str], name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    names.contains(&plain.as_str())
}

/// Returns the names under which the request sends a parameter.
fn wire_names<'t>(action: &'t HttpAction, param: &'t str) -> impl Iterator<Item = &'t str> {
    let (form, json) = match &action.body {
        Body::Form(fields) => (fields.as_slice(), &[][..]),
        Body::Json(Node::Table(entries)) => (&[][..], entries.as_slice()),
        Body::Json(_) | Body::None => (&[][..], &[][..]),
    };
    let is_it =
        move |template: &Template| matches!(&template.0[..], [Piece::Param(name)] if name == param);
    let fields = action.query.iter().chain(form).filter(move |(_, template)| is_it(template));
    let json =
        json.iter().filter(move |(_, node)| matches!(node, Node::Param(name) if name == param));
    fields.map(|(wire, _)| wire.as_str()).chain(json.map(|(wire, _)| wire.as_str()))
}
