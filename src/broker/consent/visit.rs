//! The page behind a connect link: who asks for what, and sending the browser to the provider.
//!
//! Everything comes from the authorization itself. A process with another `tools.toml` may have
//! made it; this process's `tools.toml` has no effect on it.

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::Consents;
use super::link::ConnectError;
use super::link_decision::minutes_left;
use crate::broker::{NotYours, VisitingBrowser};
use crate::model::authorization::{AuthorizationAttempt, ConnectLink, ConsentRequest, Status};
use crate::model::consent_plan::ConsentMethod;
use crate::model::credential::AskedFor;
use crate::model::event::ConsentOutcome;
use crate::model::principal::BrowserProof;
use crate::model::reason::LinkProblem;
use crate::model::requester::Requesters;
use crate::model::retention::Retention;
use crate::model::{Authorization, Grant, Scopes, Standing, Time, ToolName, scope, secret};
use crate::oauth::{self, AuthorizationRequest};
use crate::store::{Held, StoreError};

/// Contents of a connect page. None of it is secret.
#[derive(Clone, Debug)]
pub struct Invitation {
    pub provider: String,
    pub title: String,
    /// The programs that asked.
    pub requesters: Requesters,
    pub tools: Vec<ToolName>,
    /// The end user who will own the account.
    pub user: String,
    /// Option by which a command on this machine means that user.
    pub user_option: Option<String>,
    /// How the browser is known to be the user's.
    pub proof: Proof,
    /// Name of the account, if it is not the default one.
    pub account: Option<String>,
    /// How long the consent will be kept.
    pub retention: Retention,
    /// Hosts that the token may be sent to.
    pub hosts: Vec<String>,
    /// Scopes that the user has not granted yet, each with its meaning if known.
    pub scopes: Vec<(String, Option<String>)>,
    /// Scopes asked for again that the connected account has already granted.
    pub granted: Vec<(String, Option<String>)>,
    /// Whether the consent is also for calls that run while the user is away.
    pub away: bool,
    /// The calls for which that is asked, with their tool and time; not necessarily all.
    pub later: Vec<(ToolName, Time)>,
    /// The application that gets the access token itself, if one does.
    pub hands_out_to: Option<String>,
    /// Host of the requester's or the operator's own page, if that follows a consent that lacks
    /// nothing.
    pub after: Option<String>,
    pub expires_at: Time,
    /// Minutes left, rounded up.
    pub lives_minutes: u64,
    pub status: Status,
    /// Label by which the user knows the account that is connected now.
    pub connected_as: Option<String>,
    /// Scopes that a tool needs and that were not granted, once the authorization is completed.
    pub refused: Vec<String>,
    /// Scopes asked for and not granted that no tool needs.
    pub spared: Vec<String>,
    /// When the access ends, as far as that is known, in whole sentences.
    pub ends: Option<String>,
    /// Why the last authorization attempt failed.
    pub problem: Option<LinkProblem>,
    /// The provider's own words for its refusal.
    pub said: Option<String>,
    pub is_expired: bool,
    /// The secret to paste on the page itself; `None`: the provider's own page comes next.
    pub paste: Option<Paste>,
    /// Whether this page can disconnect what was connected; not if this process ends soon.
    pub can_undo: bool,
    /// Digest of what the page says; [`Consents::depart`] requires it.
    pub digest: String,
}

/// Proof that the browser belongs to the user who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It came to this machine's loopback address.
    SameMachine,
    SignedIn,
    /// The application at this host has confirmed it.
    Application(String),
}

impl Proof {
    fn of(browser_proof: &BrowserProof) -> Self {
        match browser_proof {
            BrowserProof::Loopback => Self::SameMachine,
            BrowserProof::SignedIn => Self::SignedIn,
            BrowserProof::Application(verifier) => Self::Application(host(&verifier.url)),
        }
    }
}

/// Request to paste a secret.
#[derive(Clone, Debug)]
pub struct Paste {
    /// Instructions, in the operator's words.
    pub words: String,
    pub what: PasteWhat,
}

