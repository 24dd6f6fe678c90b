//! A link that only one user's browser may open, and the answers to every other browser.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};

use super::cookie::Browser;
use super::error::{self, Reader};
use super::sign_in::{self, ClientAddress, SignInPages};
use crate::broker::{Broker, ConnectError, NotYours, VisitingBrowser};
use crate::model::{Destination, Session};

/// A link and the browser that opens it.
pub(in crate::web) struct Link {
    pub(super) broker: Broker,
    pub(super) visitor: VisitingBrowser,
    pub(super) browser: Browser,
    /// The sign-in pages and this browser's address, if browsers sign in here.
    pub(super) sign_in: Option<(Arc<SignInPages>, ClientAddress)>,
    pub(super) session: Option<Session>,
    pub(super) ticket: String,
}

impl FromRequestParts<Broker> for Link {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, broker: &Broker) -> Result<Self, Response> {
        let Path(ticket) = Path::<String>::from_request_parts(parts, broker)
            .await
            .map_err(|_| error::gone(None).into_response())?;
        let extensions = &parts.extensions;
        let (visitor, browser) = (extensions.get::<VisitingBrowser>(), extensions.get::<Browser>());
        let (Some(visitor), Some(browser)) = (visitor.cloned(), browser.cloned()) else {
            return Err(error::gone(None).into_response());
        };
        let pages = extensions.get::<Arc<SignInPages>>().cloned();
        let sign_in = pages.map(|pages| {
            let from = ClientAddress::of(parts, &pages);
            (pages, from)
        });
        let session = parts.extensions.get::<Session>().cloned();
        Ok(Self { broker: broker.clone(), visitor, browser, sign_in, session, ticket })
    }
}

impl Link {
    /// The application whose user opens the link, or the only one that confirms browsers here.
    pub(super) fn application(&self) -> Option<&str> {
        let (pages, _) = self.sign_in.as_ref()?;
        match &self.session {
            Some(session) => pages.sign_in.application_of(session).map(|it| it.name.as_str()),
            None => pages.sign_in.only_application().map(|it| it.name.as_str()),
        }
    }

    /// The answer to a browser that may not use the link, or whose link does not work. `to` is the
    /// link's page.
    pub(super) async fn refused(&self, to: Option<Destination>, error: &ConnectError) -> Response {
        if let (ConnectError::NotYours(NotYours::Unconfirmed), Some((pages, from)), Some(to)) =
            (error, &self.sign_in, &to)
            && let Some(response) = pages.unconfirmed(to, &self.browser, from).await
        {
            return response;
        }
        match (error, &self.visitor) {
            // Do not reveal whether the link exists, or what it is for, to a browser that is not
            // signed in: link previews and recipients of a forwarded link come here too.
            (
                ConnectError::Unknown | ConnectError::NotYours(NotYours::NotSignedIn),
                VisitingBrowser::Public { caller: None, .. },
            ) if self.sign_in.as_ref().is_some_and(|(pages, _)| pages.sign_in.is_possible()) => {
                sign_in::needed(to.as_ref(), None)
            }
            (ConnectError::NotYours(NotYours::OtherPerson), _) => {
                sign_in::other_person(&self.browser, to, self.session.as_ref())
            }
            (ConnectError::Unknown, _) => error::gone(self.application()).into_response(),
            _ => error::link(error, Reader::at(&self.visitor)).into_response(),
        }
    }
}
