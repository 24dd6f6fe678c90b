//! Pages that sign a browser in and out.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::extract::{FromRequestParts, RawQuery, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::form_urlencoded;

use super::cookie::Browser;
use super::csrf::OwnForm;
use super::error::{LATER, logged};
use super::layout::{Page, PageKind, html, see_other};
use super::person::PageUser;
use crate::broker::VisitingBrowser;
use crate::broker::consent::confirmation::{UnconfirmedConsent, UnconfirmedStep};
use crate::broker::sign_in::{SignIn, SignInError, SignInMethod, SignedIn};
use crate::identity::Application;
use crate::model::session::{Destination, Session};
use crate::model::text::{sentence, shown};
use crate::model::{Clock, RateLimit, secret};
use crate::net::Cidr;
use crate::oauth::AnswerError;
use crate::web::origin_check::Origins;
use crate::web::port::client_address;

/// Characters shown of a user id.
const MAX_USER_CHARS: usize = 256;

/// Span of the rate limits below, after which a try no longer counts.
const RATE_LIMIT_WINDOW: Duration = Duration::from_mins(1);

/// State of the sign-in pages.
pub(in crate::web) struct SignInPages {
    pub(super) sign_in: SignIn,
    /// Limits tries of keys, which have 20 characters and more. Here and in `redirect_limit`, the
    /// limit for all addresses together is so high that one network cannot use it up and so keep
    /// all others out.
    key_limit: RateLimit<IpAddr>,
    /// Limits redirects to an issuer or application, each of which is a record in the store.
    redirect_limit: RateLimit<IpAddr>,
    trusted_proxies: Vec<Cidr>,
    origins: Origins,
}

impl SignInPages {
    pub(in crate::web) fn new(
        sign_in: SignIn,
        trusted_proxies: Vec<Cidr>,
        origins: Origins,
        clock: &Clock,
    ) -> Arc<Self> {
        Arc::new(Self {
            sign_in,
            key_limit: RateLimit::per(RATE_LIMIT_WINDOW, clock.clone(), 10, 1000),
            redirect_limit: RateLimit::per(RATE_LIMIT_WINDOW, clock.clone(), 60, 6000),
            trusted_proxies,
            origins,
        })
    }

    /// Returns the next page for a link whose application has not confirmed the browser; `None` if
    /// no application has to. `to` is the link's page.
    pub(super) async fn unconfirmed(
        &self,
        to: &Destination,
        browser: &Browser,
        from: &ClientAddress,
    ) -> Option<Response> {
        if !self.admits(from) {
            return Some(too_often());
        }
        match self.sign_in.unconfirmed_step(to, browser.cookie_or_new()).await {
            Ok(None) => None,
            Ok(Some(UnconfirmedStep::Verifier(page))) => Some(see_other(page.as_str())),
            Ok(Some(UnconfirmedStep::Consent(consent))) => {
                let csrf = browser.form_token(to.as_str());
                Some(html(StatusCode::OK, &Unconfirmed { consent, csrf }))
            }
            Err(error) => Some(failed(&error.into())),
        }
    }

    /// Whether this address may begin one more redirect.
    pub(super) fn admits(&self, from: &ClientAddress) -> bool {
        self.redirect_limit.admits(from.0)
    }
}

/// The page for a browser that may belong to another person.
#[derive(Template)]
#[template(path = "unconfirmed.html")]
struct Unconfirmed {
    consent: UnconfirmedConsent,
    csrf: String,
}

/// Client address of a request.
pub(in crate::web) struct ClientAddress(IpAddr);

impl ClientAddress {
    pub(super) fn of(parts: &Parts, pages: &SignInPages) -> Self {
        Self(client_address::client_address(
            &parts.extensions,
            &parts.headers,
            &pages.trusted_proxies,
        ))
    }
}

impl FromRequestParts<Arc<SignInPages>> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        pages: &Arc<SignInPages>,
    ) -> Result<Self, Infallible> {
        Ok(Self::of(parts, pages))
    }
}

/// Puts the visitor and, if signed in, their session and person into the request's extensions.
pub(in crate::web) async fn identify_user(
    State(pages): State<Arc<SignInPages>>,
    mut request: Request,
    next: Next,
) -> Response {
    let browser = request.extensions().get::<Browser>().cloned();
    let session = match browser.as_ref().and_then(Browser::cookie) {
        Some(cookie) => pages.sign_in.session(cookie).await,
        None => None,
    };
    let extensions = request.extensions_mut();
    let caller = session.as_ref().map(|session| session.caller.clone());
    let cookie = browser.as_ref().and_then(Browser::cookie);
    let browser = cookie.map(|cookie| secret::fingerprint(cookie.expose_secret()));
    extensions.insert(VisitingBrowser::Public { caller, browser });
    if let Some(session) = session {
        let principal = Arc::new(pages.sign_in.principal(&session));
        extensions.insert(PageUser { principal, has_signed_in: true });
        extensions.insert(session);
    }
    extensions.insert(pages);
    next.run(request).await
}