/// Kind of secret to paste.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasteWhat {
    Key,
    Password,
    UserAndPassword,
}

impl Paste {
    fn of(method: &ConsentMethod) -> Option<Self> {
        let ConsentMethod::Paste(asked) = method else { return None };
        let what = match asked.what {
            AskedFor::Key(_) => PasteWhat::Key,
            AskedFor::Basic { user: Some(_) } => PasteWhat::Password,
            AskedFor::Basic { user: None } => PasteWhat::UserAndPassword,
        };
        Some(Self { words: asked.words.clone(), what })
    }
}

/// Target for the browser that clicked "Continue", and the cookie that identifies it at the
/// callback.
pub struct Departure {
    pub to: Url,
    pub cookie: Cookie,
}

/// Browser-binding cookie of one authorization attempt. Ports share cookies, so each attempt has
/// its own cookie name.
pub struct Cookie {
    pub name: String,
    pub value: SecretString,
    /// Path of this provider's callback only, or `/` if the name's prefix demands that.
    pub path: String,
}

impl Cookie {
    fn of(link: &ConnectLink, state: &str) -> Self {
        let path = if link.is_on_https() {
            "/".into()
        } else {
            format!("/oauth/callback/{}", link.provider)
        };
        Self { name: cookie_name(link, state), value: secret::random(), path }
    }
}

impl Consents {
    /// The authorization behind a link, if this browser may use it.
    pub(super) async fn behind(
        &self,
        ticket: &str,
        visitor: &VisitingBrowser,
    ) -> Result<Held<Authorization>, ConnectError> {
        let held = self.store().await?.by_ticket(ticket).await?.ok_or(ConnectError::Unknown)?;
        match visitor.may_finish(held.value.link().into()) {
            Ok(()) => Ok(held),
            // Do not reveal that the link exists to a browser at another address.
            Err(NotYours::Elsewhere) => Err(ConnectError::Unknown),
            Err(stranger) => Err(ConnectError::NotYours(stranger)),
        }
    }

    /// The contents of the page behind a link. Changes nothing: link scanners and prefetching
    /// browsers come here too.
    ///
    /// # Errors
    /// [`ConnectError::Unknown`] or [`ConnectError::NotYours`] if this browser may not see the
    /// link; [`ConnectError::Store`] if the store fails.
    pub async fn invitation(
        &self,
        ticket: &str,
        visitor: &VisitingBrowser,
    ) -> Result<Invitation, ConnectError> {
        let held = self.behind(ticket, visitor).await?;
        let now = self.now();
        let authorization = &held.value;
        self.note_visit(authorization);
        let (link, request, state) =
            (authorization.link(), authorization.request(), authorization.state());
        let plan = &link.plan;
        let new = self.not_granted(authorization, now).await;
        let old = request.scopes.iter().filter(|scope| !new.contains(scope));
        let is_openid = plan.is_openid(&request.scopes);
        let in_words = |scope: &str| {
            let words = scope::in_words(Some(&plan.scope_words), scope, is_openid);
            (scope.to_owned(), words.map(str::to_owned))
        };
        let connected = state.connected().cloned().unwrap_or_default();
        Ok(Invitation {
            provider: link.provider.to_string(),
            title: plan.title.clone(),
            account: (!link.account.is_default()).then(|| link.account.to_string()),
            retention: plan.retention,
            requesters: request.requesters.clone(),
            tools: request.tools.iter().cloned().collect(),
            user: link.caller.user.to_string(),
            user_option: link.caller.user_option(),
            proof: Proof::of(&link.browser_proof),
            away: request.away,
            later: request.later.iter().map(|it| (it.tool.clone(), it.run_at)).collect(),
            hands_out_to: request.hands_out.then(|| link.caller.of().to_owned()),
            after: request.next.as_ref().or(plan.after_connect.as_ref()).map(host),
            hosts: link.binding.hosts.iter().map(str::to_owned).collect(),
            scopes: new.iter().map(in_words).collect(),
            granted: old.map(in_words).collect(),
            expires_at: authorization.expires_at(),
            lives_minutes: minutes_left(authorization, now),
            status: authorization.status(),
            spared: connected
                .ungranted
                .iter()
                .filter(|scope| !connected.refused.contains(scope))
                .map(str::to_owned)
                .collect(),
            refused: connected.refused.iter().map(str::to_owned).collect(),
            ends: connected.ends.map(|end| end.words(&plan.title, now)),
            connected_as: connected.connected_as,
            problem: state.problem().cloned(),
            said: state.said().map(str::to_owned),
            is_expired: authorization.is_expired(now),
            paste: Paste::of(&plan.method),
            can_undo: !self.0.parts.is_short_lived,
            digest: digest(authorization),
        })
    }

