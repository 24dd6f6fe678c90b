//! The answers that the steps of one plan run wait for.
//!
//! Programs that run a plan poll whether its tools are ready, and run a step only then. A need that
//! only a call shows (a scope that the API asks for, a confirmation) must appear in the next poll:
//! otherwise the program runs the step again and again.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{AccountName, ProviderId, Scopes, Time, ToolName};

/// Consents, and confirmations, that one run may wait for. Another one takes the place of the
/// oldest.
const MAX_NOTED: usize = 20;
/// Time without a new need after which the record is deleted.
const RUN_NEEDS_LIFETIME: Duration = Duration::from_hours(48);

/// Needs that calls of one user's plan run have shown. Calls outside any run share one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunNeeds {
    /// The run's id, as its client writes it; empty for calls outside any run.
    pub run: String,
    /// Consents, the oldest first.
    pub consents: Vec<NotedConsent>,
    /// Confirmations, the oldest first.
    pub confirmations: Vec<NotedConfirmation>,
    /// Time of the last change.
    pub at: Time,
}

/// A consent that a call needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotedConsent {
    pub provider: ProviderId,
    pub account: AccountName,
    pub scopes: Scopes,
}

/// A confirmation that a call needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NotedConfirmation {
    /// Leads to the [`CallConfirmation`](super::CallConfirmation).
    #[serde(with = "super::secret::exposed")]
    pub ticket: SecretString,
    pub tool: ToolName,
    /// Fingerprint of the call.
    pub digest: String,
}

impl RunNeeds {
    /// Creates the needs of a run that has none yet.
    pub fn new(run: &str, now: Time) -> Self {
        let (consents, confirmations) = (Vec::new(), Vec::new());
        Self { run: run.to_owned(), consents, confirmations, at: now }
    }

    /// Whether the record can be deleted.
    pub fn is_forgettable(&self, now: Time) -> bool {
        now.is_past(self.at, RUN_NEEDS_LIFETIME)
    }

    /// Whether this consent is noted already.
    pub fn has(&self, consent: &NotedConsent) -> bool {
        self.consents.iter().any(|it| {
            it.provider == consent.provider
                && it.account == consent.account
                && consent.scopes.is_subset(&it.scopes)
        })
    }

    /// Adds a consent; its scopes join those of an earlier one for the same account.
    #[must_use]
    pub fn with_consent(mut self, consent: NotedConsent, now: Time) -> Self {
        let is_same = |it: &&mut NotedConsent| {
            it.provider == consent.provider && it.account == consent.account
        };
        match self.consents.iter_mut().find(is_same) {
            Some(known) => known.scopes = known.scopes.union(&consent.scopes),
            None => push(&mut self.consents, consent),
        }
        Self { at: now, ..self }
    }

    /// The confirmation of the call with this digest.
    pub fn confirmation(&self, digest: &str) -> Option<&NotedConfirmation> {
        self.confirmations.iter().find(|it| it.digest == digest)
    }

    /// Adds a confirmation, in place of an earlier one for the same call.
    #[must_use]
    pub fn with_confirmation(self, confirmation: NotedConfirmation, now: Time) -> Self {
        let mut needs = self.without_confirmation(&confirmation.digest);
        push(&mut needs.confirmations, confirmation);
        Self { at: now, ..needs }
    }

    /// Removes the confirmation of the call with this digest.
    #[must_use]
    pub fn without_confirmation(mut self, digest: &str) -> Self {
        self.confirmations.retain(|it| it.digest != digest);
        self
    }
}

fn push<T>(noted: &mut Vec<T>, one: T) {
    if noted.len() >= MAX_NOTED {
        noted.remove(0);
    }
    noted.push(one);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consent(provider: &str, scope: &str) -> NotedConsent {
        NotedConsent {
            provider: ProviderId::new(provider),
            account: AccountName::default(),
            scopes: Scopes::new([scope]),
        }
    }

    fn confirmation(digest: &str, ticket: &str) -> NotedConfirmation {
        NotedConfirmation {
            ticket: SecretString::from(ticket),
            tool: ToolName::new("pay"),
            digest: digest.into(),
        }
    }

    #[test]
    fn a_run_notes_each_need_once_and_a_bounded_number() {
        let now = Time::from_millis(1);
        let mut needs = RunNeeds::new("prun-1", now)
            .with_consent(consent("acme", "read"), now)
            .with_consent(consent("acme", "write"), now);
        assert_eq!(needs.consents.len(), 1);
        assert!(needs.has(&consent("acme", "read")) && !needs.has(&consent("acme", "all")));
        assert_eq!(needs.consents[0].scopes, Scopes::new(["read", "write"]));
        for number in 0..30 {
            needs = needs.with_confirmation(confirmation(&format!("d{number}"), "t"), now);
        }
        assert_eq!(needs.confirmations.len(), MAX_NOTED);
        assert!(needs.confirmation("d9").is_none() && needs.confirmation("d10").is_some());
        let needs = needs.with_confirmation(confirmation("d29", "other"), now);
        assert_eq!(needs.confirmations.len(), MAX_NOTED);
        assert!(needs.without_confirmation("d29").confirmation("d29").is_none());
    }
}
