//! The stored form of an authorization: one record with a field for everything that some state has.

use std::collections::BTreeSet;
use std::net::IpAddr;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Authorization, ConnectLink, Connected, ConsentRequest, LaterCall, State, Status};
use crate::model::consent_plan::ConsentPlan;
use crate::model::grant::Binding;
use crate::model::lifetime::KnownEnd;
use crate::model::principal::BrowserProof;
use crate::model::reason::LinkProblem;
use crate::model::requester::{AskedBy, Requesters};
use crate::model::{AccountName, Caller, Grant, ProviderId, Scopes, Time, ToolName, secret};

/// An [`Authorization`] as it is stored. A field that does not belong to the state is empty.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct StoredAuthorization {
    id: String,
    #[serde(with = "secret::exposed")]
    ticket: SecretString,
    caller: Caller,
    #[serde(rename = "opener", default)]
    browser_proof: BrowserProof,
    provider: ProviderId,
    #[serde(default)]
    account: AccountName,
    binding: Binding,
    scopes: Scopes,
    needed: Scopes,
    asked_by: AskedBy,
    /// An earlier version recorded only `asked_by`.
    #[serde(default)]
    requesters: Requesters,
    #[serde(default)]
    tools: BTreeSet<ToolName>,
    /// An earlier version drops it: the browser then ends on our own page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<Url>,
    /// An earlier version drops it: the user is then asked once more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    away: bool,
    /// An earlier version drops it: the page then names no call.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    later: BTreeSet<LaterCall>,
    /// An earlier version drops it: the user is then asked once more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    hands_out: bool,
    origin: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listen_address: Option<IpAddr>,
    created_at: Time,
    starts: u32,
    status: Status,
    refused: Scopes,
    #[serde(default)]
    refusals: Vec<Time>,
    #[serde(default)]
    said: Option<String>,
    #[serde(default)]
    problem: Option<LinkProblem>,
    #[serde(rename = "trip")]
    plan: ConsentPlan,
    #[serde(default, skip_serializing)]
    browser: Option<String>,
    #[serde(default)]
    unclaimed_since: Option<Time>,
    #[serde(default)]
    connected_as: Option<String>,
    #[serde(default)]
    ungranted: Scopes,
    #[serde(default)]
    ends: Option<KnownEnd>,
    #[serde(default)]
    candidate: Option<Box<Grant>>,
    /// Absent in records of an earlier version.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    answered: bool,
}

impl From<StoredAuthorization> for Authorization {
    fn from(stored: StoredAuthorization) -> Self {
        let requesters = if stored.requesters == Requesters::default() {
            Requesters::default().with(&stored.asked_by)
        } else {
            stored.requesters
        };
        let StoredAuthorization { connected_as, refused, ungranted, ends, .. } = stored;
        let connected = Connected { connected_as, refused, ungranted, ends };
        let state = match (stored.status, stored.candidate) {
            (Status::Pending, _) => State::Pending { problem: stored.problem },
            (Status::OtherAccount { before, now }, Some(candidate)) => {
                let is_answered = stored.answered;
                State::OtherAccount { before, now, candidate, is_answered }
            }
            // Without the grant, the question has no answer: the link asks for the consent anew.
            (Status::OtherAccount { .. }, None) => State::Pending { problem: None },
            (Status::Completed, _) => State::Completed(connected),
            (Status::Failed(why), _) => State::Failed { why, said: stored.said },
            (Status::PreviousAccountKept(before), _) => State::PreviousAccountKept(before),
            (Status::Undone(result), _) => State::Undone { connected, result },
        };
        Self {
            link: ConnectLink {
                id: stored.id,
                ticket: stored.ticket,
                caller: stored.caller,
                browser_proof: stored.browser_proof,
                provider: stored.provider,
                account: stored.account,
                binding: stored.binding,
                origin: stored.origin,
                listen_address: stored.listen_address,
                created_at: stored.created_at,
                plan: stored.plan,
            },
            request: ConsentRequest {
                scopes: stored.scopes,
                needed: stored.needed,
                asked_by: stored.asked_by,
                requesters,
                tools: stored.tools,
                next: stored.next,
                away: stored.away,
                later: stored.later,
                hands_out: stored.hands_out,
            },
            state,
            starts: stored.starts,
            refusals: stored.refusals,
            unclaimed_since: stored.unclaimed_since,
            parked_browser: stored.browser,
        }
    }
}

impl From<Authorization> for StoredAuthorization {
    fn from(authorization: Authorization) -> Self {
        let status = authorization.status();
        let Authorization { link, request, state, .. } = authorization;
        let Connected { connected_as, refused, ungranted, ends } =
            state.connected().cloned().unwrap_or_default();
        let (said, problem, candidate, answered) = match state {
            State::Pending { problem } => (None, problem, None, false),
            State::OtherAccount { candidate, is_answered, .. } => {
                (None, None, Some(candidate), is_answered)
            }
            State::Failed { said, .. } => (said, None, None, false),
            State::Completed(_) | State::PreviousAccountKept(_) | State::Undone { .. } => {
                (None, None, None, false)
            }
        };
        Self {
            id: link.id,
            ticket: link.ticket,
            caller: link.caller,
            browser_proof: link.browser_proof,
            provider: link.provider,
            account: link.account,
            binding: link.binding,
            scopes: request.scopes,
            needed: request.needed,
            asked_by: request.asked_by,
            requesters: request.requesters,
            tools: request.tools,
            next: request.next,
            away: request.away,
            later: request.later,
            hands_out: request.hands_out,
            origin: link.origin,
            listen_address: link.listen_address,
            created_at: link.created_at,
            starts: authorization.starts,
            status,
            refused,
            refusals: authorization.refusals,
            said,
            problem,
            plan: link.plan,
            browser: authorization.parked_browser,
            unclaimed_since: authorization.unclaimed_since,
            connected_as,
            ungranted,
            ends,
            candidate,
            answered,
        }
    }
}