    /// Scopes that a link asks for beyond those of the connected account. All of them if that
    /// access has ended or cannot be read: the page must not fold away what the user has to agree
    /// to anew.
    async fn not_granted(&self, authorization: &Authorization, now: Time) -> Scopes {
        let ConnectLink { caller, provider, account, binding, plan, .. } = authorization.link();
        let scopes = &authorization.request().scopes;
        let read = async {
            let store = self.store().await?;
            store.grant(caller, provider, &binding.fingerprint(), account).await
        };
        let held = read.await.ok().flatten();
        let is_live = |grant: &Grant| {
            let standing = grant.standing(&Scopes::default(), plan.implied(), now);
            matches!(standing, Standing::Usable | Standing::Stale)
                && !grant.is_refused()
                && !grant.is_pending()
        };
        match held.filter(|held| is_live(&held.value)) {
            Some(held) => scopes.missing_from(&held.value.scopes, plan.implied()),
            None => scopes.clone(),
        }
    }

    /// Handles "Continue" on the page with this `digest`: binds this browser and sends it to the
    /// provider.
    ///
    /// # Errors
    /// [`ConnectError`] if this browser may not use the link, the page is outdated, or the store
    /// fails.
    pub async fn depart(
        &self,
        ticket: &str,
        visitor: &VisitingBrowser,
        digest: &str,
    ) -> Result<Departure, ConnectError> {
        let authorization = self.count_start(ticket, visitor, digest).await?;
        self.leave(authorization).await
    }

    /// Like [`Self::depart`], in a browser that the application confirms afterwards. It is not
    /// counted: otherwise any holder of the link could use up the starts that the link's user
    /// needs.
    ///
    /// # Errors
    /// [`NotYours::Unconfirmed`] if the application has to confirm the browser first;
    /// [`ConnectError::Changed`] if the page with this `digest` did not say all that it must.
    pub async fn depart_unconfirmed(
        &self,
        ticket: &str,
        visitor: &VisitingBrowser,
        digest: &str,
    ) -> Result<Departure, ConnectError> {
        let held = self.store().await?.by_ticket(ticket).await?.ok_or(ConnectError::Unknown)?;
        let authorization = held.value;
        let is_open = authorization.asks_unconfirmed(self.now());
        if !is_open || visitor.may_bring(authorization.link()).is_none() {
            return Err(NotYours::Unconfirmed.into());
        }
        // A link may be widened while its page is open. Of what can be added, this page says these
        // two things only; the user must have read them.
        let ConsentRequest { away, hands_out, .. } = *authorization.request();
        if (away || hands_out) && !secret::same(digest, &self::digest(&authorization)) {
            return Err(ConnectError::Changed);
        }
        self.leave(authorization).await
    }

