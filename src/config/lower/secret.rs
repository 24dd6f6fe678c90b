//! Places for secrets.

use super::super::problem::Findings;
use super::super::read::Text;
use super::super::secret_ref::{self, RefError};
use crate::model::provider::{SecretRef, Setting};

/// A place that takes a reference and nothing else.
pub(super) fn secret(text: &Text, suggestion: &str, find: &mut Findings<'_>) -> Option<SecretRef> {
    match secret_ref::parse(text.as_str()) {
        Ok(reference) => Some(reference),
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

/// A place that takes a text or a reference.
pub(super) fn setting(text: &Text, find: &mut Findings<'_>) -> Option<Setting> {
    if !secret_ref::looks_like_one(text.as_str()) {
        if text.value.is_empty() || text.value.chars().any(|c| c.is_control() || c.is_whitespace())
        {
            find.error("config::value", &text.span, "this is no client id")
                .hint("write the id, or a reference like `env:GITHUB_CLIENT_ID`");
            return None;
        }
        return Some(Setting::Literal(text.value.clone()));
    }
    match secret_ref::parse(text.as_str()) {
        Ok(reference) => Some(Setting::Secret(reference)),
        Err(error) => malformed(text, error, find),
    }
}

/// Never shows what stands between the quotes.
pub(super) fn hide(text: &Text, find: &mut Findings<'_>) {
    let quoted = find.source().get(text.span.clone()).unwrap_or_default();
    let quotes = quoted.len() - quoted.trim_start_matches(['"', '\'']).len();
    if quoted.len() > 2 * quotes {
        find.blot(&(text.span.start + quotes..text.span.end - quotes));
    }
}

fn malformed<T>(text: &Text, error: RefError, find: &mut Findings<'_>) -> Option<T> {
    // What follows the scheme may be the secret itself, put there by mistake.
    hide(text, find);
    find.error("secret::reference", &text.span, error.to_string()).label("no reference");
    None
}
