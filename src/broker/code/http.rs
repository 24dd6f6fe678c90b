//! Requests of a tool's code.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::reply::{HttpError, HttpResponse};
use super::resources::HeldGrant;
use super::{Context, Token};
use crate::model::FailureKind;
use crate::model::failure::Retry;
use crate::model::request_problem::RequestProblem;
use crate::model::tool::{Action, Body, HttpAction, Method, Node, Piece, Template};
use crate::upstream::Answer;
use crate::upstream::code::CodeRequest;

/// Client of one run, see [`Context::http`].
#[derive(Clone, Copy)]
pub struct Http<'c>(&'c Context);

impl Context {
    /// Client for requests to APIs. It sends the declared token to the hosts of its provider and to
    /// no others, renews the token once if the API refuses it, and keeps to the limits of tools in
    /// `tools.toml`: no redirect to another origin, no private address that the operator has not
    /// named, at most 10 MiB.
    pub fn http(&self) -> Http<'_> {
        Http(self)
    }
}

impl<'c> Http<'c> {
    /// Begins a GET request. The path may have placeholders, which [`HttpRequest::path`] fills in:
    /// `https://api.github.com/repos/{owner}/{repo}`.
    pub fn get(self, url: &str) -> HttpRequest<'c> {
        self.request(Method::Get, url)
    }

    /// Begins a POST request, like [`Self::get`].
    pub fn post(self, url: &str) -> HttpRequest<'c> {
        self.request(Method::Post, url)
    }

    /// Begins a PUT request, like [`Self::get`].
    pub fn put(self, url: &str) -> HttpRequest<'c> {
        self.request(Method::Put, url)
    }

    /// Begins a PATCH request, like [`Self::get`].
    pub fn patch(self, url: &str) -> HttpRequest<'c> {
        self.request(Method::Patch, url)
    }

    /// Begins a DELETE request, like [`Self::get`].
    pub fn delete(self, url: &str) -> HttpRequest<'c> {
        self.request(Method::Delete, url)
    }

    fn request(self, method: Method, url: &str) -> HttpRequest<'c> {
        let action = action(method, url);
        HttpRequest { context: self.0, action, arguments: Map::new(), auth: Auth::Declared }
    }
}

/// A request that is being built. Mistakes are told by [`send`](Self::send).
#[must_use = "a request does nothing until `send` is awaited"]
pub struct HttpRequest<'c> {
    context: &'c Context,
    action: Result<HttpAction, RequestProblem>,
    arguments: Map<String, Value>,
    auth: Auth,
}

/// Credential of a request.
enum Auth {
    /// The one that the tool declares, if it declares one.
    Declared,
    Token(Arc<HeldGrant>),
    None,
}