/// Middleware that lets a browser pass in which a person is known, and redirects others to the
/// sign-in page.
pub(in crate::web) async fn require_session(request: Request, next: Next) -> Response {
    if request.extensions().get::<PageUser>().is_none() {
        return needed(
            Some(&Destination::default()),
            application(request.uri().query()).as_deref(),
        );
    }
    next.run(request).await
}

/// Redirects to the sign-in page, for the `application` of this name if one is given.
pub(super) fn needed(to: Option<&Destination>, application: Option<&str>) -> Response {
    see_other(&address(to, application))
}

fn address(to: Option<&Destination>, application: Option<&str>) -> String {
    let to = to.map(|to| format!("to={}", to.as_str()));
    let application = application.map(|name| {
        let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        format!("{APPLICATION}={name}")
    });
    match (to, application) {
        (None, None) => "/signin".into(),
        (Some(one), None) | (None, Some(one)) => format!("/signin?{one}"),
        (Some(to), Some(application)) => format!("/signin?{to}&{application}"),
    }
}

/// Query parameter that names the application whose user signs in.
const APPLICATION: &str = "application";

/// Returns the value of a query parameter.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut found = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    found.find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
}

/// Returns the application name in a query.
pub(super) fn application(query: Option<&str>) -> Option<String> {
    parameter(query, APPLICATION)
}

/// The page for a link of another user. It shows neither whose link it is nor what for, only the
/// name by which this server knows the user who opened it, since a key's `user` may have been
/// written in another form, such as an e-mail address where the issuer's `sub` is a number.
pub(super) fn other_person(
    browser: &Browser,
    to: Option<Destination>,
    session: Option<&Session>,
) -> Response {
    let user = session.map(|session| shown(session.caller.user.as_str(), MAX_USER_CHARS));
    tracing::warn!(
        user,
        "refused a link in another user's browser. If it is the right user, set `user` of their key in [[server.auth.api_keys]] to this name"
    );
    let to = to.unwrap_or_default();
    let page = OtherPerson { to: to.as_str(), user, csrf: browser.form_token("/signout") };
    html(StatusCode::FORBIDDEN, &page)
}

#[derive(Template)]
#[template(path = "other_person.html")]
struct OtherPerson<'a> {
    to: &'a str,
    /// The name of the user who is signed in.
    user: Option<String>,
    csrf: String,
}

/// Application to which a link may belong.
enum EndedLinkOf<'a> {
    Named(&'a str),
    /// One of several, whose names are not public.
    Unnamed,
}

#[derive(Template)]
#[template(path = "signin.html")]
struct SignInPage<'a> {
    /// The host where browsers sign in; `None`: the page asks for a key.
    host: Option<&'a str>,
    /// The application at that host.
    application: Option<&'a str>,
    /// Application that may have sent its user here with a link that has ended: links of an
    /// application that still work never lead to this page.
    ended_at: Option<EndedLinkOf<'a>>,
    to: &'a str,
    problem: Option<&'a str>,
    csrf: String,
}

pub(in crate::web) async fn show(
    State(pages): State<Arc<SignInPages>>,
    Extension(browser): Extension<Browser>,
    session: Option<Extension<Session>>,
    RawQuery(query): RawQuery,
) -> Response {
    let to = parameter(query.as_deref(), "to");
    let to = to.and_then(|to| Destination::parse(&to)).unwrap_or_default();
    let application = application(query.as_deref());
    let application = application.and_then(|name| pages.sign_in.application(&name));
    // A user who is signed in at the issuer, or through one application, may be another
    // application's user too.
    let is_there = session.is_some_and(|Extension(session)| {
        application.is_none_or(|application| application.is_of(&session.caller))
    });
    if is_there {
        return see_other(to.as_str());
    }
    sign_in_page(&pages, &browser, &to, application, None)
}

