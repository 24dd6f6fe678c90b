//! Who sits at a browser: signing it in, knowing it again, signing it out.
//!
//! A browser signs in where the calls of the same person get their tokens, at the issuer, or with the
//! personal key that the person's calls carry. What comes of it is a [`Session`] of the same
//! [`Caller`], which [`super::visitor`] compares with whoever asked for a link.
//!
//! The order of the checks at the callback is the defence, as in [`super::callback`]: the `state` is
//! used up first, and browser and issuer are compared before the code is exchanged. Were a browser
//! signed in by an answer that another one had asked for, an attacker could sign a victim in as
//! themselves, and have them finish the attacker's own link (login CSRF, RFC 9700 §4.7).

use std::collections::BTreeSet;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{Broker, MOST_TRIES};
use crate::identity::{Application, Authenticator, Login, LoginError, Person};
use crate::model::event::{EventKind, SignInOutcome};
use crate::model::session::{Destination, Session, SigningIn};
use crate::model::{Caller, Event, Principal, Time, secret};
use crate::oauth::{AnswerError, AuthorizationResponse};
use crate::store::StoreError;

/// Signs browsers in and out. Cheap to clone.
#[derive(Clone)]
pub struct SignIn(Arc<Inner>);

struct Inner {
    broker: Broker,
    authenticator: Authenticator,
    login: Option<Login>,
}

/// How a browser can be signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer<'a> {
    /// At the issuer of this host.
    Issuer(&'a str),
    /// By a personal key.
    Key,
    /// At the verifier page of this application, which is all there is.
    Application(&'a Application),
    /// Not at all.
    Nothing,
}

/// A browser that came back from the issuer or an application, and is signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// What it is known by from now on; `None`: as before.
    pub cookie: Option<SecretString>,
    /// A page of ours.
    pub to: String,
}