impl HttpRequest<'_> {
    /// Fills in a placeholder of the path. Whatever the value is, it stays one segment: `..` and an
    /// empty text are refused, and a slash is encoded.
    pub fn path(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.arguments.insert(in_path(name), value.into());
        self
    }

    /// Adds a parameter to the query; `None` leaves it out, and a list repeats it.
    pub fn query(mut self, name: &str, value: impl Into<Value>) -> Self {
        let key = format!("query {name} {}", self.arguments.len());
        self.arguments.insert(key.clone(), value.into());
        self.change(|action| action.query.push((name.to_owned(), param(key))))
    }

    /// Sets a header. Headers with credentials, and those that frame the message, are refused.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let key = format!("header {name}");
        self.arguments.insert(key.clone(), value.into());
        self.change(|action| action.headers.push((name.to_owned(), param(key))))
    }

    /// Sets a JSON body.
    ///
    /// # Errors
    /// The value cannot be written as JSON, such as a map whose keys are no texts.
    pub fn json(self, body: &impl Serialize) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_value(body)?;
        Ok(self.change(|action| action.body = Body::Json(Node::Fixed(body))))
    }

    /// Sends this token instead of the declared one, to the hosts of its provider.
    pub fn bearer(mut self, token: &Token) -> Self {
        self.auth = Auth::Token(Arc::clone(&token.0));
        self
    }

    /// Sends no token. Only such a request may go to a host of no provider.
    pub fn anonymous(mut self) -> Self {
        self.auth = Auth::None;
        self
    }

    /// Sends the request and reads the response to its end. A response with any status is returned;
    /// [`HttpResponse::json`], [`text`](HttpResponse::text) and [`success`](HttpResponse::success)
    /// turn a refusal into an error.
    ///
    /// # Errors
    /// The request cannot be built, its token does not belong to the host, or there is no complete
    /// response in time.
    pub async fn send(self) -> Result<HttpResponse, HttpError> {
        let Self { context, action, arguments, auth } = self;
        let held = match auth {
            Auth::Declared => context.declared.clone(),
            Auth::Token(held) => Some(held),
            Auth::None => None,
        };
        let mut action = action.map_err(not_built)?;
        // A token, or what an answer says, must not go over the network in the clear because an API
        // names an `http://` address. Where the operator has written one, it is their choice.
        let is_named = is_named(context, &action.origin, held.as_deref());
        let is_written = is_written(context, &action.origin, held.as_deref());
        if is_named && action.origin.scheme() == "http" && !is_written {
            return Err(not_built(RequestProblem::Address));
        }
        action.is_untrusted = !is_named;
        let had_changed = context.has_changed.load(Ordering::Relaxed);
        let changes = !matches!(action.method, Method::Get | Method::Head);
        context.asks(crate::net::host_of(&action.origin));
        let mut is_renewed = false;
        loop {
            let credential = held.as_ref().map(|held| held.credential());
            let asked = CodeRequest {
                caller: &context.call.principal.caller,
                tool: &context.call.tool,
                action: &action,
                arguments: &arguments,
                provider: held.as_ref().map(|held| held.provider.api()),
                credential: credential.as_ref(),
                deadline: context.deadline,
            };
            // Before it is sent: the run may be dropped while the request is on its way.
            context.has_changed.store(had_changed || changes, Ordering::Relaxed);
            let sent = context.resources.upstream().send_for_code(asked).await;
            if sent.as_ref().is_err_and(|answer| was_not_sent(answer)) {
                context.has_changed.store(had_changed, Ordering::Relaxed);
            }
            let mut reply = sent.map_err(|answer| HttpError::from(*answer))?;
            // A refused request has had no effect.
            if reply.refusal.as_ref().is_some_and(has_no_effect) {
                context.has_changed.store(had_changed, Ordering::Relaxed);
            }
            let is_refused = matches!(reply.refusal, Some(Answer::Unauthorized(_)));
            // A request with a refused token was not carried out, so it may be sent again.
            if let (true, false, Some(held), Some(rejected)) =
                (is_refused, is_renewed, &held, &credential)
                && context.renew(held, rejected).await.is_some()
            {
                is_renewed = true;
                continue;
            }
            let is_declared = held.is_some() && is_same(held.as_ref(), context.declared.as_ref());
            reply.refusal = reply.refusal.map(|it| settled(it, is_declared, is_renewed));
            return Ok(HttpResponse::new(reply));
        }
    }

    fn change(mut self, change: impl FnOnce(&mut HttpAction)) -> Self {
        if let Ok(action) = &mut self.action {
            change(action);
        }
        self
    }
}

fn is_same(one: Option<&Arc<HeldGrant>>, other: Option<&Arc<HeldGrant>>) -> bool {
    one.map(Arc::as_ptr) == other.map(Arc::as_ptr)
}

fn not_built(problem: RequestProblem) -> HttpError {
    Answer::Failed(FailureKind::NotBuilt(problem).into()).into()
}

/// Whether a request has not reached the API.
fn was_not_sent(answer: &Answer) -> bool {
    let Answer::Failed(failure) = answer else { return false };
    matches!(failure.kind, FailureKind::NotBuilt(_) | FailureKind::NotReached { .. })
}

/// Whether an API that refuses a request like this has not carried it out.
fn has_no_effect(refusal: &Answer) -> bool {
    match refusal {
        Answer::Unauthorized(_) | Answer::InsufficientScope { .. } => true,
        Answer::Failed(failure) => {
            matches!(failure.kind, FailureKind::Refused { .. })
                && failure.kind.retry() != Retry::LookFirst
        }
        Answer::Done(_) => false,
    }
}

