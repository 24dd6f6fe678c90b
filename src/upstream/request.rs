//! Builds one HTTP request from a tool's template and its arguments. Pure: sends no request.
//!
//! Arguments can reach only path segments, query values, header values and the body. Scheme, host
//! and port come from `tools.toml` alone, and are compared with it again once the URL is complete.
//!
//! Conversion to text: strings as they are, numbers and booleans as in JSON, lists joined by
//! commas, objects as JSON. A list that is the whole value of a query or form pair repeats the key,
//! `?label=a&label=b`. A pair or header whose parameter is absent is left out.

use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::Credential;
use super::path;
use super::scrub::Scrubber;
use crate::model::provider::Api;
use crate::model::request_problem::{HeaderProblem, RequestProblem};
use crate::model::tool::{Body, FRAMING_HEADERS, HttpAction, Method, Node, Piece, Template};

/// Maximum length in KiB of an argument in a header; a longer argument is refused.
const MAX_HEADER_KIB: usize = 8;

/// Headers that only the provider may set; the HTTP client sets the [`FRAMING_HEADERS`].
const CREDENTIAL_HEADERS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// A request that is ready to send.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) method: http::Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
}

impl Prepared {
    /// Returns the request to send to a redirect's target, a URL of the same origin.
    ///
    /// If the method changes, the body is dropped. A credential in the query is written into the
    /// new query and replaces any value that the API put there.
    pub(super) fn moved(
        mut self,
        method: http::Method,
        mut url: Url,
        credential: Option<&Credential>,
    ) -> Self {
        if method != self.method {
            self.body = None;
            for header in [CONTENT_TYPE, CONTENT_LENGTH] {
                self.headers.remove(header);
            }
        }
        if let Some(Credential::Query { name, value }) = credential {
            if url.query_pairs().any(|(key, _)| key == name.as_str()) {
                let others: Vec<_> = url
                    .query_pairs()
                    .filter(|(key, _)| key != name.as_str())
                    .map(|(key, value)| (key.into_owned(), value.into_owned()))
                    .collect();
                url.query_pairs_mut().clear().extend_pairs(others);
            }
            url.query_pairs_mut().append_pair(name, value.expose_secret());
        }
        Self { method, url, ..self }
    }
}

impl From<Prepared> for reqwest::Request {
    fn from(prepared: Prepared) -> Self {
        let mut request = Self::new(prepared.method, prepared.url);
        *request.headers_mut() = prepared.headers;
        *request.body_mut() = prepared.body.map(Into::into);
        request
    }
}

/// Returns the problem without secrets and deceptive characters.
pub(super) fn scrubbed(problem: RequestProblem, scrubber: &Scrubber) -> RequestProblem {
    let clean = |text: String| scrubber.text(&text).into_owned();
    match problem {
        RequestProblem::MissingArgument(name) => RequestProblem::MissingArgument(clean(name)),
        RequestProblem::PathArgument { name, problem } => {
            RequestProblem::PathArgument { name: clean(name), problem }
        }
        RequestProblem::HeaderArgument { name, problem } => {
            RequestProblem::HeaderArgument { name: clean(name), problem }
        }
        RequestProblem::ReservedHeader(name) => RequestProblem::ReservedHeader(clean(name)),
        RequestProblem::InvalidHeader(name) => RequestProblem::InvalidHeader(clean(name)),
        RequestProblem::ForeignHost { provider, host } => {
            RequestProblem::ForeignHost { provider, host: clean(host) }
        }
        RequestProblem::Address
        | RequestProblem::NoProvider
        | RequestProblem::InvalidCredential => problem,
    }
}

