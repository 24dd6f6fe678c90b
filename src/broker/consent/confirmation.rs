//! Browsers of an application's users: the application confirms who uses one.
//!
//! A browser without a session goes to the verifier page with a new `flow_id`. The application,
//! which knows its own session there, says with its key who the user is. The answer names a
//! `next_uri` with a second nonce. A session begins only if that nonce comes with the cookie of the
//! browser that was sent to the verifier page: the nonce alone proves that some browser is the
//! user's, the cookie alone that it is this one. An attacker who completes a flow in her browser
//! and makes the user's browser load `next_uri`, or who makes the user's browser load the verifier
//! page with a flow of hers, has only one of the two (login CSRF and session fixation, RFC 9700
//! §4.7).

use std::collections::BTreeSet;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::Consents;
use super::callback::CallbackError;
use super::visit::digest;
use crate::broker::MAX_WRITE_ATTEMPTS;
use crate::broker::sign_in::{SignIn, SignInError, SignedIn};
use crate::identity::{Application, Person};
use crate::model::authorization::ConnectLink;
use crate::model::principal::{BrowserProof, Verifier};
use crate::model::verification::{ConfirmedBrowser, LinkOwner, Verification};
use crate::model::{Destination, Session, Time, Unconfirmed, UserId, secret};
use crate::store::{Held, StoreError};

/// Parameter of the verifier page and of `next_uri` that carries the first nonce.
const FLOW: &str = "flow_id";
/// Parameter of `next_uri` that carries the second nonce.
const NONCE: &str = "nonce";
/// Path of `next_uri`.
pub const NEXT_PATH: &str = "/signin/confirmed";

/// The answer to an application that has confirmed a browser.
#[derive(Clone, Debug)]
pub struct Confirmed {
    /// [`ConnectLink::id`] of the opened link; `None`: the browser opened no link to a consent.
    pub authorization: Option<String>,
    /// Address to which the application must send the browser; holds a secret.
    pub next_uri: String,
}

/// Next step of a browser that opens a link and that its application has not confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnconfirmedStep {
    /// The verifier page.
    Verifier(Url),
    /// The provider of this title; the application at this host confirms the browser afterwards.
    Consent(UnconfirmedConsent),
}

/// Contents of the page for a browser that may belong to another person. It does not name the
/// link's user, the tools and the scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnconfirmedConsent {
    pub title: String,
    pub host: String,
    /// Whether the consent is also for calls that run while the user is away.
    pub away: bool,
    /// The application that gets the access token itself, if one does.
    pub hands_out_to: Option<String>,
    /// Digest for [`Consents::depart_unconfirmed`](super::Consents::depart_unconfirmed).
    pub digest: String,
}

/// The browser was not confirmed. Nothing was kept, and the link can be opened again.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmationError {
    /// Also a flow of another application.
    #[error("there is no such flow, or its time is over")]
    Unknown,
    #[error("the link was made for another user, or another user was confirmed before")]
    UserMismatch,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ConfirmationError {
    /// Advice for the application's developer.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unknown => "send the browser to the link again, which begins a new flow",
            Self::UserMismatch => {
                "this flow is over; the link still works for the user whom it was made for"
            }
            Self::Store(_) => "send the confirmation again",
        }
    }
}

