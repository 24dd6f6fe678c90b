//! Accepts a form only if it comes from our page, in the same browser that was shown the page.
//!
//! The hidden field `csrf` is a fingerprint of the browser's cookie and the path that the form is
//! sent to; another site's page knows neither the cookie nor, for a link, the path. It holds
//! besides the checks of [`origin_check`](crate::web::origin_check), which trust the browser's own headers.

use axum::body::Body;
use axum::extract::{Form, FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::cookie::Browser;
use super::layout::{Page, PageKind};
use crate::model::secret;
use crate::web::body;

/// The name of the hidden field.
const FIELD: &str = "csrf";

impl Browser {
    /// Value of the hidden field `csrf` for a form that is sent to `path`.
    pub(in crate::web) fn form_token(&self, path: &str) -> String {
        token(self.cookie_or_new(), path)
    }
}

fn token(cookie: &SecretString, path: &str) -> String {
    let cookie = cookie.expose_secret();
    secret::fingerprint(&Zeroizing::new(format!("form {cookie} {path}")))
}

/// A form from a page of ours.
pub(in crate::web) struct OwnForm<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for OwnForm<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let browser = parts.extensions.get::<Browser>().cloned();
        let path = parts.uri.path().to_owned();
        let body = Request::from_parts(parts.clone(), body);
        let body = body::whole(body)
            .await
            .map_err(|status| refused(status, "It could not be read.").into_response())?;
        let cookie = browser.as_ref().and_then(Browser::cookie);
        if !cookie.is_some_and(|cookie| is_own(&body, cookie, &path)) {
            let line = "The page is out of date or was opened in another browser. Open it again and retry.";
            return Err(refused(StatusCode::FORBIDDEN, line).into_response());
        }
        let whole = Request::from_parts(parts, Body::from(body));
        match Form::from_request(whole, state).await {
            Ok(Form(form)) => Ok(Self(form)),
            Err(unread) => Err(refused(unread.status(), "It could not be read.").into_response()),
        }
    }
}

/// Whether the field occurs exactly once and has the value that our page gave it.
fn is_own(body: &[u8], cookie: &SecretString, path: &str) -> bool {
    let mut found = form_urlencoded::parse(body).filter(|(name, _)| name == FIELD);
    match (found.next(), found.next()) {
        (Some((_, said)), None) => secret::same(&said, &token(cookie, path)),
        _ => false,
    }
}

fn refused(status: StatusCode, line: &str) -> Page {
    Page::new(status, PageKind::Bad, "This form was refused", vec![line.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_one_browser_and_one_path() {
        let (ana, bob) = (SecretString::from("ana"), SecretString::from("bob"));
        let said = token(&ana, "/connect/1");
        let own = |body: &str| is_own(body.as_bytes(), &ana, "/connect/1");
        assert!(own(&format!("answer=continue&csrf={said}")));
        assert!(!own("answer=continue"));
        assert!(!own("csrf="));
        assert!(!own(&format!("csrf={said}&csrf={said}")));
        assert!(!is_own(format!("csrf={said}").as_bytes(), &bob, "/connect/1"));
        assert!(!is_own(format!("csrf={said}").as_bytes(), &ana, "/connect/2"));
    }
}
