//! Interprets responses that refuse a request, and tells the model what they mean.
//!
//! Every message says what happened and what to do. It quotes the API's own message, which is
//! usually the best explanation but untrusted data: it is scrubbed beforehand and shortened here.

use std::fmt::Write as _;

use http::StatusCode;
use serde_json::Value;

use super::details::details;
use super::response::{Content, Reply};
use super::retry_after;
use super::slow_down;
use crate::model::provider::{Api, FailureConvention};
use crate::model::scope::Implied;
use crate::model::tool::Action;
use crate::model::{Origin, Scopes, Tool};

/// Maximum characters quoted from an API's message; the rest is cut.
const QUOTATION: usize = 300;
/// Maximum scopes that an API can make us request at once; the rest are dropped, since a user does
/// not read a longer list.
const MOST_SCOPES: usize = 20;

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
    Unauthorized(String),
    /// The credential is valid but lacks these scopes.
    InsufficientScope(Scopes, String),
    /// A jq filter of tools.toml gave no result.
    Filter(String),
    /// Any other failure.
    Failed(String),
}

/// Context for interpreting a refusal.
pub(super) struct Call<'a> {
    pub(super) tool: &'a Tool,
    pub(super) provider: Option<Api<'a>>,
    /// Whether the request carried a credential.
    pub(super) authorized: bool,
    /// Name of the API for users and models: the provider's title, or the host.
    pub(super) who: &'a str,
}

