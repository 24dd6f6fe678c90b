//! A consent (journey 2 in `lib.rs`) as pages and redirects.

mod page;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse as _, Response};
use secrecy::SecretString;
use serde::Deserialize;

use super::cookie::{cookie, set_cookie};
use super::csrf::OwnForm;
use super::error::{self, Reader, logged};
use super::layout::see_other;
use super::link::Link;
use super::sign_in;
use crate::broker::Broker;
use crate::broker::client::credential::{CredentialError, Pasted};
use crate::broker::consent::callback::Callback;
use crate::broker::consent::paste::PasteError;
use crate::broker::consent::visit::{Departure, Paste, PasteWhat};
use crate::broker::{ConnectError, NotYours, VisitingBrowser};
use crate::model::Destination;
use crate::model::authorization::LINK_LIFETIME;
use crate::model::text::sentence;
use page::Notice;

pub(in crate::web) async fn show(link: Link) -> Response {
    match link.claim().await {
        Some(next) => see_other(&next),
        None => link.page(Notice::None).await,
    }
}

#[derive(Deserialize)]
pub(in crate::web) struct ConnectForm {
    /// `continue` or `decline`, `confirm` or `keep`, `disconnect`; anything else shows the page
    /// again.
    #[serde(default)]
    answer: String,
    /// The digest of the page that was answered.
    #[serde(default)]
    shown: String,
    /// The pasted key or password, if the page asks for one.
    #[serde(default, with = "crate::model::secret::exposed_option")]
    secret: Option<SecretString>,
    /// The user name that belongs to a password.
    user: Option<String>,
}

pub(in crate::web) async fn answer(link: Link, OwnForm(form): OwnForm<ConnectForm>) -> Response {
    let Link { broker, visitor, ticket, .. } = &link;
    match form.answer.as_str() {
        "continue" => {}
        "decline" => {
            return match broker.consents().decline(ticket, visitor).await {
                Ok(()) => see_other(&format!("/connect/{ticket}")),
                Err(error) => refused(&link, &error).await,
            };
        }
        "confirm" | "keep" => {
            let is_meant = form.answer == "confirm";
            return match broker.consents().confirm(ticket, visitor, &form.shown, is_meant).await {
                Ok(arrival) => see_other(&arrival.next),
                Err(error) => link.again(error).await,
            };
        }
        "disconnect" => {
            return match broker.consents().undo(ticket, visitor, &form.shown).await {
                Ok(()) => see_other(&format!("/connect/{ticket}")),
                Err(error) => link.again(error).await,
            };
        }
        _ => return link.page(Notice::None).await,
    }
    if let Some(secret) = form.secret {
        return link.paste(&form.shown, secret, form.user).await;
    }
    match broker.consents().depart(ticket, visitor, &form.shown).await {
        Ok(departure) => depart(&departure),
        Err(ConnectError::NotYours(NotYours::Unconfirmed)) => {
            link.depart_unconfirmed(&form.shown).await
        }
        Err(error) => link.again(error).await,
    }
}

impl Link {
    /// Claims the consent that this browser gave before its application confirmed it. Returns the
    /// browser's next address.
    async fn claim(&self) -> Option<String> {
        let (Some((pages, _)), Some(session)) = (&self.sign_in, &self.session) else { return None };
        let cookie = self.browser.cookie();
        pages.sign_in.claim(&self.ticket, cookie, session).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a consent could not be claimed");
            None
        })
    }

    async fn depart_unconfirmed(&self, shown: &str) -> Response {
        let Some((pages, from)) = &self.sign_in else {
            return refused(self, &NotYours::Unconfirmed.into()).await;
        };
        if !pages.admits(from) {
            return sign_in::too_often();
        }
        let consents = self.broker.consents();
        match consents.depart_unconfirmed(&self.ticket, &self.visitor, shown).await {
            Ok(departure) => {
                // Renews the cookie, since the consent may wait for it for a day.
                self.browser.set_cookie(self.browser.cookie_or_new().clone());
                depart(&departure)
            }
            // Shows the page again, as it is now.
            Err(ConnectError::Changed) => see_other(&format!("/connect/{}", self.ticket)),
            Err(error) => self.again(error).await,
        }
    }

    async fn page(&self, change: Notice) -> Response {
        match self.broker.consents().invitation(&self.ticket, &self.visitor).await {
            Ok(invitation) => {
                let token = self.browser.form_token(&format!("/connect/{}", self.ticket));
                page::link_page(&invitation, token, change, self.application())
            }
            Err(error) => refused(self, &error).await,
        }
    }

    /// Shows the page again if that helps.
    async fn again(&self, error: ConnectError) -> Response {
        match error {
            ConnectError::Unknown => self.page(Notice::None).await,
            ConnectError::Changed => self.page(Notice::SinceTheClick).await,
            error => refused(self, &error).await,
        }
    }

    /// Passes a pasted secret to the broker only: no page shows it again.
    async fn paste(&self, shown: &str, secret: SecretString, user: Option<String>) -> Response {
        let Self { broker, visitor, ticket, .. } = self;
        let asked =
            broker.consents().invitation(ticket, visitor).await.map(|invitation| invitation.paste);
        let pasted = match asked {
            Ok(Some(Paste { what: PasteWhat::Key, .. })) => Pasted::Key(secret),
            Ok(Some(Paste { what: PasteWhat::Password | PasteWhat::UserAndPassword, .. })) => {
                Pasted::Basic { user, password: secret }
            }
            Ok(None) => return refused(self, &ConnectError::Unknown).await,
            Err(error) => return refused(self, &error).await,
        };
        match broker.consents().paste(ticket, visitor, shown, pasted).await {
            Ok(arrival) => see_other(&arrival.next),
            Err(PasteError::Connect(error)) => self.again(error).await,
            // The server's own half of the credential is missing.
            Err(PasteError::Credential(error @ CredentialError::Secret(_)))
                if Reader::at(visitor) == Reader::Anybody =>
            {
                let incident = logged(&error);
                let text =
                    format!("The operator of this server must fix its settings ({incident}).");
                self.page(Notice::Problem(text)).await
            }
            Err(error) => {
                let text = format!("{} {}", sentence(&error.to_string()), sentence(&error.hint()));
                self.page(Notice::Problem(text)).await
            }
        }
    }
}

async fn refused(link: &Link, error: &ConnectError) -> Response {
    link.refused(Destination::link(&link.ticket), error).await
}

/// Redirects to the provider with 303, so that the browser does not repeat the POST there (RFC 9700
/// §4.12).
fn depart(departure: &Departure) -> Response {
    let cookie = &departure.cookie;
    let set = set_cookie(&cookie.name, &cookie.value, &cookie.path, LINK_LIFETIME.as_secs());
    let mut response = see_other(departure.to.as_str());
    response.headers_mut().extend(set.map(|set| (SET_COOKIE, set)));
    response
}

pub(in crate::web) async fn callback(
    State(broker): State<Broker>,
    Extension(visitor): Extension<VisitingBrowser>,
    Path(provider): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let arrival = broker
        .consents()
        .arrive(Callback {
            provider: &provider,
            query: query.as_deref().unwrap_or_default(),
            cookie: &|name| cookie(&headers, name),
            visitor: &visitor,
        })
        .await;
    match arrival {
        // Redirects to an address without code and state, so that neither stays in the history.
        Ok(arrival) => see_other(&arrival.next),
        Err(error) => error::callback(&error, Reader::at(&visitor)).into_response(),
    }
}