impl Consents {
    /// Records that, according to this application, `user` uses the browser that brought `flow`.
    ///
    /// Repeating it with the same user gives the same answer, so an application can send an
    /// interrupted request again, and a reload of its page is harmless.
    ///
    /// # Errors
    /// [`ConfirmationError`]; after [`ConfirmationError::UserMismatch`] the flow is over.
    pub async fn confirm_user(
        &self,
        application: &Application,
        flow: &SecretString,
        user: &UserId,
    ) -> Result<Confirmed, ConfirmationError> {
        let store = self.store().await?;
        let key = application.name.as_str();
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let now = self.now();
            let Some(held) = store.verification(flow).await? else {
                return self.confirm_parked(application, flow, user).await;
            };
            let found = &held.value;
            // Before anything is used up: an application must not spoil another application's flow.
            if found.application != key {
                tracing::warn!(key, "refused the confirmation of another application's flow");
                return Err(ConfirmationError::Unknown);
            }
            if found.is_expired(now) {
                return Err(ConfirmationError::Unknown);
            }
            let caller = application.caller(user.clone());
            let is_other = found.link.as_ref().is_some_and(|link| link.user != *user)
                || found.confirmed.as_ref().is_some_and(|before| before.caller != caller);
            if is_other {
                tracing::warn!(key, "refused a browser: another user began this flow");
                self.0.tables.verifications.delete(&held).await?;
                if let Some(ticket) = found.to.ticket() {
                    self.refuse_unclaimed(ticket, &found.browser, Some(&caller)).await?;
                }
                return Err(ConfirmationError::UserMismatch);
            }
            if let Some(before) = &found.confirmed {
                return Ok(confirmed(flow, found, before));
            }
            // Created only now: the browser that was sent to the verifier page, and the party that
            // sent it, must not know it before the application has answered.
            let nonce = secret::random();
            let key = application.key.clone();
            let answer = ConfirmedBrowser { caller, key, nonce, at: now, is_used: false };
            let next = Verification { confirmed: Some(answer.clone()), ..found.clone() };
            // `None`: another confirmation of the same flow was faster.
            if let Some(kept) = self.0.tables.verifications.replace(next, &held).await? {
                return Ok(confirmed(flow, &kept.value, &answer));
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Confirms what an earlier version stored under this flow when the browser came back from the
    /// provider. From here on it is an unclaimed consent.
    async fn confirm_parked(
        &self,
        application: &Application,
        flow: &SecretString,
        user: &UserId,
    ) -> Result<Confirmed, ConfirmationError> {
        let store = self.store().await?;
        let now = self.now();
        let held = store.unconfirmed(flow).await?.ok_or(ConfirmationError::Unknown)?;
        if held.value.verifier.key != application.name || held.value.is_expired(now) {
            return Err(ConfirmationError::Unknown);
        }
        // Once: a code is good for one exchange.
        if !self.0.tables.unconfirmed.delete(&held).await? {
            return Err(ConfirmationError::Unknown);
        }
        let Unconfirmed { consent, .. } = held.value;
        let authorization = consent.authorization().clone();
        let link = authorization.link();
        if link.caller != application.caller(user.clone()) {
            return Err(ConfirmationError::UserMismatch);
        }
        let browser = authorization.parked_browser().ok_or(ConfirmationError::Unknown)?.to_owned();
        let mut verification =
            of_link(link, browser.clone(), now).ok_or(ConfirmationError::Unknown)?;
        let consents = self.clone();
        let kept = self.unbroken(async move { consents.exchange_parked(consent, browser).await });
        match kept.await {
            Some(Ok(())) => {}
            Some(Err(CallbackError::Store(error))) => return Err(error.into()),
            Some(Err(_)) | None => return Err(ConfirmationError::Unknown),
        }
        let answer = ConfirmedBrowser {
            caller: link.caller.clone(),
            key: application.key.clone(),
            nonce: secret::random(),
            at: now,
            is_used: false,
        };
        verification.confirmed = Some(answer.clone());
        self.0.tables.verifications.start(flow, &verification).await?;
        Ok(confirmed(flow, &verification, &answer))
    }

    /// The verifier page for a browser that has opened this link; `None`: no application has to
    /// confirm it.
    pub(super) async fn verify_link(
        &self,
        link: &ConnectLink,
        browser: String,
    ) -> Result<Option<Url>, StoreError> {
        let BrowserProof::Application(verifier) = &link.browser_proof else {
            return Ok(None);
        };
        match of_link(link, browser, self.now()) {
            Some(verification) => self.verify(verifier, verification).await.map(Some),
            None => Ok(None),
        }
    }

    /// The verifier page for a browser that has opened the page of a call's confirmation; `None`: no
    /// application has to confirm it. Also where the application confirms consents afterwards: what
    /// a call does cannot be taken back.
    async fn verify_confirmation(
        &self,
        ticket: &str,
        to: &Destination,
        browser: String,
    ) -> Result<Option<Url>, StoreError> {
        let held = self.store().await?.call_confirmation(ticket).await?;
        let Some(confirmation) = held.map(|held| held.value) else { return Ok(None) };
        let BrowserProof::Application(verifier) = &confirmation.browser_proof else {
            return Ok(None);
        };
        let user = confirmation.caller.user.clone();
        let verification = Verification {
            application: verifier.key.clone(),
            browser,
            origin: confirmation.origin.clone(),
            to: to.clone(),
            link: Some(LinkOwner { authorization: confirmation.id.clone(), user }),
            started_at: self.now(),
            confirmed: None,
        };
        self.verify(verifier, verification).await.map(Some)
    }

    /// Starts a flow for a browser. Returns the address of the verifier page for it.
    async fn verify(
        &self,
        verifier: &Verifier,
        verification: Verification,
    ) -> Result<Url, StoreError> {
        let flow = secret::random();
        self.0.tables.verifications.start(&flow, &verification).await?;
        self.sweep_in_time();
        let mut page = verifier.url.clone();
        page.query_pairs_mut().append_pair(FLOW, flow.expose_secret());
        Ok(page)
    }
}

/// The flow of a browser that has opened an application's link.
fn of_link(of: &ConnectLink, browser: String, now: Time) -> Option<Verification> {
    let BrowserProof::Application(verifier) = &of.browser_proof else { return None };
    let link = LinkOwner { authorization: of.id.clone(), user: of.caller.user.clone() };
    Some(Verification {
        application: verifier.key.clone(),
        browser,
        origin: of.origin.clone(),
        to: Destination::link(of.ticket.expose_secret())?,
        link: Some(link),
        started_at: now,
        confirmed: None,
    })
}

fn confirmed(flow: &SecretString, of: &Verification, answer: &ConfirmedBrowser) -> Confirmed {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair(FLOW, flow.expose_secret())
        .append_pair(NONCE, answer.nonce.expose_secret())
        .finish();
    Confirmed {
        authorization: of
            .link
            .as_ref()
            .filter(|_| of.to.ticket().is_some())
            .map(|link| link.authorization.clone()),
        next_uri: format!("{}{NEXT_PATH}?{query}", of.origin),
    }
}

impl SignIn {
    /// The next step of a browser that opens this page of a link, of an application's user, without
    /// that user's session; `None`: no application has to confirm it.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn unconfirmed_step(
        &self,
        to: &Destination,
        cookie: &SecretString,
    ) -> Result<Option<UnconfirmedStep>, StoreError> {
        let consents = self.consents();
        if let Some(ticket) = to.confirmation_ticket() {
            let browser = secret::fingerprint(cookie.expose_secret());
            let page = consents.verify_confirmation(ticket, to, browser).await?;
            return Ok(page.map(UnconfirmedStep::Verifier));
        }
        let Some(ticket) = to.ticket() else { return Ok(None) };
        let Some(held) = consents.store().await?.by_ticket(ticket).await? else { return Ok(None) };
        let authorization = &held.value;
        let browser = secret::fingerprint(cookie.expose_secret());
        if authorization.asks_unconfirmed(consents.now())
            && let BrowserProof::Application(verifier) = &authorization.link().browser_proof
            && !consents.has_unclaimed(ticket, &browser).await?
        {
            let host = verifier.url.host_str().unwrap_or_default().to_owned();
            let title = authorization.link().plan.title.clone();
            let request = authorization.request();
            return Ok(Some(UnconfirmedStep::Consent(UnconfirmedConsent {
                title,
                host,
                away: request.away,
                hands_out_to: request
                    .hands_out
                    .then(|| authorization.link().caller.of().to_owned()),
                digest: digest(authorization),
            })));
        }
        let page = consents.verify_link(authorization.link(), browser).await?;
        Ok(page.map(UnconfirmedStep::Verifier))
    }

    /// The verifier page of the application of this name, for a browser that came to `origin` for
    /// its user's accounts; `None`: there is no such application.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn verifier_of(
        &self,
        application: &str,
        cookie: &SecretString,
        origin: String,
    ) -> Result<Option<Url>, StoreError> {
        let applications = self.authenticator().applications();
        let verifier = applications.get(application).and_then(|application| application.verifier());
        let Some(verifier) = verifier else { return Ok(None) };
        let consents = self.consents();
        let verification = Verification {
            application: verifier.key.clone(),
            browser: secret::fingerprint(cookie.expose_secret()),
            origin,
            to: Destination::default(),
            link: None,
            started_at: consents.now(),
            confirmed: None,
        };
        consents.verify(verifier, verification).await.map(Some)
    }