fn sign_in_page(
    pages: &SignInPages,
    browser: &Browser,
    to: &Destination,
    application: Option<&Application>,
    problem: Option<&str>,
) -> Response {
    let method = application.map_or_else(|| pages.sign_in.method(), SignInMethod::Application);
    let (host, application) = match method {
        SignInMethod::Issuer(host) => (Some(host), None),
        SignInMethod::Key => (None, None),
        SignInMethod::Application(application) => {
            let verifier = application.verifier().and_then(|verifier| verifier.url.host_str());
            (verifier, Some(application.name.as_str()))
        }
        SignInMethod::Unavailable => {
            let lines = vec![
                "Manage your connections in the app that sent you here; it knows who you are."
                    .into(),
            ];
            let heading = "Manage your connections in your app";
            let page = Page::new(StatusCode::NOT_FOUND, PageKind::OtherApp, heading, lines);
            return page.into_response();
        }
    };
    let status = if problem.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let csrf = browser.form_token("/signin");
    let ended_at = match pages.sign_in.only_application() {
        _ if application.is_some() || !to.is_link() => None,
        Some(application) => Some(EndedLinkOf::Named(&application.name)),
        None => pages.sign_in.has_applications().then_some(EndedLinkOf::Unnamed),
    };
    html(status, &SignInPage { host, application, ended_at, to: to.as_str(), problem, csrf })
}

#[derive(Deserialize)]
pub(in crate::web) struct SignInForm {
    #[serde(default)]
    to: String,
    /// The application whose user signs in.
    application: Option<String>,
    /// The user's own key, if the page asks for it.
    #[serde(default, with = "crate::model::secret::exposed_option")]
    key: Option<SecretString>,
}

/// Redirects the browser to the application or issuer where its user signs in, or signs it in with
/// a key.
pub(in crate::web) async fn begin(
    State(pages): State<Arc<SignInPages>>,
    Extension(browser): Extension<Browser>,
    uri: Uri,
    headers: HeaderMap,
    from: ClientAddress,
    OwnForm(form): OwnForm<SignInForm>,
) -> Response {
    let to = Destination::parse(&form.to).unwrap_or_default();
    if let Some(name) = &form.application {
        // The origin for which the browser has its cookie.
        let origin = pages.origins.requested(&uri, &headers);
        return pages.to_application(&browser, &from, origin, &to, name).await;
    }
    match (pages.sign_in.method(), form.key) {
        (SignInMethod::Key, Some(key)) => pages.by_key(&browser, &from, &to, &key).await,
        (SignInMethod::Issuer(_), _) => pages.to_issuer(&browser, &from, to).await,
        (SignInMethod::Key | SignInMethod::Application(_) | SignInMethod::Unavailable, _) => {
            sign_in_page(&pages, &browser, &to, None, None)
        }
    }
}

impl SignInPages {
    /// Redirects the browser to the application of this name, which confirms who its user is.
    async fn to_application(
        &self,
        browser: &Browser,
        from: &ClientAddress,
        origin: Option<String>,
        to: &Destination,
        name: &str,
    ) -> Response {
        if !self.admits(from) {
            return too_often();
        }
        let (Some(cookie), Some(origin)) = (browser.cookie(), origin) else {
            return sign_in_page(self, browser, to, self.sign_in.application(name), None);
        };
        match self.sign_in.verifier_of(name, cookie, origin).await {
            Ok(Some(page)) => see_other(page.as_str()),
            Ok(None) => sign_in_page(self, browser, to, None, None),
            Err(error) => failed(&error.into()),
        }
    }

    /// Signs the browser in as the user of a key.
    async fn by_key(
        &self,
        browser: &Browser,
        from: &ClientAddress,
        to: &Destination,
        key: &SecretString,
    ) -> Response {
        if !self.key_limit.admits(from.0) {
            return too_often();
        }
        match self.sign_in.by_key(browser.cookie(), key).await {
            Ok(Some(cookie)) => {
                browser.set_cookie(cookie);
                see_other(to.as_str())
            }
            Ok(None) => {
                let problem = "This server does not know this key. Paste the one that your program sends, whole and without spaces.";
                sign_in_page(self, browser, to, None, Some(problem))
            }
            Err(error) => failed(&error),
        }
    }

    /// Redirects the browser to the issuer.
    async fn to_issuer(
        &self,
        browser: &Browser,
        from: &ClientAddress,
        to: Destination,
    ) -> Response {
        if !self.admits(from) {
            return too_often();
        }
        let Some(cookie) = browser.cookie() else {
            return sign_in_page(self, browser, &to, None, None);
        };
        match self.sign_in.depart(cookie, to).await {
            Ok(issuer) => see_other(issuer.as_str()),
            Err(error) => failed(&error),
        }
    }
}

