//! The second half of a consent: the browser comes back from the provider.
//!
//! The order of the checks is the defence. The `state` is used up before anything else is trusted,
//! so that only one of two concurrent callbacks can succeed. Browser, provider and issuer are
//! compared before the code is exchanged: afterwards it is too late to find out that an attacker's
//! account was on the other side (RFC 9700 §4.4 mix-up, §4.7 CSRF, and the session fixation of a
//! forwarded link).

use secrecy::{ExposeSecret as _, SecretString};

use super::Consents;
use super::keep::Arrival;
use super::visit::cookie_name;
use crate::broker::{NotYours, VisitingBrowser};
use crate::model::authorization::{AuthorizationAttempt, PendingConsent};
use crate::model::consent_plan::ConsentMethod;
use crate::model::event::ConsentOutcome;
use crate::model::reason::{ConsentFailure, LinkProblem};
use crate::model::text::incident;
use crate::model::{Authorization, chain, secret};
use crate::oauth::{AnswerError, AuthorizationResponse, Denial, Issued, TokenError, Verdict};
use crate::store::StoreError;

/// The browser's request to the callback.
pub struct Callback<'a> {
    /// The provider named in the path.
    pub provider: &'a str,
    /// The raw query string.
    pub query: &'a str,
    /// Returns the value of a cookie of the request.
    pub cookie: &'a (dyn Fn(&str) -> Option<String> + Sync),
    pub visitor: &'a VisitingBrowser,
}

/// The callback was refused, or the provider issued no token. No token was stored; with
/// [`Self::Store`], the issued tokens are held until there is room.
#[derive(Debug, thiserror::Error)]
pub enum CallbackError {
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// Unknown, expired or used. One answer for all three: the difference would help only
    /// attackers.
    #[error("this step was finished before, or its time is over")]
    Unknown,
    #[error("this browser is not the one that the authorization was started in")]
    OtherBrowser,
    /// The browser is not the user's: the provider's page was forwarded, or another user has signed
    /// in since.
    #[error(transparent)]
    NotYours(#[from] NotYours),
    #[error("the answer came to another provider's address")]
    OtherProvider,
    #[error("the answer came from another issuer")]
    OtherIssuer,
    /// In a browser that the application has not confirmed. The link can be used again.
    #[error("the provider answered `{code}`")]
    Denied { code: String },
    /// The link can be used again.
    #[error("`{provider}` did not hand out a token: {source}")]
    NoToken { provider: String, link: String, source: TokenError },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the server is ending")]
    Ending,
}

impl Consents {
    /// Finishes an authorization with the provider's answer.
    ///
    /// # Errors
    /// [`CallbackError`]; then no grant was kept and none was changed.
    pub async fn arrive(&self, callback: Callback<'_>) -> Result<Arrival, CallbackError> {
        let answer = AuthorizationResponse::parse(callback.query)?;
        let state = answer.state.expose_secret();
        let store = self.store().await?;
        let held = store.started(state).await?.ok_or(CallbackError::Unknown)?;
        // One-time: this state is used up even if a check below fails, so a second try with better
        // parameters finds no record.
        if !self.0.tables.attempts.delete(&held).await? {
            return Err(CallbackError::Unknown);
        }
        let started = held.value;
        let authorization = &started.authorization;
        let link = authorization.link();
        if authorization.is_expired(self.now()) {
            return Err(CallbackError::Unknown);
        }
        if callback.provider != link.provider.as_str() {
            self.record(authorization, ConsentOutcome::OtherProvider);
            return Err(CallbackError::OtherProvider);
        }
        // Only the browser in which the user clicked "Continue" has this cookie. Another browser
        // followed a forwarded link to the provider.
        let cookie = (callback.cookie)(&cookie_name(link, state));
        let is_same = cookie
            .is_some_and(|cookie| secret::same(&secret::fingerprint(&cookie), &started.browser));
        if !is_same {
            self.record(authorization, ConsentOutcome::OtherBrowser);
            return Err(CallbackError::OtherBrowser);
        }
        // Checked again, before the code is exchanged: the user who passed the connect page may
        // have sent the provider's address to another user (cross-user session fixation).
        let unclaimed_by = match callback.visitor.may_finish(link.into()) {
            Ok(()) => None,
            // The consent belongs to no user until the application has confirmed this browser.
            Err(stranger) => {
                let Some(browser) = callback.visitor.may_bring(link) else {
                    self.record(authorization, ConsentOutcome::OtherUser);
                    return Err(stranger.into());
                };
                Some(browser.to_owned())
            }
        };
        let ConsentMethod::Code(flow) = &link.plan.method else {
            return Err(CallbackError::Unknown);
        };
        if !answer.is_from(flow.issuer.as_deref(), flow.issuer_required) {
            self.record(authorization, ConsentOutcome::OtherIssuer);
            return Err(CallbackError::OtherIssuer);
        }
        self.take_answer(started, answer.result, unclaimed_by).await
    }