/// Builds the request.
///
/// # Errors
/// [`RequestProblem`] if an argument, header or credential does not fit. A credential that does not
/// belong to the host is an error, never left out: the API would answer 401, and the user would be
/// asked for a consent that is not missing.
pub(super) fn build(
    action: &HttpAction,
    provider: Option<Api<'_>>,
    arguments: &Map<String, Value>,
    credential: Option<&Credential>,
) -> Result<Prepared, RequestProblem> {
    let mut url = address(action, arguments)?;
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/*;q=0.9, */*;q=0.5"));
    for (name, value) in provider.iter().flat_map(|provider| provider.headers) {
        let value = HeaderValue::from_str(value)
            .map_err(|_| RequestProblem::InvalidHeader(name.clone()))?;
        headers.insert(header_name(name)?, value);
    }
    let body = body(&action.body, arguments, &mut headers)?;
    if body.is_none() && action.method.has_body() {
        // Some servers answer 411 to an empty POST without a `Content-Length` (RFC 9110 §8.6).
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    for (name, template) in &action.headers {
        if let Some(value) = header_value(name, template, arguments)? {
            headers.insert(header_name(name)?, value);
        }
    }
    if let Some(credential) = credential {
        attach(credential, provider, &mut url, &mut headers)?;
    }
    Ok(Prepared { method: method(action.method), url, headers, body })
}

fn method(method: Method) -> http::Method {
    match method {
        Method::Get => http::Method::GET,
        Method::Head => http::Method::HEAD,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Patch => http::Method::PATCH,
        Method::Delete => http::Method::DELETE,
    }
}

fn address(action: &HttpAction, arguments: &Map<String, Value>) -> Result<Url, RequestProblem> {
    let mut path = String::with_capacity(64);
    for segment in &action.path {
        path.push('/');
        let start = path.len();
        for piece in &segment.0 {
            match piece {
                Piece::Text(text) => path::push_written(&mut path, text),
                Piece::Param(name) => {
                    let text = present(arguments, name).map(text_of);
                    let text = text.ok_or_else(|| RequestProblem::MissingArgument(name.clone()))?;
                    path::push_argument(&mut path, &text).map_err(|problem| {
                        RequestProblem::PathArgument { name: name.clone(), problem }
                    })?;
                }
            }
        }
        // The segment as a whole may still be a dot segment: `push_argument` checks the argument,
        // but not the operator's text (`%2e%2e`).
        if path.get(start..).is_some_and(path::is_step) {
            return Err(RequestProblem::Address);
        }
    }
    let mut url = action.origin.clone();
    url.set_path(&path);
    let expected = if path.is_empty() { "/" } else { &path };
    // `set_path` resolves dot segments and drops tabs and line breaks. If it changed the path, the
    // URL would address another resource, maybe at another depth.
    let same_origin = url.scheme() == action.origin.scheme()
        && url.host_str() == action.origin.host_str()
        && url.port() == action.origin.port()
        && url.username().is_empty()
        && url.password().is_none();
    let depth = url.path_segments().map_or(0, Iterator::count);
    if url.path() != expected || !same_origin || depth != action.path.len().max(1) {
        return Err(RequestProblem::Address);
    }
    if !action.query.is_empty() {
        let query = pairs(&action.query, arguments);
        url.set_query((!query.is_empty()).then_some(&query));
    }
    Ok(url)
}

/// Returns form-encoded pairs, without those of absent parameters.
fn pairs(templates: &[(String, Template)], arguments: &Map<String, Value>) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    for (key, template) in templates {
        match template.0.as_slice() {
            [Piece::Param(name)] => match present(arguments, name) {
                Some(Value::Array(items)) => {
                    for item in items {
                        pairs.append_pair(key, &text_of(item));
                    }
                }
                Some(value) => {
                    pairs.append_pair(key, &text_of(value));
                }
                None => {}
            },
            _ => {
                if let Some(text) = render(template, arguments) {
                    pairs.append_pair(key, &text);
                }
            }
        }
    }
    pairs.finish()
}

/// Fills in a template's parameters; `None` if one of them is absent.
pub(super) fn render(template: &Template, arguments: &Map<String, Value>) -> Option<String> {
    let mut text = String::new();
    for piece in &template.0 {
        match piece {
            Piece::Text(fixed) => text.push_str(fixed),
            Piece::Param(name) => text.push_str(&text_of(present(arguments, name)?)),
        }
    }
    Some(text)
}

/// Returns an argument; `None` if it is absent or `null`.
fn present<'a>(arguments: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    arguments.get(name).filter(|value| !value.is_null())
}

fn text_of(value: &Value) -> std::borrow::Cow<'_, str> {
    match value {
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(text_of).collect::<Vec<_>>().join(",").into(),
        other => other.to_string().into(),
    }
}

