//! An authorization: one try to get a user's consent, from the prompt to its end.
//!
//! An [`Authorization`] is the record behind one connect link; opening the link changes nothing.
//! Each click on "Continue" adds an [`AuthorizationAttempt`], which the callback redeems by its
//! `state`: it deletes the record by compare-and-swap, so each `state` works once.
//!
//! An authorization takes only the steps that exist: each is a method that consumes the
//! authorization and returns the next one, or [`InvalidTransition`]. Nothing else makes a
//! [`State`] of it.
//!
//! | from | to |
//! |---|---|
//! | `Pending` | `Pending`: widened, started, or with the problem of its last redirect |
//! | `OtherAccount` | `PreviousAccountKept` |
//! | `Completed` | `Undone` |
//! | any but `Completed` | `Completed`, `Failed`, `OtherAccount` |
//!
//! The last row is wide because a link leads to the provider more than once, and the answers come
//! in any order.

mod attempt;
mod state;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

pub use attempt::{
    AuthorizationAttempt, CONFIRMATION_LIFETIME, PendingConsent, Unclaimed, Unconfirmed,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
pub use state::{Connected, InvalidTransition, State, Status};
use stored::StoredAuthorization;
use url::Url;

use super::consent_plan::{ConsentMethod, ConsentPlan};
use super::grant::Binding;
use super::principal::{BrowserProof, ConfirmOrder, Verifier};
use super::reason::{ConsentFailure, LinkProblem, RevocationResult};
use super::requester::{AskedBy, Requesters};
use super::{AccountName, Caller, Grant, ProviderId, Scopes, Time, ToolName};

/// Lifetime of a link; after it, only consents that wait to be claimed keep the link open.
pub const LINK_LIFETIME: Duration = Duration::from_mins(15);

/// How long a consent waits for the application to confirm its browser; after it the consent has
/// expired.
pub const UNCLAIMED_LIFETIME: Duration = Duration::from_hours(24);

/// Maximum redirects to the provider by one link: enough for a user who goes back and forth, too
/// few to fill the store. A new prompt does not show a link that has reached it.
pub const MAX_STARTS_PER_LINK: u32 = 20;

/// How long a user's refusal counts towards [`MAX_REFUSALS_PER_HOUR`].
const REFUSAL_WINDOW: Duration = Duration::from_hours(1);

/// Refusals within an hour after which a tool call no longer asks for the consent.
pub const MAX_REFUSALS_PER_HOUR: usize = 2;

/// Identifies an authorization to a waiting call or client. It does not open the link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationName {
    pub provider: ProviderId,
    pub account: AccountName,
    /// [`ConnectLink::id`]
    pub id: String,
}

/// One try to get a user's consent, behind one connect link.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "StoredAuthorization", into = "StoredAuthorization")]
pub struct Authorization {
    link: ConnectLink,
    request: ConsentRequest,
    state: State,
    /// Number of times that the user went on from the link's page.
    starts: u32,
    /// Times of the user's recent refusals of this authorization and earlier ones.
    refusals: Vec<Time>,
    unclaimed_since: Option<Time>,
    parked_browser: Option<String>,
}

/// The facts of an authorization that never change: its link, and what the link is for.
#[derive(Clone, Debug)]
pub struct ConnectLink {
    /// Random. Identifies the authorization to waiters and elicitations; it does not open the link.
    pub id: String,
    /// The secret part of the link.
    pub ticket: SecretString,
    pub caller: Caller,
    /// Proof that the browser which finishes it belongs to the user who asked.
    pub browser_proof: BrowserProof,
    pub provider: ProviderId,
    /// The user's account at the provider that this is for.
    pub account: AccountName,
    pub binding: Binding,
    /// Scheme, host and port of link and callback, e.g. `http://127.0.0.1:8971`.
    pub origin: String,
    /// Listening address for `origin`, if not the loopback address.
    pub listen_address: Option<IpAddr>,
    pub created_at: Time,
    pub plan: ConsentPlan,
}

/// A call that is to run while its user is away. The earliest comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LaterCall {
    pub run_at: Time,
    pub tool: ToolName,
}

/// Most [`LaterCall`]s of one link; further ones are not recorded.
pub const MAX_LATER_CALLS: usize = 6;

/// The scopes that a link asks for, and the programs that need them. An open link may be widened.
#[derive(Clone, Debug)]
pub struct ConsentRequest {
    /// Union of the granted and the needed scopes.
    pub scopes: Scopes,
    /// Scopes that the requesting tools require.
    pub needed: Scopes,
    /// The first requester.
    pub asked_by: AskedBy,
    /// All programs that have asked.
    pub requesters: Requesters,
    /// All tools that have asked since.
    pub tools: BTreeSet<ToolName>,
    /// Page that the browser goes to after a consent that lacks nothing, if a requester named one.
    /// Takes precedence over [`ConsentPlan::after_connect`]. Not part of the plan: two requesters
    /// that differ in it alone would replace each other's link.
    pub next: Option<Url>,
    /// Whether the consent is also for calls that run while the user is away.
    pub away: bool,
    /// The calls for which that is asked, at most [`MAX_LATER_CALLS`].
    pub later: BTreeSet<LaterCall>,
    /// Whether the consent is also for the application that asks to get the access token itself.
    pub hands_out: bool,
}