/// Returns a refusal as the call may take it. Only that of the declared token ends in a consent: the
/// call knows no other one. One that was issued a moment ago is as good as the next.
fn settled(refusal: Answer, is_declared: bool, is_renewed: bool) -> Answer {
    match refusal {
        Answer::Unauthorized(failure) if !is_declared || is_renewed => Answer::Failed(failure),
        Answer::InsufficientScope { failure, .. } if !is_declared => Answer::Failed(failure),
        other => other,
    }
}

/// Whether the operator or the program names the host, which may then be a private one.
fn is_named(context: &Context, origin: &Url, held: Option<&HeldGrant>) -> bool {
    let providers = [held, context.declared.as_deref()].into_iter().flatten();
    is_of_program(context, origin)
        || providers.map(|held| &held.provider.hosts).any(|hosts| hosts.admit(origin))
}

/// Whether the operator or the program has written this `http://` address: a provider's base URL, or
/// a host of the tool.
fn is_written(context: &Context, origin: &Url, held: Option<&HeldGrant>) -> bool {
    let providers = [held, context.declared.as_deref()].into_iter().flatten();
    let mut bases = providers.filter_map(|held| held.provider.base_url.as_ref());
    is_of_program(context, origin) || bases.any(|base| base.origin() == origin.origin())
}

fn is_of_program(context: &Context, origin: &Url) -> bool {
    match &context.call.tool.action {
        Action::Code(action) => action.hosts.admit(origin),
        Action::Http(_) => false,
    }
}

/// Reads a URL with placeholders in its path.
fn action(method: Method, url: &str) -> Result<HttpAction, RequestProblem> {
    let without_fragment = url.split_once('#').map_or(url, |(before, _)| before);
    let (address, query) = without_fragment.split_once('?').unwrap_or((without_fragment, ""));
    let (scheme, rest) = address.split_once("://").ok_or(RequestProblem::Address)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let origin = Url::parse(&format!("{scheme}://{host}")).map_err(|_| RequestProblem::Address)?;
    let is_plain = matches!(scheme, "http" | "https") && origin.has_host();
    if !is_plain || !origin.username().is_empty() || origin.password().is_some() {
        return Err(RequestProblem::Address);
    }
    let segments = if path.is_empty() { Vec::new() } else { path.split('/').collect() };
    let text = |value: &str| Template(vec![Piece::Text(value.to_owned())]);
    let query = form_urlencoded::parse(query.as_bytes());
    Ok(HttpAction {
        method,
        origin,
        path: segments.into_iter().map(template).collect(),
        query: query.map(|(name, value)| (name.into_owned(), text(&value))).collect(),
        headers: Vec::new(),
        body: Body::None,
        select: None,
        error: None,
        reply: None,
        timeout: Duration::ZERO,
        max_chars: 0,
        is_untrusted: true,
    })
}

/// Reads a segment such as `{owner}` or `v{version}`.
fn template(segment: &str) -> Template {
    let mut pieces = Vec::new();
    let mut rest = segment;
    while let Some((before, (name, after))) =
        rest.split_once('{').and_then(|(before, after)| Some((before, after.split_once('}')?)))
    {
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(Piece::Param(in_path(name)));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Template(pieces)
}

/// Name of a placeholder of the path among the values of a request. Values of queries and headers
/// have other names: a text with braces in a URL must not stand for one of those.
fn in_path(name: &str) -> String {
    format!("path {name}")
}

fn param(name: String) -> Template {
    Template(vec![Piece::Param(name)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_origin_segments_and_a_query() {
        let found = action(Method::Get, "https://api.github.com/repos/{owner}/v{n}?per_page=5#top");
        let found = found.expect("an address");
        assert_eq!(found.origin.as_str(), "https://api.github.com/");
        let text = |text: &str| Piece::Text(text.to_owned());
        let owner = Template(vec![Piece::Param("path owner".into())]);
        let version = Template(vec![text("v"), Piece::Param("path n".into())]);
        assert_eq!(found.path, [Template(vec![text("repos")]), owner, version]);
        assert_eq!(found.query, [("per_page".into(), Template(vec![text("5")]))]);
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for bad in
            ["", "api.github.com/x", "ftp://a/b", "https://", "https://me:pw@a/b", "file:///x"]
        {
            assert_eq!(action(Method::Get, bad).err(), Some(RequestProblem::Address), "{bad}");
        }
    }
}
