//! Which link a request for a consent gets: the open one as it is, the open one with more scopes,
//! or a new one. Pure decisions; [`super::link`] reads and writes the store.

use std::collections::BTreeSet;
use std::net::IpAddr;

use secrecy::ExposeSecret as _;

use crate::broker::Connection;
use crate::model::authorization::{
    ConnectLink, ConsentRequest, InvalidTransition, LINK_LIFETIME, MAX_REFUSALS_PER_HOUR,
};
use crate::model::consent_plan::{ConsentMethod, ConsentPlan};
use crate::model::principal::BrowserProof;
use crate::model::requester::{AskedBy, Requesters};
use crate::model::{
    Authorization, ConnectPrompt, Grant, PromptReason, Scopes, Standing, Time, scope, secret,
};

/// A request for a consent, with everything that a link for it is made from.
pub(super) struct LinkRequest<'a> {
    pub(super) connection: &'a Connection,
    pub(super) browser_proof: BrowserProof,
    /// Scopes that the requesting tools require.
    pub(super) needed: &'a Scopes,
    /// Scopes that the provider's table always asks for.
    pub(super) own_scopes: &'a Scopes,
    pub(super) asked_by: AskedBy,
    pub(super) reason: PromptReason,
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
        let is_by_tool = self.asked_by.tool.is_some();
        // The consent was being stored when this call found none. A new link would replace the one
        // that has just succeeded, and wait for a click that never comes.
        if is_by_tool && grant.is_some_and(|grant| self.is_enough(grant, now)) {
            return Decision::Granted;
        }
        let is_refused = |latest: &Authorization| {
            !latest.is_reusable(now) && latest.recent_refusals(now) >= MAX_REFUSALS_PER_HOUR
        };
        if is_by_tool && latest.is_some_and(is_refused) {
            return Decision::RefusedOften;
        }
        let Some(open) = latest.filter(|latest| self.fits(latest, now)) else {
            return Decision::Create;
        };
        if self.is_shown_by(open.request(), grant) {
            return Decision::Reuse(open);
        }
        match self.widen(open.clone(), grant) {
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
        let (scopes, asked_by, before) = (self.scopes(grant), &self.asked_by, open.request());
        let (asked_by, requesters, tools) = if is_all_of_user(before, &scopes, asked_by) {
            (asked_by.clone(), Requesters::default().with(asked_by), BTreeSet::new())
        } else {
            let tools = before.tools.iter().chain(&asked_by.tool).cloned().collect();
            (before.asked_by.clone(), before.requesters.clone().with(asked_by), tools)
        };
        let request = ConsentRequest {
            scopes: before.scopes.union(&scopes),
            needed: before.needed.union(self.needed),
            asked_by,
            requesters,
            tools,
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
            needed: self.needed.clone(),
            tools: self.asked_by.tool.iter().cloned().collect(),
            asked_by: self.asked_by.clone(),
            requesters: Requesters::default().with(&self.asked_by),
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
        let is_openid = provider.is_openid(&authorization.request().scopes);
        ConnectPrompt {
            provider: provider.id.clone(),
            title: provider.title.clone(),
            tool: self.asked_by.tool.clone(),
            scopes: self.needed.clone(),
            scope_words: self
                .needed
                .iter()
                .filter_map(|scope| scope::in_words(Some(&provider.scope_words), scope, is_openid))
                .map(str::to_owned)
                .collect(),
            reason: self.reason.clone(),
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
            ended: grant.and_then(|grant| self.past_end(grant, now)),
        }
    }

    /// Scopes that a link for this request asks for: the granted ones, those that the tools
    /// require, and the provider's own.
    fn scopes(&self, grant: Option<&Grant>) -> Scopes {
        let granted = grant.map(|grant| grant.scopes.clone()).unwrap_or_default();
        granted.union(self.needed).union(self.own_scopes)
    }

    fn is_enough(&self, grant: &Grant, now: Time) -> bool {
        let standing = grant.standing(self.needed, self.connection.provider.implied(), now);
        matches!(standing, Standing::Usable | Standing::Stale) && !grant.is_refused()
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
        let (scopes, asked_by) = (self.scopes(grant), &self.asked_by);
        let names_programs = open.requesters.has_program() || !open.tools.is_empty();
        scopes.is_subset(&open.scopes)
            && self.needed.is_subset(&open.needed)
            && asked_by.tool.iter().all(|tool| open.tools.contains(tool))
            && open.requesters.names(asked_by)
            && !(names_programs && is_all_of_user(open, &scopes, asked_by))
    }

    /// Returns why the previous grant no longer works, if that is the reason for the request.
    fn past_end(&self, grant: &Grant, now: Time) -> Option<Box<str>> {
        let provider = &self.connection.provider;
        matches!(self.reason, PromptReason::Ended | PromptReason::NotRenewed).then(|| {
            let (at, why) = grant.past_end(&provider.token_facts());
            why.past_words(&provider.title, at, now).into()
        })
    }
}

/// Whether the user requests by hand everything that an open link asks for: what a program asked
/// for before is then the user's own request.
fn is_all_of_user(open: &ConsentRequest, scopes: &Scopes, asked_by: &AskedBy) -> bool {
    asked_by.is_by_hand() && open.scopes.is_subset(scopes)
}

/// Minutes that the user has left, rounded up.
pub(super) fn minutes_left(authorization: &Authorization, now: Time) -> u64 {
    // If the clock went back a little, promise no more than a whole lifetime.
    authorization.expires_at().since(now).min(LINK_LIFETIME).as_secs().div_ceil(60)
}