impl ConnectLink {
    /// Returns the identifier for waiters.
    pub fn name(&self) -> AuthorizationName {
        let (provider, account) = (self.provider.clone(), self.account.clone());
        AuthorizationName { provider, account, id: self.id.clone() }
    }

    /// The connect link, which contains the secret ticket.
    pub fn url(&self) -> String {
        format!("{}/connect/{}", self.origin, self.ticket.expose_secret())
    }

    /// Redirect URI, to which the provider sends the browser back.
    pub fn redirect_uri(&self) -> String {
        redirect_uri(&self.origin, &self.provider)
    }

    /// Whether browsers reach it over HTTPS, which third parties can neither read nor alter.
    pub fn is_on_https(&self) -> bool {
        self.origin.starts_with("https://")
    }
}

/// Redirect URI of a provider, which its OAuth app must have registered exactly.
pub fn redirect_uri(origin: &str, provider: &ProviderId) -> String {
    format!("{origin}/oauth/callback/{provider}")
}

impl Authorization {
    /// Makes an authorization that waits for the user, with the refusals of the one that it
    /// replaces.
    pub fn new(link: ConnectLink, request: ConsentRequest, refusals: Vec<Time>) -> Self {
        Self {
            link,
            request,
            state: State::Pending { problem: None },
            starts: 0,
            refusals,
            unclaimed_since: None,
            parked_browser: None,
        }
    }

    /// The facts that never change.
    pub fn link(&self) -> &ConnectLink {
        &self.link
    }

    /// The scopes that it asks for, and the programs that need them.
    pub fn request(&self) -> &ConsentRequest {
        &self.request
    }

    /// Its state, with what belongs to it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its state, for people.
    pub fn status(&self) -> Status {
        Status::from(&self.state)
    }

    /// Number of times that the user went on from the link's page.
    pub fn starts(&self) -> u32 {
        self.starts
    }

    /// Times of the user's recent refusals of this authorization and earlier ones.
    pub fn refusals(&self) -> &[Time] {
        &self.refusals
    }

    /// Time of the first [`Unclaimed`] consent by this link, for which the link stays open.
    pub fn unclaimed_since(&self) -> Option<Time> {
        self.unclaimed_since
    }

    /// Fingerprint of the cookie of the browser that gave the consent; present only in an
    /// [`Unconfirmed`] record of an earlier version.
    pub fn parked_browser(&self) -> Option<&str> {
        self.parked_browser.as_deref()
    }

    /// End of the link's lifetime, including the time for consents that wait to be claimed.
    pub fn expires_at(&self) -> Time {
        let end = self.link.created_at.after(LINK_LIFETIME);
        self.unclaimed_since.map_or(end, |since| since.after(UNCLAIMED_LIFETIME).max(end))
    }

    /// Whether the link's lifetime is over and no consent waits to be claimed.
    pub fn is_expired(&self, now: Time) -> bool {
        now.is_past(self.link.created_at, LINK_LIFETIME) && !is_claimable(self.unclaimed_since, now)
    }

