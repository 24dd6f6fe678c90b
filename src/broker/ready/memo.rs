//! Answers to polls. A client that waits for its user asks every two seconds whether the tools are
//! ready, and most answers are those of two seconds before.
//!
//! An answer is repeated while the records that it was made from are unchanged: a consent, a
//! refusal or a disconnection shows at once, whichever process wrote it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Asking, ConsentState, ProviderNeed};
use crate::broker::Broker;
use crate::broker::consent::minutes_until;
use crate::model::failure::LinkProblem;
use crate::model::principal::{BrowserProof, NoBrowserProof};
use crate::model::secret::fingerprint;
use crate::model::{FailureKind, Principal, Provider, Time};
use crate::store::Seen;

/// How long an answer is repeated. A change outside the store, such as another port of the
/// listener, shows this late. A provider whose discovery hangs is asked this often.
const MAX_AGE: Duration = Duration::from_secs(15);

/// Answers kept; if so many still hold, all are dropped, and each user's next poll is a full look.
const MAX_ANSWERS: usize = 4096;

/// Bytes of scopes in a question whose answer is kept: an answer holds them several times.
const MAX_SCOPE_BYTES: usize = 2048;

/// The latest answers of this process.
#[derive(Default)]
pub(in crate::broker) struct Answers(Mutex<Kept<Answer>>);

struct Kept<A> {
    /// Each with the time until which it is repeated at most.
    by_question: HashMap<Question, (A, Time)>,
    /// Number of answers at which those that hold no more are dropped.
    swept_at: usize,
}

/// Digest of a poll for one need.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Question(String);

struct Answer {
    /// Another catalogue may mean another provider by the same name.
    provider: Arc<Provider>,
    browser_proof: Result<BrowserProof, NoBrowserProof>,
    /// Records that the state was made from; `None` if it depends on none.
    seen: Option<Seen>,
    made_at: Time,
    state: ConsentState,
}

/// The result of a full look.
pub(super) struct Looked {
    pub(super) state: ConsentState,
    /// Records as they were before the look; `None` if it used others as well.
    pub(super) seen: Option<Seen>,
    /// When the state ends by itself.
    pub(super) until: Option<Time>,
}

impl Question {
    /// `None` if its answer is not kept: no link is asked for, so no client waits, or the answer
    /// would be large.
    pub(super) fn of(
        principal: &Principal,
        need: &ProviderNeed,
        asking: Asking<'_>,
    ) -> Option<Self> {
        let link = asking.link()?;
        let ProviderNeed { provider, account, scopes, tools } = need;
        if scopes.iter().map(str::len).sum::<usize>() > MAX_SCOPE_BYTES {
            return None;
        }
        // `Debug` quotes every text, so different questions are never written alike.
        let asked =
            (&principal.caller, principal.gets_tokens, &provider.id, account, scopes, tools);
        Some(Self(fingerprint(&format!("{asked:?}{link:?}"))))
    }
}

impl<A> Default for Kept<A> {
    fn default() -> Self {
        Self { by_question: HashMap::new(), swept_at: 0 }
    }
}

impl<A> Kept<A> {
    fn insert(&mut self, question: Question, answer: A, valid_until: Time, now: Time) {
        if self.by_question.len() >= self.swept_at {
            self.by_question.retain(|_, (_, valid_until)| *valid_until > now);
            if self.by_question.len() >= MAX_ANSWERS {
                self.by_question.clear();
            }
            self.swept_at = (self.by_question.len() * 2).clamp(64, MAX_ANSWERS);
        }
        self.by_question.insert(question, (answer, valid_until));
    }
}

impl Broker {
    /// Returns the latest answer to this question if it still holds.
    pub(super) async fn recalled(
        &self,
        question: Option<&Question>,
        principal: &Principal,
        need: &ProviderNeed,
    ) -> Option<ConsentState> {
        let question = question?;
        // A consent that is held in memory counts like a stored one.
        if self.0.consents.has_unsaved() {
            return None;
        }
        let now = self.now();
        let (seen, state) = {
            let answers = self.0.answers.0.lock();
            let (answer, valid_until) = answers.by_question.get(question)?;
            let holds = Arc::ptr_eq(&answer.provider, &need.provider)
                && answer.browser_proof == principal.browser_proof
                && (answer.made_at..*valid_until).contains(&now);
            if !holds {
                return None;
            }
            (answer.seen.clone(), answer.state.clone())
        };
        if let Some(seen) = &seen
            && !self.store().await.ok()?.is_unchanged(seen).await.ok()?
        {
            return None;
        }
        Some(state.at(now))
    }

    /// Keeps an answer, if it may be repeated.
    pub(super) fn remember(
        &self,
        question: Option<&Question>,
        principal: &Principal,
        need: &ProviderNeed,
        looked: &Looked,
    ) {
        let Some(question) = question else { return };
        let Looked { state, seen, until } = looked;
        if seen.is_none() && !state.is_without_records() {
            return;
        }
        let made_at = self.now();
        let latest = made_at.after(MAX_AGE);
        let answer = Answer {
            provider: Arc::clone(&need.provider),
            browser_proof: principal.browser_proof.clone(),
            seen: seen.clone(),
            made_at,
            state: state.clone(),
        };
        let valid_until = until.map_or(latest, |until| until.min(latest));
        self.0.answers.0.lock().insert(question.clone(), answer, valid_until, made_at);
    }
}

impl ConsentState {
    /// Whether it was made from no record: the provider does not say where its users sign in.
    fn is_without_records(&self) -> bool {
        let Self::Failed(failure) = self else { return false };
        matches!(
            failure.kind,
            FailureKind::NoLink { problem: LinkProblem::EndpointsUnknown { .. }, .. }
        )
    }

    /// Returns it as it is at this time.
    fn at(mut self, now: Time) -> Self {
        if let Self::Needed { prompt: Some(prompt), .. } = &mut self {
            prompt.lives_minutes = minutes_until(prompt.expires_at, now);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Questions that are asked once, each by another user, fill no memory for good.
    #[test]
    fn what_holds_no_more_is_dropped_before_the_table_is_full() {
        let mut kept = Kept::default();
        let mut most = 0;
        for number in 0..1000 {
            let now = Time::from_millis(number * 1000);
            kept.insert(Question(number.to_string()), (), now.after(MAX_AGE), now);
            most = most.max(kept.by_question.len());
        }
        assert!(most <= 64, "{most} answers, of which {} hold", MAX_AGE.as_secs());
        let now = Time::from_millis(2_000_000);
        for number in 0..2 * MAX_ANSWERS {
            kept.insert(Question(format!("at once {number}")), (), now.after(MAX_AGE), now);
            assert!(kept.by_question.len() <= MAX_ANSWERS);
        }
    }
}
