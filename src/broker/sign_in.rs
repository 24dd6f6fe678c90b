//! Browser sessions: signing browsers in, identifying them, signing them out.
//!
//! A browser signs in at the issuer of the tokens that its user's calls carry, or with the personal
//! key that those calls carry. The result is a [`Session`] of the same [`Caller`], which
//! [`super::consent::ownership`] compares with the requester of a link.
//!
//! The order of the checks at the callback is the defence, as in [`super::consent::callback`]: the
//! `state` is used up first, and browser and issuer are compared before the code is exchanged. If
//! an answer that one browser asked for could sign another browser in, an attacker could sign a
//! victim in as the attacker, and have the victim finish the attacker's own link (login CSRF, RFC
//! 9700 §4.7).

use std::collections::BTreeSet;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::consent::Consents;
use super::{Broker, MAX_WRITE_ATTEMPTS};
use crate::identity::{Application, Authenticator, Login, LoginError, Person};
use crate::model::event::{EventKind, SignInOutcome};
use crate::model::session::{Destination, LoginAttempt, Session};
use crate::model::{Caller, Event, Principal, Time, secret};
use crate::oauth::{AnswerError, AuthorizationResponse};
use crate::store::{BrowserTables, StoreError};

/// Signs browsers in and out. Cheap to clone.
#[derive(Clone)]
pub struct SignIn(Arc<Inner>);

struct Inner {
    broker: Broker,
    authenticator: Authenticator,
    login: Option<Login>,
}

/// How a browser can sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInMethod<'a> {
    /// At the issuer of this host.
    Issuer(&'a str),
    /// By a personal key.
    Key,
    /// At the verifier page of this application, the only one here.
    Application(&'a Application),
    /// Browsers cannot sign in here.
    Unavailable,
}

/// A browser that came back from the issuer or an application, and is signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// Its new session cookie; `None`: it keeps the present one.
    pub cookie: Option<SecretString>,
    /// The page of ours that it goes to next.
    pub to: String,
}