fn body(
    body: &Body,
    arguments: &Map<String, Value>,
    headers: &mut HeaderMap,
) -> Result<Option<Vec<u8>>, RequestProblem> {
    match body {
        Body::None => Ok(None),
        Body::Json(node) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let value = fill(node, arguments).unwrap_or(Value::Null);
            serde_json::to_vec(&value).map(Some).map_err(|_| RequestProblem::Address)
        }
        Body::Form(templates) => {
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            );
            Ok(Some(pairs(templates, arguments).into_bytes()))
        }
    }
}

/// Fills in a node's parameters; `None` if its own parameter is absent.
fn fill(node: &Node, arguments: &Map<String, Value>) -> Option<Value> {
    Some(match node {
        Node::Fixed(value) => value.clone(),
        Node::Param(name) => present(arguments, name)?.clone(),
        Node::Text(template) => Value::String(render(template, arguments)?),
        Node::List(items) => {
            Value::Array(items.iter().filter_map(|item| fill(item, arguments)).collect())
        }
        Node::Table(entries) => Value::Object(
            entries
                .iter()
                .filter_map(|(key, node)| Some((key.clone(), fill(node, arguments)?)))
                .collect(),
        ),
    })
}

fn header_name(name: &str) -> Result<HeaderName, RequestProblem> {
    let mut reserved = FRAMING_HEADERS.iter().chain(&CREDENTIAL_HEADERS);
    if reserved.any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(RequestProblem::ReservedHeader(name.to_owned()));
    }
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| RequestProblem::InvalidHeader(name.to_owned()))
}

/// Returns a header's value; `None` if a parameter is absent.
///
/// Refuses control and non-ASCII characters: `http` lets TAB and non-ASCII bytes through, which
/// servers read in different ways, and a line break would start another header.
fn header_value(
    header: &str,
    template: &Template,
    arguments: &Map<String, Value>,
) -> Result<Option<HeaderValue>, RequestProblem> {
    for name in template.params() {
        let Some(value) = present(arguments, name) else { return Ok(None) };
        let text = text_of(value);
        let problem = if text.len() > MAX_HEADER_KIB * 1024 {
            HeaderProblem::TooLong(MAX_HEADER_KIB)
        } else if text.chars().any(char::is_control) {
            HeaderProblem::ControlCharacters
        } else if !text.is_ascii() {
            HeaderProblem::NotAscii
        } else {
            continue;
        };
        return Err(RequestProblem::HeaderArgument { name: name.to_owned(), problem });
    }
    let Some(text) = render(template, arguments) else { return Ok(None) };
    HeaderValue::from_str(&text)
        .map(Some)
        .map_err(|_| RequestProblem::InvalidHeader(header.to_owned()))
}

fn attach(
    credential: &Credential,
    provider: Option<Api<'_>>,
    url: &mut Url,
    headers: &mut HeaderMap,
) -> Result<(), RequestProblem> {
    let provider = provider.ok_or(RequestProblem::NoProvider)?;
    if !provider.hosts.admit(url) {
        let (provider, host) = (provider.id.clone(), crate::net::host_of(url));
        return Err(RequestProblem::ForeignHost { provider, host });
    }
    let (name, value) = match credential {
        Credential::Bearer(token) => {
            if let Some(name) = provider.token_header {
                (named(name)?, HeaderValue::from_str(token.expose_secret()))
            } else {
                let value = format!("Bearer {}", token.expose_secret());
                (http::header::AUTHORIZATION, HeaderValue::try_from(value))
            }
        }
        Credential::Basic(basic) => {
            (http::header::AUTHORIZATION, HeaderValue::try_from(basic.header()))
        }
        Credential::Header { name, value } => {
            (named(name)?, HeaderValue::from_str(value.expose_secret()))
        }
        Credential::Query { name, value } => {
            url.query_pairs_mut().append_pair(name, value.expose_secret());
            return Ok(());
        }
    };
    let mut value = value.map_err(|_| RequestProblem::InvalidCredential)?;
    // Keeps the value out of all `Debug` output.
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

fn named(header: &str) -> Result<HeaderName, RequestProblem> {
    HeaderName::from_bytes(header.as_bytes())
        .map_err(|_| RequestProblem::InvalidHeader(header.to_owned()))
}

#[cfg(test)]
mod tests;
