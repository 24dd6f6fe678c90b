//! References of `[server.auth]` to secrets, for `check` to look for.

use super::super::findings::Findings;
use super::super::server_auth::{MIN_KEY_BYTES, has_short_key};
use super::super::span::{Span, Text};
use super::super::{environment, secrets};
use crate::model::secret_ref::SecretRef;

/// References to secrets, and their positions.
#[derive(Default)]
pub(super) struct References {
    all: Vec<(SecretRef, Span)>,
    /// References to keys of callers.
    keys: Vec<SecretRef>,
}

impl References {
    pub(super) fn add(&mut self, reference: &SecretRef, text: &Text) {
        self.all.push((reference.clone(), text.span.clone()));
    }

    pub(super) fn add_key(&mut self, reference: &SecretRef, text: &Text) {
        self.add(reference, text);
        self.keys.push(reference.clone());
    }

    pub(super) fn warn_of_missing(&self, find: &mut Findings<'_>) {
        for (reference, span) in &self.all {
            if let Some(error) = secrets::is_missing(reference) {
                find.warning("secret::unset", span, error.to_string())
                    .label("[server.auth] needs it")
                    .hint(error.hint());
            } else if let SecretRef::Env(name) = reference
                && self.keys.contains(reference)
                && environment::variable(name).is_some_and(|value| has_short_key(&value))
            {
                find.error("auth::key", span, format!("the key in {name} has less than {MIN_KEY_BYTES} characters, and could be guessed"))
                    .hint("make one with `openssl rand -base64 32`");
            }
        }
    }
}
