//! Signing a browser in, and out.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{FromRequestParts, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::form_urlencoded;

use super::accounts::Person;
use super::browser::Browser;
use super::client;
use super::csrf::OwnForm;
use super::page::{Kind, Page, html, see_other};
use super::refused::logged;
use crate::broker::Visitor;
use crate::broker::sign_in::{Offer, SignIn, SignInError};
use crate::model::session::{Destination, Session};
use crate::model::text::sentence;
use crate::model::{Clock, Principal, RateLimit, secret};
use crate::net::Cidr;
use crate::oauth::AnswerError;

/// After which nothing is held against anybody.
const A_WHILE: Duration = Duration::from_mins(1);

/// Where browsers are let in.
pub(super) struct Door {
    pub(super) sign_in: SignIn,
    /// How often a key may be tried, which has 20 characters and more, and a trip to the issuer begun,
    /// which is a record in the store. What all may together is so much that one network cannot use it
    /// up and so keep everybody out.
    tries: RateLimit<IpAddr>,
    trips: RateLimit<IpAddr>,
    trusted_proxies: Vec<Cidr>,
}

impl Door {
    pub(super) fn new(sign_in: SignIn, trusted_proxies: Vec<Cidr>, clock: &Clock) -> Arc<Self> {
        Arc::new(Self {
            sign_in,
            tries: RateLimit::per(A_WHILE, clock.clone(), 10, 1000),
            trips: RateLimit::per(A_WHILE, clock.clone(), 60, 6000),
            trusted_proxies,
        })
    }
}

/// Where a request comes from.
struct Sender(IpAddr);

impl FromRequestParts<Arc<Door>> for Sender {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, door: &Arc<Door>) -> Result<Self, Infallible> {
        Ok(Self(client::address(&parts.extensions, &parts.headers, &door.trusted_proxies)))
    }
}

pub(super) fn routes(door: Arc<Door>) -> Router {
    Router::new()
        .route("/signin", get(show).post(begin))
        .route("/signin/callback", get(callback))
        .route("/signout", post(leave))
        .with_state(door)
}

/// Says who has signed in with the browser.
pub(super) async fn know(
    State(sign_in): State<SignIn>,
    mut request: Request,
    next: Next,
) -> Response {
    let browser = request.extensions().get::<Browser>().cloned();
    let session = match browser.as_ref().and_then(Browser::cookie) {
        Some(cookie) => sign_in.session(cookie).await,
        None => None,
    };
    let extensions = request.extensions_mut();
    let caller = session.as_ref().map(|session| session.caller.clone());
    let cookie = browser.as_ref().and_then(Browser::cookie);
    let browser = cookie.map(|cookie| secret::fingerprint(cookie.expose_secret()));
    extensions.insert(Visitor::Public { caller, browser });
    extensions.insert(sign_in);
    if let Some(session) = session {
        extensions.insert(person(&session));
        extensions.insert(session);
    }
    next.run(request).await
}

fn person(session: &Session) -> Person {
    let Session { caller, groups, .. } = session.clone();
    let principal = Principal::signed_in(caller, groups);
    Person { principal: Arc::new(principal), has_signed_in: true }
}

/// The sign-in page is where to go on.
pub(super) fn needed(to: Option<&Destination>) -> Response {
    see_other(&address(to))
}

fn address(to: Option<&Destination>) -> String {
    match to {
        Some(to) => format!("/signin?to={}", to.as_str()),
        None => "/signin".into(),
    }
}

/// The link is somebody else's. Neither whose nor what for is said.
pub(super) fn other_person(browser: &Browser, to: Option<Destination>) -> Response {
    let to = to.unwrap_or_default();
    let page = OtherPerson { to: to.as_str(), csrf: browser.form_token("/signout") };
    html(StatusCode::FORBIDDEN, &page)
}

#[derive(Template)]
#[template(path = "other_person.html")]
struct OtherPerson<'a> {
    to: &'a str,
    csrf: String,
}

#[derive(Template)]
#[template(path = "signin.html")]
struct Entrance<'a> {
    /// The issuer's host; `None`: a key is asked for.
    issuer: Option<&'a str>,
    to: &'a str,
    problem: Option<&'a str>,
    csrf: String,
}

async fn show(
    State(door): State<Arc<Door>>,
    Extension(browser): Extension<Browser>,
    session: Option<Extension<Session>>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let to = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "to");
    let to = to.and_then(|(_, to)| Destination::parse(&to)).unwrap_or_default();
    if session.is_some() {
        return see_other(to.as_str());
    }
    entrance(&door, &browser, &to, None)
}

