//! Interprets responses that refuse a request.
//!
//! A refusal carries the API's own message, which is usually the best explanation but untrusted
//! data: it is scrubbed and shortened here, and made fit to be quoted.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::Answer;
use super::details::details;
use super::quotation::quotable;
use super::response::{Content, Reply};
use super::scrub::Scrubber;
use super::slow_down;
use crate::model::failure::{Answered, ApiRefusal, NotFollowed, Wait};
use crate::model::provider::{Api, FailureConvention};
use crate::model::scope::Implied;
use crate::model::tool::HttpAction;
use crate::model::{Failure, FailureKind, Scopes, Tool};
use crate::net;

/// Maximum characters quoted from an API's message; the rest is cut.
const MAX_QUOTED_CHARS: usize = 300;
/// Maximum scopes that an API can make us request at once; the rest are dropped, since a user does
/// not read a longer list.
const MAX_SCOPES: usize = 20;

/// Pointers to an API's error message, tried after the provider's own pointers.
const COMMON: [&str; 14] = [
    "/error/message",
    "/message",
    "/error_description",
    "/detail",
    "/errors/0/message",
    "/errors/0/detail",
    "/errors/0",
    "/error/description",
    "/error/detail",
    "/description",
    "/title",
    "/reason",
    "/msg",
    "/error",
];

/// A refusal, and whether it concerns the credential.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// The API no longer accepts the credential.
    Unauthorized(FailureKind),
    /// The credential is valid but lacks these scopes.
    InsufficientScope(Scopes, FailureKind),
    /// Any other failure.
    Failed(FailureKind),
}

impl From<FailureKind> for Refusal {
    fn from(kind: FailureKind) -> Self {
        Self::Failed(kind)
    }
}

impl Refusal {
    /// Returns the answer of a call to the API at this host.
    pub(super) fn answer(self, host: String) -> Answer {
        let failure = |kind| Failure { kind, host: Some(host), for_operator: None };
        match self {
            Self::Unauthorized(kind) => Answer::Unauthorized(failure(kind)),
            Self::InsufficientScope(needed, kind) => {
                Answer::InsufficientScope { needed, failure: failure(kind) }
            }
            Self::Failed(kind) => Answer::Failed(failure(kind)),
        }
    }
}

/// Context for interpreting a refusal.
pub(super) struct Call<'a> {
    pub(super) tool: &'a Tool,
    /// The tool's request.
    pub(super) action: &'a HttpAction,
    pub(super) provider: Option<Api<'a>>,
    /// Whether the request carried a credential.
    pub(super) authorized: bool,
    /// Name of the API for users and models: the provider's title, or the host.
    pub(super) who: &'a str,
    pub(super) scrubber: &'a Arc<Scrubber>,
}