    /// Signs in a browser that came to `next_uri` with this query.
    ///
    /// # Errors
    /// [`SignInError::Unknown`] if the query or its flow is not valid;
    /// [`SignInError::OtherBrowser`] if another browser began the flow; [`SignInError::Store`] if
    /// the store fails.
    pub async fn confirmed(
        &self,
        cookie: Option<&SecretString>,
        session: Option<&Session>,
        query: &str,
    ) -> Result<SignedIn, SignInError> {
        let (flow, nonce) = nonces(query).ok_or(SignInError::Unknown)?;
        let consents = self.consents();
        let store = consents.store().await?;
        let held = store.verification(&flow).await?.ok_or(SignInError::Unknown)?;
        let Verification { browser, to, confirmed, .. } = &held.value;
        let confirmed = confirmed.as_ref().ok_or(SignInError::Unknown)?;
        if !secret::same(nonce.expose_secret(), confirmed.nonce.expose_secret()) {
            return Err(SignInError::Unknown);
        }
        let there = || Ok(SignedIn { cookie: None, to: to.as_str().to_owned() });
        let of_caller = session.filter(|session| session.caller == confirmed.caller);
        let is = |of: &str| secret::same(of, browser);
        let own = cookie.filter(|it| is(&secret::fingerprint(it.expose_secret())));
        // Its cookie may have been replaced since, for another link in another tab.
        let follows = of_caller.and_then(|session| session.follows.as_deref()).is_some_and(is);
        if own.is_none() && !follows {
            let (has_cookie, is_theirs) = (cookie.is_some(), of_caller.is_some());
            return self.refuse_other_browser(&held, has_cookie, is_theirs).await;
        }
        if of_caller.is_some() {
            // A reload.
            return there();
        }
        if confirmed.is_expired(consents.now()) {
            return Err(SignInError::Unknown);
        }
        let used = ConfirmedBrowser { is_used: true, ..confirmed.clone() };
        let used = Verification { confirmed: Some(used), ..held.value.clone() };
        // Only once. The same browser may come twice concurrently, and continues either way.
        if confirmed.is_used
            || consents.0.tables.verifications.replace(used, &held).await?.is_none()
        {
            return there();
        }
        let person = Person { caller: confirmed.caller.clone(), groups: BTreeSet::new() };
        let key = Some(confirmed.key.clone());
        let cookie = self.begin(person, key, own, confirmed.at).await?;
        let to = match to.ticket() {
            Some(ticket) => consents.claim(ticket, browser, &confirmed.caller).await,
            None => Ok(None),
        }
        // After an error, its page tries again.
        .unwrap_or_else(|error| {
            tracing::warn!(%error, "a consent could not be claimed");
            None
        })
        .map_or_else(|| to.as_str().to_owned(), |arrival| arrival.next);
        Ok(SignedIn { cookie: Some(cookie), to })
    }