/// The browser was not signed in, or out.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// Unknown, expired or used. One answer for all three: the difference would help only
    /// attackers.
    #[error("this step was finished before, or has expired")]
    Unknown,
    #[error("this browser is not the one that the sign-in was started in")]
    OtherBrowser,
    #[error("the answer came from another issuer")]
    OtherIssuer,
    /// `code` has only characters that an error code may have.
    #[error("the issuer answered `{code}`")]
    Denied { code: String },
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SignInError {
    /// Advice that completes the error message, as a lower-case fragment.
    pub fn hint(&self) -> String {
        match self {
            Self::Answer(_) | Self::Unknown | Self::OtherIssuer => "sign in again".into(),
            Self::OtherBrowser => {
                "sign in again, and stay in one browser until you are back here".into()
            }
            Self::Denied { code } if code == "access_denied" => {
                "sign in again if that was not what you wanted".into()
            }
            Self::Denied { .. } => {
                "try again; if it stays, tell the operator of this server".into()
            }
            Self::Login(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}

/// The browsers that have signed in, or are about to. Only this module can write their sessions.
pub(super) struct Browsers {
    tables: BrowserTables,
}

impl Browsers {
    pub(super) fn new(tables: BrowserTables) -> Self {
        Self { tables }
    }
}

impl SignIn {
    /// Creates the sign-in of a server. `login` is the one at the issuer, if we are registered
    /// there.
    pub fn new(broker: Broker, authenticator: Authenticator, login: Option<Login>) -> Self {
        Self(Arc::new(Inner { broker, authenticator, login }))
    }

    /// How a browser can sign in here.
    pub fn method(&self) -> SignInMethod<'_> {
        let Inner { authenticator, login, .. } = &*self.0;
        match login {
            Some(login) => SignInMethod::Issuer(login.host()),
            // If there is an issuer, the owners of personal keys are its users, and sign in there.
            None if authenticator.issuer().is_some() => SignInMethod::Unavailable,
            None if authenticator.has_personal_keys() => SignInMethod::Key,
            // With several applications, the browser says which one.
            None => {
                self.only_application().map_or(SignInMethod::Unavailable, SignInMethod::Application)
            }
        }
    }

    /// The application of this name, if it can confirm who uses a browser.
    pub fn application(&self, name: &str) -> Option<&Application> {
        self.0.authenticator.applications().remove(name)
    }

    /// The application that confirms browsers here, if there is exactly one. Browsers that come
    /// from none of several applications are not shown the applications' names.
    pub fn only_application(&self) -> Option<&Application> {
        match self.0.authenticator.applications().into_values().collect::<Vec<_>>()[..] {
            [application] => Some(application),
            _ => None,
        }
    }

    /// Whether any application confirms browsers here.
    pub fn has_applications(&self) -> bool {
        !self.0.authenticator.applications().is_empty()
    }

    /// The application whose user has this session.
    pub fn application_of(&self, session: &Session) -> Option<&Application> {
        let applications = self.0.authenticator.applications();
        applications.into_values().find(|application| application.is_of(&session.caller))
    }

    /// The principal for calls of this session's user.
    pub fn principal(&self, session: &Session) -> Principal {
        match self.application_of(session) {
            Some(application) => application.principal(session.caller.user.clone()),
            None => Principal::signed_in(session.caller.clone(), session.groups.clone()),
        }
    }

    /// Claims the consent that this browser brought by a link before its application confirmed the
    /// browser. Returns the page that the browser goes to; `None`: there is no such consent.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn claim(
        &self,
        ticket: &str,
        cookie: Option<&SecretString>,
        session: &Session,
    ) -> Result<Option<String>, StoreError> {
        let cookie = cookie.map(|cookie| secret::fingerprint(cookie.expose_secret()));
        for browser in cookie.iter().chain(&session.follows) {
            if let Some(arrival) = self.consents().claim(ticket, browser, &session.caller).await? {
                return Ok(Some(arrival.next));
            }
        }
        Ok(None)
    }

    pub(super) fn consents(&self) -> &Consents {
        self.0.broker.consents()
    }

    pub(super) fn authenticator(&self) -> &Authenticator {
        &self.0.authenticator
    }

    /// Whether users sign in themselves, and not through an application.
    pub fn is_possible(&self) -> bool {
        matches!(self.method(), SignInMethod::Issuer(_) | SignInMethod::Key)
    }

    /// The session of the browser with this cookie. `None` also if the store cannot be read, or if
    /// the session's key or issuer is no longer in `tools.toml`.
    pub async fn session(&self, cookie: &SecretString) -> Option<Session> {
        self.find(cookie).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "who has signed in could not be looked up");
            None
        })
    }

    async fn find(&self, cookie: &SecretString) -> Result<Option<Session>, StoreError> {
        let store = self.0.broker.store().await?;
        let Some(held) = store.session(cookie).await? else { return Ok(None) };
        let now = self.0.broker.now();
        if held.value.is_expired(now) || !self.is_vouched_for(&held.value) {
            self.0.broker.0.browsers.tables.sessions.delete(&held).await?;
            return Ok(None);
        }
        if let Some(seen) = held.value.seen(now) {
            // `None`: another request has recorded this, or has signed the browser out, which takes
            // effect at the next request.
            self.0.broker.0.browsers.tables.sessions.replace(seen, &held).await?;
        }
        Ok(Some(held.value))
    }

    /// Whether the key, issuer or application that vouched for a session still does. A replaced key
    /// may have been known to an attacker, who must not stay signed in with it.
    fn is_vouched_for(&self, session: &Session) -> bool {
        self.0.authenticator.vouches_for(&session.caller, session.key.as_deref())
    }

    /// Starts a sign-in at the issuer that ends at the page `to`. Returns the issuer's URL for the
    /// browser with this cookie.
    ///
    /// # Errors
    /// [`SignInError::Unknown`] without a login at an issuer; [`SignInError::Login`] or
    /// [`SignInError::Store`] if the issuer or the store fails.
    pub async fn depart(&self, cookie: &SecretString, to: Destination) -> Result<Url, SignInError> {
        let Inner { broker, login, .. } = &*self.0;
        let login = login.as_ref().ok_or(SignInError::Unknown)?;
        let attempt = LoginAttempt {
            browser: secret::fingerprint(cookie.expose_secret()),
            verifier: secret::random(),
            nonce: secret::random(),
            to,
            started_at: broker.now(),
        };
        let state = secret::random();
        let issuer = login.authorization_url(&attempt, &state).await?;
        broker.0.browsers.tables.logins.start(&state, &attempt).await?;
        broker.consents().sweep_in_time();
        Ok(issuer)
    }

    /// Signs in a browser that came back from the issuer with this query.
    ///
    /// # Errors
    /// [`SignInError`]; then the browser is not signed in.
    pub async fn arrive(
        &self,
        cookie: Option<&SecretString>,
        query: &str,
    ) -> Result<SignedIn, SignInError> {
        let Inner { broker, login, .. } = &*self.0;
        let login = login.as_ref().ok_or(SignInError::Unknown)?;
        let answer = AuthorizationResponse::parse(query)?;
        // One-time: this state is used up, even if a check below fails.
        let attempt = broker.0.browsers.tables.logins.redeem(&answer.state).await?;
        let attempt = attempt.ok_or(SignInError::Unknown)?;
        if attempt.is_expired(broker.now()) {
            return Err(SignInError::Unknown);
        }
        let own = cookie.filter(|cookie| {
            secret::same(&secret::fingerprint(cookie.expose_secret()), &attempt.browser)
        });
        let Some(cookie) = own else {
            self.record(None, SignInOutcome::OtherBrowser);
            return Err(SignInError::OtherBrowser);
        };
        if !login.gave(&answer).await? {
            self.record(None, SignInOutcome::OtherIssuer);
            return Err(SignInError::OtherIssuer);
        }
        let code = answer.result.map_err(|denial| {
            self.record(None, SignInOutcome::Denied);
            SignInError::Denied { code: denial.code }
        })?;
        let person = login.person(&attempt, &code).await?;
        let cookie = self.begin(person, None, Some(cookie), attempt.started_at).await?;
        Ok(SignedIn { cookie: Some(cookie), to: attempt.to.as_str().to_owned() })
    }

    /// Signs a browser in with a personal key. Returns its new cookie; `None`: no user has this
    /// key, or keys do not sign browsers in here.
    ///
    /// # Errors
    /// [`SignInError::Store`] if the store fails; [`SignInError::Unknown`] if the user's access was
    /// ended.
    pub async fn by_key(
        &self,
        cookie: Option<&SecretString>,
        key: &SecretString,
    ) -> Result<Option<SecretString>, SignInError> {
        if self.method() != SignInMethod::Key {
            return Ok(None);
        }
        let Some(caller) = self.0.authenticator.person_of_key(key) else {
            self.record(None, SignInOutcome::UnknownKey);
            return Ok(None);
        };
        let person = Person { caller, groups: BTreeSet::new() };
        let key = secret::fingerprint(key.expose_secret());
        let now = self.0.broker.now();
        Ok(Some(self.begin(person, Some(key), cookie, now).await?))
    }

    /// Signs out the browser with this cookie.
    ///
    /// # Errors
    /// [`SignInError::Store`] if the store cannot be read or written.
    pub async fn leave(&self, cookie: &SecretString) -> Result<(), SignInError> {
        let store = self.0.broker.store().await?;
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let Some(held) = store.session(cookie).await? else { return Ok(()) };
            // Otherwise another tab has just used the session; it must end all the same.
            if self.0.broker.0.browsers.tables.sessions.delete(&held).await? {
                self.record(Some(&held.value.caller), SignInOutcome::SignedOut);
                return Ok(());
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Begins a session under a new cookie, which an attacker cannot have planted (session
    /// fixation), and ends the previous session.
    ///
    /// `vouched_at` is when the issuer was asked, or when the key or the application identified the
    /// user.
    ///
    /// # Errors
    /// [`SignInError::Unknown`] if the user's access was ended since.
    pub(super) async fn begin(
        &self,
        person: Person,
        key: Option<String>,
        before: Option<&SecretString>,
        vouched_at: Time,
    ) -> Result<SecretString, SignInError> {
        let broker = &self.0.broker;
        if let Some(before) = before {
            self.leave(before).await?;
        }
        let now = broker.now();
        let Person { caller, groups } = person;
        let follows = before.map(|before| secret::fingerprint(before.expose_secret()));
        let session = Session { caller, groups, key, follows, began_at: now, seen_at: now };
        let cookie = secret::random();
        let store = broker.store().await?;
        self.0.broker.0.browsers.tables.sessions.begin(&cookie, &session).await?;
        // Checked after the session is written: either this sees that the access has ended, or
        // ending the access sees the session.
        if store.is_cut_off(&session.caller, vouched_at).await? {
            self.leave(&cookie).await?;
            return Err(SignInError::Unknown);
        }
        broker.consents().sweep_in_time();
        self.record(Some(&session.caller), SignInOutcome::SignedIn);
        Ok(cookie)
    }

    fn record(&self, caller: Option<&Caller>, outcome: SignInOutcome) {
        let event = Event::new(EventKind::SignIn(outcome));
        self.0.broker.events().record(&Event { caller: caller.cloned(), ..event });
    }
}