pub(in crate::web) async fn callback(
    State(pages): State<Arc<SignInPages>>,
    Extension(browser): Extension<Browser>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    signed_in(&browser, pages.sign_in.arrive(browser.cookie(), &query).await)
}

/// Signs in a browser that comes from an application which has confirmed it.
pub(in crate::web) async fn confirmed(
    State(pages): State<Arc<SignInPages>>,
    Extension(browser): Extension<Browser>,
    session: Option<Extension<Session>>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let session = session.as_ref().map(|Extension(session)| session);
    match pages.sign_in.confirmed(browser.cookie(), session, &query).await {
        Err(SignInError::Unknown) => Page::new(
            StatusCode::GONE,
            PageKind::Bad,
            "This step is finished or has expired",
            vec![
                "This page can be used once, and for a few minutes.".into(),
                "Nothing is lost: open the link that you were given once more.".into(),
            ],
        )
        .into_response(),
        Err(SignInError::OtherBrowser) => Page::new(
            StatusCode::FORBIDDEN,
            PageKind::Bad,
            "This was started in another browser",
            vec![
                "A link was opened in another browser, or this one keeps no cookies. Nothing was connected in this browser.".into(),
                "Open the link that you were given yourself, and stay in one browser.".into(),
            ],
        )
        .into_response(),
        arrival => signed_in(&browser, arrival),
    }
}

fn signed_in(browser: &Browser, arrival: Result<SignedIn, SignInError>) -> Response {
    match arrival {
        Ok(arrival) => {
            if let Some(cookie) = arrival.cookie {
                browser.set_cookie(cookie);
            }
            see_other(&arrival.to)
        }
        Err(error) => failed(&error),
    }
}

#[derive(Deserialize)]
pub(in crate::web) struct SignOutForm {
    #[serde(default)]
    to: String,
}

pub(in crate::web) async fn sign_out(
    State(pages): State<Arc<SignInPages>>,
    Extension(browser): Extension<Browser>,
    session: Option<Extension<Session>>,
    OwnForm(form): OwnForm<SignOutForm>,
) -> Response {
    if let Some(cookie) = browser.cookie()
        && let Err(error) = pages.sign_in.leave(cookie).await
    {
        return failed(&error);
    }
    browser.set_cookie(secret::random());
    let to = Destination::parse(&form.to);
    let application = session.and_then(|Extension(it)| pages.sign_in.application_of(&it));
    // For another person's link, leave open where that person signs in.
    let application = application.filter(|_| to.as_ref().is_none_or(|to| !to.is_link()));
    needed(to.as_ref(), application.map(|application| application.name.as_str()))
}

pub(super) fn too_often() -> Response {
    let lines = vec!["Wait a minute, then try again.".into()];
    Page::new(StatusCode::TOO_MANY_REQUESTS, PageKind::Bad, "Too many tries", lines).into_response()
}

fn failed(error: &SignInError) -> Response {
    let (status, heading) = match error {
        SignInError::Answer(AnswerError::ErrorWithoutState { .. }) => {
            (StatusCode::BAD_REQUEST, "The provider sent an error")
        }
        SignInError::Answer(_) => (StatusCode::BAD_REQUEST, "The provider's answer is incomplete"),
        SignInError::Unknown => (StatusCode::GONE, "This step is finished or has expired"),
        SignInError::OtherBrowser => (StatusCode::FORBIDDEN, "This was started in another browser"),
        // Nothing of such an answer is shown (RFC 9207 §2.4).
        SignInError::OtherIssuer => (StatusCode::BAD_REQUEST, "This answer was not accepted"),
        SignInError::Denied { .. } => (StatusCode::FORBIDDEN, "You were not signed in"),
        SignInError::Login(_) => (StatusCode::BAD_GATEWAY, "Signing in did not work"),
        SignInError::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "This could not be saved"),
    };
    let lines = match error {
        // The details of a store failure are for the operator, who finds them in the log.
        SignInError::Store(_) => vec![LATER.to_owned()],
        error => vec![sentence(&error.to_string()), sentence(&error.hint())],
    };
    let page = Page::new(status, PageKind::Bad, heading, lines).again(address(None, None));
    match error {
        // Any web page can make a browser come here: that must not fill the log.
        SignInError::Answer(_) | SignInError::Unknown => {
            tracing::debug!(%error, "a browser was not signed in");
            page.into_response()
        }
        _ => page.incident(logged(error)).into_response(),
    }
}
