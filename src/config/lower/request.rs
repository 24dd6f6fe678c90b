//! `request = "GET /repos/{owner}?per_page=10"`: method, origin, path and query.
//!
//! The origin is fixed here, from the file alone. Arguments fill only parts of single path segments
//! and values, so no argument can reach the host or another depth of the path.

use percent_encoding::percent_decode_str;
use url::Url;

use super::super::findings::Findings;
use super::super::span::{Span, Text};
use super::param::Params;
use super::{address, secret, template};
use crate::model::hosts::Hosts;
use crate::model::text::nearest;
use crate::model::tool::{Kind, Method, Piece, Template};

const METHODS: [Method; 6] =
    [Method::Get, Method::Head, Method::Post, Method::Put, Method::Patch, Method::Delete];

/// A parsed request line.
pub(super) struct Line {
    pub(super) method: Method,
    pub(super) origin: Url,
    pub(super) path: Vec<Template>,
    pub(super) query: Vec<(String, Template)>,
}

/// The API that a request goes to.
#[derive(Clone, Copy)]
pub(super) enum Base<'a> {
    /// No provider's API: the request carries no credential.
    Nothing,
    Provider(Api<'a>),
    /// A provider with errors, whose hosts are therefore unknown.
    Wrong,
}

/// The API to which a provider's credential may be sent.
#[derive(Clone, Copy)]
pub(super) struct Api<'a> {
    pub(super) id: &'a str,
    pub(super) base_url: Option<&'a Url>,
    pub(super) hosts: &'a Hosts,
}

/// Parses a request line. Looks up its placeholders even if the method or origin is wrong.
pub(super) fn line(
    text: &Text,
    base: Base<'_>,
    params: &mut Params,
    find: &mut Findings<'_>,
) -> Option<Line> {
    let written = text.as_str();
    let Some((word, target)) = written.split_once(' ') else {
        find.error("tool::request", &text.span, "a request is a method and an address")
            .hint("e.g. `GET /search`");
        return None;
    };
    let method = method(text, word, find);
    let target_start = written.len() - target.trim_start().len();
    let target = target_start..written.trim_end().len().max(target_start);
    let parts = Parts::split(text, target, find)?;
    let start = match (&parts.origin, base) {
        (Some(origin), Base::Provider(api)) => absolute(text, origin.clone(), Some(api), find),
        (Some(origin), _) => absolute(text, origin.clone(), None, find),
        (None, Base::Provider(api)) => relative(text, api, find),
        (None, Base::Wrong) => None,
        (None, Base::Nothing) => {
            find.error("tool::request", &text.span, "a tool without a provider needs a whole URL")
                .hint("write `GET https://…`, or name a `provider`");
            None
        }
    };
    let below = segments(text, parts.path, params, find);
    let query = parts.query.map(|query| pairs(text, query, params, find)).unwrap_or_default();
    let (origin, mut path) = start?;
    path.extend(below);
    Some(Line { method: method?, origin, path, query })
}

fn method(text: &Text, word: &str, find: &mut Findings<'_>) -> Option<Method> {
    let method = METHODS.into_iter().find(|method| method.as_str() == word);
    if method.is_none() {
        let span = text.part(0..word.len(), find.source());
        let near = nearest(word, METHODS.map(Method::as_str));
        find.error("tool::method", &span, "this is no method").hint(format!(
            "did you mean `{}`? A request is a method and an address",
            near.unwrap_or("GET")
        ));
    }
    method
}

/// Positions of a target's parts in the request line.
struct Parts {
    /// `https://api.example.com`; `None` for a target that begins with `/`.
    origin: Option<Span>,
    /// Without its first `/`.
    path: Span,
    /// Without `?`.
    query: Option<Span>,
}

impl Parts {
    fn split(text: &Text, target: Span, find: &mut Findings<'_>) -> Option<Self> {
        let written = text.value.get(target.clone()).unwrap_or_default();
        if let Some(hash) = written.find('#') {
            let span = text.part(target.start + hash..target.end, find.source());
            find.error("tool::request", &span, "a fragment is never sent")
                .hint("remove `#` and what follows, or write `%23`");
            return None;
        }
        let (front, query) = match written.find('?') {
            Some(mark) => (mark, Some(target.start + mark + 1..target.end)),
            None => (written.len(), None),
        };
        let before_query = written.get(..front).unwrap_or_default();
        let origin_len = match before_query.find("://") {
            Some(colon) => {
                let authority = before_query.get(colon + 3..).unwrap_or_default();
                colon + 3 + authority.find('/').unwrap_or(authority.len())
            }
            None if before_query.starts_with("//") || !before_query.starts_with('/') => {
                let span = text.part(target, find.source());
                find.error("tool::request", &span, "this is neither a path nor a URL")
                    .hint("a path begins with one `/`, a URL with `https://`");
                return None;
            }
            None => 0,
        };
        Some(Self {
            origin: (origin_len > 0).then_some(target.start..target.start + origin_len),
            path: (target.start + origin_len + 1).min(target.start + front)..target.start + front,
            query,
        })
    }
}

