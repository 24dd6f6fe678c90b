//! Answers to polls. A client that waits for its user asks every two seconds whether the tools are
//! ready, and most answers are those of two seconds before.
//!
//! An answer is repeated while the records that it was made from are unchanged: a consent, a
//! refusal or a disconnection shows at once, whichever process wrote it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use url::Url;

use super::{Asking, ConsentState, ProviderNeed};
use crate::broker::Broker;
use crate::broker::consent::minutes_until;
use crate::model::failure::LinkProblem;
use crate::model::principal::{BrowserProof, NoBrowserProof};
use crate::model::{
    AccountName, Caller, FailureKind, Principal, Provider, ProviderId, Scopes, Time, ToolName,
};
use crate::store::Seen;

/// How long an answer is repeated. A change outside the store, such as another port of the
/// listener, shows this late. A provider whose discovery hangs is asked this often.
const MAX_AGE: Duration = Duration::from_secs(15);

/// Answers kept; at this number all are dropped, and each user's next poll is a full look.
const MAX_ANSWERS: usize = 4096;

/// The latest answers of this process.
#[derive(Default)]
pub(in crate::broker) struct Answers(Mutex<HashMap<Question, Answer>>);

/// A poll for one need.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    caller: Caller,
    provider: ProviderId,
    account: AccountName,
    scopes: Scopes,
    tools: Vec<ToolName>,
    /// Client, next page and absence, if a link is asked for.
    link: Option<(Option<String>, Option<Url>, bool)>,
}

struct Answer {
    /// Another catalogue may mean another provider by the same name.
    provider: Arc<Provider>,
    browser_proof: Result<BrowserProof, NoBrowserProof>,
    /// Records that the state was made from; `None` if it depends on none.
    seen: Option<Seen>,
    made_at: Time,
    valid_until: Time,
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
    pub(super) fn of(principal: &Principal, need: &ProviderNeed, asking: Asking<'_>) -> Self {
        Self {
            caller: principal.caller.clone(),
            provider: need.provider.id.clone(),
            account: need.account.clone(),
            scopes: need.scopes.clone(),
            tools: need.tools.clone(),
            link: match asking {
                Asking::Look => None,
                Asking::Link { client, next, away } => {
                    Some((client.map(str::to_owned), next.cloned(), away))
                }
            },
        }
    }
}

impl Broker {
    /// Returns the latest answer to this question if it still holds.
    pub(super) async fn recalled(
        &self,
        question: &Question,
        principal: &Principal,
        need: &ProviderNeed,
    ) -> Option<ConsentState> {
        // A consent that is held in memory counts like a stored one.
        if self.0.consents.has_unsaved() {
            return None;
        }
        let now = self.now();
        let (seen, state) = {
            let answers = self.0.answers.0.lock();
            let answer = answers.get(question)?;
            let holds = Arc::ptr_eq(&answer.provider, &need.provider)
                && answer.browser_proof == principal.browser_proof
                && (answer.made_at..answer.valid_until).contains(&now);
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
        question: &Question,
        principal: &Principal,
        need: &ProviderNeed,
        looked: &Looked,
    ) {
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
            valid_until: until.map_or(latest, |until| until.min(latest)),
            state: state.clone(),
        };
        let mut answers = self.0.answers.0.lock();
        if answers.len() >= MAX_ANSWERS {
            answers.clear();
        }
        answers.insert(question.clone(), answer);
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