    async fn leave(&self, authorization: Authorization) -> Result<Departure, ConnectError> {
        let (link, scopes) = (authorization.link(), &authorization.request().scopes);
        let ConsentMethod::Code(flow) = &link.plan.method else {
            return Err(ConnectError::Unknown);
        };
        let redirect_uri = link.redirect_uri();
        let state = secret::random();
        let cookie = Cookie::of(link, state.expose_secret());
        let verifier = flow.pkce.then(secret::random);
        let to = oauth::authorization_url(&AuthorizationRequest {
            endpoint: &flow.authorize,
            client_id: &flow.client.client_id,
            redirect_uri: &redirect_uri,
            state: &state,
            verifier: verifier.as_ref(),
            scope: (&flow.scope_parameter, scopes.join(&flow.scope_separator)),
            params: &flow.params_for(scopes),
        })?;
        let attempt = AuthorizationAttempt {
            browser: secret::fingerprint(cookie.value.expose_secret()),
            verifier,
            redirect_uri,
            started_at: self.now(),
            authorization,
        };
        self.0.tables.attempts.start(&state, &attempt).await?;
        self.record(&attempt.authorization, ConsentOutcome::SentToProvider);
        Ok(Departure { to, cookie })
    }

    /// Counts that the user went on from the page with this `digest`, and returns the
    /// authorization.
    pub(super) async fn count_start(
        &self,
        ticket: &str,
        visitor: &VisitingBrowser,
        digest: &str,
    ) -> Result<Authorization, ConnectError> {
        let held = self.behind(ticket, visitor).await?;
        let now = self.now();
        let authorization = &held.value;
        if !authorization.is_pending() || authorization.is_expired(now) {
            return Err(ConnectError::Unknown);
        }
        if !authorization.is_reusable(now) {
            return Err(ConnectError::Exhausted);
        }
        // A link may be widened while its page is open; a click there approves what that page said
        // and nothing more.
        if !secret::same(digest, &self::digest(authorization)) {
            return Err(ConnectError::Changed);
        }
        // Counted first: otherwise a link could fill the store with states, or be used to try out
        // keys.
        let counted = authorization.clone().start().map_err(|_| ConnectError::Unknown)?;
        match self.0.tables.authorizations.replace(counted, &held).await? {
            Some(counted) => Ok(counted.value),
            None => Err(StoreError::Contended.into()),
        }
    }

    /// Handles "No, thanks" on the page.
    ///
    /// # Errors
    /// [`ConnectError`] if this browser may not use the link, or the store fails.
    pub async fn decline(
        &self,
        ticket: &str,
        visitor: &VisitingBrowser,
    ) -> Result<(), ConnectError> {
        let held = self.behind(ticket, visitor).await?;
        if held.value.is_pending() {
            self.refuse(&held.value).await?;
            self.record(&held.value, ConsentOutcome::Declined);
        }
        Ok(())
    }
}

/// Digest of what the page behind a link says and what an answer to it would start. A link may
/// change while its page is open, also by a process with another `tools.toml`.
pub(super) fn digest(authorization: &Authorization) -> String {
    let ConnectLink { account, binding, plan, .. } = authorization.link();
    let ConsentRequest { scopes, requesters, tools, next, away, later, hands_out, .. } =
        authorization.request();
    let whom = (requesters, tools, next);
    let asked = (account, scopes, &binding.hosts, whom, away, later, hands_out);
    let candidate = authorization.state().candidate();
    let candidate = candidate.map(|grant| secret::fingerprint(grant.tokens.access.expose_secret()));
    // A question is answered once; a link may lead to the provider several times.
    let answers = candidate.is_some().then_some(authorization.starts());
    // `Debug` quotes every text, so different pages are never written alike.
    let said = (asked, plan.fingerprint(), authorization.status(), candidate, answers);
    secret::fingerprint(&format!("{said:?}"))
}

/// Cookie name of an authorization attempt. Derived from `state` without revealing it; the callback
/// recomputes it.
///
/// With `__Host-`, no sibling host can plant such a cookie, and with it its own attempt, in another
/// user's browser (draft-ietf-httpbis-rfc6265bis §4.1.3.2). Browsers accept that prefix on https
/// only.
pub(super) fn cookie_name(link: &ConnectLink, state: &str) -> String {
    let prefix = if link.is_on_https() { "__Host-" } else { "" };
    let fingerprint = secret::fingerprint(state);
    let short: String = fingerprint.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    format!("{prefix}countersign_{short}")
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}
