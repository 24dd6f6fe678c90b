//! Which link a request for a consent gets: the open one as it is, the open one with more scopes,
//! or a new one. Pure decisions; [`super::link`] reads and writes the store.

use std::collections::BTreeSet;
use std::net::IpAddr;

use secrecy::ExposeSecret as _;
use url::Url;

use crate::broker::Connection;
use crate::model::authorization::{
    ConnectLink, ConsentRequest, InvalidTransition, LINK_LIFETIME, LaterCall, MAX_LATER_CALLS,
    MAX_REFUSALS_PER_HOUR,
};
use crate::model::consent_plan::{ConsentMethod, ConsentPlan};
use crate::model::principal::BrowserProof;
use crate::model::requester::{AskedBy, Requesters};
use crate::model::unasked_place::UnaskedPlace;
use crate::model::{
    Authorization, ConnectPrompt, Grant, PromptReason, Scopes, Standing, Time, ToolName, scope,
    secret,
};

/// Scopes of a link that is widened, and bytes of their names; a request beyond it is refused.
/// Programs name scopes as they like, and the link, its page and the provider's address grow with
/// each.
const MAX_WIDENED_SCOPES: usize = 200;
const MAX_WIDENED_SCOPE_BYTES: usize = 16 * 1024;

/// A consent to ask for.
pub(in crate::broker) struct LinkOrder<'a> {
    /// Scopes that the requesting tools require.
    pub(in crate::broker) needed: &'a Scopes,
    pub(in crate::broker) asked_by: AskedBy,
    /// Tools that need the consent beside the one of `asked_by`.
    pub(in crate::broker) more_tools: BTreeSet<ToolName>,
    pub(in crate::broker) reason: PromptReason,
    /// See [`ConsentRequest::next`].
    pub(in crate::broker) next: Option<&'a Url>,
    /// See [`ConsentRequest::away`].
    pub(in crate::broker) away: bool,
    /// The call that needs that.
    pub(in crate::broker) later: Option<LaterCall>,
    /// See [`ConsentRequest::hands_out`].
    pub(in crate::broker) hands_out: bool,
}

impl<'a> LinkOrder<'a> {
    /// An order for one tool, or for none.
    pub(in crate::broker) fn new(
        needed: &'a Scopes,
        asked_by: AskedBy,
        reason: PromptReason,
    ) -> Self {
        let more_tools = BTreeSet::new();
        Self {
            needed,
            asked_by,
            more_tools,
            reason,
            next: None,
            away: false,
            later: None,
            hands_out: false,
        }
    }

    fn tools(&self) -> impl Iterator<Item = &ToolName> {
        self.asked_by.tool.iter().chain(&self.more_tools)
    }
}

/// A request for a consent, with everything that a link for it is made from.
pub(super) struct LinkRequest<'a> {
    pub(super) connection: &'a Connection,
    pub(super) browser_proof: BrowserProof,
    pub(super) order: LinkOrder<'a>,
    /// Scopes that the provider's table always asks for.
    pub(super) own_scopes: &'a Scopes,
    /// Scheme, host and port of this process's links.
    pub(super) origin: String,
    /// See [`ConnectLink::listen_address`].
    pub(super) listen_address: Option<IpAddr>,
    pub(super) plan: ConsentPlan,
    /// [`ConsentPlan::fingerprint`] of `plan`.
    pub(super) plan_fingerprint: String,
}

/// Decision about a request.
pub(super) enum Decision<'a> {
    /// No link: the grant has been stored since the tool's call found none.
    Granted,
    /// No link: the user has refused [`MAX_REFUSALS_PER_HOUR`] times within the last hour.
    RefusedOften,
    /// The page of this open link shows all that is needed.
    Reuse(&'a Authorization),
    /// The open link stays, and its page must show more: as it is to be stored.
    Widen(Box<Authorization>),
    /// No link: the open one would ask for more than [`MAX_WIDENED_SCOPES`].
    TooManyScopes,
    /// No open link fits.
    Create,
}