impl Call<'_> {
    /// Interprets a status outside 2xx.
    pub(super) fn refusal(&self, reply: &Reply, content: &Content) -> Refusal {
        let status = words(reply.status);
        let quoted = self.quote(content);
        let says = format!("{} answered {status}{quoted}", self.who);
        let body = content.json();
        if let Some(refusal) = self.about_credential(reply, content, &says) {
            return refusal;
        }
        let again = self.again();
        if reply.status == StatusCode::UNAUTHORIZED && self.authorized {
            return Refusal::Unauthorized(says);
        }
        Refusal::Failed(match reply.status.as_u16() {
            300..=399 if let Some(problem) = &reply.not_followed => {
                format!("{} answered {status}, {}", self.who, problem.words())
            }
            401 => format!(
                "{says} It wants a credential, and this tool has none: the operator sets \
                 `provider` in tools.toml."
            ),
            403 | 420 | 429 | 503 if let Some(wait) = retry_after::wait(reply) => {
                format!("{says} Try again {wait}.")
            }
            420 | 429 => slow_down::wait_of(&says, reply, body),
            // Also for calls without a user's credential: the operator's own may have reached its
            // limit.
            _ if self.is_slowed_down(content) => slow_down::wait_of(&says, reply, body),
            403 => format!(
                "{says} The account may not do this. Calling again will not help; tell the user."
            ),
            404 | 410 => format!(
                "{says} What the arguments name does not exist, or this account cannot see it. \
                 Check them before calling again."
            ),
            409 => format!(
                "{says} It conflicts with how things stand there. Look at the current state \
                 before calling again."
            ),
            400 | 422 => format!("{says} Change the arguments before calling again."),
            408 | 425 | 500..=599 => {
                format!("{says} The service has a problem of its own. {again}")
            }
            _ => format!("{says} Calling again with the same arguments will not help."),
        })
    }

    /// Returns the origin of the response. Redirects stay within it.
    pub(super) fn origin(&self, is_verbatim: bool) -> Origin {
        let Action::Http(action) = &self.tool.action;
        Origin { host: crate::net::host_of(&action.origin), is_verbatim }
    }

    /// Advice on trying again when it is unknown whether the request took effect.
    pub(super) fn again(&self) -> &'static str {
        if self.tool.idempotent {
            "Try again in a minute."
        } else {
            "It may have happened all the same: look before trying again."
        }
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
        let says = format!("{} answered with a failure{}", self.who, self.quote_json(body));
        let by_code = self.by_code(convention, body, &says);
        Some(by_code.unwrap_or_else(|| {
            Refusal::Failed(if self.is_told_to_slow_down(body) {
                slow_down::wait(&says, Some(body))
            } else {
                format!("{says} Change what it names before calling again.")
            })
        }))
    }

    /// Returns the refusal if it calls for another or a wider consent.
    fn about_credential(&self, reply: &Reply, content: &Content, says: &str) -> Option<Refusal> {
        if !self.authorized {
            return None;
        }
        let body = content.json();
        if let (Some(provider), Some(body)) = (self.provider, body)
            && let Some(refusal) = self.by_code(provider.failure, body, says)
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
            return Some(self.insufficient(Scopes::split(named), says));
        }
        if is_google_s(body) {
            return Some(self.insufficient(std::iter::empty(), says));
        }
        if self.is_slowed_down(content) {
            return None;
        }
        self.github(reply).map(|named| self.insufficient(named.iter(), says))
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
    fn insufficient<'n>(&self, named: impl Iterator<Item = &'n str>, says: &str) -> Refusal {
        let mut named = named.peekable();
        let needed = match named.peek() {
            Some(_) => Scopes::new(named.filter(|scope| self.knows(scope)).take(MOST_SCOPES)),
            None => self.tool.scopes.clone(),
        };
        if needed.is_empty() {
            return Refusal::Failed(format!(
                "{says} A permission is missing that nothing in tools.toml speaks of. Calling \
                 again will not help; the operator adds it to `scopes` of [tools.{}].",
                self.tool.name
            ));
        }
        Refusal::InsufficientScope(needed, format!("{says} A permission is missing."))
    }

    fn knows(&self, scope: &str) -> bool {
        self.tool.scopes.contains(scope)
            || self.provider.is_some_and(|provider| provider.known_scopes.contains(scope))
    }

    fn by_code(&self, convention: &FailureConvention, body: &Value, says: &str) -> Option<Refusal> {
        let code = code(convention, body)?;
        let among = |codes: &[String]| self.authorized && codes.contains(&code);
        if among(&convention.expired) {
            return Some(Refusal::Unauthorized(says.to_owned()));
        }
        if !among(&convention.missing_scope) {
            return None;
        }
        let named = convention.needed.as_deref().and_then(|at| body.pointer(at));
        Some(match named {
            Some(Value::String(scopes)) => self.insufficient(Scopes::split(scopes), says),
            Some(Value::Array(scopes)) => {
                self.insufficient(scopes.iter().filter_map(Value::as_str), says)
            }
            _ => self.insufficient(std::iter::empty(), says),
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

    /// Returns `: “message”.`, or a full stop if there is no message.
    fn quote(&self, content: &Content) -> String {
        match content {
            Content::Json(value) => self.quote_json(value),
            Content::Html { title: Some(text), .. }
            | Content::Html { title: None, text }
            | Content::Text(text) => quotation(text),
            Content::Nothing | Content::Binary(_) | Content::Unreadable(_) => ".".to_owned(),
        }
    }

    fn quote_json(&self, body: &Value) -> String {
        let own = self.provider.map(|provider| provider.failure);
        let code = own.and_then(|failure| failure.code.as_deref());
        let own = own.into_iter().flat_map(|failure| &failure.message).map(String::as_str);
        let message = own
            .chain(code)
            .chain(COMMON)
            .filter_map(|pointer| body.pointer(pointer)?.as_str())
            .find(|message| !message.trim().is_empty());
        let mut says = message.map_or_else(|| ".".to_owned(), quotation);
        if let Some(details) = details(body, message) {
            let _ = write!(says, " Details: {details}.");
        }
        says
    }
}

/// Returns `: “text”.`, shortened, or a full stop if the text is blank.
pub(super) fn quotation(text: &str) -> String {
    if text.trim().is_empty() {
        return ".".to_owned();
    }
    format!(": {}.", quoted(text, QUOTATION))
}

/// Returns `“text”` on one line, cut to `most` characters. Inner quotation marks become plain ones
/// and white space a single space, so that untrusted text cannot end its quotation and continue as
/// our own words.
pub(super) fn quoted(text: &str, most: usize) -> String {
    let mut quoted = String::from("“");
    let mut is_blank = false;
    for (at, c) in text.trim().chars().enumerate() {
        if at == most {
            quoted.push('…');
            break;
        }
        match c {
            c if c.is_whitespace() => {
                if !is_blank {
                    quoted.push(' ');
                }
            }
            '“' | '”' | '„' | '‟' => quoted.push('"'),
            c => quoted.push(c),
        }
        is_blank = c.is_whitespace();
    }
    quoted.push('”');
    quoted
}

/// Formats a status, such as `404 Not Found`.
pub(super) fn words(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
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