impl Call<'_> {
    /// Interprets a status outside 2xx.
    pub(super) fn refusal(&self, reply: &Reply, content: &Content) -> Refusal {
        let answered = self.quoting(Some(reply.status), content);
        if let Some(refusal) = self.about_credential(reply, content, &answered) {
            return refusal;
        }
        if reply.status == StatusCode::UNAUTHORIZED && self.authorized {
            return Refusal::Unauthorized(refused(answered, ApiRefusal::CredentialRefused));
        }
        let after = net::retry_after(|name| reply.header(name));
        let refusal = match reply.status.as_u16() {
            300..=399 if let Some(problem) = &reply.not_followed => {
                let problem = self.scrubbed_target(problem);
                let answered = self.answered(reply.status);
                return FailureKind::Redirected { answered, problem }.into();
            }
            401 => ApiRefusal::NoCredential,
            503 if after.is_some() => {
                ApiRefusal::Unavailable { after, may_have_run: self.may_have_run() }
            }
            403 | 420 | 429 if let Some(after) = after => {
                ApiRefusal::RateLimited(Wait::After(after))
            }
            420 | 429 => limited(after, &answered, content.json()),
            // Also for calls without a user's credential: the operator's own may have reached its
            // limit.
            _ if self.is_slowed_down(content) => limited(after, &answered, content.json()),
            403 => ApiRefusal::Forbidden,
            404 | 410 => ApiRefusal::NotFound,
            409 => ApiRefusal::Conflict,
            400 | 422 => ApiRefusal::InvalidArguments,
            408 | 425 | 500..=599 => {
                ApiRefusal::Unavailable { after: None, may_have_run: self.may_have_run() }
            }
            _ => ApiRefusal::Other,
        };
        refused(answered, refusal).into()
    }

    /// Returns the host of the response. Redirects stay within its origin.
    pub(super) fn host(&self) -> String {
        net::host_of(&self.action.origin)
    }

    /// Whether a request whose fate is unknown may have had an effect.
    pub(super) fn may_have_run(&self) -> bool {
        !self.tool.idempotent
    }

    /// Returns a text without secrets and deceptive characters.
    pub(super) fn scrubbed(&self, text: &str) -> String {
        self.scrubber.text(text).into_owned()
    }

    fn scrubbed_target(&self, problem: &NotFollowed) -> NotFollowed {
        match problem {
            NotFollowed::OtherOrigin(host) => NotFollowed::OtherOrigin(self.scrubbed(host)),
            NotFollowed::TooMany(_) | NotFollowed::Ambiguous | NotFollowed::NoTarget => {
                problem.clone()
            }
        }
    }

    /// Returns an answer without a message of the API.
    pub(super) fn answered(&self, status: StatusCode) -> Answered {
        self.answer_of(Some(status), None, None)
    }

    /// Returns the failure that a 2xx body reports by the provider's convention (Slack's
    /// `ok: false`, GraphQL's `errors`), if any.
    pub(super) fn disguised(&self, body: &Value) -> Option<Refusal> {
        let convention = self.provider?.failure;
        let at = |pointer: &Option<String>| body.pointer(pointer.as_deref()?);
        let is_denied = at(&convention.ok) == Some(&Value::Bool(false));
        let has_errors = match at(&convention.errors) {
            Some(Value::Array(errors)) => !errors.is_empty(),
            Some(Value::Null) | None => false,
            Some(_) => true,
        };
        if !is_denied && !has_errors {
            return None;
        }
        let answered = self.quoting_json(None, body);
        let by_code = self.by_code(convention, body, &answered);
        Some(by_code.unwrap_or_else(|| {
            let refusal = if self.is_told_to_slow_down(body) {
                limited(None, &answered, Some(body))
            } else {
                ApiRefusal::Reported
            };
            refused(answered, refusal).into()
        }))
    }

    /// Returns the refusal if it calls for another or a wider consent.
    fn about_credential(
        &self,
        reply: &Reply,
        content: &Content,
        answered: &Answered,
    ) -> Option<Refusal> {
        if !self.authorized {
            return None;
        }
        let body = content.json();
        if let (Some(provider), Some(body)) = (self.provider, body)
            && let Some(refusal) = self.by_code(provider.failure, body, answered)
        {
            return Some(refusal);
        }
        if !matches!(
            reply.status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND
        ) {
            return None;
        }
        if let Some(named) = challenge(reply) {
            return Some(self.insufficient(Scopes::split(named), answered));
        }
        if is_google_s(body) {
            return Some(self.insufficient(std::iter::empty(), answered));
        }
        if self.is_slowed_down(content) {
            return None;
        }
        self.github(reply).map(|named| self.insufficient(named.iter(), answered))
    }

    /// Whether a response reports too many requests, by the provider's codes or in words.
    fn is_slowed_down(&self, content: &Content) -> bool {
        match content {
            Content::Json(body) => self.is_told_to_slow_down(body),
            Content::Html { title: Some(text), .. }
            | Content::Html { title: None, text }
            | Content::Text(text) => slow_down::says_so(text),
            Content::Nothing | Content::Binary(_) | Content::Unreadable(_) => false,
        }
    }

    fn is_told_to_slow_down(&self, body: &Value) -> bool {
        let by_code = self.provider.is_some_and(|provider| {
            let convention = provider.failure;
            code(convention, body).is_some_and(|code| convention.rate_limited.contains(&code))
        });
        by_code || slow_down::is_in(body)
    }

    /// Returns the refusal for a missing permission: for the scopes that the API named, or for the
    /// tool's own if it named none.
    ///
    /// The names go into a prompt, and the user is asked for them. An API that chose them freely
    /// could put any text before the model (instructions, or our own token, echoed) and have users
    /// asked for far more than any tool needs. So only scopes that the operator or the catalogue
    /// knows count; the others are not even quoted.
    fn insufficient<'n>(
        &self,
        named: impl Iterator<Item = &'n str>,
        answered: &Answered,
    ) -> Refusal {
        let mut named = named.peekable();
        let needed = match named.peek() {
            Some(_) => Scopes::new(named.filter(|scope| self.knows(scope)).take(MAX_SCOPES)),
            None => self.tool.scopes.clone(),
        };
        if needed.is_empty() {
            let tool = self.tool.name.clone();
            return refused(answered.clone(), ApiRefusal::UnknownPermission { tool }).into();
        }
        let kind = refused(answered.clone(), ApiRefusal::MissingScopes);
        Refusal::InsufficientScope(needed, kind)
    }

    fn knows(&self, scope: &str) -> bool {
        self.tool.scopes.contains(scope)
            || self.provider.is_some_and(|provider| provider.known_scopes.contains(scope))
    }

    fn by_code(
        &self,
        convention: &FailureConvention,
        body: &Value,
        answered: &Answered,
    ) -> Option<Refusal> {
        let code = code(convention, body)?;
        let among = |codes: &[String]| self.authorized && codes.contains(&code);
        if among(&convention.expired) {
            let kind = refused(answered.clone(), ApiRefusal::CredentialRefused);
            return Some(Refusal::Unauthorized(kind));
        }
        if !among(&convention.missing_scope) {
            return None;
        }
        let named = convention.needed.as_deref().and_then(|at| body.pointer(at));
        Some(match named {
            Some(Value::String(scopes)) => self.insufficient(Scopes::split(scopes), answered),
            Some(Value::Array(scopes)) => {
                self.insufficient(scopes.iter().filter_map(Value::as_str), answered)
            }
            _ => self.insufficient(std::iter::empty(), answered),
        })
    }

    /// Returns the scopes that are missing by GitHub's headers. They name the scopes of which any
    /// one suffices, and the scopes that the token has.
    ///
    /// GitHub answers 404 where the user may not even know that the resource exists. A 404 counts
    /// only if a scope is missing that this tool declares; otherwise every mistyped name would ask
    /// the user for a wider consent.
    fn github(&self, reply: &Reply) -> Option<Scopes> {
        let accepted = Scopes::parse(reply.header("x-accepted-oauth-scopes")?);
        let granted = Scopes::parse(reply.header("x-oauth-scopes")?);
        let none = Implied::new();
        let implied = self.provider.map_or(&none, |provider| provider.implied);
        let covered = |scope: &str| Scopes::new([scope]).missing_from(&granted, implied).is_empty();
        if accepted.is_empty() || accepted.iter().any(covered) {
            return None;
        }
        let ours = Scopes::new(accepted.iter().filter(|scope| self.tool.scopes.contains(scope)));
        if !ours.is_empty() {
            return Some(ours);
        }
        if reply.status == StatusCode::NOT_FOUND {
            return None;
        }
        // The narrowest known scope: it contains none of the others.
        let known = Scopes::new(accepted.iter().filter(|scope| self.knows(scope)));
        let narrow = |scope: &&str| {
            let others = known.iter().filter(|other| other != scope);
            let wide = Scopes::new([*scope]);
            others
                .into_iter()
                .all(|other| !Scopes::new([other]).missing_from(&wide, implied).is_empty())
        };
        known.iter().find(narrow).map(|scope| Scopes::new([scope]))
    }

    /// Returns an answer with the API's own message.
    fn quoting(&self, status: Option<StatusCode>, content: &Content) -> Answered {
        let text = match content {
            Content::Json(value) => return self.quoting_json(status, value),
            Content::Html { title: Some(text), .. }
            | Content::Html { title: None, text }
            | Content::Text(text) => text,
            Content::Nothing | Content::Binary(_) | Content::Unreadable(_) => "",
        };
        self.answer_of(status, self.message(text), None)
    }

    fn quoting_json(&self, status: Option<StatusCode>, body: &Value) -> Answered {
        let own = self.provider.map(|provider| provider.failure);
        let code = own.and_then(|failure| failure.code.as_deref());
        let own = own.into_iter().flat_map(|failure| &failure.message).map(String::as_str);
        let message = own
            .chain(code)
            .chain(COMMON)
            .filter_map(|pointer| body.pointer(pointer)?.as_str())
            .find(|message| !message.trim().is_empty());
        let details = details(body, message, &|text| self.scrubbed(text));
        self.answer_of(status, message.and_then(|message| self.message(message)), details)
    }

    fn answer_of(
        &self,
        status: Option<StatusCode>,
        message: Option<String>,
        details: Option<String>,
    ) -> Answered {
        let (who, status) = (self.who.to_owned(), status.map(|status| status.as_u16()));
        Answered { who, status, message, details }
    }

    /// Returns a text of the API, scrubbed and fit to be quoted; `None` if it is blank.
    pub(super) fn message(&self, text: &str) -> Option<String> {
        let is_blank = text.trim().is_empty();
        // Scrubbed first: of a secret that is cut in half, the first half would not be found.
        (!is_blank).then(|| quotable(&self.scrubber.text(text), MAX_QUOTED_CHARS))
    }
}