impl LinkRequest<'_> {
    /// Decides from the latest authorization and the present grant of the connection.
    pub(super) fn decide<'h>(
        &self,
        latest: Option<&'h Authorization>,
        grant: Option<&Grant>,
        now: Time,
    ) -> Decision<'h> {
        let is_by_program = !self.order.asked_by.is_by_hand();
        // The consent was being stored when this call found none. A new link would replace the one
        // that has just succeeded, and wait for a click that never comes.
        if is_by_program && grant.is_some_and(|grant| self.is_enough(grant, now)) {
            return Decision::Granted;
        }
        let is_refused = |latest: &Authorization| {
            !latest.is_reusable(now) && latest.recent_refusals(now) >= MAX_REFUSALS_PER_HOUR
        };
        if is_by_program && latest.is_some_and(is_refused) {
            return Decision::RefusedOften;
        }
        let Some(open) = latest.filter(|latest| self.fits(latest, now)) else {
            return Decision::Create;
        };
        if self.is_shown_by(open.request(), grant) {
            return Decision::Reuse(open);
        }
        match self.widen(open.clone(), grant) {
            Ok(wider) if is_too_wide(open.request(), wider.request()) => Decision::TooManyScopes,
            Ok(wider) => Decision::Widen(Box::new(wider)),
            // The user is asked about an account: that page must keep its meaning.
            Err(InvalidTransition) => Decision::Reuse(open),
        }
    }

    /// Returns an open link with this request's scopes added; from now on its page shows all of
    /// them. It names every program whose scopes it asks for.
    ///
    /// # Errors
    /// [`InvalidTransition`] if the user has decided.
    fn widen(
        &self,
        open: Authorization,
        grant: Option<&Grant>,
    ) -> Result<Authorization, InvalidTransition> {
        let (scopes, asked_by, before) = (self.scopes(grant), &self.order.asked_by, open.request());
        let wider = ConsentRequest {
            scopes: before.scopes.union(&scopes),
            needed: before.needed.union(self.order.needed),
            ..before.clone()
        };
        let request = if is_all_of_user(before, &scopes, asked_by) {
            ConsentRequest {
                asked_by: asked_by.clone(),
                requesters: Requesters::default().with(asked_by),
                tools: BTreeSet::new(),
                // The user comes from our own page, not from the program's.
                next: None,
                away: self.away(grant),
                later: BTreeSet::new(),
                hands_out: self.hands_out(grant),
                ..wider
            }
        } else {
            ConsentRequest {
                requesters: before.requesters.clone().with(asked_by),
                tools: before.tools.iter().chain(self.order.tools()).cloned().collect(),
                next: self.order.next.cloned().or_else(|| before.next.clone()),
                away: before.away || self.away(grant),
                later: self.with_later(&before.later),
                hands_out: before.hands_out || self.hands_out(grant),
                ..wider
            }
        };
        open.widen(request)
    }

    /// Returns a new link, which replaces the latest one and carries its refusals over.
    pub(super) fn create(
        &self,
        latest: Option<&Authorization>,
        grant: Option<&Grant>,
        now: Time,
    ) -> Authorization {
        let Connection { caller, provider, bound, account } = self.connection;
        let link = ConnectLink {
            id: secret::random().expose_secret().to_owned(),
            ticket: secret::random_ticket(),
            caller: caller.clone(),
            browser_proof: self.browser_proof.clone(),
            provider: provider.id.clone(),
            account: account.clone(),
            binding: bound.binding.clone(),
            origin: self.origin.clone(),
            listen_address: self.listen_address,
            created_at: now,
            plan: self.plan.clone(),
        };
        let request = ConsentRequest {
            scopes: self.scopes(grant),
            needed: self.order.needed.clone(),
            tools: self.order.tools().cloned().collect(),
            asked_by: self.order.asked_by.clone(),
            requesters: Requesters::default().with(&self.order.asked_by),
            next: self.order.next.cloned(),
            away: self.away(grant),
            later: self.with_later(&BTreeSet::new()),
            hands_out: self.hands_out(grant),
        };
        let refusals = latest.map(|latest| latest.refusals().to_vec()).unwrap_or_default();
        Authorization::new(link, request, refusals)
    }

    /// Returns the prompt for a link, without what is known of other accounts and of the store.
    pub(super) fn prompt(
        &self,
        authorization: &Authorization,
        grant: Option<&Grant>,
        now: Time,
    ) -> ConnectPrompt {
        let link = authorization.link();
        let provider = &self.connection.provider;
        let LinkOrder { needed, ref asked_by, ref reason, .. } = self.order;
        let is_openid = provider.is_openid(&authorization.request().scopes);
        ConnectPrompt {
            provider: provider.id.clone(),
            title: provider.title.clone(),
            tool: asked_by.tool.clone(),
            scopes: needed.clone(),
            scope_words: needed
                .iter()
                .filter_map(|scope| scope::in_words(Some(&provider.scope_words), scope, is_openid))
                .map(str::to_owned)
                .collect(),
            reason: reason.clone(),
            url: link.url(),
            redirect_uri: match link.plan.method {
                ConsentMethod::Code(_) => Some(link.redirect_uri()),
                ConsentMethod::Paste(_) => None,
            },
            account: link.account.clone(),
            connected: Vec::new(),
            authorization: link.name(),
            expires_at: authorization.expires_at(),
            lives_minutes: minutes_left(authorization, now),
            notice: None,
            ends_with_server: false,
            unasked_place: UnaskedPlace::of(&self.connection.caller),
            ended: grant.and_then(|grant| self.past_end(grant, now)),
        }
    }

    /// Scopes that a link for this request asks for: the granted ones, those that the tools
    /// require, and the provider's own.
    fn scopes(&self, grant: Option<&Grant>) -> Scopes {
        let granted = grant.map(|grant| grant.scopes.clone()).unwrap_or_default();
        granted.union(self.order.needed).union(self.own_scopes)
    }

    /// Whether the page says that the consent also covers the user's absence. A grant that covers
    /// it keeps that over the next consent, so the page of that consent says it too.
    fn away(&self, grant: Option<&Grant>) -> bool {
        self.order.away || grant.is_some_and(|grant| grant.away)
    }

    /// Returns the calls that a page names and the one of this request, up to [`MAX_LATER_CALLS`].
    fn with_later(&self, before: &BTreeSet<LaterCall>) -> BTreeSet<LaterCall> {
        let own = self.order.later.iter().filter(|_| before.len() < MAX_LATER_CALLS);
        before.iter().chain(own).cloned().collect()
    }

    /// Whether the page says that the application gets the token, likewise.
    fn hands_out(&self, grant: Option<&Grant>) -> bool {
        self.order.hands_out || grant.is_some_and(|grant| grant.hands_out)
    }

    fn is_enough(&self, grant: &Grant, now: Time) -> bool {
        let implied = self.connection.provider.implied();
        let standing = grant.standing(self.order.needed, implied, now);
        matches!(standing, Standing::Usable | Standing::Stale)
            && !grant.is_refused()
            && (grant.away || !self.order.away)
            && (grant.hands_out || !self.order.hands_out)
    }

    /// Whether a link is open and means what a new one for this request would mean. Compared
    /// exactly: a link made under another `tools.toml` may mean more than this one's page would
    /// show, and the page that a user has open must keep its meaning.
    fn fits(&self, authorization: &Authorization, now: Time) -> bool {
        let link = authorization.link();
        authorization.is_reusable(now)
            && link.origin == self.origin
            && link.listen_address == self.listen_address
            && link.browser_proof == self.browser_proof
            && link.binding == self.connection.bound.binding
            && link.plan.fingerprint() == self.plan_fingerprint
    }

    /// Whether the page of an open link already shows everything that this request needs.
    fn is_shown_by(&self, open: &ConsentRequest, grant: Option<&Grant>) -> bool {
        let LinkOrder { needed, ref asked_by, next, .. } = self.order;
        let scopes = self.scopes(grant);
        let names_programs = open.requesters.has_program() || !open.tools.is_empty();
        scopes.is_subset(&open.scopes)
            && needed.is_subset(&open.needed)
            && self.order.tools().all(|tool| open.tools.contains(tool))
            && open.requesters.names(asked_by)
            && (next.is_none() || next == open.next.as_ref())
            && (open.away || !self.away(grant))
            && self.with_later(&open.later).len() == open.later.len()
            && (open.hands_out || !self.hands_out(grant))
            && !(names_programs && is_all_of_user(open, &scopes, asked_by))
    }

    /// Returns why the previous grant no longer works, if that is the reason for the request.
    fn past_end(&self, grant: &Grant, now: Time) -> Option<Box<str>> {
        let provider = &self.connection.provider;
        matches!(self.order.reason, PromptReason::Ended | PromptReason::NotRenewed).then(|| {
            let (at, why) = grant.past_end(&provider.token_facts());
            why.past_words(&provider.title, at, now).into()
        })
    }
}

/// Whether a link asks for more than before, and for more than a link may.
fn is_too_wide(before: &ConsentRequest, wider: &ConsentRequest) -> bool {
    let bytes: usize = wider.scopes.iter().map(str::len).sum();
    let is_long =
        wider.scopes.iter().count() > MAX_WIDENED_SCOPES || bytes > MAX_WIDENED_SCOPE_BYTES;
    is_long && !wider.scopes.is_subset(&before.scopes)
}

/// Whether the user requests by hand everything that an open link asks for: what a program asked
/// for before is then the user's own request.
fn is_all_of_user(open: &ConsentRequest, scopes: &Scopes, asked_by: &AskedBy) -> bool {
    asked_by.is_by_hand() && open.scopes.is_subset(scopes)
}

/// Minutes that the user has left, rounded up.
pub(super) fn minutes_left(authorization: &Authorization, now: Time) -> u64 {
    minutes_until(authorization.expires_at(), now)
}

/// Minutes of a link that expires then, rounded up.
pub(in crate::broker) fn minutes_until(expires_at: Time, now: Time) -> u64 {
    // If the clock went back a little, promise no more than a whole lifetime.
    expires_at.since(now).min(LINK_LIFETIME).as_secs().div_ceil(60)
}