/// Nobody was signed in, or out.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// Unknown, expired or used: one answer for all, since telling them apart helps nobody honest.
    #[error("this step was finished before, or has expired")]
    Unknown,
    #[error("this browser is not the one that the sign-in was started in")]
    OtherBrowser,
    #[error("the answer came from another issuer")]
    OtherIssuer,
    /// Of a code's characters only.
    #[error("the issuer answered `{code}`")]
    Denied { code: String },
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SignInError {
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

impl SignIn {
    /// `login`: at the issuer, where it knows us.
    pub fn new(broker: Broker, authenticator: Authenticator, login: Option<Login>) -> Self {
        Self(Arc::new(Inner { broker, authenticator, login }))
    }

    pub fn offer(&self) -> Offer<'_> {
        let Inner { authenticator, login, .. } = &*self.0;
        match login {
            Some(login) => Offer::Issuer(login.host()),
            // Beside an issuer a key's person is the issuer's, and signs in there.
            None if authenticator.issuer().is_some() => Offer::Nothing,
            None if authenticator.has_personal_keys() => Offer::Key,
            // Of several a browser says which one.
            None => self.only_application().map_or(Offer::Nothing, Offer::Application),
        }
    }

    /// The application of this name, if it can confirm who sits at a browser.
    pub fn application(&self, name: &str) -> Option<&Application> {
        self.0.authenticator.applications().remove(name)
    }

    /// The application that confirms browsers here, if there is one alone. Names of several are not
    /// shown to browsers that come from none of them.
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

    /// Who calls of this session's person come from.
    pub fn principal(&self, session: &Session) -> Principal {
        match self.application_of(session) {
            Some(application) => application.principal(session.caller.user.clone()),
            None => Principal::signed_in(session.caller.clone(), session.groups.clone()),
        }
    }

    /// Claims the consent that this browser has brought by a link before its application confirmed
    /// it; `None`: there is none. Where the browser goes on.
    pub async fn claim(
        &self,
        ticket: &str,
        cookie: Option<&SecretString>,
        session: &Session,
    ) -> Result<Option<String>, StoreError> {
        let cookie = cookie.map(|cookie| secret::fingerprint(cookie.expose_secret()));
        for browser in cookie.iter().chain(&session.follows) {
            if let Some(arrival) = self.broker().claim(ticket, browser, &session.caller).await? {
                return Ok(Some(arrival.next));
            }
        }
        Ok(None)
    }

    pub(super) fn broker(&self) -> &Broker {
        &self.0.broker
    }

    pub(super) fn authenticator(&self) -> &Authenticator {
        &self.0.authenticator
    }

    /// Whether people sign in by themselves, and not through an application.
    pub fn is_possible(&self) -> bool {
        matches!(self.offer(), Offer::Issuer(_) | Offer::Key)
    }

    /// Who has signed in with the browser of this cookie. A store that cannot be read knows nobody,
    /// and whose key or issuer is not in `tools.toml` any more is not signed in any more.
    pub async fn session(&self, cookie: &SecretString) -> Option<Session> {
        self.find(cookie).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "who has signed in could not be looked up");
            None
        })
    }

    async fn find(&self, cookie: &SecretString) -> Result<Option<Session>, StoreError> {
        let store = self.0.broker.store().await?;
        let Some(held) = store.session(cookie).await? else { return Ok(None) };
        let now = self.0.broker.0.parts.clock.now();
        if held.value.is_over(now) || !self.is_vouched_for(&held.value) {
            store.forget(&held).await?;
            return Ok(None);
        }
        if let Some(seen) = held.value.seen(now) {
            // `None`: another request has said so, or has signed the browser out, which holds from
            // the next one on.
            store.replace(seen, &held).await?;
        }
        Ok(Some(held.value))
    }

    /// Whether whoever vouched for a session at its beginning would do so now. A key that was
    /// exchanged for another may have been known to a stranger, who must not stay signed in by it.
    fn is_vouched_for(&self, session: &Session) -> bool {
        self.0.authenticator.vouches_for(&session.caller, session.key.as_deref())
    }

    /// Where the issuer signs the browser of this cookie in.
    pub async fn depart(&self, cookie: &SecretString, to: Destination) -> Result<Url, SignInError> {
        let Inner { broker, login, .. } = &*self.0;
        let login = login.as_ref().ok_or(SignInError::Unknown)?;
        let trip = SigningIn {
            browser: secret::fingerprint(cookie.expose_secret()),
            verifier: secret::random(),
            nonce: secret::random(),
            to,
            started_at: broker.0.parts.clock.now(),
        };
        let state = secret::random();
        let issuer = login.authorization_url(&trip, &state).await?;
        broker.store().await?.start_signing_in(&state, &trip).await?;
        broker.sweep_in_time();
        Ok(issuer)
    }

    /// The browser came back from the issuer with this query.
    pub async fn arrive(
        &self,
        cookie: Option<&SecretString>,
        query: &str,
    ) -> Result<SignedIn, SignInError> {
        let Inner { broker, login, .. } = &*self.0;
        let login = login.as_ref().ok_or(SignInError::Unknown)?;
        let answer = AuthorizationResponse::parse(query)?;
        // One-time: whatever is wrong below, this state is over.
        let trip = broker.store().await?.redeem_signing_in(&answer.state).await?;
        let trip = trip.ok_or(SignInError::Unknown)?;
        if trip.is_over(broker.0.parts.clock.now()) {
            return Err(SignInError::Unknown);
        }
        let own = cookie.filter(|cookie| {
            secret::same(&secret::fingerprint(cookie.expose_secret()), &trip.browser)
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
        let person = login.person(&trip, &code).await?;
        let cookie = self.begin(person, None, Some(cookie), trip.started_at).await?;
        Ok(SignedIn { cookie: Some(cookie), to: trip.to.as_str().to_owned() })
    }

    /// Signs a browser in by a personal key; `None`: it is nobody's. What the browser is known by from
    /// now on.
    pub async fn by_key(
        &self,
        cookie: Option<&SecretString>,
        key: &SecretString,
    ) -> Result<Option<SecretString>, SignInError> {
        if self.offer() != Offer::Key {
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

    /// Signs the browser of this cookie out.
    pub async fn leave(&self, cookie: &SecretString) -> Result<(), SignInError> {
        let store = self.0.broker.store().await?;
        for _ in 0..MOST_TRIES {
            let Some(held) = store.session(cookie).await? else { return Ok(()) };
            // Else it was just seen in another tab, and is to end all the same.
            if store.forget(&held).await? {
                self.record(Some(&held.value.caller), SignInOutcome::SignedOut);
                return Ok(());
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Begins a session under a cookie that nobody can have planted (session fixation), and ends the
    /// one before.
    ///
    /// `vouched_at`: when the issuer was asked for the person, or when the key or the application said
    /// who it is.
    ///
    /// # Errors
    /// [`SignInError::Unknown`] if the person's access was ended since.
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
        let now = broker.0.parts.clock.now();
        let Person { caller, groups } = person;
        let follows = before.map(|before| secret::fingerprint(before.expose_secret()));
        let session = Session { caller, groups, key, follows, began_at: now, seen_at: now };
        let cookie = secret::random();
        let store = broker.store().await?;
        store.begin_session(&cookie, &session).await?;
        // After it is written, so that either this finds the end of the access or that finds the session.
        if store.is_cut_off(&session.caller, vouched_at).await? {
            self.leave(&cookie).await?;
            return Err(SignInError::Unknown);
        }
        broker.sweep_in_time();
        self.record(Some(&session.caller), SignInOutcome::SignedIn);
        Ok(cookie)
    }

    fn record(&self, caller: Option<&Caller>, outcome: SignInOutcome) {
        let event = Event::new(EventKind::SignIn(outcome));
        self.0.broker.events().record(&Event { caller: caller.cloned(), ..event });
    }
}