fn refused(answered: Answered, refusal: ApiRefusal) -> FailureKind {
    FailureKind::Refused { answered, refusal }
}

/// Returns a rate limit and its end, from the headers or else from the body.
fn limited(after: Option<Duration>, answered: &Answered, body: Option<&Value>) -> ApiRefusal {
    ApiRefusal::RateLimited(after.map_or_else(|| slow_down::wait(answered, body), Wait::After))
}

/// Returns the error code by the provider's convention: a string, or a number (Meta, Zoom,
/// Smartsheet).
fn code(convention: &FailureConvention, body: &Value) -> Option<String> {
    match body.pointer(convention.code.as_deref()?)? {
        Value::String(code) => Some(code.clone()),
        Value::Number(code) => Some(code.to_string()),
        _ => None,
    }
}

/// Returns the scopes of an `insufficient_scope` challenge, empty if it names none (RFC 6750 §3.1):
/// `WWW-Authenticate: Bearer error="insufficient_scope", scope="a b"`.
fn challenge(reply: &Reply) -> Option<&str> {
    let values = reply.headers.get_all(http::header::WWW_AUTHENTICATE);
    let value = values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find(|value| parameter(value, "error") == Some("insufficient_scope"))?;
    Some(parameter(value, "scope").unwrap_or_default())
}

/// Returns the value of an auth parameter (RFC 9110 §11.2), quoted or not.
fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = challenge;
    while let Some((before, after)) = rest.split_once('=') {
        let key = before.trim_end().rsplit([' ', ',', '\t']).next().unwrap_or_default();
        let after = after.trim_start();
        let (value, following) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_at(after.find([',', ' ']).unwrap_or(after.len())),
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = following;
    }
    None
}

/// Whether a Google API reports a missing scope, in the body's `error.details[].reason`.
fn is_google_s(body: Option<&Value>) -> bool {
    let details = body.and_then(|body| body.pointer("/error/details")?.as_array());
    details.into_iter().flatten().any(|detail| {
        detail.get("reason").and_then(Value::as_str) == Some("ACCESS_TOKEN_SCOPE_INSUFFICIENT")
    })
}

#[cfg(test)]
mod tests;