    /// Takes the provider's answer in a browser that has passed the checks; in one that the
    /// application must still confirm, if `unclaimed_by` is set.
    async fn take_answer(
        &self,
        started: AuthorizationAttempt,
        answer: Result<SecretString, Denial>,
        unclaimed_by: Option<String>,
    ) -> Result<Arrival, CallbackError> {
        let authorization = &started.authorization;
        match answer {
            // An unconfirmed browser must not refuse on behalf of the link's user.
            Err(denial) if unclaimed_by.is_some() => {
                self.record(authorization, ConsentOutcome::ProviderError);
                Err(CallbackError::Denied { code: denial.code })
            }
            Err(denial) => self.denied(authorization, &denial).await,
            Ok(code) => {
                // In its own task: a browser that disconnects after the code was sent must not take
                // the tokens with it.
                let consents = self.clone();
                let exchanged = async move { consents.exchange(started, code, unclaimed_by).await };
                let arrival = self.unbroken(exchanged);
                match arrival.await.unwrap_or(Err(CallbackError::Ending)) {
                    // The reason is shown behind the link, at an address without code and state.
                    Err(CallbackError::NoToken { link, .. }) => Ok(Arrival { next: link }),
                    arrival => arrival,
                }
            }
        }
    }

    async fn denied(
        &self,
        authorization: &Authorization,
        denial: &Denial,
    ) -> Result<Arrival, CallbackError> {
        let (why, outcome) = match &*denial.code {
            "access_denied" => (ConsentFailure::DeclinedAtProvider, ConsentOutcome::Declined),
            code => (
                ConsentFailure::ProviderError { code: code.to_owned() },
                ConsentOutcome::ProviderError,
            ),
        };
        let now = self.now();
        let fail = |it: Authorization| it.fail(why.clone(), denial.description.clone(), now);
        self.conclude(authorization, fail).await?;
        self.record(authorization, outcome);
        Ok(Arrival { next: authorization.link().url() })
    }

    /// Like [`Self::exchange`], for a consent that an earlier version kept.
    pub(super) async fn exchange_parked(
        &self,
        consent: PendingConsent,
        browser: String,
    ) -> Result<(), CallbackError> {
        match consent {
            PendingConsent::Code { started, code } => {
                self.exchange(*started, code, Some(browser)).await.map(drop)
            }
            PendingConsent::Pasted { authorization, tokens } => {
                let issued = Issued { tokens, scopes: None, id_token: None };
                Ok(self.keep_unclaimed(&authorization, issued, browser).await?)
            }
        }
    }

    /// Exchanges a code and stores the grant; if the application must still confirm the browser
    /// `unclaimed_by`, the grant is kept apart.
    async fn exchange(
        &self,
        started: AuthorizationAttempt,
        code: SecretString,
        unclaimed_by: Option<String>,
    ) -> Result<Arrival, CallbackError> {
        let AuthorizationAttempt { authorization, redirect_uri, verifier, .. } = started;
        let link = authorization.link();
        let ConsentMethod::Code(flow) = &link.plan.method else {
            return Err(CallbackError::Unknown);
        };
        let oauth = self.0.parts.oauth.allowing(&flow.allow_private);
        let issued = oauth.exchange(&flow.client, &code, &redirect_uri, verifier.as_ref());
        let issued = match issued.await {
            Ok(issued) => issued,
            Err(source) => {
                self.record(&authorization, ConsentOutcome::NoToken);
                let (provider, incident) = (link.provider.to_string(), incident());
                tracing::warn!(incident, provider, error = %chain(&source), "no token for a code");
                self.not_issued(&authorization, &source, &incident).await?;
                let link = link.url();
                return Err(CallbackError::NoToken { provider, link, source });
            }
        };
        let Some(browser) = unclaimed_by else {
            return Ok(self.keep(&authorization, issued).await?);
        };
        self.keep_unclaimed(&authorization, issued, browser.clone()).await?;
        let page = self.verify_link(link, browser).await?;
        Ok(Arrival { next: page.map_or_else(|| link.url(), Into::into) })
    }

    /// Writes behind the link why no token was issued. If only the operator can help, the
    /// authorization has failed and its waiters are told; otherwise the link can be used again.
    async fn not_issued(
        &self,
        authorization: &Authorization,
        source: &TokenError,
        incident: &str,
    ) -> Result<(), StoreError> {
        if source.verdict() == Verdict::Operator {
            let (code, now) = (source.code().map(str::to_owned), self.now());
            let why = ConsentFailure::ClientRefused { code };
            let fail = |it: Authorization| it.fail(why.clone(), None, now);
            self.conclude(authorization, fail).await?;
            return Ok(());
        }
        let (error, incident) = (source.to_string(), incident.to_owned());
        let problem = LinkProblem::NoToken { error, incident };
        let note = |it: Authorization| it.note_problem(problem.clone());
        self.advance(authorization, note).await.map(drop)
    }
}

impl CallbackError {
    /// For the page: advice on what the user can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::Answer(AnswerError::ErrorWithoutState { .. }) => {
                "go back and ask again; if it stays, the operator of this server must check the app's redirect URI, client_id and scopes at the provider".into()
            }
            Self::Answer(_) | Self::Unknown | Self::OtherProvider | Self::OtherIssuer => {
                "go back and ask again; you will get a new link".into()
            }
            Self::OtherBrowser | Self::NotYours(_) => {
                "open the link that you were given yourself, and stay in one browser".into()
            }
            Self::Denied { .. } => "open the link again if that was not what you wanted".into(),
            Self::NoToken { source, .. } => match source.verdict() {
                Verdict::Operator => "the operator of this server must check the provider's client_id, client_secret and redirect URI".into(),
                Verdict::GrantEnded | Verdict::Unclear | Verdict::Passing => "try again".into(),
            },
            Self::Store(error) => error.hint(),
            Self::Ending => "start Countersign again, then open the link once more".into(),
        }
    }
}