fn entrance(door: &Door, browser: &Browser, to: &Destination, problem: Option<&str>) -> Response {
    let issuer = match door.sign_in.offer() {
        Offer::Issuer(host) => Some(host),
        Offer::Key => None,
        Offer::Nothing => {
            let lines = vec!["Nobody can sign in at this server with a browser.".into()];
            let page = Page::new(StatusCode::NOT_FOUND, Kind::Bad, "Nothing to sign in to", lines);
            return page.into_response();
        }
    };
    let status = if problem.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let csrf = browser.form_token("/signin");
    html(status, &Entrance { issuer, to: to.as_str(), problem, csrf })
}

#[derive(Deserialize)]
struct Wish {
    #[serde(default)]
    to: String,
    /// One's own key, where the page asks for it.
    #[serde(default, with = "crate::model::secret::exposed_option")]
    key: Option<SecretString>,
}

async fn begin(
    State(door): State<Arc<Door>>,
    Extension(browser): Extension<Browser>,
    Sender(from): Sender,
    OwnForm(wish): OwnForm<Wish>,
) -> Response {
    let to = Destination::parse(&wish.to).unwrap_or_default();
    match (door.sign_in.offer(), wish.key) {
        (Offer::Key, Some(key)) => {
            if !door.tries.admits(from) {
                return too_often();
            }
            match door.sign_in.by_key(browser.cookie(), &key).await {
                Ok(Some(cookie)) => {
                    browser.becomes(cookie);
                    see_other(to.as_str())
                }
                Ok(None) => entrance(
                    &door,
                    &browser,
                    &to,
                    Some("This is nobody's own key for this server."),
                ),
                Err(error) => failed(&error),
            }
        }
        (Offer::Issuer(_), _) => {
            if !door.trips.admits(from) {
                return too_often();
            }
            let Some(cookie) = browser.cookie() else {
                return entrance(&door, &browser, &to, None);
            };
            match door.sign_in.depart(cookie, to).await {
                Ok(issuer) => see_other(issuer.as_str()),
                Err(error) => failed(&error),
            }
        }
        (Offer::Key | Offer::Nothing, _) => entrance(&door, &browser, &to, None),
    }
}

async fn callback(
    State(door): State<Arc<Door>>,
    Extension(browser): Extension<Browser>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    match door.sign_in.arrive(browser.cookie(), &query).await {
        Ok(arrival) => {
            browser.becomes(arrival.cookie);
            see_other(arrival.to.as_str())
        }
        Err(error) => failed(&error),
    }
}

#[derive(Deserialize)]
struct Leave {
    #[serde(default)]
    to: String,
}

async fn leave(
    State(door): State<Arc<Door>>,
    Extension(browser): Extension<Browser>,
    OwnForm(leave): OwnForm<Leave>,
) -> Response {
    if let Some(cookie) = browser.cookie()
        && let Err(error) = door.sign_in.leave(cookie).await
    {
        return failed(&error);
    }
    browser.becomes(secret::random());
    needed(Destination::parse(&leave.to).as_ref())
}

fn too_often() -> Response {
    let lines = vec!["Wait a minute, then try again.".into()];
    Page::new(StatusCode::TOO_MANY_REQUESTS, Kind::Bad, "Too many tries", lines).into_response()
}

fn failed(error: &SignInError) -> Response {
    let (status, heading) = match error {
        SignInError::Answer(AnswerError::ErrorWithoutState { .. }) => {
            (StatusCode::BAD_REQUEST, "The provider sent an error")
        }
        SignInError::Answer(_) => (StatusCode::BAD_REQUEST, "The provider's answer is incomplete"),
        SignInError::Unknown => (StatusCode::GONE, "This step is over"),
        SignInError::OtherBrowser => (StatusCode::FORBIDDEN, "This was started elsewhere"),
        // Nothing of such an answer is shown (RFC 9207 §2.4).
        SignInError::OtherIssuer => (StatusCode::BAD_REQUEST, "This answer was not accepted"),
        SignInError::Denied { .. } => (StatusCode::FORBIDDEN, "You were not signed in"),
        SignInError::Login(_) => (StatusCode::BAD_GATEWAY, "Signing in did not work"),
        SignInError::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "This could not be kept"),
    };
    let lines = vec![sentence(&error.to_string()), sentence(&error.hint())];
    let page = Page::new(status, Kind::Bad, heading, lines).again(address(None));
    match error {
        // Any page of the web can make a browser come here: that must not fill the log.
        SignInError::Answer(_) | SignInError::Unknown => {
            tracing::debug!(%error, "a browser was not signed in");
            page.into_response()
        }
        _ => page.incident(logged(error)).into_response(),
    }
}