/// Reads a whole URL, whose host must be one that may receive the provider's credential.
fn absolute(
    text: &Text,
    origin: Span,
    api: Option<Api<'_>>,
    find: &mut Findings<'_>,
) -> Option<(Url, Vec<Template>)> {
    let written = text.value.get(origin.clone()).unwrap_or_default();
    let span = text.part(origin.clone(), find.source());
    if written.contains(['{', '}']) {
        find.error("tool::host", &span, "arguments never reach the host")
            .label("a placeholder in the host")
            .hint("write the host out; one tool for each host");
        return None;
    }
    let url = address::url_in(text, origin, find)?;
    if let Some(Api { id, hosts, .. }) = api
        && !hosts.admit(&url)
    {
        let host = crate::net::host_of(&url);
        find.error(
            "tool::host",
            &span,
            format!("the credential of `{id}` would not be sent to `{host}`"),
        )
        .label(format!("not among the hosts of `{id}`"))
        .hint(format!(
            "add `{host}` to `hosts` of [providers.{id}], if it may have the credential"
        ));
        return None;
    }
    Some((url, Vec::new()))
}

/// Returns the origin and path of the provider's base URL, which the request's path follows.
fn relative(text: &Text, api: Api<'_>, find: &mut Findings<'_>) -> Option<(Url, Vec<Template>)> {
    let Api { id, base_url, hosts } = api;
    let Some(base) = base_url else {
        if find.is_misspelt("base_url") {
            return None;
        }
        find.error(
            "tool::request",
            &text.span,
            format!("`{id}` has no `base_url` that this path could follow"),
        )
        .hint(format!("add `base_url` to [providers.{id}], or write the whole URL"));
        return None;
    };
    if !hosts.admit(base) {
        let host = crate::net::host_of(base);
        find.error(
            "tool::host",
            &text.span,
            format!("the credential of `{id}` would not be sent to its own `base_url`"),
        )
        .hint(format!("add `{host}` to `hosts` of [providers.{id}]"));
        return None;
    }
    let path = base
        .path_segments()
        .into_iter()
        .flatten()
        .filter(|segment| !segment.is_empty())
        .map(|segment| Template(vec![Piece::Text(decoded(segment))]))
        .collect();
    let mut origin = base.clone();
    origin.set_path("");
    origin.set_query(None);
    Some((origin, path))
}

fn segments(
    text: &Text,
    path: Span,
    params: &mut Params,
    find: &mut Findings<'_>,
) -> Vec<Template> {
    let written = text.value.get(path.clone()).unwrap_or_default();
    if written.is_empty() {
        return Vec::new();
    }
    let count = written.split('/').count();
    let mut start = path.start;
    let mut segments = Vec::with_capacity(count);
    for (index, segment) in written.split('/').enumerate() {
        let range = start..start + segment.len();
        start = range.end + 1;
        let plain = decoded(segment);
        // An empty last segment is a trailing slash, which some APIs require.
        if plain == "." || plain == ".." || (plain.is_empty() && index + 1 < count) {
            let span = text.part(range.clone(), find.source());
            find.error("tool::path", &span, "a path has no empty, `.` or `..` segments")
                .hint("write the path out");
        }
        let template = unescaped(template::template_in(text, range.clone(), params, find));
        for name in template.params() {
            let span = text.part(range.clone(), find.source());
            path_param(name, &span, params, find);
        }
        segments.push(template);
    }
    segments
}

/// Reports a parameter that may be missing from a path segment or cannot fill one.
fn path_param(name: &str, span: &Span, params: &Params, find: &mut Findings<'_>) {
    let Some(param) = params.get(name) else { return };
    if !param.required && param.default.is_none() {
        find.error("tool::path", span, format!("`{name}` stands in the path but may be left out"))
            .hint("remove `optional`, or add a `default`");
    }
    if matches!(param.kind, Kind::Object | Kind::Array(_)) {
        find.error(
            "tool::path",
            span,
            format!("`{name}` is a list or table and cannot stand in a path"),
        )
        .hint("send it in the query or the body");
    }
}

fn pairs(
    text: &Text,
    query: Span,
    params: &mut Params,
    find: &mut Findings<'_>,
) -> Vec<(String, Template)> {
    let written = text.value.get(query.clone()).unwrap_or_default();
    let mut start = query.start;
    let mut pairs = Vec::new();
    for pair in written.split('&') {
        let range = start..start + pair.len();
        start = range.end + 1;
        if pair.is_empty() {
            continue;
        }
        let name_len = pair.find('=').unwrap_or(pair.len());
        let name = pair.get(..name_len).unwrap_or_default();
        if name.contains(['{', '}']) {
            let span = text.part(range.start..range.start + name_len, find.source());
            find.error("tool::query", &span, "the name of a query parameter is fixed")
                .hint("write the placeholder behind `=`");
            continue;
        }
        let value = (range.start + name_len + 1).min(range.end)..range.end;
        let span = text.part(value.clone(), find.source());
        if secret::is_credential(name, &span, find) {
            continue;
        }
        pairs.push((
            form_decoded(name),
            form_unescaped(template::template_in(text, value, params, find)),
        ));
    }
    pairs
}

/// Decodes text: `%20` in the file is a space, which is encoded again when it is sent.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn form_decoded(text: &str) -> String {
    decoded(&text.replace('+', " "))
}

fn unescaped(template: Template) -> Template {
    map_text(template, decoded)
}

fn form_unescaped(template: Template) -> Template {
    map_text(template, form_decoded)
}

fn map_text(template: Template, change: fn(&str) -> String) -> Template {
    Template(
        template
            .0
            .into_iter()
            .map(|piece| match piece {
                Piece::Text(text) => Piece::Text(change(&text)),
                param @ Piece::Param(_) => param,
            })
            .collect(),
    )
}
