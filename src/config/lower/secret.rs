//! Settings that hold secrets.

use super::super::findings::Findings;
use super::super::secret_ref::{self, RefError};
use super::super::span::{Span, Text};
use crate::model::secret_ref::{SecretRef, Setting};

/// Reads a setting that takes only a reference to a secret.
pub(super) fn secret(text: &Text, suggestion: &str, find: &mut Findings<'_>) -> Option<SecretRef> {
    match secret_ref::parse(text.as_str()) {
        Ok(reference) => Some(noted(reference, text, find)),
        Err(RefError::Literal) => {
            hide(text, find);
            find.error("secret::literal", &text.span, "a secret stands here as it is")
                .label("hidden")
                .hint(format!("write a reference, e.g. `{suggestion}`, and replace the secret: whoever read this file knows it"));
            None
        }
        Err(error) => malformed(text, error, find),
    }
}

/// Reads a setting that takes a text, which is `what`, or a reference.
pub(super) fn setting(text: &Text, what: &str, find: &mut Findings<'_>) -> Option<Setting> {
    if !secret_ref::looks_like_one(text.as_str()) {
        if text.value.is_empty() || text.value.chars().any(|c| c.is_control() || c.is_whitespace())
        {
            find.error("config::value", &text.span, format!("this is no {what}"))
                .hint(format!("write the {what}, or a reference like `env:GITHUB_CLIENT_ID`"));
            return None;
        }
        return Some(Setting::Literal(text.value.clone()));
    }
    match secret_ref::parse(text.as_str()) {
        Ok(reference) => Some(Setting::Secret(noted(reference, text, find))),
        Err(error) => malformed(text, error, find),
    }
}

/// Notes the name in a reference, so that `check` can point at it if it is not set.
fn noted(reference: SecretRef, text: &Text, find: &mut Findings<'_>) -> SecretRef {
    // A built-in provider's text is in the catalogue, not in this source.
    let is_here =
        find.source().get(text.span.clone()).is_some_and(|written| written.contains(text.as_str()));
    match &reference {
        SecretRef::Env(name) if is_here => find.reference(name.clone(), &text.span),
        SecretRef::File(path) if is_here => find.reference(path.display().to_string(), &text.span),
        _ => {}
    }
    reference
}

/// Query parameters in which APIs take a credential.
const QUERY_CREDENTIALS: [&str; 8] = [
    "api_key",
    "apikey",
    "api-key",
    "access_token",
    "auth_token",
    "client_secret",
    "password",
    "secret",
];

/// Whether a query parameter carries a credential; if so, reports and redacts it.
pub(super) fn is_credential(name: &str, value: &Span, find: &mut Findings<'_>) -> bool {
    if !QUERY_CREDENTIALS.contains(&&*name.to_ascii_lowercase()) {
        return false;
    }
    find.redact(value);
    find.error("secret::query", value, format!("`{name}` carries a credential"))
        .label("belongs to a provider")
        .hint(format!("give the provider `api_key = {{ query = \"{name}\", value = \"env:…\" }}` and name it in `provider`"));
    true
}

/// Redacts the text between the quotes.
pub(super) fn hide(text: &Text, find: &mut Findings<'_>) {
    let written = find.source().get(text.span.clone()).unwrap_or_default();
    let marks = if written.starts_with("\"\"\"") || written.starts_with("'''") { 3 } else { 1 };
    if written.len() > 2 * marks {
        find.redact(&(text.span.start + marks..text.span.end - marks));
    }
}

fn malformed<T>(text: &Text, error: RefError, find: &mut Findings<'_>) -> Option<T> {
    // The text after the scheme may be the secret itself, put there by mistake.
    hide(text, find);
    find.error("secret::reference", &text.span, error.to_string())
        .label("no reference")
        .hint(error.hint());
    None
}

/// Returns the part `GITHUB` of a variable such as `GITHUB_CLIENT_ID`.
pub(super) fn variable(id: &str) -> String {
    id.to_ascii_uppercase().replace('-', "_")
}