    /// Whether it waits for the user to go on from its page.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Pending { .. })
    }

    /// Whether the user can still decide.
    pub fn is_undecided(&self, now: Time) -> bool {
        matches!(self.state, State::Pending { .. } | State::OtherAccount { .. })
            && !self.is_expired(now)
    }

    /// Whether a new prompt may show this authorization's link again.
    pub fn is_reusable(&self, now: Time) -> bool {
        self.is_undecided(now) && self.starts < MAX_STARTS_PER_LINK
    }

    /// Whether a browser may go to the provider before the application has confirmed the browser.
    /// Only within the first [`LINK_LIFETIME`]: after that the link stays open only for consents
    /// that wait to be claimed, and any other browser must be confirmed first.
    pub fn asks_unconfirmed(&self, now: Time) -> bool {
        let is_after = matches!(
            &self.link.browser_proof,
            BrowserProof::Application(Verifier { confirm: ConfirmOrder::After, .. })
        );
        // A pasted secret goes only to this server, so the order does not matter.
        let is_at_provider = matches!(self.link.plan.method, ConsentMethod::Code(_));
        let is_new = !now.is_past(self.link.created_at, LINK_LIFETIME);
        is_after && is_at_provider && is_new && self.is_pending()
    }

    /// Number of the user's refusals within the last hour.
    pub fn recent_refusals(&self, now: Time) -> usize {
        self.refusals.iter().filter(|at| !now.is_past(**at, REFUSAL_WINDOW)).count()
    }

    /// Whether the record can be dropped: it has expired and no refusal counts any more.
    pub fn is_forgettable(&self, now: Time) -> bool {
        self.is_expired(now) && self.recent_refusals(now) == 0
    }

    // ── Steps ───────────────────────────────────────────────────────────────

    /// Asks for more, or for other programs, from now on.
    ///
    /// # Errors
    /// [`InvalidTransition`] unless it is pending: the page of a user who has decided must keep
    /// its meaning.
    pub fn widen(self, request: ConsentRequest) -> Result<Self, InvalidTransition> {
        if !self.is_pending() {
            return Err(InvalidTransition);
        }
        Ok(Self { request, ..self })
    }

    /// Counts that the user went on from the page.
    ///
    /// # Errors
    /// [`InvalidTransition`] unless it is pending.
    pub fn start(self) -> Result<Self, InvalidTransition> {
        Ok(Self { state: self.state.start()?, starts: self.starts + 1, ..self })
    }

    /// Notes why the last redirect to the provider failed. The link can still be used.
    ///
    /// # Errors
    /// [`InvalidTransition`] unless it is pending.
    pub fn note_problem(self, problem: LinkProblem) -> Result<Self, InvalidTransition> {
        Ok(Self { state: self.state.note_problem(problem)?, ..self })
    }

    /// Asks the user whether the account of `candidate`, which is not the one `before`, is meant.
    ///
    /// # Errors
    /// [`InvalidTransition`] if it is completed.
    pub fn ask_about_account(
        self,
        before: String,
        candidate: Grant,
        now: Time,
    ) -> Result<Self, InvalidTransition> {
        let state = self.state.ask_about_account(before, candidate)?;
        Ok(Self { state, ..self }.noting_refusal(false, now))
    }

    /// Counts that the user answered the question about the account. Only one of two concurrent
    /// answers counts, because it changes the record.
    ///
    /// # Errors
    /// [`InvalidTransition`] if there is no such question.
    pub fn answer(self) -> Result<Self, InvalidTransition> {
        Ok(Self { state: self.state.answer()?, starts: self.starts + 1, ..self })
    }

    /// Ends with the account that was connected before.
    ///
    /// # Errors
    /// [`InvalidTransition`] if the user was not asked about another one.
    pub fn keep_previous_account(self, now: Time) -> Result<Self, InvalidTransition> {
        let state = self.state.keep_previous_account()?;
        Ok(Self { state, ..self }.noting_refusal(false, now))
    }

    /// Ends with a stored grant. A needed scope that was not granted counts as a refusal.
    ///
    /// # Errors
    /// [`InvalidTransition`] if it is completed.
    pub fn complete(self, connected: Connected, now: Time) -> Result<Self, InvalidTransition> {
        let is_refusal = !connected.refused.is_empty();
        let state = self.state.complete(connected)?;
        Ok(Self { state, ..self }.noting_refusal(is_refusal, now))
    }

    /// Ends without a grant. `said` is the provider's text for it.
    ///
    /// # Errors
    /// [`InvalidTransition`] if it is completed: a consent outweighs a later refusal, e.g. from a
    /// second tab.
    pub fn fail(
        self,
        why: ConsentFailure,
        said: Option<String>,
        now: Time,
    ) -> Result<Self, InvalidTransition> {
        let is_refusal = why.is_by_user();
        let state = self.state.fail(why, said)?;
        Ok(Self { state, ..self }.noting_refusal(is_refusal, now))
    }

    /// Notes that the user disconnected what the link had connected.
    ///
    /// # Errors
    /// [`InvalidTransition`] unless it is completed.
    pub fn undo(self, result: RevocationResult) -> Result<Self, InvalidTransition> {
        Ok(Self { state: self.state.undo(result)?, ..self })
    }

    /// Keeps the link open for a consent given at `given_at` that waits to be claimed. Later ones
    /// do not change that: a browser that has the link must not keep it open for ever.
    #[must_use]
    pub fn awaiting_claim(self, given_at: Time) -> Self {
        Self { unclaimed_since: Some(self.unclaimed_since.unwrap_or(given_at)), ..self }
    }

    /// Drops refusals that no longer count, and adds one if this is one.
    fn noting_refusal(mut self, is_refusal: bool, now: Time) -> Self {
        self.refusals.retain(|at| !now.is_past(*at, REFUSAL_WINDOW));
        self.refusals.extend(is_refusal.then_some(now));
        self
    }
}

/// Whether a consent given at `unclaimed_since` can still be claimed.
pub fn is_claimable(unclaimed_since: Option<Time>, now: Time) -> bool {
    unclaimed_since.is_some_and(|since| !now.is_past(since, UNCLAIMED_LIFETIME))
}