    /// Refuses a confirmed browser that did not begin this flow; `is_theirs`: it is signed in as
    /// the confirmed user, and has opened another link of theirs before.
    async fn refuse_other_browser(
        &self,
        held: &Held<Verification>,
        has_cookie: bool,
        is_theirs: bool,
    ) -> Result<SignedIn, SignInError> {
        tracing::warn!("refused a confirmed browser: the flow began in another one");
        let (consents, Verification { browser, to, .. }) = (self.consents(), &held.value);
        let is_dropped = match to.ticket() {
            Some(ticket) => consents.refuse_unclaimed(ticket, browser, None).await?,
            None => false,
        };
        // If another browser with a cookie of ours comes, one of the two is an attacker's. A
        // request without a cookie may be a link scanner's, which must not spoil the flow.
        if is_dropped || (has_cookie && !is_theirs) {
            consents.0.tables.verifications.delete(held).await?;
        }
        if is_theirs && !is_dropped {
            return Ok(SignedIn { cookie: None, to: to.as_str().to_owned() });
        }
        Err(SignInError::OtherBrowser)
    }
}

/// The two nonces of `next_uri`, if each occurs exactly once.
fn nonces(query: &str) -> Option<(SecretString, SecretString)> {
    let one = |name: &str| {
        let mut found = url::form_urlencoded::parse(query.as_bytes());
        let mut found = found.by_ref().filter(|(other, _)| other == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(SecretString::from(value.into_owned())),
            _ => None,
        }
    };
    Some((one(FLOW)?, one(NONCE)?))
}

#[cfg(test)]
mod tests;
