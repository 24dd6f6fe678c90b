//! One renewal at the token endpoint, and what its answer means for the grant.

use std::sync::Arc;

use super::Grants;
use super::access::AccessError;
use super::lease::unanswered;
use super::refresh::{Outcome, Refresh, Unsaved};
use super::unsaved::same_secret;
use crate::broker::Connection;
use crate::broker::client::resend::Tries;
use crate::broker::client::token_endpoints::{Admission, FAILURE_COOL_DOWN, RefusalKey};
use crate::model::consent_plan::ClientRegistration;
use crate::model::event::{EventKind, RenewalOutcome};
use crate::model::grant::{Attempt, MAX_UNCLEAR_REFUSALS};
use crate::model::reason::{GrantEnd, LostAnswer};
use crate::model::scope::Implied;
use crate::model::webhook::ChangeReason;
use crate::model::{Grant, Scopes};
use crate::oauth::{Issued, TokenError, Verdict};
use crate::store::Held;

impl Grants {
    /// Asks the token endpoint, more than once if its answer allows it.
    pub(super) async fn send(
        self,
        connection: Connection,
        client: ClientRegistration,
        mut marked: Held<Grant>,
        is_usable: bool,
        admission: Admission<'_>,
    ) -> Outcome {
        let Some(refresh) = marked.value.tokens.refresh.clone() else { return (Ok(()), None) };
        let (clients, provider) = (&self.0.clients, &connection.provider.id);
        let (mut tries, mut is_lost) = (Tries::new(), false);
        let is_trouble_known = admission.is_probe;
        let mut admission = Some(admission);
        let error = loop {
            let error = match clients.refresh(provider, &client, &refresh).await {
                Ok(issued) => {
                    let implied = connection.provider.implied();
                    let renewed = self.renewed(&marked.value, issued, implied);
                    let unsaved = Unsaved { connection, client, renewed, over: marked, saves: 0 };
                    return self.clone().save(unsaved).await;
                }
                Err(error) => error,
            };
            let was_lost = std::mem::replace(&mut is_lost, error.is_lost());
            if error.verdict() != Verdict::Passing
                || is_usable
                || is_trouble_known
                // A lost answer may have spent the token. Providers forgive one repetition.
                || (was_lost && is_lost)
            {
                break error;
            }
            let Some(wait) = tries.again(&error) else { break error };
            // Released first: only one call at a time asks an endpoint that is in trouble.
            drop(admission.take());
            tokio::time::sleep(wait).await;
            admission = match clients.endpoints().admitted(provider).await {
                Ok(again) => Some(again),
                Err(_) => break error,
            };
            match self.mark_again(&marked, is_lost).await {
                Ok(Some(again)) => marked = again,
                Ok(None) => return (Ok(()), None),
                Err(error) => return (Err(error.into()), None),
            }
        };
        drop(admission);
        self.failed(&connection, &marked, error, is_lost).await
    }

    /// Records on the grant, or beside it, what a failed renewal means.
    async fn failed(
        &self,
        connection: &Connection,
        marked: &Held<Grant>,
        source: Arc<TokenError>,
        is_lost: bool,
    ) -> Outcome {
        let provider = &connection.provider.id;
        let now = self.0.clock.now();
        let verdict = source.verdict();
        let outcome = match verdict {
            Verdict::GrantEnded => RenewalOutcome::GrantEnded,
            Verdict::Operator if source.is_about_client() => RenewalOutcome::ClientRefused,
            Verdict::Operator | Verdict::Unclear | Verdict::Passing => RenewalOutcome::Failed,
        };
        self.record(&connection.caller, provider, EventKind::Renewal(outcome));
        let refusals = match verdict {
            Verdict::Operator | Verdict::Unclear => {
                marked.value.unclear_refusals.saturating_add(1).min(MAX_UNCLEAR_REFUSALS)
            }
            Verdict::GrantEnded | Verdict::Passing => marked.value.unclear_refusals,
        };
        let unanswered = unanswered(&marked.value, is_lost);
        let noted = if verdict == Verdict::GrantEnded {
            // Replaces only the token that was sent. If another one is stored, the grant was
            // renewed or the user has consented anew, and that counts.
            let was_broken_off =
                marked.value.attempt.as_ref().is_some_and(|attempt| attempt.was_broken_off);
            let why = end_of(&source, unanswered, was_broken_off);
            let reason = ChangeReason::from(&why);
            let ended = marked.value.ended(why, now);
            Box::pin(self.replace_unusable(&connection.caller, ended, marked, reason)).await
        } else {
            let attempt = marked.value.attempt.clone().filter(|_| unanswered > 0);
            let attempt = attempt.map(|attempt| Attempt { unanswered, is_over: true, ..attempt });
            let unclear_refusals = refusals;
            let noted = Grant { unclear_refusals, attempt, ..marked.value.clone() };
            Box::pin(self.note_refusal(&connection.caller, noted, marked)).await
        };
        match (verdict, noted) {
            (Verdict::GrantEnded, noted) => return (noted.map(drop).map_err(Into::into), None),
            (_, Ok(_)) => {}
            // The mark stays, and its process lives: our next refresh continues from it.
            (_, Err(error)) => {
                tracing::warn!(%provider, %error, "an attempt's end was not noted");
            }
        }
        // A deposited token may be another client's, which some providers call a fault of this one:
        // the renewals of other users go on.
        if source.is_about_client() && !marked.value.is_pending() {
            let about = RefusalKey::Client(provider.clone(), connection.bound.fingerprint.clone());
            self.0.clients.endpoints().leave_alone(about, Arc::clone(&source), now);
        } else if verdict == Verdict::Operator || refusals >= MAX_UNCLEAR_REFUSALS {
            let about = RefusalKey::Account(connection.name());
            self.0.clients.endpoints().leave_alone(about, Arc::clone(&source), now);
        }
        let error = AccessError::Refresh { provider: provider.clone(), source, refusals };
        (Err(error), Some(Refresh::CoolingDown(now.after(FAILURE_COOL_DOWN))))
    }

    fn renewed(&self, grant: &Grant, issued: Issued, implied: &Implied) -> Grant {
        let mut tokens = issued.tokens;
        let is_the_same = same_secret(tokens.refresh.as_ref(), grant.tokens.refresh.as_ref());
        if is_the_same && tokens.refresh_expires_at.is_none() {
            tokens.refresh_expires_at = grant.tokens.refresh_expires_at;
        }
        let vouched = |granted: Scopes| match &grant.deposit {
            Some(deposit) => deposit.vouched(granted, implied),
            None => granted,
        };
        Grant {
            tokens,
            unclear_refusals: 0,
            scopes: issued.scopes.map_or_else(|| grant.scopes.clone(), vouched),
            refreshed_at: Some(self.0.clock.now()),
            attempt: None,
            ..grant.clone()
        }
    }
}

/// Why a refusal of the refresh token has ended a grant, after this many sends without an answer.
fn end_of(error: &TokenError, unanswered: u32, was_broken_off: bool) -> GrantEnd {
    let lost = match (unanswered, was_broken_off) {
        (0, _) => None,
        (_, false) => Some(LostAnswer::InTransit),
        (_, true) => Some(LostAnswer::ProcessEnded),
    };
    GrantEnd::RefreshTokenRefused { code: error.code().map(str::to_owned), lost }
}
